"""For all tests: a private ROS domain, so that no other graph on this machine is seen, and a second try for graphs."""

import os
import signal
from collections.abc import Iterator

import pytest

from salus_vla.ros.environment.domains import private_graph

# Under nohup it is ignored, and so by every process that is started here: tests send it, and mean it.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# For what is started here: tests run side by side, and the second thread of a product of matrices spins while it waits.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell's `&` starts pytest with SIGINT ignored, and whatever it starts would inherit that: no Ctrl-C would end it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def private_ros_domain() -> Iterator[int]:
    """ROS_DOMAIN_ID of this test run and everything it starts, on the loopback only."""
    os.environ.pop("ROS_DOMAIN_ID", None)
    os.environ.pop("ROS_AUTOMATIC_DISCOVERY_RANGE", None)
    with private_graph(os.environ) as environment:
        yield int(environment["ROS_DOMAIN_ID"])


_SECOND_TRIES: list[pytest.TestReport] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remembers why a first try failed."""
    if report.outcome == "rerun":
        _SECOND_TRIES.append(report)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows why, also when the second try passed: nothing is hidden by it."""
    for report in _SECOND_TRIES:
        terminalreporter.write_sep("_", f"first try of {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that starts processes is tried twice: discovery and scheduling of a busy machine are not what it is about.

    The summary lists each second try (RERUN): it is a defect of the test or of the node, and to be mended. What asserts
    a safety property runs once: an arm that stops in one of two tries is not safe.
    """
    for item in items:
        if item.get_closest_marker("graph") is None:
            continue
        if item.get_closest_marker("safety") is None:
            item.add_marker(pytest.mark.flaky(reruns=1))
        # Two processes that both need the recorded run would record it twice.
        recorded = isinstance(item, pytest.Function) and "collected" in item.fixturenames
        item.add_marker(pytest.mark.xdist_group("collected" if recorded else item.path.stem))
