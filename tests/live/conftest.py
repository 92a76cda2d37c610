"""Tests of the live views: small bags of the recorder, made without ROS."""

import sys
from pathlib import Path

# The messages of a bag are made there.
sys.path.append(str(Path(__file__).parents[1] / "recording"))
