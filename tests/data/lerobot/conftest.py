"""Data set tests: no network, no second thread, and LeRobot's cache of loaded data sets in a folder that goes away."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported

from alone import alone

__all__ = ["alone"]  # a fixture for every test here
