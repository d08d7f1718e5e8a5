"""The networks: backbones, heads, and the weights they start from."""
