"""`python -m salus_vla.faults`."""

import sys

from salus_vla.faults.main import main

sys.exit(main())
