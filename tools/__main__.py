"""`python -m tools` is `cbtool`."""

import sys

from tools.cli import main

sys.exit(main())
