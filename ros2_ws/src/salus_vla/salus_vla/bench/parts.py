"""What one decision (five frames, one camera set) costs in each part, measured in this process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import replace
from itertools import count, cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from salus_vla import contract
from salus_vla.bench.timing import Timing, measure
from salus_vla.config.policy_options import BUILTIN_TINY
from salus_vla.config.scene import Scene
from salus_vla.contract import CAMERAS, DEFAULT_TASK
from salus_vla.contract.errors import SalusError
from salus_vla.contract.types import Observation
from salus_vla.control.controller import make_controller
from salus_vla.data.bags.message_types import MessageTypes
from salus_vla.data.bags.open_writer import open_writer
from salus_vla.episode.run_episode import observe
from salus_vla.policies.registry import expand_members, make_policy
from salus_vla.simulation.mujoco.simulator import Simulator

# One thread, as config/salus.yaml sets for the ensemble: the simulator needs the other core.
_THREADS = 1
_STARTS_WITHIN_S, _ANSWERS_WITHIN_S = 60.0, 10.0  # wall time of the other process


def simulation(scene: Scene, calls: int) -> tuple[list[Timing], Observation]:
    """Physics and rendering; also gives an observation for the other parts."""
    with Simulator(scene) as simulator:

        def five_frames() -> None:
            for _ in range(scene.rates.frames_per_decision):
                simulator.step()

        timings = [
            measure("physics", five_frames, calls=calls),
            measure("rendering", simulator.render, calls=calls),
        ]
        return timings, observe(simulator.frame, simulator.render(), DEFAULT_TASK)


def inference(scene: Scene, observation: Observation, calls: int, model: str) -> Timing:
    """An ensemble with its signals."""
    torch.set_num_threads(_THREADS)
    controller = make_controller(make_policy("ensemble", members=[model]), scene)
    controller.start_episode(0)
    # Two camera sets in turn: the engine does not encode the same images twice.
    moved = {camera: np.ascontiguousarray(np.roll(pixels, 8, axis=1)) for camera, pixels in observation.images.items()}
    turns = cycle([observation, replace(observation, images=moved)])
    return measure("inference", lambda: controller.decide(next(turns), None), calls=calls)


def naive_loop(observation: Observation, calls: int) -> Timing:
    """For comparison, LeRobot's own policies of the tiny ensemble one after the other."""
    return measure("naive loop", _naive_loop(observation), calls=max(calls // 5, 3))


def _naive_loop(observation: Observation) -> Any:
    """Each member's own `predict_action_chunk` for each noise sample, as LeRobot runs it."""
    from lerobot.policies.factory import make_pre_post_processors

    from salus_vla.policies.smolvla.features import STATE_KEY, image_key
    from salus_vla.policies.smolvla.loading.checkpoint import load_member

    members = [load_member(name, Path(name), "cpu") for name in expand_members([BUILTIN_TINY])]
    first = Path(expand_members([BUILTIN_TINY])[0])
    overrides = {"tokenizer_processor": {"tokenizer_name": members[0].config.vlm_model_name}}
    preprocessor, _ = make_pre_post_processors(members[0].config, str(first), preprocessor_overrides=overrides)
    batch: dict[str, Any] = {STATE_KEY: torch.from_numpy(observation.state).float(), "task": observation.task}
    for camera in CAMERAS:
        pixels = torch.from_numpy(observation.images[camera]).permute(2, 0, 1)
        batch[image_key(camera)] = pixels.float() / 255.0
    noise = torch.randn(2, 1, members[0].config.chunk_size, members[0].config.max_action_dim)

    def loop() -> None:
        for member in members:
            for sample in noise:
                member.predict_action_chunk(preprocessor(dict(batch)), noise=sample)

    return loop


def recording(observation: Observation, calls: int) -> Timing:
    """Writing the messages of one decision into a bag."""
    types = MessageTypes()
    image = observation.images["front"].tobytes() + bytes(64)
    small = np.zeros(60, np.uint8).tobytes()
    per_decision = {
        topic: round((topic.rate_hz or 0.0) / contract.DECISION_HZ)
        for topic in (*contract.SIMULATOR_TOPICS, contract.JOINT_COMMAND, contract.SAFETY_SIGNALS)
        if not topic.optional
    }
    with tempfile.TemporaryDirectory() as folder:
        writer = open_writer(Path(folder) / "bench", "mcap", custom_data={}, types=types)
        for topic in per_decision:
            writer.add_topic(topic.name, topic.type, topic.qos)
        decisions = count()

        def one_decision() -> None:
            stamp = next(decisions) * 100_000_000
            for topic, messages in per_decision.items():
                data = image if topic.type == "sensor_msgs/msg/Image" else small
                for i in range(messages):
                    writer.write(topic.name, data, stamp + i * 20_000_000)

        timing = measure("recording", one_decision, calls=calls)
        writer.close()
    return timing


def transport(observation: Observation, calls: int) -> Timing:
    """Five joint states and a camera set to another process, each joint state answered by a command."""
    from sensor_msgs.msg import Image, JointState

    from salus_vla.ros.adapters import messages
    from salus_vla.ros.adapters.image_messages import to_message
    from salus_vla.ros.adapters.qos_profiles import qos_profile
    from salus_vla.ros.clients.connection import Connection

    echo = subprocess.Popen([sys.executable, "-m", "salus_vla.ros.nodes.bench_echo_node"])
    try:
        with Connection("salus_bench") as graph:  # left behind, its publishers would be second ones of the next graph
            states = graph.node.create_publisher(
                JointState, contract.JOINT_STATES.name, qos_profile(contract.JOINT_STATES.qos)
            )
            images = {
                camera: graph.node.create_publisher(
                    Image, contract.image_topic(camera).name, qos_profile(contract.STREAM)
                )
                for camera in CAMERAS
            }
            answered = [0]

            def take_answer(message: JointState) -> None:
                answered[0] = messages.to_ns(message.header.stamp)

            command = contract.JOINT_COMMAND
            graph.node.create_subscription(JointState, command.name, take_answer, qos_profile(command.qos))

            def connected() -> bool:
                heard = all(publisher.get_subscription_count() for publisher in (states, *images.values()))
                return heard and graph.node.count_publishers(command.name) > 0

            if not graph.spin(_STARTS_WITHIN_S, connected):
                raise SalusError(f"the echo did not appear within {_STARTS_WITHIN_S:g} s")
            stamps = count(1)

            def one_decision() -> None:
                for frame in range(5):
                    stamp = next(stamps) * 20_000_000
                    if frame == 0:
                        for camera, publisher in images.items():
                            pixels = observation.images[camera]
                            frame_id = contract.camera_frame(camera)
                            publisher.publish(to_message(pixels, messages.to_time(stamp), frame_id))
                    states.publish(messages.joint_command(stamp, observation.joint_position))
                    if not graph.spin(_ANSWERS_WITHIN_S, lambda stamp=stamp: answered[0] == stamp):  # type: ignore[misc]
                        raise SalusError(f"the echo did not answer within {_ANSWERS_WITHIN_S:g} s")

            return measure("transport", one_decision, calls=calls)
    finally:
        echo.terminate()
        echo.wait()
