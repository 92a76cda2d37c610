"""Signals end a node between two of its steps, once, and let it close what it has open."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

pytestmark = [pytest.mark.usefixtures("private_ros_domain"), pytest.mark.safety]

LIMIT_S = 30.0
PROCESSES = int(os.environ.get("SALUS_ENDINGS", "4"))
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SPINS = """print("runs", flush=True)
        while node.context.ok(): executor.spin_once(timeout_sec=0.001)"""
CLOSES = "time.sleep(0.7)"
DECIDES = f"""import torch
        square = torch.randn(2000, 2000)
        Worker(node, lambda job: [torch.softmax(square @ square, 0) for _ in iter(int, 1)], print, print).submit(1)
        {SPINS}"""
NODE = """
import sys, time
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from salus_vla.ros.adapters.run_node import run_node
from salus_vla.ros.adapters.worker import Worker

class Busy:
    def __init__(self):
        self.node = Node("busy")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.node.create_timer(0.001, lambda: self.node.get_clock().now())

    def run(self):
        node, executor = self.node, self.executor
        {run}

    def close(self):
        {close}
        self.node.destroy_node()
        print("closed", flush=True)

sys.exit(run_node(Busy))
"""


@contextmanager
def running(run: str, close: str) -> Iterator[subprocess.Popen[str]]:
    """A process whose node runs."""
    code = NODE.format(run=run, close=close)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "runs\n"
            yield process
        finally:
            process.kill()


def test_two_signals_at_any_moment_are_one_clean_end() -> None:
    """The second one comes while the node closes, or while the interpreter ends."""
    draw = random.Random(3)
    with ExitStack() as stack:
        processes = [stack.enter_context(running(SPINS, CLOSES)) for _ in range(PROCESSES)]
        for process in processes:
            time.sleep(draw.uniform(0.0, 0.05))
            process.send_signal(draw.choice(SIGNALS))
        for process in processes:
            time.sleep(draw.uniform(0.0, 0.15))  # most of them close now
            process.send_signal(draw.choice(SIGNALS))
        while any(process.poll() is None for process in processes):
            for process in processes:
                process.send_signal(signal.SIGINT)
            time.sleep(draw.uniform(0.0, 0.02))
        for process in processes:
            output, _ = process.communicate(timeout=LIMIT_S)
            assert (process.returncode, output) == (0, "closed\n")


def test_a_step_that_takes_long_is_interrupted_and_closing_is_given_up_at_the_third_signal() -> None:
    with (
        running('print("runs", flush=True); time.sleep(60)', "pass") as slow,
        running(SPINS, "time.sleep(60)") as stuck,
    ):
        began = time.monotonic()
        slow.send_signal(signal.SIGINT)
        stuck.send_signal(signal.SIGINT)
        output, _ = slow.communicate(timeout=LIMIT_S)
        assert (slow.returncode, output) == (0, "closed\n")
        assert time.monotonic() - began > 2.0  # a step has its time
        stuck.send_signal(signal.SIGINT)
        assert stuck.poll() is None
        stuck.send_signal(signal.SIGTERM)  # two of a kind at once would be one
        assert stuck.wait(LIMIT_S) == 1


def test_a_decision_that_goes_on_holds_nothing_up() -> None:
    with running(DECIDES, "pass") as deciding:
        deciding.send_signal(signal.SIGINT)
        output, _ = deciding.communicate(timeout=LIMIT_S)
        assert (deciding.returncode, output) == (0, "closed\n")
