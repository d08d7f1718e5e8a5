"""Training: from samples and a configuration to a finished run folder."""
