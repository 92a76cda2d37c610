"""Good input, and one thing about it changed: a field of a message, a value in a tree, bytes of a file."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st

from salus_msgs.msg import Episode, Status
from salus_vla import contract
from salus_vla.contract import CAMERAS, ENTITIES, JOINTS, Topic
from salus_vla.contract.types import Contact, Pose, SimStep
from salus_vla.ros.adapters import messages
from salus_vla.ros.adapters.image_messages import to_message
from salus_vla.ros.adapters.qos_profiles import interface_class

STAMP_NS = 5_000_000_000
POSE = Pose(np.array([0.5, 0.1, 0.025]), np.array([0.0, 0.0, 0.0, 1.0]))
HOME = np.array([0.0, -0.7854, 0.0, -2.3562, 0.0, 1.5708, 0.7854, 0.04, 0.04])
TEXTS = ("", "no_such_thing", "x" * 5000, "\u202e\n\x1b[31m", JOINTS[0], "NaN")
# Whatever a YAML or JSON file can hold where something else is expected.
VALUES = (
    None, True, "", "text", "\u202e", -1, 0, 2**63, -1e308, 1e308, float("nan"), float("inf"), [], [None], [1, "a"],
    {}, {"a": 1}, "2001-01-01",
)  # fmt: skip

# -- messages ----------------------------------------------------------------------------------------------------------


def good_message(topic: Topic, stamp_ns: int = STAMP_NS) -> Any:
    """A message that keeps the contract."""
    zeros = np.zeros(9)
    if topic in map(contract.image_topic, CAMERAS):
        pixels = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3)
        return to_message(pixels, messages.to_time(stamp_ns), topic.frame_id or "")
    if topic in map(contract.pose_topic, ENTITIES):
        return messages.pose_stamped(stamp_ns, POSE)
    message = interface_class(topic)()
    if topic == contract.JOINT_STATES:
        message = messages.joint_state(SimStep(stamp_ns, False, HOME, zeros, zeros, {}, ()))
    elif topic in (contract.JOINT_TARGET, contract.JOINT_COMMAND):
        message = messages.joint_command(stamp_ns, HOME)
    elif topic == contract.CONTACT:
        message = messages.contact_array(stamp_ns, [Contact("panda_hand", "table", 2.5)])
    elif topic == contract.EPISODE:
        message = Episode(kind=Episode.STARTED, run_id="run", episode=1, seed=7, task="lift", policy_source="hold")
    elif topic == contract.STATUS_TOPIC:
        message = Status(role="policy", state=Status.READY, facts=messages.key_values({"a": 1}))
    if topic == contract.CLOCK:
        message.clock = messages.to_time(stamp_ns)
    elif hasattr(message, "header"):
        message.header = messages.header(stamp_ns, topic.frame_id or "")
    return message


def _leaves(message: Any) -> Iterator[tuple[Any, str, str]]:
    """Owner, name and type of every field that is not a message itself."""
    for name, kind in message.get_fields_and_field_types().items():
        value = getattr(message, name)
        if hasattr(value, "get_fields_and_field_types"):
            yield from _leaves(value)
            continue
        yield message, name, kind
        if kind.startswith("sequence<") and "/" in kind and len(value):
            yield from _leaves(value[0])


def _number(kind: str) -> st.SearchStrategy[Any]:
    if kind in ("double", "float"):
        largest = 3e38 if kind == "float" else 1e308
        return st.sampled_from((float("nan"), float("inf"), -float("inf"), largest, -largest, 5e-324, -1.0))
    bits = int(kind.removeprefix("u").removeprefix("int"))
    low, high = (0, 2**bits - 1) if kind.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return st.sampled_from((low, high)) | st.integers(low, high)


def _hostile(kind: str, value: Any) -> st.SearchStrategy[Any]:
    if kind == "string":
        return st.sampled_from(TEXTS) | st.text(max_size=20)
    if kind == "boolean":
        return st.booleans()
    if kind == "octet":
        return st.binary(min_size=1, max_size=1)
    if not kind.startswith("sequence<"):
        return _number(kind) if "[" not in kind else st.just(value)
    items, element = list(value), kind.removeprefix("sequence<").removesuffix(">")
    changed = st.sampled_from(([], items[:-1], items + items[:1], items[:1] * len(items)))
    if "/" in element:
        return changed
    other = st.sampled_from(TEXTS) if element == "string" else _number(element)
    place = st.integers(0, max(0, len(items) - 1))
    return changed | st.builds(lambda at, one: [*items[:at], one, *items[at + 1 :]], place, other)


@st.composite
def spoiled_messages(draw: st.DrawFn, topic: Topic) -> Any:
    """A message of which one to three fields are something else."""
    message = copy.deepcopy(good_message(topic))
    for _ in range(draw(st.integers(1, 3))):
        owner, name, kind = draw(st.sampled_from(list(_leaves(message))))
        setattr(owner, name, draw(_hostile(kind, getattr(owner, name))))
    return message


# -- bytes and trees ---------------------------------------------------------------------------------------------------


@st.composite
def damaged(draw: st.DrawFn, intact: bytes) -> bytes:
    """The bytes cut off, with some overwritten, or with some put in."""
    at = draw(st.integers(0, len(intact)))
    other = draw(st.binary(max_size=12) | st.sampled_from((b"\xff" * 8, b"\x00" * 8, b"\xef\xbb\xbf", b"\xc3(")))
    kept = draw(st.sampled_from((0, len(other))))
    return intact[:at] if draw(st.booleans()) else intact[:at] + other + intact[at + kept :]


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value below the top of a tree of dicts and lists."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    """The value at a path."""
    for key in path:
        tree = tree[key]
    return tree


def edited(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of a tree with one value set."""
    tree = copy.deepcopy(tree)
    at(tree, path[:-1])[path[-1]] = value
    return tree


def without(tree: Any, path: tuple[Any, ...]) -> Any:
    """A copy of a tree without one value."""
    tree = copy.deepcopy(tree)
    del at(tree, path[:-1])[path[-1]]
    return tree
