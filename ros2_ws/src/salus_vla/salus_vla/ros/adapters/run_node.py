"""What every executable does around its node: start, run until SIGINT, report errors as one line, exit code."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Protocol

import rclpy
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException
from rclpy.signals import SignalHandlerOptions

from salus_msgs.msg import Status
from salus_vla.contract import DISCOVERY_S, STATUS_TOPIC
from salus_vla.contract.errors import SalusError
from salus_vla.processes import ending_signals
from salus_vla.ros.adapters.ending import Ending, leave
from salus_vla.ros.adapters.qos_profiles import qos_profile
from salus_vla.ros.environment.preflight import prepare

ENDS_WITHIN_S = 15.0  # wall time in which a process that could not start is gone, whatever the middleware does
TELLS_WITHIN_S = DISCOVERY_S + 1.0  # wall time for the episode node to hear why a node does not start
OTHERS_S = 1.0  # wall time for it to find this node too, when somebody else was first


class RunnableNode(Protocol):
    """A node with its own loop."""

    def run(self) -> int | None:
        """Runs until the work is done or rclpy shuts down; an exit code, 0 if None."""

    def close(self) -> None:
        """Frees what the node holds."""


def run_node(
    make: Callable[[], RunnableNode], args: list[str] | None = None, *, role: str = "", ends_itself: bool = False
) -> int:
    """Runs a node; returns the process's exit code: 0 at the end or on SIGINT, 1 on an error that was reported.

    Args:
        make: constructs it.
        args: command line with the ROS arguments; the process's own by default; then nothing follows in this process.
        role: in the graph; a node that ends by an error says FAILED on /salus/status in its name.
        ends_itself: signals are the node's to handle, because it has something to do before it ends.
    """
    code = _run(make, args, role, ends_itself)
    if args is None:
        leave()
        if "torch" in sys.modules:
            # What is open is closed. Torch takes seconds to be taken apart, and aborts where a decision still goes on
            # in a thread. (Mesa's threads, of a simulator, have no priority at all and want to be waited for.)
            gc.collect()  # with the last object that uses it the middleware gives its shared memory back
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError):  # nobody reads it any more
                    stream.flush()
            os._exit(code)
    return code


def _run(make: Callable[[], RunnableNode], args: list[str] | None, role: str, ends_itself: bool) -> int:
    try:
        prepare(os.environ)
    except SalusError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node: RunnableNode | None = None
    with Ending(last=args is None) if not ends_itself else nullcontext() as ending:
        try:
            node = make()
            return node.run() or 0
        except (KeyboardInterrupt, ExternalShutdownException):
            return 0
        except SalusError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            if node is None:
                # Fast DDS was seen to hang forever while a participant was torn down as others came up. Whoever waits
                # for a process that could not start must not; no thread of Python's can be relied on then. A node that
                # ran has bags to close, and takes the time that it needs.
                faulthandler.dump_traceback_later(ENDS_WITHIN_S, exit=True, file=os.open(os.devnull, os.O_WRONLY))
            if role:
                _say_failed(role, error)
            return 1
        except Exception:
            # What was asked of rclpy after it was shut down fails in many ways, none of them a fault.
            if rclpy.ok():
                raise
            return 0
        finally:
            if ending is not None:
                ending.closes()
            else:
                for number in ending_signals():  # it ends already; a second one must not end it otherwise
                    signal.signal(number, signal.SIG_IGN)
            if node is not None:
                node.close()
            rclpy.try_shutdown()


def _say_failed(role: str, error: SalusError) -> None:
    """Tells the graph why this node ends; nobody else would know, and it would be missed only later."""
    try:
        # The arguments may be what is wrong, and a remapped name would be that of the node that failed.
        node = rclpy.create_node(f"{role}_failed", use_global_arguments=False, enable_rosout=False)
        publisher = node.create_publisher(Status, STATUS_TOPIC.name, qos_profile(STATUS_TOPIC.qos))
        publisher.publish(Status(role=role, state=Status.FAILED, reason=Status.REASON_NOT_STARTED, detail=str(error)))
        until = time.monotonic() + TELLS_WITHIN_S
        while not publisher.get_subscription_count() and time.monotonic() < until:
            rclpy.spin_once(node, timeout_sec=0.1)
        time.sleep(OTHERS_S)
        publisher.wait_for_all_acked(Duration(seconds=1))
        node.destroy_node()
    except (KeyboardInterrupt, ExternalShutdownException):
        return
    except Exception:
        if rclpy.ok():  # else a signal ended rclpy meanwhile, and whoever sent it knows
            raise
