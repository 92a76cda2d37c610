"""When an episode may begin, what ends it, and which of several reasons is the first cause."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.contract.reasons import (
    CLOCK_JUMPED_BACK,
    COMMAND_REFUSED,
    DEADMAN,
    INACTIVE,
    LOCKSTEP_LOST,
    NO_DECISION_YET,
    NO_EPISODE,
    NODE_LOST,
    RECORDING_FAILED,
    SCENE_RESET,
    SECOND_PUBLISHER,
    SIMULATOR_STOPPED,
    STALE_CAMERA,
    WATCHDOG,
    NodeState,
)
from salus_vla.health.publishers import best_effort, second_publisher, unpublished
from salus_vla.health.refusals import Refusals
from salus_vla.health.refusing import HOPELESS_S, Refusing
from salus_vla.health.supervision import (
    LEASE_S,
    ROLES,
    SYMPTOMS,
    UNPUBLISHED_S,
    FirstCause,
    NodeReport,
    Stop,
    Supervisor,
)

TIMEOUT = 5.0


def report(role: str, state: NodeState, reason: str = "", detail: str = "in words") -> NodeReport:
    return NodeReport(role, state, reason, detail, {"node": f"/{role}"})


def ready(wall_s: float = 0.0) -> Supervisor:
    """All nodes are ready and live."""
    supervisor = Supervisor(TIMEOUT)
    for role in ROLES:
        supervisor.said(report(role, NodeState.READY, detail=""), wall_s)
        supervisor.heard(f"/{role}", wall_s)
    return supervisor


def test_an_episode_begins_when_every_role_is_ready_and_gives_signs_of_life() -> None:
    supervisor = Supervisor(TIMEOUT)
    assert supervisor.not_ready(["/sim/reset"]) == ["service /sim/reset", *(f"{role} READY" for role in ROLES)]
    for role in ROLES:
        supervisor.said(report(role, NodeState.READY), 0.0)
    assert supervisor.not_ready() == [f"/diagnostics of {role}" for role in ROLES]
    assert ready().not_ready() == []


@pytest.mark.parametrize(
    ("state", "reason", "ok"),
    [
        (NodeState.RUNNING, "", True),  # it streams an arm at rest between two episodes
        (NodeState.HOLDING, DEADMAN, True),  # and takes a new stream where it holds
        (NodeState.HOLDING, SECOND_PUBLISHER, False),
        (NodeState.STARTING, "", False),
        (NodeState.FAILED, DEADMAN, False),
    ],
)
def test_the_gate_need_not_be_idle(state: NodeState, reason: str, ok: bool) -> None:
    supervisor = ready()
    supervisor.said(report("gate", state, reason), 0.0)
    assert (supervisor.not_ready() == []) is ok


def test_what_a_node_says_of_its_wait_is_shown() -> None:
    supervisor = ready()
    supervisor.said(report("policy", NodeState.STARTING, detail="loading the policy"), 0.0)
    assert supervisor.not_ready() == ["policy READY (it says: loading the policy)"]


@pytest.mark.parametrize("reason", WATCHDOG)
def test_a_latched_hold_ends_the_run_at_any_time(reason: str) -> None:
    supervisor = ready()
    supervisor.said(report("policy", NodeState.HOLDING, reason), 0.0)
    assert supervisor.fault(0.0) == Stop(reason, "policy: in words")


def test_a_hold_that_ends_by_itself_ends_nothing() -> None:
    supervisor = ready()
    supervisor.said(report("policy", NodeState.HOLDING, NO_DECISION_YET), 0.0)
    assert supervisor.fault(0.0, moving=True) is None


def test_who_is_deactivated_in_an_episode_ends_it_and_before_one_is_waited_for() -> None:
    supervisor = ready()
    supervisor.said(report("recorder", NodeState.HOLDING, INACTIVE, "deactivated by a lifecycle transition"), 0.0)
    assert supervisor.fault(0.0) is None
    stop = supervisor.fault(0.0, moving=True)
    assert stop == Stop(INACTIVE, "recorder: deactivated by a lifecycle transition")


def test_a_node_that_failed_ends_the_run_and_the_episode_nodes_own_word_does_not() -> None:
    supervisor = ready()
    supervisor.said(report("episode", NodeState.FAILED, NODE_LOST), 0.0)
    assert supervisor.fault(0.0, moving=True) is None
    supervisor.said(report("recorder", NodeState.FAILED, RECORDING_FAILED), 0.0)
    assert supervisor.fault(0.0) == Stop(RECORDING_FAILED, "recorder: in words")


def test_a_node_without_a_sign_of_life_is_lost_once_and_by_name() -> None:
    supervisor = ready()
    supervisor.watch(0.0)
    for wall in range(1, 6):
        for role in ("recorder", "gate"):
            supervisor.heard(f"/{role}", float(wall))
        assert supervisor.fault(float(wall)) is None
    stop = supervisor.fault(5.5)
    assert stop is not None
    assert stop.reason == NODE_LOST
    assert stop.detail.startswith("/policy has given no /diagnostics")
    assert supervisor.is_lost("policy")
    assert not supervisor.is_lost("recorder")
    assert supervisor.fault(5.6) is None


def test_a_gate_that_holds_for_long_ends_an_episode_and_a_short_hold_does_not() -> None:
    supervisor = ready()
    supervisor.said(report("gate", NodeState.HOLDING, DEADMAN), 10.0)
    assert supervisor.fault(10.0 + TIMEOUT, moving=True) is None
    assert supervisor.fault(11.5 + TIMEOUT, moving=True) == Stop(DEADMAN, "gate: in words")
    supervisor.said(report("gate", NodeState.RUNNING), 12.0)
    assert supervisor.fault(30.0, moving=True) is None


def test_a_second_publisher_ends_an_episode_at_once_and_is_waited_for_before_one() -> None:
    supervisor = ready()
    fault = "/joint_command has a second publisher, node /x"
    supervisor.publishers(fault, 10.0)
    assert supervisor.not_ready() == [fault]
    assert supervisor.fault(10.0, moving=True) == Stop(SECOND_PUBLISHER, fault)
    assert supervisor.fault(10.0 + LEASE_S) is None  # it may be a process that was killed
    assert supervisor.fault(10.1 + LEASE_S) == Stop(SECOND_PUBLISHER, fault)
    supervisor.publishers("", 20.0)
    assert supervisor.not_ready() == []
    assert supervisor.fault(100.0, moving=True) is None


@given(st.lists(st.sampled_from(["/gate", "/x", "/y"]), max_size=4), st.sampled_from([None, "/gate"]))
def test_a_topic_has_one_publisher_and_every_other_is_named(names: list[str], ours: str | None) -> None:
    fault = second_publisher("/t", names, ours)
    assert bool(fault) == (len(names) > 1)
    if fault and ours in names:
        assert any(name in fault for name in sorted(names)[1:] or names)
    elif fault:
        assert all(name in fault for name in names)
    assert not fault or fault.startswith("/t has ")


RESET = Stop(SCENE_RESET, "the scene was reset")
SECOND = Stop(SECOND_PUBLISHER, "/clock has 2 publishers")


def test_the_cause_comes_before_what_follows_from_it() -> None:
    cause = FirstCause()
    assert cause.judge(Stop(LOCKSTEP_LOST, "policy: ..."), 10.0) is None
    assert cause.judge(RESET, 10.2) is None  # somebody's publisher may be behind it
    assert cause.pending == RESET
    assert cause.judge(None, 10.5) == RESET


@pytest.mark.parametrize("reason", [LOCKSTEP_LOST, SCENE_RESET, CLOCK_JUMPED_BACK, STALE_CAMERA])
def test_a_second_publisher_is_the_cause_of_what_it_does(reason: str) -> None:
    cause = FirstCause()
    assert cause.judge(Stop(reason, "..."), 10.0) is None
    assert cause.judge(SECOND, 10.3) == SECOND


def test_a_symptom_without_a_cause_is_the_reason_soon() -> None:
    cause = FirstCause()
    first = Stop(STALE_CAMERA, "policy: ...")
    assert cause.judge(first, 10.0) is None
    assert cause.judge(None, 10.4) is None
    assert cause.judge(Stop(DEADMAN, "gate: ..."), 10.5) == first


def test_a_gate_that_has_let_go_is_no_reason() -> None:
    cause = FirstCause()
    assert cause.judge(Stop(DEADMAN, "gate: ..."), 10.0) is None
    assert cause.judge(None, 10.1) is None
    assert cause.judge(None, 20.0) is None


@given(st.sampled_from([NODE_LOST, SECOND_PUBLISHER, RECORDING_FAILED, INACTIVE]))
def test_a_cause_is_the_reason_at_once(reason: str) -> None:
    assert reason not in SYMPTOMS
    assert FirstCause().judge(Stop(reason, "x"), 0.0) == Stop(reason, "x")


def test_a_second_publisher_comes_before_what_the_nodes_say() -> None:
    supervisor = ready()
    supervisor.said(report("policy", NodeState.FAILED, LOCKSTEP_LOST), 0.0)
    supervisor.publishers(SECOND.detail, 0.0)
    assert supervisor.fault(0.0, moving=True) == SECOND


def test_a_gate_that_holds_from_before_has_its_whole_time_in_the_next_episode() -> None:
    supervisor = ready()
    supervisor.said(report("gate", NodeState.HOLDING, DEADMAN), 10.0)
    supervisor.begin_episode(100.0)
    assert supervisor.fault(101.0, moving=True) is None
    assert supervisor.fault(101.5 + TIMEOUT, moving=True) is not None


def test_commands_that_were_refused_are_the_cause_of_a_world_that_stands_still() -> None:
    supervisor = ready()
    supervisor.begin_episode(0.0)
    supervisor.said(report("gate", NodeState.HOLDING, COMMAND_REFUSED, "velocity: joint 2"), 1.0)
    supervisor.said(report("gate", NodeState.HOLDING, DEADMAN), 1.2)
    stopped = Stop(SIMULATOR_STOPPED, "policy: /clock stands still")
    assert supervisor.explained(stopped) == Stop(
        COMMAND_REFUSED, "gate: velocity: joint 2; then simulator_stopped: policy: /clock stands still"
    )
    assert supervisor.explained(SECOND) == SECOND  # no symptom
    supervisor.said(report("gate", NodeState.RUNNING), 2.0)  # later commands passed
    assert supervisor.explained(stopped) == stopped
    supervisor.said(report("gate", NodeState.HOLDING, COMMAND_REFUSED), 3.0)
    supervisor.begin_episode(4.0)
    assert supervisor.explained(stopped) == stopped


def refused(supervisor: Supervisor, refusals: Refusals, count: int, wall_s: float) -> None:
    """The policy's diagnostics after some more refusals."""
    for _ in range(count):
        refusals.add("/camera_top/image_raw", "/camera_top/image_raw: image encoding is 'rgba8'", wall_s)
    part = refusals.part(wall_s)
    supervisor.refusing.heard("/policy", int(part.values["refused"]), part.message, wall_s)


def test_what_a_node_refuses_is_said_while_it_is_waited_for_and_ends_the_wait() -> None:
    supervisor, refusals = ready(), Refusals()
    supervisor.said(report("policy", NodeState.HOLDING, INACTIVE, "activated"), 0.0)
    refused(supervisor, refusals, 3, 0.0)
    encoding = "/camera_top/image_raw: image encoding is 'rgba8'"
    assert supervisor.not_ready() == [f"policy READY (it refuses: {encoding})"]
    for second in range(1, int(HOPELESS_S) + 1):
        refused(supervisor, refusals, 1, second)
        assert supervisor.hopeless(second) is None
    stop = Stop(NO_EPISODE, f"policy refuses what the simulator publishes: {encoding}")
    assert supervisor.hopeless(HOPELESS_S + 0.1) == stop
    assert supervisor.explained(Stop(STALE_CAMERA, "old")) == Stop(STALE_CAMERA, f"old; /policy refuses: {encoding}")
    supervisor.said(report("policy", NodeState.READY), HOPELESS_S)  # others came through
    assert supervisor.hopeless(HOPELESS_S + 0.1) is None
    quiet = refusals.part(HOPELESS_S + Refusals.QUIET_S + 0.1)
    supervisor.refusing.heard("/policy", int(quiet.values["refused"]), quiet.message, 20.0)
    assert supervisor.refusing.all_words() == ""


@given(st.text(), st.integers(), st.floats(0.0, 1e6))
def test_whatever_calls_itself_diagnostics_is_read(message: str, total: int, wall_s: float) -> None:
    refusing = Refusing()
    refusing.heard("/x", total, message, wall_s)
    assert not refusing.hopeless("/x", wall_s + 2.0 * HOPELESS_S)  # one report says nothing of what goes on
    assert bool(refusing.all_words()) == ("the newest: " in message)


def test_topics_of_which_nothing_can_arrive_end_the_wait() -> None:
    words = best_effort("/camera_top/image_raw", {"/sim": False})
    assert words == "/camera_top/image_raw is published best effort by /sim, expected reliable: nothing arrives"
    assert best_effort("/t", {}) == best_effort("/t", {"/sim": False, "/other": True}) == ""
    supervisor = ready()
    supervisor.unreliable([words], 5.0)
    assert supervisor.not_ready() == [words]
    assert supervisor.hopeless(5.0 + HOPELESS_S) is None
    assert supervisor.hopeless(5.1 + HOPELESS_S) == Stop(NO_EPISODE, words)
    supervisor.unreliable([], 6.0)
    assert supervisor.hopeless(100.0) is None


def test_a_simulator_without_one_of_its_topics_is_named_and_not_waited_for_long() -> None:
    """One that is still starting has none of them, and may take its time."""
    assert unpublished({"/clock": 0, "/joint_states": 0}) == unpublished({"/clock": 1, "/joint_states": 2}) == ""
    words = unpublished({"/clock": 1, "/camera_top/camera_info": 0, "/camera_top/image_raw": 0})
    assert words == "nobody publishes /camera_top/camera_info, /camera_top/image_raw"
    supervisor = ready()
    supervisor.unpublished("nobody publishes /camera_top/camera_info", 4.0)
    supervisor.unpublished(words, 5.0)
    assert supervisor.not_ready() == [words]
    assert supervisor.hopeless(4.0 + UNPUBLISHED_S) is None
    assert supervisor.hopeless(4.1 + UNPUBLISHED_S) == Stop(NO_EPISODE, words)
    supervisor.unpublished("", 6.0)
    assert supervisor.not_ready() == []
    assert supervisor.hopeless(100.0) is None
