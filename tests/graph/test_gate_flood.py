"""A real `command_gate` in a flood of 5,000 targets a second, in motion and over DDS: joints first, braked in time."""

import select
import subprocess
import sys
from contextlib import ExitStack

import numpy as np
import pytest

from salus_msgs.msg import Status
from salus_vla import contract

from .test_gate import COMMANDER, DT, HOME, Bench, assert_inside, bench  # noqa: F401

pytestmark = [pytest.mark.graph, pytest.mark.safety, pytest.mark.timeout(120)]

# Accelerates the arm for this many commands, then sends what is chosen as fast as it can, 5 kHz at most, and no command
# that could pass. Prints how many a second it sent.
DRIVEN = 20
FLOODS = {
    # Not finite: refused at once.
    "invalid": "messages.joint_command(newest, np.full(9, np.nan))",
    # A command that has passed, again and again: everything about it is right but its stamp, which was answered.
    "valid": "messages.joint_command(passed[-1][0], passed[-1][1])",
    # Commands that have passed, newest first.
    "reordered": "messages.joint_command(*passed[-1 - number % len(passed)])",
}
FLOODER = (
    COMMANDER.replace("rclpy.spin(node)\n", "").replace(
        "    if reached:\n",
        "    global newest\n    newest = messages.to_ns(message.header.stamp)\n"
        f"    if len(passed) >= {DRIVEN}:\n        return\n    if reached:\n",
    )
    + f"""
import time
newest, passed = 0, []
send = publisher.publish
def publish(message):
    if reached:
        passed.append((messages.to_ns(message.header.stamp), np.array(message.position)))
    send(message)
publisher.publish = publish
while len(passed) < {DRIVEN}:
    rclpy.spin_once(node)
print("flood", flush=True)
began, number = time.monotonic(), 0
while time.monotonic() - began < 2.0:
    if number <= 5000 * (time.monotonic() - began):
        send(FLOOD)
        number += 1
    rclpy.spin_once(node, timeout_sec=0.0) if number % 50 == 0 else None
print(int(number / (time.monotonic() - began)), flush=True)
rclpy.spin(node)
"""
)


@pytest.mark.parametrize("flood", FLOODS)
def test_the_deadman_brakes_within_200_ms_while_a_flood_goes_on(bench: Bench, flood: str) -> None:  # noqa: F811
    with ExitStack() as stack:
        program = FLOODER.replace("FLOOD)", f"{FLOODS[flood]})")
        process = stack.enter_context(
            subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        )
        stack.callback(process.kill)
        bench.wait(lambda: bench.node.count_publishers(contract.JOINT_TARGET.name) == 1, "the commander")
        bench.wait(lambda: bench.node.count_subscribers(contract.JOINT_STATES.name) == 2, "the commander's ears")
        bench.wait_for_status(Status.READY)
        bench.answered_until(lambda: np.abs(bench.pose - HOME).max() > 0.0, "motion")
        output = process.stdout
        assert output is not None
        while not select.select([output], [], [], 0.0)[0]:
            bench.frame()
            newest = bench.stamp
            bench.wait(
                lambda newest=newest: bench.sent[-1][0] == newest or select.select([output], [], [], 0.0)[0],
                "the answer to a frame",
            )
        assert output.readline() == "flood\n"
        bench.frames_until(lambda: bench.statuses[-1].reason == "deadman", "a stop")
        assert int(output.readline()) > 4000  # a second, while the gate braked
        speeds = np.diff([position[0] for _, position in bench.sent]) / DT
        braked = next(index for index in range(1, len(speeds)) if speeds[index] < speeds[index - 1]) + 1
        assert speeds[braked - 2] > 0.5
        last_ns, own_ns = bench.sent[braked - 1][0], bench.sent[braked][0]
        reaction_s = bench.arrived[braked] - bench.published[own_ns]
        assert (own_ns - last_ns) * 1e-9 + reaction_s <= 0.2
        while np.abs(bench.sent[-1][1] - bench.sent[-2][1]).max() > 0.0:
            bench.answered_frame()
        assert_inside([position for _, position in bench.sent], HOME)
        assert int(bench.commands_part()["refused"]) > 0
