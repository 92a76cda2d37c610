"""Episodes in one process, without ROS: the simulator, controller and task of the graph, called in the same order.

A seed and a policy give here, and through the graph in lockstep, the same joint trajectory, outcome and signals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from salus_vla.contract import DEFAULT_TASK, JOINTS
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import ImageArray, Observation, SimStep
from salus_vla.control.controller import Command, Controller
from salus_vla.control.decision import Decision
from salus_vla.episode.outcome_monitor import TaskEvent
from salus_vla.episode.tracker import EpisodeTracker
from salus_vla.safety.intervention.intervener import Intervention
from salus_vla.simulation.mujoco.simulator import Simulator


@dataclass
class EpisodeResult:
    """One episode.

    Attributes:
        seed: of the scene and the policy's noise.
        outcome: how it ended.
        decisions: decision periods that passed; the decision on the terminal observation is not counted.
        event: what ended it.
        events: everything that happened, in order; what ended it is the last.
        frames: every frame from the first to the terminal observation.
        holding: for each frame, whether the cube is held.
        commands: the command that answered each frame but the last.
        decided: every decision, the one on the terminal observation included.
        interventions: of every decision but that one; empty where nobody may intervene.
    """

    seed: int
    outcome: Outcome = Outcome.RUNNING
    decisions: int = 0
    event: TaskEvent | None = None
    events: list[TaskEvent] = field(default_factory=list)
    frames: list[SimStep] = field(default_factory=list)
    holding: list[bool] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    decided: list[Decision] = field(default_factory=list)
    interventions: list[Intervention] = field(default_factory=list)


OnObservation = Callable[[Observation, Decision], None]


def run_episode(
    simulator: Simulator,
    controller: Controller,
    seed: int,
    *,
    task: str = DEFAULT_TASK,
    max_decisions: int | None = None,
    on_observation: OnObservation | None = None,
    images: bool = True,
) -> EpisodeResult:
    """Runs one episode.

    Args:
        simulator: reset with the seed first.
        controller: policy, signals, plan and limiter.
        seed: of the episode.
        task: instruction given to the policy.
        max_decisions: decisions before TIMEOUT; the scene's by default.
        on_observation: called with each observation and the decision made on it.
        images: False skips the images, for a policy that reads none; an episode is then several times faster.

    Returns:
        Everything but the images.
    """
    scene = simulator.scene
    tracker = EpisodeTracker(scene, max_decisions=max_decisions)
    result = EpisodeResult(seed)
    frame = simulator.reset(seed)
    controller.start_episode(seed)
    tracker.start(frame.stamp_ns)
    while True:
        result.frames.append(frame)
        controller.measured(frame.stamp_ns, np.stack((frame.joint_position, frame.joint_velocity, frame.joint_effort)))
        result.events += tracker.update(frame.stamp_ns, frame.joint_position, frame.poses, frame.contacts)
        result.holding.append(tracker.holding)
        if frame.camera_due:
            observation = observe(frame, simulator.render() if images else {}, task)
            decision = controller.decide(observation, controller.command_in_force)
            result.decided.append(decision)
            if on_observation is not None:
                on_observation(observation, decision)
            if tracker.over(frame.stamp_ns):
                break
            controller.accept(decision, frame.stamp_ns, frame.joint_position)
            if controller.intervention is not None:
                result.interventions.append(controller.intervention)
            if controller.handed_over:
                tracker.hand_over(frame.stamp_ns, controller.handed_over)
        command = controller.command(frame.stamp_ns, frame.joint_position)
        result.commands.append(command)
        simulator.set_command(JOINTS, command.position.tolist())
        frame = simulator.step()
    result.event, result.outcome = tracker.event, tracker.outcome
    result.decisions = tracker.decisions(frame.stamp_ns)
    return result


def observe(frame: SimStep, images: Mapping[str, ImageArray], task: str) -> Observation:
    """The observation of a frame."""
    return Observation(frame.stamp_ns, images, frame.joint_position, task, frame.joint_velocity, frame.poses)
