"""Evaluation tests: the messages of a bag are made where the data set's and the recorder's tests make them."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS / "dataset"), str(TESTS / "recording")]
