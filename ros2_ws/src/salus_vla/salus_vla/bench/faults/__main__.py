"""`python -m salus_vla.bench.faults`."""

import sys

from salus_vla.bench.faults.faults_main import main

sys.exit(main())
