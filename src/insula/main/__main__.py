"""`python -m insula.main`: the service."""

import sys

from insula.main.entry import main

sys.exit(main())
