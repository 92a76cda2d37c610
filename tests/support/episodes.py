"""Small runs with images of all cameras, written by the recorder itself, and what the policy saw in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from salus_vla.contract import CAMERAS, EPISODE, JOINT_STATES, JOINTS, SAFETY_SIGNALS, Topic, image_topic
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import Observation
from salus_vla.data.bags.episode_recorder import EpisodeRecorder
from salus_vla.data.bags.open_episode import EpisodeEnd, EpisodeMeta
from salus_vla.data.bags.open_writer import open_writer
from salus_vla.data.bags.run_folder import RunFolder
from samples import FRAME_NS, cdr, episode, header, make, message_types, signals

PERIOD_NS = 5 * FRAME_NS
START_NS = 3_000_000_000
SEED, TASK = -3, "pick up the red cube"  # of samples.episode
TOPICS = (EPISODE, JOINT_STATES, SAFETY_SIGNALS, *(image_topic(camera) for camera in CAMERAS))


def observations(count: int, *, side: int = 16, seed: int = 0) -> list[Observation]:
    """Random camera sets, the arm near the pose that a tiny model knows."""
    random = np.random.default_rng(seed)
    home = np.array([0.0, -0.3, 0.0, -2.2, 0.0, 2.0, 0.8, 0.03, 0.03])
    return [
        Observation(
            START_NS + index * PERIOD_NS,
            {camera: random.integers(0, 256, (side, side, 3), dtype=np.uint8) for camera in CAMERAS},
            np.round(home + random.normal(0.0, 0.05, 9), 4),
            TASK,
        )
        for index in range(count)
    ]


def image(camera: str, stamp_ns: int, pixels: np.ndarray, **changes: Any) -> bytes:
    topic = image_topic(camera)
    height, width, _ = pixels.shape
    fields: dict[str, Any] = {
        "header": header(stamp_ns, topic.frame_id or ""),
        "height": height,
        "width": width,
        "encoding": "rgb8",
        "is_bigendian": 0,
        "step": 3 * width,
        "data": pixels.reshape(-1),
    }
    return cdr(topic, make(topic.type, **(fields | changes)))


def joints(stamp_ns: int, position: np.ndarray, names: Sequence[str] = JOINTS) -> bytes:
    zeros = np.zeros(len(names))
    return cdr(
        JOINT_STATES,
        make(
            JOINT_STATES.type,
            header=header(stamp_ns),
            name=list(names),
            position=np.asarray(position, dtype=np.float64),
            velocity=zeros,
            effort=zeros,
        ),
    )


def decision(stamp_ns: int, number: int) -> bytes:
    message = message_types().store.deserialize_cdr(signals(stamp_ns), SAFETY_SIGNALS.type)
    return cdr(SAFETY_SIGNALS, dataclasses.replace(message, decision=number))


def messages(seen: Sequence[Observation], number: int = 0, outcome: int = 5) -> list[tuple[Topic, bytes]]:
    """Everything of an episode in order: joints in each frame, images and a decision in each fifth."""
    result = [(EPISODE, episode(seen[0].stamp_ns, 0, number))]
    for index, observation in enumerate(seen):
        stamp = observation.stamp_ns
        result += [(image_topic(name), image(name, stamp, pixels)) for name, pixels in observation.images.items()]
        result.append((JOINT_STATES, joints(stamp, observation.joint_position)))
        result.append((SAFETY_SIGNALS, decision(stamp, index)))
        if index + 1 < len(seen):
            for frame in range(1, 5):
                result.append((JOINT_STATES, joints(stamp + frame * FRAME_NS, np.full(9, frame / 8))))
    return [*result, (EPISODE, episode(seen[-1].stamp_ns, 2, number, outcome))]


def write_bag(folder: Path, content: Sequence[tuple[Topic, bytes]]) -> Path:
    """A bag of any messages; each gets the time of the one before plus a microsecond."""
    writer = open_writer(folder, "mcap", custom_data={}, types=message_types())
    for topic in {topic.name: topic for topic, _ in content}.values():
        writer.add_topic(topic.name, topic.type, topic.qos)
    for index, (topic, data) in enumerate(content):
        writer.write(topic.name, data, START_NS + 1000 * index)
    writer.close()
    return folder


@contextmanager
def recording(out: Path, run_id: str = "run1", topics: Sequence[Topic] = TOPICS) -> Iterator[EpisodeRecorder]:
    """A recorder that writes a new run."""
    types = message_types()
    folder = RunFolder.create(out, run_id, provenance={}, arguments={})
    yield EpisodeRecorder(folder, topics, types, partial(open_writer, backend="mcap", types=types))
    folder.close()


def record(
    recorder: EpisodeRecorder,
    number: int,
    seen: Sequence[Observation],
    outcome: int = 5,
    more: Sequence[tuple[Topic, bytes]] = (),
) -> Path:
    """Records an episode that ended with `outcome` (TIMEOUT), with `more` messages; gives its bag."""
    recorder.start(EpisodeMeta(number, SEED, TASK, "hold"), {})
    recorder.begin(seen[0].stamp_ns)
    for topic, data in [*messages(seen, number, outcome), *more]:
        recorder.on_message(topic.name, data, 0)
    end_ns = seen[-1].stamp_ns
    recorder.stop(EpisodeEnd(end_ns, Outcome(outcome).name, None, len(seen) - 1, ""))
    return recorder.close().path
