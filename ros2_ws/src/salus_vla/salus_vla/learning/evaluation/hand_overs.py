"""How long after its last progress an episode was handed over to a person."""

from __future__ import annotations

import numpy as np

from salus_vla.contract import ARM_DOF
from salus_vla.data.recording import Recording
from salus_vla.safety.prediction.hand_phase import HandPhase


def stuck_for_s(recording: Recording) -> float:
    """From the last progress to the end of the episode [s]; NaN where the hand never closed on nothing.

    Progress is made until the hand first closes on nothing, and after that while it holds something.

    Raises:
        RecordingError: the recording is damaged.
    """
    measured, commanded = recording.measured(), recording.commanded()
    widths = measured.positions[:, ARM_DOF:].sum(axis=1)
    told = np.interp(measured.stamps_ns, commanded.stamps_ns, commanded.positions[:, ARM_DOF:].sum(axis=1))
    phase, progress_ns, empty = HandPhase(), -1, False
    for stamp_ns, width, asked in zip(measured.stamps_ns.tolist(), widths.tolist(), told.tolist(), strict=True):
        phase.update(width, asked)
        if phase.empty_closings and not empty:
            empty, progress_ns = True, stamp_ns
        elif empty and phase.holds:
            progress_ns = stamp_ns
    return (int(measured.stamps_ns[-1]) - progress_ns) * 1e-9 if empty else float("nan")
