"""Messages of every kind that a bag of SALUS holds, made and serialized without ROS."""

from __future__ import annotations

import functools
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from salus_vla.contract import (
    CLOCK,
    CONTACT,
    EPISODE,
    FAILURE_PREDICTION,
    INTERVENTION,
    JOINT_STATES,
    JOINTS,
    SAFETY_SIGNALS,
    STATUS_TOPIC,
    Topic,
    image_topic,
)
from salus_vla.data.bags.episode_recorder import EpisodeRecorder
from salus_vla.data.bags.message_types import MessageTypes, default_folders
from salus_vla.data.bags.open_episode import EpisodeMeta
from salus_vla.data.bags.open_writer import open_writer
from salus_vla.data.bags.run_folder import RunFolder

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGE = image_topic("front")
SAMPLED = (CLOCK, IMAGE, JOINT_STATES, SAFETY_SIGNALS, EPISODE, CONTACT, STATUS_TOPIC)
FRAME_NS = 20_000_000


@functools.cache
def message_types() -> MessageTypes:
    types = MessageTypes([*default_folders(), REPOSITORY / "ros2_ws" / "src"])
    for topic in (*SAMPLED, FAILURE_PREDICTION, INTERVENTION):
        types.get(topic.type)
    return types


def make(name: str, /, **fields: Any) -> Any:
    return message_types().store.types[name](**fields)


def stamp(stamp_ns: int) -> Any:
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)


def header(stamp_ns: int, frame_id: str = "") -> Any:
    return make("std_msgs/msg/Header", stamp=stamp(stamp_ns), frame_id=frame_id)


def cdr(topic: Topic, message: Any) -> bytes:
    return bytes(message_types().store.serialize_cdr(message, topic.type))


def clock(stamp_ns: int) -> bytes:
    return cdr(CLOCK, make(CLOCK.type, clock=stamp(stamp_ns)))


def image(stamp_ns: int, size: int = 16) -> bytes:
    pixels = np.random.default_rng(stamp_ns % 2**32).integers(0, 256, size * size * 3).astype(np.uint8)
    return cdr(
        IMAGE,
        make(
            IMAGE.type,
            header=header(stamp_ns, IMAGE.frame_id or ""),
            height=size,
            width=size,
            encoding="rgb8",
            is_bigendian=0,
            step=3 * size,
            data=pixels,
        ),
    )


def joints(stamp_ns: int) -> bytes:
    values = np.arange(9, dtype=np.float64) / 8
    return cdr(
        JOINT_STATES,
        make(
            JOINT_STATES.type,
            header=header(stamp_ns),
            name=list(JOINTS),
            position=values,
            velocity=values,
            effort=values,
        ),
    )


def signals(stamp_ns: int) -> bytes:
    fields = message_types().store.fielddefs[SAFETY_SIGNALS.type][1]
    floats = {name: index / 4 for index, (name, (_, detail)) in enumerate(fields) if detail == ("float32", 0)}
    message = make(
        SAFETY_SIGNALS.type,
        header=header(stamp_ns),
        schema_version=2,
        members=5,
        noise_samples=2,
        valid=4095,
        decision=3,
        member_actions=np.arange(35, dtype=np.float32),
        expert_state=np.arange(6, dtype=np.float32) / 8,
        prefix_parts=np.arange(20, dtype=np.float32) / 8,
        prefix_part_count=4,
        **(floats | {"epistemic_uncertainty": float("nan")}),
    )
    return cdr(SAFETY_SIGNALS, message)


def episode(stamp_ns: int, kind: int, number: int = 0, outcome: int = 0) -> bytes:
    return cdr(
        EPISODE,
        make(
            EPISODE.type,
            header=header(stamp_ns),
            kind=kind,
            run_id="run1",
            episode=number,
            seed=-3,
            task="pick up the red cube",
            policy_source="hold",
            outcome=outcome,
            event="DROP" if outcome == 3 else "",
            event_stamp=stamp(stamp_ns if outcome == 3 else 0),
            decisions=12,
            detail="",
        ),
    )


def contact(stamp_ns: int) -> bytes:
    value = make("diagnostic_msgs/msg/KeyValue", key="force", value="3.25")
    status = make(
        "diagnostic_msgs/msg/DiagnosticStatus",
        level=0,
        name="panda_leftfinger red_cube",
        message="touch",
        hardware_id="",
        values=[value],
    )
    return cdr(CONTACT, make(CONTACT.type, header=header(stamp_ns, "world"), status=[status]))


def status(stamp_ns: int) -> bytes:
    fact = make("diagnostic_msgs/msg/KeyValue", key="seed", value="7")
    return cdr(
        STATUS_TOPIC,
        make(
            STATUS_TOPIC.type,
            header=header(stamp_ns),
            role="policy",
            state=1,
            reason="",
            detail="",
            facts=[fact],
        ),
    )


def one_of_each(stamp_ns: int) -> dict[str, bytes]:
    """A serialized message for each topic of `SAMPLED`."""
    return {
        CLOCK.name: clock(stamp_ns),
        IMAGE.name: image(stamp_ns),
        JOINT_STATES.name: joints(stamp_ns),
        SAFETY_SIGNALS.name: signals(stamp_ns),
        EPISODE.name: episode(stamp_ns, 0),
        CONTACT.name: contact(stamp_ns),
        STATUS_TOPIC.name: status(stamp_ns),
    }


@contextmanager
def recorder_of_an_episode(folder: Path, start_ns: int, *topics: Topic) -> Iterator[EpisodeRecorder]:
    """Records `topics` into run "run1" in `folder`; episode 0 has begun at `start_ns`."""
    run, types = RunFolder.create(folder, "run1", provenance={}, arguments={}), message_types()
    recorder = EpisodeRecorder(run, topics, types, partial(open_writer, types=types))
    recorder.start(EpisodeMeta(0, 7, "lift", "hold"), {})
    recorder.on_message(EPISODE.name, episode(start_ns, 0), 0)
    recorder.begin(start_ns)
    yield recorder
    run.close()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A disk that is full for every file beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
