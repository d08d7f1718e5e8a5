"""`python -m tools` is `cbtool`."""

from tools.cli import run

run()
