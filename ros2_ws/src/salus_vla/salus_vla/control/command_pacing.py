"""Which commands are due when nobody asks for them, so that the stream neither stops nor jumps."""

from __future__ import annotations

STANDS_FRAMES = 3  # without a command for longer than this, the arm has stopped at the last one


def commands_due(answered_ns: int, until_ns: int, frame_ns: int) -> tuple[range, bool]:
    """Stamps of the commands to send, one per frame after the last one.

    Args:
        answered_ns: stamp of the last command [ns].
        until_ns: up to here, half a frame more or less [ns].
        frame_ns: time between two commands [ns].

    Returns:
        The stamps [ns], and whether the arm stands: then only the newest is due, and it must not take up the speed of
        the last command again.
    """
    if until_ns - answered_ns > STANDS_FRAMES * frame_ns:
        return range(until_ns, until_ns + 1), True
    return range(answered_ns + frame_ns, until_ns + frame_ns // 2, frame_ns), False
