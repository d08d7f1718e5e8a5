"""The `cbtool` command line over `toolkit`."""
