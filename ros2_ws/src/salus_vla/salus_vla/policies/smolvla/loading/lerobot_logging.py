"""LeRobot without its remarks on stdout."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_lerobot() -> Iterator[None]:
    """Keeps LeRobot's progress off stdout, and its warning that the stored device is absent: ours is explicit."""
    logger = logging.getLogger("lerobot")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
