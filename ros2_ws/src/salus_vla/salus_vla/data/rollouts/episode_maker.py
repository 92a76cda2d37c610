"""Makes episodes one by one, with the objects that the graph runs with; what a worker builds once."""

from __future__ import annotations

import hashlib
from types import TracebackType
from typing import Any, Self

import mujoco
import numpy as np
from numpy.typing import NDArray

import salus_vla
from salus_vla.config.policy_options import ENSEMBLE
from salus_vla.config.scene import load_scene
from salus_vla.contract import CAMERAS, DEFAULT_TASK
from salus_vla.contract.bodies import CUBE
from salus_vla.contract.types import ACTION_DIM, FloatArray, Observation, SimStep
from salus_vla.control.build_controller import build_controller
from salus_vla.control.decision import Decision
from salus_vla.control.takeover import TakeoverPolicy
from salus_vla.data.rollouts.image_codec import ImageCompressor
from salus_vla.data.rollouts.rollout_settings import RolloutSettings
from salus_vla.data.rollouts.rollout_store import StoredEpisode, StoredEvent
from salus_vla.episode.run_episode import EpisodeResult, run_episode
from salus_vla.policies.registry import expand_members
from salus_vla.safety.intervention.candidates import CHOICES, MOTIONS
from salus_vla.simulation.mujoco.render import gl_backend
from salus_vla.simulation.mujoco.simulator import Simulator


class EpisodeMaker:
    """One simulator, one policy, one controller. The simulator closes with `close` or at the end of `with`."""

    def __init__(self, settings: RolloutSettings) -> None:
        """Builds everything; for the ensemble this takes seconds.

        Raises:
            SalusError: scene, profile, simulator or policy are not available, or the instruction is too long.
        """
        self._settings = settings
        self._scene = load_scene()
        self._controller, policy = build_controller(
            settings.policy_settings, self._scene, teacher=settings.takeover, when=settings.conditions
        )
        self._takeover = policy if isinstance(policy, TakeoverPolicy) else None
        self._task_facts = policy.read_task(settings.task)
        self._images_needed = settings.images or policy.needs_images
        self._simulator = Simulator(self._scene, profile=settings.profile)

    def provenance(self) -> dict[str, str]:
        """What decides about the episodes besides the settings: workers that differ in it must not make one run."""
        scene = hashlib.sha256(self._scene.model_dump_json().encode()).hexdigest()[:16]
        facts = {**self._controller.policy.provenance(), **self._task_facts}
        policy = {f"policy.{key}": value for key, value in facts.items()}
        versions = {
            "salus": salus_vla.__version__,
            "version.mujoco": mujoco.__version__,
            "version.numpy": np.__version__,
        }
        return {**versions, "scene_hash": scene, **policy}

    def make(self, seed: int) -> StoredEpisode:
        """Runs the episode of a seed.

        Raises:
            SimulatorError: the physics diverged, or nothing can be drawn here.
        """
        observations: list[Observation] = []
        reasons: list[str] = []  # of the takeover, for each decision
        pictures = {camera: ImageCompressor() for camera in CAMERAS if self._settings.images}

        def keep(observation: Observation, decision: Decision) -> None:
            for camera, compressor in pictures.items():
                compressor.add(observation.images[camera])
            reasons.append(self._takeover.reason if self._takeover is not None else "")
            # Without its images: the raw ones of an episode are up to 120 MB.
            observations.append(
                Observation(observation.stamp_ns, {}, observation.joint_position, "", observation.joint_velocity)
            )

        result = run_episode(
            self._simulator,
            self._controller,
            seed,
            task=self._settings.task,
            max_decisions=self._settings.max_decisions or None,
            on_observation=keep,
            images=self._images_needed,
        )
        return self._stored(result, observations, pictures, reasons)

    def close(self) -> None:
        """Frees the simulator's cameras."""
        self._simulator.close()

    def __enter__(self) -> Self:
        """Nothing to open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes."""
        self.close()

    def _stored(
        self,
        result: EpisodeResult,
        observations: list[Observation],
        pictures: dict[str, ImageCompressor],
        reasons: list[str],
    ) -> StoredEpisode:
        start_ns = observations[0].stamp_ns
        taken_over = np.array([bool(reason) for reason in reasons], dtype=np.uint8)
        first = int(taken_over.argmax()) if taken_over.any() else None
        event = result.event
        signals = [decision.signals for decision in result.decided]
        answered = result.frames[: len(result.commands)]
        return StoredEpisode(
            seed=result.seed,
            profile=self._settings.profile,
            policy=self._controller.policy.source,
            task=self._settings.task,
            outcome=result.outcome,
            decisions=result.decisions,
            event=event.detail if event else "",
            event_stamp_ns=event.stamp_ns - start_ns if event else None,
            events=tuple(
                StoredEvent(item.stamp_ns - start_ns, item.kind, item.detail)
                for item in result.events
                if item.outcome is None
            ),
            stamps_ns=np.array([item.stamp_ns - start_ns for item in observations], dtype=np.int64),
            joint_position=np.array([item.joint_position for item in observations]),
            joint_velocity=np.array([item.joint_velocity for item in observations]),
            planned=np.array([_first_row(decision) for decision in result.decided]),
            command_stamps_ns=np.array([frame.stamp_ns - start_ns for frame in answered], dtype=np.int64),
            commands=np.array([command.position for command in result.commands]),
            frame_position=np.array([frame.joint_position for frame in result.frames]),
            cube_pose=np.array([_cube_pose(frame) for frame in result.frames]),
            member_actions=_padded([item.member_actions for item in signals]),
            signals=np.array([item.values for item in signals]),
            valid=np.array([item.valid for item in signals], dtype=np.uint16),
            images={camera: compressor.finish() for camera, compressor in pictures.items()},
            holding=np.array(result.holding, dtype=np.uint8),
            frame_velocity=np.array([frame.joint_velocity for frame in result.frames], dtype=np.float32),
            frame_effort=np.array([frame.joint_effort for frame in result.frames], dtype=np.float32),
            expert_state=_known([decision.expert_state for decision in result.decided]),
            prefix_parts=_known([decision.prefix_parts for decision in result.decided]),
            **_interventions(result),
            taken_over=taken_over if self._takeover is not None else None,
            taken_over_ns=None if first is None else observations[first].stamp_ns - start_ns,
            taken_over_by=self._settings.takeover if first is not None else "",
            taken_over_when=reasons[-1],
        )


def prepare_machine(settings: RolloutSettings) -> None:
    """Does once what each worker of this machine would do otherwise: an untrained model, the choice of OpenGL.

    Raises:
        SalusError: there is no such model, it cannot read the instruction, or nothing can be drawn here.
    """
    if settings.policy == ENSEMBLE:
        members = expand_members((settings.model,))
        if (
            settings.task != DEFAULT_TASK and members
        ):  # said before there is a folder; every policy can read the usual one
            from salus_vla.policies.smolvla.loading.instruction import InstructionReader  # transformers: seconds

            InstructionReader.of_member(members[0], cut=settings.cut_task).check(settings.task)
    if settings.images or settings.policy == ENSEMBLE:
        gl_backend()  # in the environment from now on


def _padded(actions: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Actions of the members, NaN where a decision had fewer of them, (N, K, 7)."""
    most = max(len(item) for item in actions)
    if all(len(item) == most for item in actions):
        return np.array(actions)
    return np.array([np.pad(item, ((0, most - len(item)), (0, 0)), constant_values=np.nan) for item in actions])


def _known(states: list[NDArray[np.float32]]) -> NDArray[np.float32] | None:
    """States of decisions, NaN where one has none; None where none has any."""
    shape = next((state.shape for state in states if state.size), None)
    if shape is None:
        return None
    return np.stack([state if state.size else np.full(shape, np.nan, dtype=np.float32) for state in states])


def _interventions(result: EpisodeResult) -> dict[str, Any]:
    """Arrays of what was done at each decision; none in a run where nobody intervenes."""
    if not result.interventions:
        return {}
    count = len(result.decided)
    chosen, drawn = np.full(count, 255, dtype=np.uint8), np.ones(count, dtype=np.float32)
    failure = np.full((count, len(MOTIONS)), np.nan, dtype=np.float32)
    motions = list(MOTIONS)
    for row, item in enumerate(result.interventions):
        chosen[row], drawn[row] = CHOICES.index(item.chosen), item.probability
        for name, value in zip(item.candidates, item.failure, strict=True):
            failure[row, motions.index(name)] = value
    return {"chosen": chosen, "chosen_probability": drawn, "motion_failure": failure}


def _first_row(decision: Decision) -> FloatArray:
    return np.full(ACTION_DIM, np.nan) if decision.chunk is None else decision.chunk[0]


def _cube_pose(frame: SimStep) -> FloatArray:
    pose = frame.poses[CUBE]
    return np.concatenate([pose.position, pose.quaternion])
