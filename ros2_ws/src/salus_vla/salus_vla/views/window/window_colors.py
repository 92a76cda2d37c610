"""Colours of the window: apart for people who see no red or green (Okabe and Ito, "Color Universal Design", 2008)."""

from typing import Final

PAPER: Final = "#fbfbf9"
INK: Final = "#222222"
MUTED: Final = "#6b6b6b"
RULE: Final = "#d5d5d0"
CURVE: Final = "#0072b2"
THRESHOLD: Final = "#444444"
ACT: Final = "#d55e00"  # only where a person should act
ON_ACT: Final = "#ffffff"
# Bands behind the curves, with opacity: an alarm that something acts on, one that a person must look at, a motion.
ALARM_BAND: Final = (0, 114, 178, 45)
ACT_BAND: Final = (213, 94, 0, 70)
MOTION_BAND: Final = (0, 158, 115, 40)
