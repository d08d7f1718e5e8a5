"""Named experiments, one TOML file each; the head of each file gives its command, cost and measured
score."""
