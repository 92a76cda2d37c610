"""`python -m salus_vla.bench`."""

import sys

from salus_vla.bench.main import main

sys.exit(main())
