"""Which part of the data a seed belongs to: one seed with all its profiles is on one side, in every table alike."""

from __future__ import annotations

from enum import StrEnum


class Part(StrEnum):
    """What a seed may be used for."""

    TRAIN = "train"
    VALIDATION = "validation"  # choices
    CALIBRATION = "calibration"  # thresholds, from successes
    TEST = "test"  # looked at once for each model


_PARTS = (*(Part.TRAIN,) * 5, Part.VALIDATION, *(Part.CALIBRATION,) * 2, *(Part.TEST,) * 2)


def part_of(seed: int) -> Part:
    """The part of a seed, by its last digit: 0 to 4 train, 5 validation, 6 and 7 calibration, 8 and 9 test."""
    return _PARTS[seed % len(_PARTS)]
