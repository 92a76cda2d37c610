"""What a running graph opens, shares and leaves behind."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import psutil
import pytest
from listening_sockets import BoundSocket, bound_sockets

from salus_vla.bench.faults.running_graph import STARTS_WITHIN_S, Collecting, Watch
from salus_vla.ros.environment.shared_memory import remove_dead_segments, segments, segments_of
from security_policy import TOOLS, node_access

pytestmark = [pytest.mark.graph, pytest.mark.safety, pytest.mark.timeout(120)]

OPTIONS = ["--episodes", "50", "--policy", "hold", "--run-id", "run"]
NODES = {"mujoco_sim", "bag_recorder", "vla_ensemble", "episode"}
OWN = {"/rosout", "/parameter_events"}


@pytest.fixture(scope="module")
def watch() -> Iterator[Watch]:
    with Watch() as watch:
        yield watch


@pytest.fixture(scope="module")
def graph(watch: Watch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collecting]:
    collecting = Collecting(tmp_path_factory.mktemp("runs"), OPTIONS)
    try:
        began = watch.spin(STARTS_WITHIN_S, lambda: watch.seen.episode is not None or collecting.ended)
        assert began, "no episode began"
        assert not collecting.ended, collecting.output
        yield collecting
    finally:
        collecting.kill_all()


def test_nothing_is_bound_outside_this_machine(graph: Collecting) -> None:
    processes = graph.processes()
    assert processes.keys() >= NODES | {"collect", "runner"}
    found = bound_sockets(process.pid for process in processes.values())
    assert {item.pid for item in found} >= {processes[name].pid for name in NODES}  # it did look
    assert [item for item in found if not item.is_local] == []


def test_a_socket_that_is_open_to_others_would_be_found() -> None:
    own = psutil.Process().pid
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("", 0))
        address, port = opened.getsockname()
        assert BoundSocket(own, "udp", address, port) in [item for item in bound_sockets([own]) if not item.is_local]
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as opened:
        opened.bind(("::1", 0))
        assert all(item.is_local for item in bound_sockets([own]) if item.port == opened.getsockname()[1])
    assert not BoundSocket(own, "tcp", "::ffff:192.0.2.2", 1).is_local
    assert BoundSocket(own, "tcp", "::ffff:127.0.0.1", 1).is_local


def test_each_process_has_one_shared_segment(graph: Collecting) -> None:
    processes = graph.processes()
    assert {name: len(segments_of(processes[name].pid)) for name in NODES} == dict.fromkeys(NODES, 1)
    assert set(segments()) >= frozenset[str]().union(*(segments_of(process.pid) for process in processes.values()))


def test_the_security_policy_allows_what_the_nodes_do(graph: Collecting, watch: Watch) -> None:
    """Live nodes against the policy: one that gets a new topic or service has to be given it there."""
    known = {access.name: access for access in node_access()}
    # The names arrive after the nodes.
    watch.spin(20.0, lambda: set(watch.node.get_node_names()) >= NODES | {"salus_collect"})
    for name in sorted(set(watch.node.get_node_names()) - {"salus_collect", "salus_faults"}):
        assert name in known, f"{name} has no enclave in tools/generate/security_policy.py"
        access = known[name]
        publishes = {topic for topic, _ in watch.node.get_publisher_names_and_types_by_node(name, "/")}
        subscribes = {topic for topic, _ in watch.node.get_subscriber_names_and_types_by_node(name, "/")}
        serves = {service for service, _ in watch.node.get_service_names_and_types_by_node(name, "/")}
        calls = {service for service, _ in watch.node.get_client_names_and_types_by_node(name, "/")}
        assert publishes - OWN <= access.publishes, name
        assert publishes > OWN, name
        assert subscribes - OWN <= access.subscribes, name
        assert {service for service in serves if not service.startswith(f"/{name}/")} <= access.serves, name
        assert calls <= access.calls, name
    subscribed = {topic for topic, _ in watch.node.get_subscriber_names_and_types_by_node("salus_collect", "/")}
    assert subscribed - OWN <= known[TOOLS].subscribes


def test_what_a_killed_graph_leaves_in_shared_memory_is_removed(graph: Collecting) -> None:
    """The last test: it kills the graph."""
    mine = segments_of(psutil.Process().pid)
    processes = graph.processes()
    dead = frozenset[str]().union(*(segments_of(process.pid) for process in processes.values()))
    assert len(dead) == len(processes) - 1  # all but the runner
    graph.kill_all()
    remove_dead_segments(youngest_s=0.0)
    left = set(segments())
    assert not dead & left
    assert mine
    assert mine <= left
