"""Rules of resets, commands, ground truth and of what the cameras see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from salus_vla import contract
from salus_vla.config.scene import Scene
from salus_vla.contract import CAMERAS, JOINTS, WORLD_FRAME
from salus_vla.contract.bodies import CUBE, TABLE
from salus_vla.contract.geometry import rotate
from salus_vla.contract.types import FloatArray, ImageArray
from salus_vla.simulation.conformance.causes import unheard, unreadable_joints, unserved
from salus_vla.simulation.conformance.content_rules import image_verdict
from salus_vla.simulation.conformance.experiments import HELD, KEPT, NEWEST, SUBSET, UNKNOWN
from salus_vla.simulation.conformance.interface_rules import NOTHING
from salus_vla.simulation.conformance.observed import Joints, Move, Observed, ResetSeen
from salus_vla.simulation.conformance.verdict import Verdict

REACHED = 0.03  # rad and m of a position servo around its target
STILL = 0.02  # rad/s
SAME_PLACE, OTHER_PLACE = 2e-3, 1e-2  # of the cube after two resets [m]
LONGEST_RESET_NS = 5_000_000_000  # sim time that a reset may take
GRAVITY, WEIGHT_TOLERANCE = 9.81, 0.5
# About half of what the embedded simulator shows, in pixels of 256 x 256.
LEAST = {"cube": 40, "bin": 250, "robot": 500}
COLOR_RATIO, COLOR_LEAST, CHANGED = 1.5, 40, 25  # of a channel to the others; of 255
PLACE_TOLERANCE = 12.0  # px between what is red and where the cube must be seen


def reset_verdicts(seen: Observed, scene: Scene) -> Iterator[Verdict]:
    """What /sim/reset does."""
    resets, unoffered = seen.resets, unserved(seen, contract.SIM_RESET)
    refused = [reset.answer for reset in resets if not reset.accepted]
    text = f"{len(resets)} resets, {len(refused)} refused" + (f": {refused[0]}" if refused else "")
    yield Verdict("reset accepted", "every reset with a seed or a pose", text, bool(resets) and not refused).behind(
        unoffered or unserved(seen, contract.SIM_SET_PARAMETERS)
    )
    unread = [reset.answer for reset in resets if reset.first_ns is None]
    yield Verdict(
        "reset answer",
        "JSON with seed, stamp_ns and profile",
        f"cannot read {unread[0]!r}" if unread else f"{len(resets)} answers",
        bool(resets) and not unread,
    ).behind(unoffered)
    unanswered = unoffered or ("reset answer" if unread else "")
    steps = [(reset.first_ns or 0) - reset.before_ns for reset in resets]
    yield Verdict(
        "reset clock goes on",
        f"0 to {LONGEST_RESET_NS * 1e-9:g} s later than before",
        ", ".join(f"{step * 1e-9:.2f} s" for step in steps) or NOTHING,
        bool(steps) and all(0 < step <= LONGEST_RESET_NS for step in steps),
    ).behind(unanswered)
    yield _publishers_live_on(seen)
    home = scene.robot.home_position
    for rule, states in (
        ("reset arm at home", [reset.joints for reset in resets]),
        ("reset targets at home", [reset.later for reset in resets]),
    ):
        errors = [_distance(s.ordered(s.position), home) if s is not None else float("inf") for s in states]
        speeds = [_speed(s) if s is not None else float("inf") for s in states]
        text = (
            f"{max(errors, default=0.0):.4f} rad or m off, {max(speeds, default=0.0):.4f} rad/s" if states else NOTHING
        )
        kept = bool(states) and max(errors) <= REACHED and max(speeds) <= STILL
        verdict = Verdict(rule, f"within {REACHED:g} rad or m, at rest", text, kept)
        yield verdict.behind(unreadable_joints(seen) or unanswered)
    cause = unanswered or unserved(seen, contract.SIM_SET_PARAMETERS) or unheard(seen, contract.pose_topic(CUBE))
    for verdict in _cube_places(resets):
        yield verdict.behind(cause)


def truth_verdicts(seen: Observed, scene: Scene) -> Iterator[Verdict]:
    """Ground truth of a scene at rest."""
    weight = scene.objects.red_cube.mass * GRAVITY
    pair = (min(CUBE, TABLE), max(CUBE, TABLE))
    forces, frames = [], set()
    for reset in seen.resets:
        contacts = reset.contacts.contacts if reset.contacts is not None else None
        frames |= {reset.contacts.frame_id} if reset.contacts is not None else set()
        forces.append(next((c.force for c in contacts or () if (c.body_a, c.body_b) == pair), None))
    heavy = [force for force in forces if force is not None and abs(force - weight) <= WEIGHT_TOLERANCE * weight]
    yield Verdict(
        "contact after a reset",
        f"{pair[0]} on {pair[1]}, about {weight:.2f} N, in {WORLD_FRAME!r}",
        f"{', '.join('none' if f is None else f'{f:.2f} N' for f in forces)} in {sorted(frames)}"
        if forces
        else NOTHING,
        bool(forces) and len(heavy) == len(forces) and frames == {WORLD_FRAME},
    ).behind("" if seen.publishers.get(contract.CONTACT.name) else f"topic {contract.CONTACT.name}")


def command_verdicts(seen: Observed, scene: Scene) -> Iterator[Verdict]:
    """Rule 2 of the contract: what /joint_command means."""
    place = dict(zip(JOINTS, scene.robot.home_position.tolist(), strict=True))
    cause = unreadable_joints(seen)
    if not seen.command_readers:
        cause = f"reads {contract.JOINT_COMMAND.name}"
    words = {
        SUBSET: "any subset in any order is obeyed",
        HELD: "the last target is held",
        KEPT: "NaN keeps a target",
        UNKNOWN: "an unknown name rejects the whole message",
    }
    for experiment, expected in words.items():
        if experiment is not UNKNOWN:
            for command in experiment.commands:
                place.update((joint, value) for joint, value in command if not np.isnan(value))
        move = seen.moves.get(experiment.name, Move(None, None))
        after = move.after
        error = _distance(after, np.array([place[joint] for joint in JOINTS])) if after is not None else float("inf")
        text = f"{error:.4f} rad off" if after is not None else NOTHING
        yield Verdict(f"command {experiment.name}", expected, text, error <= REACHED).behind(cause)
    went = newest_went(seen.moves.get(NEWEST.name, Move(None, None)))
    yield Verdict(
        f"command {NEWEST.name}",
        "only the newest of many counts: a negative way",
        NOTHING if went is None else f"it went {went:+.4f} rad first",
        went is not None and went < 0.0,
    ).behind(cause)


def newest_went(move: Move) -> float | None:
    """How far the joint of the burst went first [rad]: below 0 where its newest command counted."""
    joint = JOINTS.index(NEWEST.commands[-1][0][0])
    if move.before is None or move.after is None or not len(move.before) == len(move.after) == len(JOINTS):
        return None
    return float(move.after[joint] - move.before[joint])


def view_verdicts(seen: Observed, scene: Scene) -> Iterator[Verdict]:
    """What each camera shows of the cube, the bin and the robot."""
    for camera in CAMERAS:
        home, moved = seen.home.get(camera), seen.moved.get(camera)
        form = image_verdict(seen, scene, camera)
        cause = form.rule if form.passed is False else unheard(seen, contract.image_topic(camera))
        if home is not None and home.shape == (scene.cameras.height, scene.cameras.width, 3):
            cause = ""  # whatever else is wrong with its form
        red = blue = robot = None
        constant = home is not None and int(home.max()) == int(home.min())
        if home is not None:
            red, blue = _colored(home, 0), _colored(home, 2)
            if moved is not None and moved.shape == home.shape:
                robot = _changed(home, moved) & ~red & ~blue
        pose = _cube_in_place(camera, home, seen, scene)
        exchanged = pose.rule if pose.seen.endswith(_HINTS[0][0]) else ""
        for what, how, mask in (
            ("cube", "red pixels", red),
            ("bin", "blue pixels", blue),
            ("robot", "pixels that change as it moves", robot),
        ):
            count = None if mask is None else int(mask.sum())
            text = NOTHING if count is None else f"{count}, every pixel is the same" if constant else str(count)
            first = f"{camera} sees cube" if constant and what != "cube" else exchanged
            yield Verdict(
                f"{camera} sees {what}",
                f"at least {LEAST[what]} {how}",
                text,
                count is not None and count >= LEAST[what],
            ).behind(cause or first)
        stopped = moved is not None and home is not None and np.array_equal(home, moved)
        without = red is not None and int(red.sum()) < LEAST["cube"]
        cause = cause or (f"{camera} sees cube" if without else f"{camera} sees robot" if stopped else "")
        yield pose.behind(cause or unheard(seen, contract.pose_topic(CUBE)))


def _publishers_live_on(seen: Observed) -> Verdict:
    before, after = (
        {name: sorted(e.gid for e in endpoints) for name, endpoints in found.items()}
        for found in (seen.publishers, seen.publishers_later)
    )
    other = [name for name in before if after.get(name) != before[name]]
    return Verdict(
        "reset publishers live on",
        "the same publishers before and after",
        f"others on {', '.join(other)}" if other else f"the same on {len(before)} topics",
        bool(before) and not other,
    )


def _cube_places(resets: Sequence[ResetSeen]) -> Iterator[Verdict]:
    places = [reset.poses[CUBE].position if CUBE in reset.poses else None for reset in resets]
    asked = [
        float("inf") if place is None else _distance(place, np.array(reset.cube))
        for reset, place in zip(resets, places, strict=True)
        if reset.cube is not None
    ]
    yield Verdict(
        "reset with a pose",
        f"the cube within {REACHED:g} m of it",
        f"{max(asked):.4f} m off" if asked else NOTHING,
        bool(asked) and max(asked) <= REACHED,
    )
    by_seed: dict[int, list[FloatArray]] = {}
    for reset, place in zip(resets, places, strict=True):
        if reset.cube is None and place is not None:
            by_seed.setdefault(reset.seed, []).append(place)
    same = [_distance(found[0], again) for found in by_seed.values() for again in found[1:]]
    yield Verdict(
        "reset with a seed again",
        f"the cube within {SAME_PLACE:g} m",
        f"{max(same):.4f} m apart" if same else NOTHING,
        bool(same) and max(same) <= SAME_PLACE,
    )
    firsts = [found[0] for found in by_seed.values()]
    other = [_distance(first, again) for first, again in pairwise(firsts)]
    yield Verdict(
        "reset with another seed",
        f"the cube more than {OTHER_PLACE:g} m away",
        f"{min(other):.4f} m apart" if other else NOTHING,
        bool(other) and min(other) > OTHER_PLACE,
    )


def _colored(image: ImageArray, channel: int) -> NDArray[np.bool_]:
    """Pixels in which one channel is by far the strongest, shape (height, width)."""
    first, second = (image[:, :, other] for other in range(3) if other != channel)
    strongest, others = image[:, :, channel], np.maximum(first, second)
    return np.asarray((strongest >= COLOR_LEAST) & (strongest > COLOR_RATIO * others))


def _changed(before: ImageArray, after: ImageArray) -> NDArray[np.bool_]:
    return np.asarray(np.abs(before.astype(np.int16) - after.astype(np.int16)).max(axis=2) > CHANGED)


# How a picture may be wrong, and the picture that would be right then.
_HINTS: tuple[tuple[str, Callable[[ImageArray], ImageArray]], ...] = (
    ("with red and blue exchanged it is there", lambda pixels: pixels[:, :, ::-1]),
    ("upside down it is there", lambda pixels: pixels[::-1]),
    ("mirrored it is there", lambda pixels: pixels[:, ::-1]),
    ("turned by half it is there", lambda pixels: pixels[::-1, ::-1]),
)


def _cube_in_place(camera: str, image: ImageArray | None, seen: Observed, scene: Scene) -> Verdict:
    """Whether what is red is where the camera's pose and K put the cube: also false for a mirrored or turned image."""
    rule, expected = f"{camera} pose", f"the cube within {PLACE_TOLERANCE:g} px of its projection"
    off = _pixels_off(camera, image, seen.cube, scene)
    if image is None or off is None:
        return Verdict(rule, expected, NOTHING, False)
    if off <= PLACE_TOLERANCE:
        return Verdict(rule, expected, f"{off:.1f} px off", True)
    text = f"{off:.1f} px off"
    for words, changed in _HINTS:
        other = _pixels_off(camera, changed(image), seen.cube, scene)
        if other is not None and other <= PLACE_TOLERANCE:
            return Verdict(rule, expected, f"{text}; {words}", False)
    return Verdict(rule, expected, text, False)


def _pixels_off(camera: str, image: ImageArray | None, cube: FloatArray | None, scene: Scene) -> float | None:
    """How far the middle of what is red is from where the cube must be seen [px]; None where one is not known."""
    red = _colored(image, 0) if image is not None else None
    if red is None or cube is None or not red.any():
        return None
    pose = scene.cameras.views[camera].optical_pose()
    inverse = pose.quaternion * np.array([-1.0, -1.0, -1.0, 1.0])
    u, v, w = scene.cameras.intrinsics() @ rotate(inverse, cube - pose.position)
    rows, columns = np.nonzero(red)
    # Pixels are counted from their corners in K, from their centres in arrays.
    return float(np.hypot(np.median(columns) + 0.5 - u / w, np.median(rows) + 0.5 - v / w))


def _speed(state: Joints) -> float:
    """Of the fastest joint [rad/s]; 0 where no velocity was sent, which is a rule of its own."""
    return _distance(state.ordered(state.velocity), np.zeros(len(JOINTS))) if len(state.velocity) else 0.0


def _distance(values: FloatArray, wanted: FloatArray) -> float:
    """Largest difference; infinite for another length or for what is not a number."""
    if values.shape != wanted.shape or not np.isfinite(values).all():
        return float("inf")
    return float(np.abs(values - wanted).max())
