"""Large images at a high rate: does the recorder lose any?"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from ament_index_python.packages import get_package_prefix
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock

from salus_msgs.msg import Episode
from salus_msgs.srv import StartRecording, StopRecording
from salus_vla import contract
from salus_vla.bench.load.load_results import Result
from salus_vla.contract import CAMERAS
from salus_vla.contract.errors import SalusError
from salus_vla.ros.adapters.image_messages import to_message
from salus_vla.ros.adapters.messages import header, to_time
from salus_vla.ros.adapters.qos_profiles import interface_class, qos_profile

WIDTH, HEIGHT, HZ = 640, 480, 30
STARTS_WITHIN_S = 60.0
_RUN, _STAMP_AT = "run", 4  # CDR header
_LATE_S = 0.5


def run_images(folder: Path, seconds: int, late_s: float = _LATE_S) -> Result:
    """Publishes three cameras to a real `bag_recorder` and counts what is in the bag.

    Args:
        folder: empty folder for the run.
        seconds: of images.
        late_s: wall time by which publishing itself may fall behind before the measurement says nothing [s].

    Raises:
        SalusError: the recorder did not start, or this machine cannot publish that fast.
    """
    executable = Path(get_package_prefix("salus_vla"), "lib", "salus_vla", "bag_recorder")
    command = [str(executable), "--ros-args", "-p", f"out:={folder}", "-p", f"run_id:={_RUN}"]
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        with subprocess.Popen(command, env=dict(os.environ)) as process:
            try:
                published, took_s = _Cameras(process).record(seconds, late_s)
                process.send_signal(signal.SIGINT)
                code = process.wait(STARTS_WITHIN_S)
            finally:
                process.kill()  # does nothing to a process that has ended
    finally:
        rclpy.try_shutdown()
    kept = _count(folder / _RUN)
    lost = {topic: count - kept[topic] for topic, count in published.items() if count != kept[topic]}
    problems = [f"bag_recorder ended with {code}"] if code else []
    problems += [f"{topic}: {count} of {published[topic]} are not in the bag" for topic, count in lost.items()]
    total = sum(published.values())
    megabytes = total * WIDTH * HEIGHT * 3 / 1e6 / took_s
    seen = f"{total} pictures in {took_s:.1f} s ({megabytes:.0f} MB/s), {sum(lost.values())} lost"
    return Result(f"recording {len(CAMERAS)} x {WIDTH}x{HEIGHT} at {HZ} Hz", seen, tuple(problems))


class _Cameras:
    """Publishes the images, and starts and stops the recording as the episode node does."""

    def __init__(self, recorder: subprocess.Popen[bytes]) -> None:
        self._recorder = recorder
        self._node = rclpy.create_node("salus_load")
        topics = [contract.CLOCK, contract.EPISODE, *(contract.image_topic(camera) for camera in CAMERAS)]
        self._publishers = {
            topic.name: self._node.create_publisher(interface_class(topic), topic.name, qos_profile(topic.qos))
            for topic in topics
        }
        self._start = self._node.create_client(StartRecording, contract.RECORDER_START.name)
        self._stop = self._node.create_client(StopRecording, contract.RECORDER_STOP.name)
        noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        self._pictures = {
            contract.image_topic(camera).name: bytearray(
                serialize_message(to_message(noise, to_time(0), contract.image_topic(camera).frame_id or ""))
            )
            for camera in CAMERAS
        }

    def record(self, seconds: int, late_s: float) -> tuple[Counter[str], float]:
        """Images published by topic, and the wall time it took [s]."""
        publishers = self._publishers.values()
        services = (self._start, self._stop)
        self._wait(
            lambda: all(p.get_subscription_count() for p in publishers) and all(s.service_is_ready() for s in services),
            "bag_recorder",
        )
        start_ns, step_ns = 10**9, 10**9 // HZ
        self._call(self._start, StartRecording.Request(wanted=1, task="load", policy_source="none"))
        begun = Episode(header=header(start_ns), kind=Episode.STARTED, run_id=_RUN)
        self._publishers[contract.EPISODE.name].publish(begun)
        began, count = time.monotonic(), seconds * HZ
        for index in range(count):
            stamp_ns = start_ns + index * step_ns
            self._publish(stamp_ns)
            until = began + (index + 1) / HZ
            while (left := until - time.monotonic()) > 0.0:
                rclpy.spin_once(self._node, timeout_sec=left)
        took_s = time.monotonic() - began
        if took_s > seconds + late_s:
            raise SalusError(
                f"publishing {seconds} s of pictures took {took_s:.1f} s: this machine is too slow or busy"
            )
        end_ns = start_ns + (count - 1) * step_ns
        over = Episode(header=header(end_ns), kind=Episode.ENDED, run_id=_RUN, outcome=Episode.TIMEOUT)
        self._publishers[contract.EPISODE.name].publish(over)
        self._call(self._stop, StopRecording.Request(run_id=_RUN, episode=0))
        self._node.destroy_node()
        return Counter(dict.fromkeys(self._pictures, count)), took_s

    def _publish(self, stamp_ns: int) -> None:
        self._publishers[contract.CLOCK.name].publish(Clock(clock=to_time(stamp_ns)))
        stamp = struct.pack("<iI", *divmod(stamp_ns, 10**9))
        for topic, picture in self._pictures.items():
            picture[_STAMP_AT : _STAMP_AT + len(stamp)] = stamp
            self._publishers[topic].publish(bytes(picture))

    def _call(self, client: Any, request: Any) -> None:
        future = client.call_async(request)
        self._wait(future.done, client.srv_name)
        if not future.result().success:
            raise SalusError(f"{client.srv_name}: {future.result().message}")

    def _wait(self, condition: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not condition():
            if self._recorder.poll() is not None or time.monotonic() > deadline:
                raise SalusError(f"no {what} within {STARTS_WITHIN_S:g} s, or bag_recorder has ended")
            rclpy.spin_once(self._node, timeout_sec=0.1)


def _count(run: Path) -> Counter[str]:
    from rosbags.highlevel import AnyReader

    from salus_vla.data.bags.run_info import read_run

    (entry,) = read_run(run).record.episodes
    with AnyReader([run / entry.path]) as reader:
        return Counter(connection.topic for connection, _, _ in reader.messages())
