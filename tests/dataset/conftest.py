"""Data set tests: no network, no second thread, and LeRobot's cache of loaded data sets in a folder that goes away."""

import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported

# The messages of a bag are made there.
sys.path.append(str(Path(__file__).parents[1] / "recording"))

from alone import alone

__all__ = ["alone"]  # a fixture for every test here
