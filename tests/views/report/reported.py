"""Runs to report on: bags with everything the report reads, rollouts, and episodes that were never written."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from episodes import SEED, TASK, TOPICS, messages, observations
from predicted import prediction
from salus_vla.contract import (
    CAMERAS,
    CONTACT,
    EPISODE,
    FAILURE_PREDICTION,
    JOINT_COMMAND,
    JOINTS,
    STATUS_TOPIC,
    pose_topic,
)
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.audit import AuditReport, TopicAudit
from salus_vla.data.bags.episode_recorder import EpisodeRecorder
from salus_vla.data.bags.open_episode import EpisodeEnd, EpisodeMeta
from salus_vla.data.bags.open_writer import open_writer
from salus_vla.data.bags.run_folder import RunFolder
from salus_vla.data.episodes import ROLLOUT, Run
from salus_vla.data.recording import Decisions
from salus_vla.data.rollouts.recorded_rollout import RolloutEpisode
from salus_vla.learning.evaluation.evaluated_episodes import EvaluatedEpisode
from salus_vla.signals.safety_signals import NAMES
from salus_vla.views.report.recorded import Event, Facts, Joints, Recorded
from samples import FRAME_NS, cdr, header, make, message_types, status
from samples import episode as notice
from synthetic import rollout_run, signal_rows, stored

BIN_POSE = pose_topic("blue_bin")
HOSTILE = "</script><img src=x onerror=alert(1)>&\u2028\ud800"
MIXED = (Outcome.SUCCESS, Outcome.DROP, Outcome.SUCCESS, Outcome.TIMEOUT, Outcome.MISS, Outcome.SUCCESS)


def bag_run(out: Path, *, sets: int = 6, alarms: Sequence[str] = (), **said: Any) -> Path:
    """A bag in which the arm follows 0.1 behind its commands, holds once for a stale camera, and drops the cube.

    Args:
        out: folder of the run.
        sets: decisions, with the one on the terminal observation.
        alarms: of each decision's prediction; none without.
        said: other fields of the predictions.
    """
    types = message_types()
    folder = RunFolder.create(out, "run1", provenance={"git": "abc"}, arguments={"policy": "hold"})
    topics = (*TOPICS, JOINT_COMMAND, CONTACT, BIN_POSE, STATUS_TOPIC, FAILURE_PREDICTION)
    recorder = EpisodeRecorder(folder, topics, types, partial(open_writer, backend="mcap", types=types))
    seen = observations(sets, side=16)
    start_ns, end_ns = seen[0].stamp_ns, seen[-1].stamp_ns
    drop_ns = start_ns + 12 * FRAME_NS
    recorder.start(EpisodeMeta(0, SEED, TASK, "hold"), {"host": HOSTILE.replace("\ud800", "")})
    recorder.begin(start_ns)
    for topic, data in messages(seen, 0, int(Outcome.DROP)):
        if topic is EPISODE:
            continue
        recorder.on_message(topic.name, data, 0)
    recorder.on_message(EPISODE.name, notice(start_ns, 0), 0)
    for index in range(5 * (sets - 1) + 1):
        recorder.on_message(JOINT_COMMAND.name, command(start_ns + index * FRAME_NS, index / 50), 0)
    for index in (*range(10), *range(12, 5 * (sets - 1) + 1)):  # two are missing
        recorder.on_message(BIN_POSE.name, bin_pose(start_ns + index * FRAME_NS), 0)
    # One finger touches it, the other one too, then one lets go.
    for frame, finger, force in ((4, "left", 3.0), (5, "right", 2.0), (15, "left", 0.0)):
        recorder.on_message(CONTACT.name, touch(start_ns + frame * FRAME_NS, f"panda_{finger}finger", force), 0)
    for number, alarm in enumerate(alarms):
        stamp_ns = seen[number].stamp_ns
        recorder.on_message(
            FAILURE_PREDICTION.name,
            prediction(stamp_ns, number, 0.6 if alarm else 0.1 + number / 100, alarm, **said),
            0,
        )
    recorder.on_message(STATUS_TOPIC.name, holding(start_ns + 5 * FRAME_NS, "stale_camera"), 0)
    recorder.on_message(STATUS_TOPIC.name, holding(start_ns + 6 * FRAME_NS, "no_decision_yet"), 0)
    recorder.on_message(EPISODE.name, notice(drop_ns, 1, 0, int(Outcome.DROP)), 0)
    recorder.on_message(EPISODE.name, notice(end_ns, 2, 0, int(Outcome.DROP)), 0)
    recorder.stop(EpisodeEnd(end_ns, "DROP", drop_ns, sets - 1, HOSTILE.replace("\ud800", "")))
    recorder.close()
    folder.close()
    return folder.path


def bin_pose(stamp_ns: int) -> bytes:
    at = make("geometry_msgs/msg/Point", x=0.5, y=0.0, z=0.0)
    turn = make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
    pose = make("geometry_msgs/msg/Pose", position=at, orientation=turn)
    return cdr(BIN_POSE, make(BIN_POSE.type, header=header(stamp_ns, "world"), pose=pose))


def touch(stamp_ns: int, finger: str, force: float) -> bytes:
    values = {"body_a": finger, "body_b": "red_cube", "force_n": repr(force)}
    pairs = [make("diagnostic_msgs/msg/KeyValue", key=key, value=value) for key, value in values.items()]
    names = {"level": 0, "name": finger, "message": "", "hardware_id": ""}
    status = make("diagnostic_msgs/msg/DiagnosticStatus", **names, values=pairs)
    return cdr(CONTACT, make(CONTACT.type, header=header(stamp_ns, "world"), status=[status]))


def command(stamp_ns: int, value: float) -> bytes:
    position = np.full(len(JOINTS), value)
    fields = {"name": list(JOINTS), "position": position, "velocity": position[:0], "effort": position[:0]}
    return cdr(JOINT_COMMAND, make(JOINT_COMMAND.type, header=header(stamp_ns), **fields))


def holding(stamp_ns: int, reason: str) -> bytes:
    message = message_types().store.deserialize_cdr(status(stamp_ns), STATUS_TOPIC.type)
    return cdr(STATUS_TOPIC, dataclasses.replace(message, state=3, reason=reason, detail="camera_front"))


def rollouts(out: Path, *, decisions: int = 20, side: int = 32) -> Path:
    """Six rollouts with outcomes of all kinds; picture i is as bright as 10 i, and `action_jerk` is i."""
    pictures = [np.full((side, side, 3), min(255, 10 * index), dtype=np.uint8) for index in range(decisions + 1)]
    images = dict.fromkeys(CAMERAS, pictures)
    made = []
    for seed, outcome in enumerate(MIXED):
        signals = signal_rows(seed + 1.0, decisions + 1, seed, action_jerk=np.arange(decisions + 1))
        signals[-1] = 1e6  # of the terminal decision, which is in no mean
        made.append(stored(seed, outcome, decisions=decisions, images=images, event=HOSTILE, signals=signals))
    return rollout_run(out, "rolled", made, images=True)


def unwritten_run() -> Run:
    return Run(
        path=Path("runs/many"),
        run_id="many",
        created="2026-01-01T00:00:00+00:00",
        made_by=ROLLOUT,
        policy="ensemble",
        profile="eval",
        arguments={"seed": "0"},
        provenance={},
        episodes=(RolloutEpisode(Path("seed_000000.safetensors"), "many", "seed_000000", 0, 0, counted=True),),
    )


def unwritten(number: int, **changes: Any) -> Recorded:
    """An episode of 200 decisions with noise in its last picture, which no compression makes small."""
    random = np.random.default_rng(number)
    times, frames = np.arange(201) * 0.1, np.arange(1001) * 0.02
    positions = np.cumsum(random.normal(0.0, 0.01, (1001, 9)), axis=0)
    noise = random.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    facts = Facts(
        name=f"episode_{number:06d}",
        number=number,
        seed=number,
        task=TASK,
        policy="ensemble",
        outcome=MIXED[number % len(MIXED)].name,
        decisions=200,
        duration_s=20.0,
        wall_s=40.0,
        event_s=19.96,
        detail="cube lost 2.6 cm above the table",
        gaps=0,
    )
    decisions = Decisions(
        stamps_ns=np.arange(201) * 100_000_000,
        numbers=np.arange(201),
        signals=random.gamma(1.0, 1.0, (201, len(NAMES))),
        latency_ms=np.full(201, 100.0),
        planned=np.zeros((201, 7)),
    )
    recorded = Recorded(
        facts=facts,
        events=(Event(19.96, facts.outcome, facts.detail),),
        decisions=decisions,
        decision_times_s=times,
        evaluated=EvaluatedEpisode(
            number, Outcome[facts.outcome], 200, 19.96, 40.0, times[:-1], decisions.signals[:-1]
        ),
        measured=Joints(frames, positions),
        commanded=Joints(frames, positions),
        picture_times_s=times[:1],
        pictures={camera: [noise] for camera in CAMERAS},
        audit=AuditReport(0, 0, (TopicAudit("/clock", "t", 5, 5, 0, 0, 50.0, 50.0, 0, (), 0, 0, 0),)),
        provenance={"host": "here"},
    )
    return dataclasses.replace(recorded, **changes)
