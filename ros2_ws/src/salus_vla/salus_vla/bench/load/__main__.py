"""`python -m salus_vla.bench.load`."""

import sys

from salus_vla.bench.load.load_main import main

if __name__ == "__main__":
    sys.exit(main())
