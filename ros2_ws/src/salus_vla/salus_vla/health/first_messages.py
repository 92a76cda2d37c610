"""Which topics of a simulator have been heard, and whether the others can still be expected.

A renderer may take minutes for its first image, for which it compiles; everything else of a simulator comes within
seconds of its joints, and everything of its cameras within seconds of an image.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from salus_vla.contract import CAMERAS, JOINT_STATES, camera_info_topic, image_topic

SILENT_S: Final = 30.0  # wall time

_IMAGES: Final = frozenset(image_topic(camera).name for camera in CAMERAS)
_OF_CAMERAS: Final = _IMAGES | {camera_info_topic(camera).name for camera in CAMERAS}


class FirstMessages:
    """The first message of each topic. All times are wall time [s]."""

    def __init__(self, topics: Iterable[str]) -> None:
        """Nothing has been heard of these topics."""
        self._silent = set(topics)
        self._since: dict[bool, float] = {}  # first message of the joints, and of any camera

    @property
    def missing(self) -> list[str]:
        """Topics that have not been heard."""
        return sorted(self._silent)

    def heard(self, topic: str, wall_s: float) -> bool:
        """Takes a message; whether it was the first of its topic."""
        if topic not in self._silent:
            return False
        self._silent.remove(topic)
        if topic == JOINT_STATES.name or topic in _IMAGES:
            self._since.setdefault(topic in _IMAGES, wall_s)
        return True

    def hopeless(self, wall_s: float) -> str:
        """Says which topics will not come any more, and beside what; empty while there is hope."""
        for of_camera, since_s in self._since.items():
            silent = [topic for topic in self.missing if (topic in _OF_CAMERAS) == of_camera]
            if silent and wall_s - since_s > SILENT_S:
                beside = "images of a camera" if of_camera else JOINT_STATES.name
                return f"nothing on {', '.join(silent)} within {SILENT_S:.0f} s of {beside}"
        return ""
