"""Which image of the policy each camera of this robot is, in LeRobot's own ways: `rename_map` and `empty_cameras`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from salus_vla.contract import CAMERAS
from salus_vla.contract.errors import ModelError
from salus_vla.policies.smolvla.features import STATE_KEY, image_key

_EMPTY = image_key("empty_camera_")  # LeRobot names a place so that no camera is to fill


@dataclass(frozen=True)
class CameraNames:
    """How the robot's images reach the policy.

    Attributes:
        rename: LeRobot's `rename_map` of the pre-processor, from the robot's keys to the policy's.
        seen: the robot's cameras that the policy sees, in its order.
    """

    rename: Mapping[str, str]
    seen: tuple[str, ...]

    @property
    def told(self) -> str:
        """`front=camera1,...` of what is renamed; empty where every name is the same."""
        names = {camera: self.rename.get(image_key(camera), image_key(camera)) for camera in self.seen}
        return ",".join(f"{name}={_short(key)}" for name, key in names.items() if key != image_key(name))


UNCHANGED = CameraNames({}, CAMERAS)


def parse_cameras(
    texts: Sequence[str], option: str = "--cameras", remark: str = " (parameter model.cameras)"
) -> dict[str, str]:
    """Reads `front=camera1` and so on, several in one text with commas between them; LeRobot's full keys serve too.

    Args:
        texts: as given.
        option: that they were given with, for messages.
        remark: behind it.

    Returns:
        LeRobot's `rename_map`: the robot's key -> the policy's.

    Raises:
        ModelError: not of this form, not a camera of this robot, or a name is there twice.
    """
    rename: dict[str, str] = {}
    for part in [part.strip() for text in texts for part in text.split(",") if part.strip()]:
        camera, separator, name = (piece.strip() for piece in part.partition("="))
        camera, name = _short(camera), _short(name)
        where = f"{option} {part}{remark}"
        if not (separator and camera and name):
            raise ModelError(f"{where}: expected CAMERA=NAME, as in front=camera1")
        if camera not in CAMERAS:
            raise ModelError(f"{where}: this robot has no camera '{camera}', it has {', '.join(CAMERAS)}")
        if image_key(camera) in rename or image_key(name) in rename.values():
            raise ModelError(f"{where}: names a camera twice")
        rename[image_key(camera)] = image_key(name)
    return rename


def match_cameras(config: Any, stored: Mapping[str, str], given: Mapping[str, str], where: str) -> CameraNames:
    """Finds which image of a policy each camera of this robot is.

    Without any map the names must be this robot's. With one, a place of the policy that no camera fills must be one of
    its `empty_cameras`: LeRobot fills these and would drop others without a word.

    Args:
        config: a `SmolVLAConfig`.
        stored: `rename_map` of the policy's pre-processor.
        given: one that replaces it, of `parse_cameras`; empty for none.
        where: the file to name in a message.

    Raises:
        ModelError: cameras of the policy remain without an image; the message has found, expected and the remedy.
    """
    rename = dict(given or stored)
    if rename.get(STATE_KEY, STATE_KEY) != STATE_KEY:
        raise ModelError(f"{where}: rename_map renames {STATE_KEY} to {rename[STATE_KEY]}, expected it unchanged")
    keys = list(config.image_features)
    filled: dict[str, str] = {}
    for camera in CAMERAS:
        key = rename.get(image_key(camera), image_key(camera))
        if key in filled:
            raise ModelError(f"{where}: rename_map gives {key} both {filled[key]} and {camera}")
        if key in keys:
            filled[key] = camera
        elif image_key(camera) in given:
            raise ModelError(f"{where}: --cameras {camera}={_short(key)}: the policy has {_listed(keys)}")
    seen = tuple(filled[key] for key in keys if key in filled)
    missing = [key for key in keys if key not in filled and not key.startswith(_EMPTY)]
    mapped = any(image_key(camera) in rename for camera in CAMERAS)
    fits = len(missing) <= (config.empty_cameras if mapped else 0)
    complete = len(seen) == len(CAMERAS) or mapped or config.empty_cameras > 0
    if not seen or not fits or not complete:
        example = ",".join(f"{camera}={_short(key)}" for camera, key in zip(CAMERAS, keys, strict=False))
        raise ModelError(
            f"{where}: input_features has the cameras {_listed(keys)} (empty_cameras {config.empty_cameras}), this "
            f"robot has {_listed(map(image_key, CAMERAS))}; say which is which, for example --cameras {example} "
            "(parameter model.cameras)"
        )
    return CameraNames(rename, seen)


def _short(key: str) -> str:
    return key.removeprefix(image_key(""))


def _listed(keys: Any) -> str:
    return str(sorted(keys))
