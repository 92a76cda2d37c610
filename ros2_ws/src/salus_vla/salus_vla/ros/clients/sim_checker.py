"""Makes the observations of `salus check-sim`: listens, resets, commands, looks again. The rules are in `sim_check`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.parameter import Parameter
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from salus_vla import contract
from salus_vla.config.scene import Scene
from salus_vla.contract import CAMERAS, DISCOVERY_S, ENTITIES, FRAME_HZ, JOINT_STATES, SIMULATOR_TOPICS, Service
from salus_vla.contract.bodies import CUBE
from salus_vla.contract.types import FloatArray, ImageArray
from salus_vla.ros.adapters.messages import header
from salus_vla.ros.adapters.qos_profiles import interface_class, qos_profile
from salus_vla.ros.clients.sim_listener import SimListener
from salus_vla.simulation.conformance.behaviour_rules import newest_went
from salus_vla.simulation.conformance.experiments import (
    EXPERIMENTS,
    HELD,
    HELD_JOINT,
    NEWEST,
    NEWEST_TRIES,
    RESETS,
    SETTLE_FRAMES,
    UNKNOWN,
    Experiment,
)
from salus_vla.simulation.conformance.observed import Joints, Move, Observed, ResetSeen

NODE = "salus_check_sim"
_FRAME_NS = round(1e9 / FRAME_HZ)
_WINDOW_FRAMES = 100
_LATER_FRAMES = 15  # in which three camera frames pass
_LIMIT_S = 10.0  # wall time for anything that a simulator that works does within a second
_PICTURES_S = 15.0  # a software renderer draws its first image late
_OTHERS_S = 3.0  # in which everything else came that will
_IDENTITY = (0.0, 0.0, 0.0, 1.0)
_FIRST = (contract.CLOCK.name, JOINT_STATES.name)


class SimChecker:
    """One simulator that is watched and tried."""

    def __init__(self, listener: SimListener, scene: Scene) -> None:
        """Takes a listener; `scene` says where home is."""
        self._listener = listener
        self._home = dict(zip(contract.JOINTS, scene.robot.home_position.tolist(), strict=True))
        command = contract.JOINT_COMMAND
        # Deeper than the contract's, so that it is the simulator's queue that decides which commands count.
        self._commands = listener.node.create_publisher(
            JointState, command.name, qos_profile(command.qos, depth=_LATER_FRAMES)
        )
        self._services: dict[Service, Client] = {
            service: listener.node.create_client(interface_class(service), service.name)
            for service in (contract.SIM_RESET, contract.SIM_SET_PARAMETERS)
        }
        self._answer: tuple[tuple[str, float], ...] | None = None  # what each frame is answered with
        self._absent: set[Service] = set()
        self._heard: frozenset[str] = frozenset()  # topics that came while nothing was commanded
        listener.on_joints, listener.on_clock = self._answer_frame, self._answer_clock

    def heard(self) -> bool:
        """Whether /clock or /joint_states came; what is published best effort is heard from then on."""
        self._listener.hear_best_effort()
        return any(self._listener.counts.get(name) for name in _FIRST)

    def observe(self) -> Observed:
        """Everything the rules need; about twenty seconds with a simulator in real time."""
        listener = self._listener
        due = {topic.name for topic in SIMULATOR_TOPICS if topic.rate_hz is not None and not topic.optional}
        drawn = {contract.image_topic(camera).name for camera in CAMERAS}
        if listener.spin(_PICTURES_S, lambda: drawn <= listener.counts.keys()):
            listener.spin(_OTHERS_S, lambda: due <= listener.counts.keys())
        listener.forget()
        self._pass(_WINDOW_FRAMES)
        stamps, counts, joints = listener.stamps, listener.counts, listener.joints
        images, camera_infos, poses = listener.images, listener.camera_infos, listener.poses
        listener.forget()  # begins new containers
        self._heard = frozenset(counts)
        listener.spin(DISCOVERY_S, self._everything_known)
        publishers, readers, services = listener.publishers(), listener.command_readers(), listener.services()
        (seed, pose), *others = RESETS
        resets = [self._reset(seed, pose)]
        home = self._look()
        cube = listener.poses[CUBE][-1].position if listener.poses[CUBE] else None
        moves, moved = {}, {}
        for experiment in EXPERIMENTS:
            moves[experiment.name] = self._try_newest() if experiment is NEWEST else self._try(experiment)
            if experiment is HELD:
                moved = self._look()
        resets += [self._reset(*other) for other in others]
        self._answer = None
        return Observed(
            publishers=publishers,
            publishers_later=listener.publishers(),
            command_readers=readers,
            services=services,
            installed=listener.installed,
            stamps=stamps,
            all_stamps=listener.all_stamps,
            joints=joints,
            images=images,
            camera_infos=camera_infos,
            poses=poses,
            resets=resets,
            moves=moves,
            home=home,
            moved=moved,
            cube=cube,
        )

    # -- frames --------------------------------------------------------------------------------------------------------

    def _answer_frame(self, joints: Joints) -> None:
        # In a queue of one it would take the place of the right answer.
        if self._answer is not None and not self._is_behind(joints.stamp_ns):
            self._send(joints.stamp_ns, self._answer)

    def _answer_clock(self, now_ns: int) -> None:
        """Answers a frame whose joints have another stamp: in lockstep it would wait, and every rule with it."""
        if self._answer is not None and self._is_behind(self._listener.newest.get(JOINT_STATES.name, 0)):
            self._send(now_ns, self._answer)

    def _is_behind(self, joints_ns: int) -> bool:
        """Whether a stamp of joints is not that of a frame, but for one or two that the clock may be heard before."""
        return self._listener.newest.get(contract.CLOCK.name, 0) - joints_ns > _LATER_FRAMES * _FRAME_NS

    def _now(self) -> int:
        """Newest sim time [ns], also where one of its sources stands still."""
        return max(self._listener.newest.get(name, 0) for name in _FIRST)

    def _send(self, stamp_ns: int, command: tuple[tuple[str, float], ...]) -> None:
        self._commands.publish(_to_message(stamp_ns, command))

    def _pass(self, frames: int) -> bool:
        """Waits until this many frames have passed."""
        end_ns = self._now() + (frames - 0.5) * _FRAME_NS
        return self._listener.spin(_LIMIT_S, lambda: self._now() >= end_ns)

    def _idle(self) -> tuple[tuple[str, float], ...]:
        """A command that changes nothing of the experiments."""
        return ((HELD_JOINT, self._home[HELD_JOINT]),)

    # -- services ------------------------------------------------------------------------------------------------------

    def _call(self, service: Service, request: Any) -> Any:
        """The answer, or None; of a service that nobody offered once not waited for again."""
        client = self._services[service]
        if service in self._absent or not self._listener.spin(_LIMIT_S, client.service_is_ready):
            self._absent.add(service)
            return None
        future = client.call_async(request)
        return future.result() if self._listener.spin(_LIMIT_S, future.done) else None

    def _set(self, values: dict[str, Any]) -> str:
        """Why the parameters of the next reset were refused, empty when they were taken."""
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        answer = self._call(contract.SIM_SET_PARAMETERS, SetParameters.Request(parameters=parameters))
        if answer is None:
            return f"{contract.SIM_SET_PARAMETERS.name} gave no answer"
        return next((result.reason or "refused" for result in answer.results if not result.successful), "")

    def _reset(self, seed: int, cube: tuple[float, ...] | None) -> ResetSeen:
        listener = self._listener
        self._answer = None
        refusal = self._set({"seed": seed} | ({} if cube is None else {f"{CUBE}.pose": [*cube, *_IDENTITY]}))
        before_ns = listener.newest.get(contract.CLOCK.name, 0)
        listener.forget()
        answer = self._call(contract.SIM_RESET, Trigger.Request())
        words = answer.message if answer is not None else f"{contract.SIM_RESET.name} gave no answer"
        first_ns = _first_stamp(words)
        near = in_joints = _near(first_ns)
        if len(set(listener.all_stamps.get(JOINT_STATES.name, ()))) < 2:  # its rule says so; these are of some frame

            def in_joints(joints: Joints) -> bool:
                return first_ns is not None and self._now() >= first_ns

        expected = [e for e in ENTITIES if contract.pose_topic(e).name in self._heard]
        listener.spin(
            _LIMIT_S,
            lambda: _find(listener.joints, in_joints) and all(_find(listener.poses[e], near) for e in expected),
        )
        joints, poses = _find(listener.joints, in_joints), {e: _find(listener.poses[e], near) for e in ENTITIES}
        self._answer = self._idle()
        if joints is not None:  # nobody answered that frame yet; it waits in lockstep
            self._answer_frame(joints)
            self._answer_clock(listener.newest.get(contract.CLOCK.name, 0))
        self._pass(_LATER_FRAMES)
        return ResetSeen(
            seed=seed,
            cube=cube,
            accepted=not refusal and answer is not None and answer.success,
            answer=refusal or words,
            before_ns=before_ns,
            first_ns=first_ns,
            joints=joints,
            later=listener.joints[-1] if listener.joints else None,
            poses={entity: pose for entity, pose in poses.items() if pose is not None},
            contacts=_find(listener.contacts, near),
        )

    # -- arm and cameras -----------------------------------------------------------------------------------------------

    def _try(self, experiment: Experiment) -> Move:
        """Sends the commands of an experiment and answers frames with the last of them."""
        listener = self._listener
        self._answer = None  # in lockstep the next frame waits
        listener.forget()
        listener.spin(_LIMIT_S / _LATER_FRAMES, lambda: listener.joints)
        stamp_ns, before = self._now(), self._position()
        # Serialized before the first is sent: a simulator that waits for one should find all of them.
        for raw in [serialize_message(_to_message(stamp_ns, command)) for command in experiment.commands]:
            self._commands.publish(raw)
        if experiment is UNKNOWN:
            # Handled before the call is answered, so that no right command takes its place in a queue of one.
            self._set({})
        again = experiment.commands and experiment is not UNKNOWN
        self._answer = experiment.commands[-1] if again else self._idle()
        if experiment is not NEWEST:
            self._send(stamp_ns, self._answer)
        if before is None or not experiment.goes:
            return Move(before, self._position() if self._pass(experiment.frames) else None)

        def gone() -> FloatArray | None:
            came = (joints.ordered(joints.position) for joints in listener.joints)
            return next((position for position in came if _apart(position, before) >= experiment.goes), None)

        last_ns = stamp_ns + experiment.frames * _FRAME_NS
        listener.spin(_LIMIT_S, lambda: gone() is not None or self._now() > last_ns)
        after = gone()
        return Move(before, self._position() if after is None else after)

    def _try_newest(self) -> Move:
        """The burst of commands, again from home where an older one of them was obeyed first."""
        joint = NEWEST.commands[-1][0][0]
        for _ in range(NEWEST_TRIES):
            move = self._try(NEWEST)
            went = newest_went(move)
            if went is None or went < 0.0:
                break
            self._try(Experiment("back", (((joint, self._home[joint]),),), SETTLE_FRAMES))
        return move

    def _position(self) -> FloatArray | None:
        joints = self._listener.joints[-1] if self._listener.joints else None
        return joints.ordered(joints.position) if joints is not None else None

    def _look(self) -> dict[str, ImageArray]:
        """The next image of each camera, while frames are answered."""
        listener = self._listener
        since_ns = self._now()
        cameras = [camera for camera in CAMERAS if camera in listener.pixels]  # the others sent nothing readable so far
        before = {camera: len(listener.images[camera]) for camera in cameras}

        def new(camera: Literal["front", "side", "top"]) -> bool:
            # The second that came since then is new whatever its stamp, and another rule's matter.
            return listener.pixels[camera][0] >= since_ns or len(listener.images[camera]) > before[camera] + 1

        listener.spin(_LIMIT_S, lambda: all(map(new, cameras)))
        return {camera: listener.pixels[camera][1] for camera in cameras if new(camera)}

    def _everything_known(self) -> bool:
        publishers = self._listener.publishers()
        found = all(publishers[topic.name] for topic in SIMULATOR_TOPICS if not topic.optional)
        offered = all(service.name in self._listener.services() for service in self._services)
        return found and offered and bool(self._listener.command_readers())


def _first_stamp(answer: str) -> int | None:
    """The stamp in the answer of a reset; None when there is none."""
    try:
        return int(json.loads(answer)["stamp_ns"])
    except (ValueError, TypeError, KeyError):
        return None


def _to_message(stamp_ns: int, command: tuple[tuple[str, float], ...]) -> JointState:
    names, positions = zip(*command, strict=True)
    return JointState(header=header(stamp_ns), name=list(names), position=list(positions))


def _apart(position: FloatArray, other: FloatArray) -> float:
    return float(np.abs(position - other).max()) if position.shape == other.shape else 0.0


def _near(stamp_ns: int | None) -> Callable[[Any], bool]:
    return lambda message: stamp_ns is not None and abs(message.stamp_ns - stamp_ns) < _FRAME_NS // 2


def _find(messages: list[Any], wanted: Callable[[Any], bool]) -> Any:
    return next((message for message in messages if wanted(message)), None)
