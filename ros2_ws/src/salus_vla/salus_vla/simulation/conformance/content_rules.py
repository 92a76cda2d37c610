"""Rules of what is in messages: joints, images, camera_infos, ground truth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from salus_vla import contract
from salus_vla.config.scene import Scene
from salus_vla.contract import CAMERAS, ENTITIES, JOINTS, WORLD_FRAME
from salus_vla.contract.types import FloatArray
from salus_vla.simulation.conformance.causes import beyond, unheard
from salus_vla.simulation.conformance.interface_rules import NOTHING
from salus_vla.simulation.conformance.observed import Observed, ObservedCameraInfo, ObservedImage
from salus_vla.simulation.conformance.verdict import Verdict

ENCODING, LENS_MODEL = "rgb8", "plumb_bob"
K_TOLERANCE = 1e-2  # [px]; some simulators compute it in single precision
UNIT_TOLERANCE = 1e-3


def joint_verdicts(seen: Observed) -> Iterator[Verdict]:
    """/joint_states, whatever the arm does."""
    found, silent = seen.joints, unheard(seen, contract.JOINT_STATES)
    names = {state.names for state in found}
    named = _all("joints names", ", ".join(JOINTS), [", ".join(joints) for joints in sorted(names)], names == {JOINTS})
    yield named.behind(silent)
    lengths = {(len(s.position), len(s.velocity), len(s.effort)) for s in found}
    # A robot may not measure its efforts; who predicts from them knows less then, and a 0 would be a lie.
    fits = {(len(JOINTS), len(JOINTS), efforts) for efforts in (0, len(JOINTS))}
    wanted = "position and velocity of 9, effort of 9 or none"
    whole = _all("joints lengths", wanted, sorted(map(str, lengths)), len(lengths) == 1 and lengths <= fits)
    as_named = all({len(s.position), len(s.velocity), len(s.effort)} <= {len(s.names), 0} for s in found)
    other = named.rule if found and as_named and {len(joints) for joints in names} != {len(JOINTS)} else ""
    yield whole.behind(silent or other)
    efforts: FloatArray = np.concatenate([s.effort for s in found]) if found else np.zeros(0)
    numbers = bool(np.isfinite(efforts).all())
    seen_text = ("yes" if numbers else "no") if len(efforts) else "none measured"
    effort = _all("joints effort", "every effort is a number, or none is measured", [seen_text][: len(found)], numbers)
    yield effort.behind(silent)
    for what, values in (("position", [s.position for s in found]), ("velocity", [s.velocity for s in found])):
        numbers_of: FloatArray = np.concatenate(values) if values else np.zeros(0)
        finite = bool(len(numbers_of)) and bool(np.isfinite(numbers_of).all())
        name, text = "finite" if what == "position" else what, "yes" if finite else "no" if len(numbers_of) else "none"
        verdict = _all(f"joints {name}", f"every {what} is a number", [text][: len(found)], finite)
        yield verdict.behind(silent or (whole.rule if not len(numbers_of) else ""))
    outside = sorted({joint for state in found for joint in beyond(state)})
    texts = [f"beyond: {', '.join(outside)}" if outside else "yes"][: len(found)]
    yield _all("joints range", "rad and m: within the limits of the joints", texts, not outside).behind(silent)
    frames = {state.frame_id for state in found}
    yield _all("joints frame_id", "''", sorted(map(repr, frames)), frames == {""}).behind(silent)


def camera_verdicts(seen: Observed, scene: Scene) -> Iterator[Verdict]:
    """Form of images and camera_info."""
    for camera in CAMERAS:
        yield image_verdict(seen, scene, camera)
        wanted = _camera_info_of(scene, contract.camera_frame(camera))
        camera_infos = seen.camera_infos.get(camera, ())
        texts = sorted({_camera_info_text(found) for found in camera_infos})
        yield _all(
            f"camera_info {camera}",
            _camera_info_text(wanted),
            texts,
            all(_same_camera_info(found, wanted) for found in camera_infos),
        ).behind(unheard(seen, contract.camera_info_topic(camera)))


def image_verdict(seen: Observed, scene: Scene, camera: str) -> Verdict:
    """Form of the images of a camera."""
    width, height, frame = scene.cameras.width, scene.cameras.height, contract.camera_frame(camera)
    expected = _image_text(ObservedImage(0, frame, ENCODING, width, height, 3 * width, False, 3 * width * height))
    texts = sorted({_image_text(found) for found in seen.images.get(camera, ())})
    return _all(f"image {camera}", expected, texts, texts == [expected]).behind(
        unheard(seen, contract.image_topic(camera))
    )


def pose_verdicts(seen: Observed) -> Iterator[Verdict]:
    """Form of ground-truth poses."""
    for entity in ENTITIES:
        found = seen.poses.get(entity, ())
        frames = {pose.frame_id for pose in found}
        lengths = [float(np.linalg.norm(pose.quaternion)) for pose in found]
        finite = all(np.isfinite(pose.position).all() for pose in found)
        unit = all(abs(length - 1.0) <= UNIT_TOLERANCE for length in lengths)
        text = (
            f"in {', '.join(map(repr, sorted(frames)))}, length {min(lengths, default=0.0):.3f}" if found else NOTHING
        )
        yield Verdict(
            f"pose {entity}",
            f"in {WORLD_FRAME!r}, quaternion of length 1.000",
            text if finite else f"{text}, position not finite",
            bool(found) and frames == {WORLD_FRAME} and finite and unit,
        ).behind(unheard(seen, contract.pose_topic(entity)))


def _all(rule: str, expected: str, seen: list[str], passed: bool) -> Verdict:
    return Verdict(rule, expected, "; ".join(seen) or NOTHING, bool(seen) and passed)


def _image_text(image: ObservedImage) -> str:
    order = "big" if image.big_endian else "little"
    return (
        f"{image.encoding} {image.width}x{image.height}, step {image.step}, {image.size} bytes, {order} "
        f"endian, {image.frame_id}"
    )


def _camera_info_of(scene: Scene, frame: str) -> ObservedCameraInfo:
    cameras, k = scene.cameras, scene.cameras.intrinsics()
    p = np.hstack([k, np.zeros((3, 1))])
    return ObservedCameraInfo(
        0, frame, cameras.width, cameras.height, LENS_MODEL, np.zeros(5), k.ravel(), np.eye(3).ravel(), p.ravel()
    )


def _camera_info_text(lens: ObservedCameraInfo) -> str:
    if len(lens.k) != 9:
        return f"K of {len(lens.k)} numbers"
    fx, _, cx, _, fy, cy = lens.k[:6]
    distortion = "no distortion" if not np.any(lens.d) else f"d {lens.d.tolist()}"
    return (
        f"{lens.width}x{lens.height}, fx {fx:.3f}, fy {fy:.3f}, cx {cx:g}, cy {cy:g}, {lens.model}, {distortion}, "
        f"{lens.frame_id}"
    )


def _same_camera_info(found: ObservedCameraInfo, wanted: ObservedCameraInfo) -> bool:
    arrays = [(getattr(found, name), getattr(wanted, name)) for name in ("d", "k", "r", "p")]
    same = all(a.shape == b.shape and np.allclose(a, b, atol=K_TOLERANCE) for a, b in arrays)
    return same and (found.frame_id, found.width, found.height, found.model) == (
        wanted.frame_id,
        wanted.width,
        wanted.height,
        wanted.model,
    )
