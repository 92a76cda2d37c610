"""Small episodes with random pictures, written as a run of rollouts and as a run of bags."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.datasets import LeRobotDataset

from episodes import image
from salus_vla.contract import (
    ARM_DOF,
    CAMERAS,
    EPISODE,
    JOINT_COMMAND,
    JOINT_STATES,
    JOINTS,
    SAFETY_SIGNALS,
    Topic,
    image_topic,
)
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.episode_recorder import EpisodeRecorder
from salus_vla.data.bags.open_episode import EpisodeEnd, EpisodeMeta
from salus_vla.data.bags.open_writer import open_writer
from salus_vla.data.bags.run_folder import RunFolder
from salus_vla.data.lerobot.dataset_export import Exported, export
from salus_vla.data.rollouts.rollout_store import EPISODES, StoredEpisode, episode_file
from samples import cdr, header, make, message_types
from samples import episode as episode_message
from samples import signals as signals_message
from written import write_episode

FRAME_NS, PERIOD_NS = 20_000_000, 100_000_000
START_NS = 3_000_000_000  # of every bag
TASK = "pick up the red cube"
HOME = np.array([0.0, -0.3, 0.0, -2.2, 0.0, 2.0, 0.8, 0.06])
TOPICS = (EPISODE, JOINT_STATES, JOINT_COMMAND, SAFETY_SIGNALS, *(image_topic(camera) for camera in CAMERAS))
Content = list[tuple[Topic, bytes]]


def nine(targets: np.ndarray) -> np.ndarray:
    """Arm and gripper width (n, 8) -> nine joints (n, 9)."""
    return np.concatenate([targets[:, :ARM_DOF], np.repeat(targets[:, ARM_DOF:] / 2, 2, axis=1)], axis=1)


def make_episode(
    seed: int, *, decisions: int = 4, side: int = 16, outcome: Outcome = Outcome.SUCCESS, **changes: Any
) -> StoredEpisode:
    """An episode in which nothing is like anything else."""
    random = np.random.default_rng(seed + 1000)
    observations, frames = decisions + 1, 5 * decisions
    members = (HOME[:ARM_DOF] + random.normal(0, 0.05, (observations, 2, ARM_DOF))).astype(np.float32)
    width = random.uniform(0.0, 0.08, (observations, 1))
    values: dict[str, Any] = {
        "seed": seed,
        "profile": "train",
        "policy": "expert",
        "task": TASK,
        "outcome": outcome,
        "decisions": decisions,
        "event": "it happened",
        "event_stamp_ns": decisions * PERIOD_NS,
        "stamps_ns": np.arange(observations) * PERIOD_NS,
        "joint_position": np.round(nine(HOME + random.normal(0, 0.05, (observations, 8))), 4),
        "joint_velocity": np.zeros((observations, len(JOINTS))),
        "planned": np.concatenate([members.astype(np.float64).mean(axis=1), width], axis=1),
        "command_stamps_ns": np.arange(frames) * FRAME_NS,
        "commands": nine(HOME + random.normal(0, 0.05, (frames, 8))),
        "frame_position": np.zeros((frames + 1, len(JOINTS))),
        "cube_pose": np.zeros((frames + 1, 7)),
        "member_actions": members,
        "signals": np.zeros((observations, 12), dtype=np.float32),
        "valid": np.zeros(observations, dtype=np.uint16),
        "images": {
            camera: [random.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(observations)]
            for camera in CAMERAS
        },
    }
    return StoredEpisode(**(values | changes))


def state_of(episode: StoredEpisode) -> np.ndarray:
    """What a data set must hold as state, float32 (D, 8)."""
    return episode.state[: episode.decisions].astype(np.float32)


def commanded_of(episode: StoredEpisode) -> np.ndarray:
    """The same as action: the fifth command of each period."""
    commands = episode.commands[4::5]
    return np.concatenate([commands[:, :7], commands[:, 7:].sum(axis=1, keepdims=True)], axis=1).astype(np.float32)


# -- as a run ----------------------------------------------------------------------------------------------------------


def rollout_run(
    out: Path, name: str, episodes: Sequence[StoredEpisode], arguments: Mapping[str, str] | None = None
) -> Path:
    folder = RunFolder.create(out, name, provenance={}, arguments=dict(arguments or {}))
    (folder.path / EPISODES).mkdir()
    for episode in episodes:
        write_episode(folder.path / EPISODES / episode_file(episode.seed), episode)
    folder.close()
    return folder.path


def bag_run(
    out: Path,
    name: str,
    episodes: Sequence[StoredEpisode],
    change: Callable[[Content], Content] = lambda content: content,
    **entry: Any,
) -> Path:
    """A run of bags, by the recorder; `change` edits the messages, `entry` what run.json says of each."""
    types = message_types()
    folder = RunFolder.create(out, name, provenance={}, arguments={"profile": "train"})
    recorder = EpisodeRecorder(folder, TOPICS, types, partial(open_writer, backend="mcap", types=types))
    for number, episode in enumerate(episodes):
        recorder.start(EpisodeMeta(number, entry.get("seed", episode.seed), episode.task, episode.policy), {})
        recorder.begin(START_NS)
        for topic, data in change(messages(episode, number, name)):
            recorder.on_message(topic.name, data, 0)
        end_ns = START_NS + int(episode.stamps_ns[-1])
        outcome = entry.get("outcome", episode.outcome.name)
        recorder.stop(EpisodeEnd(end_ns, outcome, end_ns, entry.get("decisions", episode.decisions), ""))
        recorder.close()
    folder.close()
    return folder.path


def messages(episode: StoredEpisode, number: int, run: str) -> Content:
    """Everything of an episode that an export reads, in order."""
    end_ns = START_NS + int(episode.stamps_ns[-1])
    result = [(EPISODE, told(episode, number, run, START_NS, 0, Outcome.RUNNING))]
    for frame in range(len(episode.command_stamps_ns) + 1):
        stamp, (index, due) = START_NS + frame * FRAME_NS, divmod(frame, 5)
        observed = due == 0
        if observed:
            pictures = {camera: episode.images[camera][index] for camera in CAMERAS}
            result += [(image_topic(camera), image(camera, stamp, pixels)) for camera, pixels in pictures.items()]
        position = episode.joint_position[index] if observed else np.full(len(JOINTS), 0.5)
        result.append((JOINT_STATES, joints(JOINT_STATES, stamp, position)))
        if observed:
            result.append((SAFETY_SIGNALS, decision(stamp, index, episode.member_actions[index])))
        if frame < len(episode.commands):
            result.append((JOINT_COMMAND, joints(JOINT_COMMAND, stamp, episode.commands[frame])))
    return [*result, (EPISODE, told(episode, number, run, end_ns, 2, episode.outcome))]


def told(episode: StoredEpisode, number: int, run: str, stamp_ns: int, kind: int, outcome: Outcome) -> bytes:
    message = message_types().store.deserialize_cdr(episode_message(stamp_ns, kind, number, outcome), EPISODE.type)
    facts = {"run_id": run, "seed": episode.seed, "task": episode.task, "policy_source": episode.policy}
    return cdr(EPISODE, dataclasses.replace(message, **facts))


def joints(topic: Topic, stamp_ns: int, position: np.ndarray) -> bytes:
    fields = {"header": header(stamp_ns), "name": list(JOINTS), "position": position}
    return cdr(topic, make(topic.type, **fields, velocity=np.zeros(9), effort=np.zeros(9)))


def decision(stamp_ns: int, number: int, actions: np.ndarray) -> bytes:
    message = message_types().store.deserialize_cdr(signals_message(stamp_ns), SAFETY_SIGNALS.type)
    changed = dataclasses.replace(message, decision=number, members=len(actions), member_actions=actions.ravel())
    return cdr(SAFETY_SIGNALS, changed)


# -- and back ----------------------------------------------------------------------------------------------------------


def exported(out: Path, *runs: Path, **options: object) -> Exported:
    return export(runs, out, repo_id="salus/test", **options)


def loaded(folder: Path, **options: object) -> LeRobotDataset:
    return LeRobotDataset("salus/test", root=folder, **options)


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
