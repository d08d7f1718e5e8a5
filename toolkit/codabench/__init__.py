"""CodaBench: its API, its worker rehearsed here, competitions to host, and uploads."""
