"""`python -m salus_vla.bench`."""

import sys

from salus_vla.bench.bench_main import main

sys.exit(main())
