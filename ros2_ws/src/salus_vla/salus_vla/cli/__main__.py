"""`python -m salus_vla.cli`."""

import sys

from salus_vla.cli.main import main

sys.exit(main())
