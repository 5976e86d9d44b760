"""`python -m insula.cli`."""

import sys

from insula.cli.entry import main

sys.exit(main())
