"""`python -m salus_vla.load`."""

import sys

from salus_vla.load.main import main

if __name__ == "__main__":
    sys.exit(main())
