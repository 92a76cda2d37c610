"""Rates of the contract, and the two ways of pacing."""

from __future__ import annotations

from typing import Final

FRAME_HZ: Final = 50.0
DECISION_HZ: Final = 10.0
# Wall time after which everybody in a domain is known [s]: Fast DDS announces each participant every 3 s, and its first
# announcement does not always arrive.
DISCOVERY_S: Final = 3.5

# lockstep: each frame waits for the command that answers it; realtime: the arm moves on whatever comes.
LOCKSTEP: Final = "lockstep"
REALTIME: Final = "realtime"
