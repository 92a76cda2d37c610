"""Whether the nodes of a graph let an episode begin or go on: what they say of themselves, and whether they still live.

Pure: the episode node feeds it with statuses, signs of life and publishers, and asks before and during each episode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from salus_vla.contract.reasons import (
    CLOCK_JUMPED_BACK,
    COMMAND_REFUSED,
    DEADMAN,
    HANDED_OVER,
    INACTIVE,
    LOCKSTEP_LOST,
    NO_EPISODE,
    NODE_LOST,
    NON_FINITE_ACTION,
    SCENE_RESET,
    SECOND_PUBLISHER,
    SIMULATOR_STOPPED,
    STALE_CAMERA,
    STALE_CHUNK,
    STALE_JOINTS,
    WATCHDOG,
    NodeState,
)
from salus_vla.health.heartbeats import Heartbeats
from salus_vla.health.refusing import HOPELESS_S, Refusing

UNPUBLISHED_S = 30.0  # a simulator that publishes some of its topics has the others by then
ROLES = ("policy", "recorder", "gate")  # all must be ready before an episode ...
PREDICTOR = "predictor"  # ... and this one, where it is part of the graph
_READY = {
    "policy": (NodeState.READY,),
    "recorder": (NodeState.READY,),
    PREDICTOR: (NodeState.READY,),
    # It goes on streaming, or holding, an arm at rest between two episodes, and takes a new stream from there.
    "gate": (NodeState.READY, NodeState.RUNNING),
}
LEASE_S = 15.0  # a publisher whose process was killed is known for so long: longer than the lease in config/fastdds.xml


@dataclass(frozen=True)
class NodeReport:
    """What a node says: as salus_msgs/msg/Status."""

    role: str
    state: NodeState
    reason: str = ""
    detail: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    stamp_ns: int = 0


@dataclass(frozen=True)
class Stop:
    """Why an episode cannot begin or go on: a reason of Status.msg, and words that name the node, topic or value."""

    reason: str
    detail: str


class _Hindrance:
    """What hinders an episode, and for how long it has."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self.words = ""
        self._since_s = 0.0

    def now(self, words: str, wall_s: float) -> None:
        """What it is at wall time [s]; empty where nothing hinders."""
        if bool(words) != bool(self.words):
            self._since_s = wall_s
        self.words = words

    def lasts(self, wall_s: float) -> bool:
        """Whether waiting for its end is no use any more."""
        return bool(self.words) and wall_s - self._since_s > self._patience_s


class Supervisor:
    """Remembers the nodes of a graph and judges them. All times are wall time [s].

    Attributes:
        lost: name of the node that gave no sign of life for too long; empty while there is none.
        publisher_fault: what is wrong with the publishers of the topics that have one; empty where nothing is.
        refusing: who refuses messages.
    """

    def __init__(self, node_timeout_s: float, roles: Sequence[str] = ROLES, lease_s: float = LEASE_S) -> None:
        """Nothing was heard yet.

        Args:
            node_timeout_s: silence that makes a node lost [s].
            roles: that must be ready before an episode.
            lease_s: for so long a second publisher may be one whose process was killed [s].
        """
        self._lease_s = lease_s
        self._roles = roles
        self._node_timeout_s = node_timeout_s
        self._reports: dict[str, NodeReport] = {}
        self._heartbeats = Heartbeats(node_timeout_s)
        self._held_since: float | None = None  # by the gate's deadman
        self._refusals: dict[str, Stop] = {}  # of commands, by role, since they went well last; the first one first
        self.refusing = Refusing()
        self.publisher_fault = ""
        self._fault_since: float | None = None
        self._hindered = {"unreliable": _Hindrance(HOPELESS_S), "unpublished": _Hindrance(UNPUBLISHED_S)}
        self.lost = ""

    # -- what is heard -------------------------------------------------------------------------------------------------

    def said(self, report: NodeReport, wall_s: float) -> None:
        """A node said what it does."""
        self._reports[report.role] = report
        if report.state == NodeState.HOLDING and report.reason in CAUSES:
            self._refusals.setdefault(report.role, Stop(report.reason, f"{report.role}: {report.detail}"))
        elif report.state in (NodeState.READY, NodeState.RUNNING):
            self._refusals.pop(report.role, None)
        if report.role == "gate":
            held = report.state == NodeState.HOLDING and report.reason == DEADMAN
            self._held_since = wall_s if held else None

    def heard(self, name: str, wall_s: float) -> None:
        """A node gave a sign of life."""
        self._heartbeats.heard(name, wall_s)

    def publishers(self, fault: str, wall_s: float) -> None:
        """What is wrong with the publishers of the topics that have one; empty where nothing is."""
        if bool(fault) != bool(self.publisher_fault):
            self._fault_since = wall_s if fault else None
        self.publisher_fault = fault

    def unreliable(self, faults: Sequence[str], wall_s: float) -> None:
        """Topics of which nothing can arrive, in words."""
        self._hindered["unreliable"].now("; ".join(faults), wall_s)

    def unpublished(self, fault: str, wall_s: float) -> None:
        """Topics that nobody publishes, in words; empty where there are none."""
        self._hindered["unpublished"].now(fault, wall_s)

    def watch(self, wall_s: float) -> None:
        """From now on everyone who has been heard must go on giving signs of life."""
        self._heartbeats.begin(wall_s)

    def begin_episode(self, wall_s: float) -> None:
        """An episode begins: a gate that holds from before has its whole time to let go."""
        self._refusals.clear()
        if self._held_since is not None:
            self._held_since = wall_s

    def dismiss(self) -> None:
        """Nobody is expected any more."""
        self._heartbeats.dismiss()

    # -- what follows --------------------------------------------------------------------------------------------------

    @property
    def known(self) -> frozenset[str]:
        """Every node that has ever been heard."""
        return self._heartbeats.known

    def not_ready(self, missing_services: Sequence[str] = ()) -> list[str]:
        """What an episode still needs, in words; nothing when it may begin."""
        need = [f"service {name}" for name in missing_services]
        for role in self._roles:
            report = self._reports.get(role)
            if report is None or not self._is_ready(report):
                refused = self.refusing.words(self.fact(role, "node", ""))
                said = "" if report is None or not report.detail else f" (it says: {report.detail})"
                said = f" (it refuses: {refused})" if refused else said
                need.append(f"{role} READY{said}")
            elif self.fact(role, "node", "") not in self._heartbeats.known:
                need.append(f"/diagnostics of {role}")
        if self.publisher_fault:
            need.append(self.publisher_fault)
        return [*need, *(hindrance.words for hindrance in self._hindered.values() if hindrance.words)]

    def hopeless(self, wall_s: float) -> Stop | None:
        """Why waiting for an episode has no end: what a node needs to be ready is refused by it, or cannot arrive."""
        for hindrance in self._hindered.values():
            if hindrance.lasts(wall_s):
                return Stop(NO_EPISODE, hindrance.words)
        for role in self._roles:
            node, report = self.fact(role, "node", ""), self._reports.get(role)
            if report is not None and not self._is_ready(report) and self.refusing.hopeless(node, wall_s):
                return Stop(NO_EPISODE, f"{role} refuses what the simulator publishes: {self.refusing.words(node)}")
        return None

    def explained(self, stop: Stop) -> Stop:
        """A reason to stop with what it follows from: commands that were refused, messages that are."""
        first = next(iter(self._refusals.values()), None)
        if first is not None and stop.reason in SYMPTOMS:
            stop = Stop(first.reason, f"{first.detail}; then {stop.reason}: {stop.detail}")
        return Stop(stop.reason, stop.detail + self.refusing.all_words())

    def policy_rests(self) -> bool:
        """Whether the policy is READY: it says so when the arm rests after an episode."""
        report = self._reports.get("policy")
        return report is not None and report.state == NodeState.READY

    def handed_over(self) -> NodeReport | None:
        """What the policy says if it left the arm to a person; None if it did not."""
        report = self._reports.get("policy")
        return report if report is not None and report.reason == HANDED_OVER else None

    def fault(self, wall_s: float, *, moving: bool = False) -> Stop | None:
        """Why the graph cannot go on.

        Args:
            wall_s: now [s].
            moving: an episode runs, so that the policy must be active, the gate may not hold the arm for long, and no
                topic may have a second publisher.
        """
        since = self._fault_since
        if since is not None and (moving or wall_s - since > self._lease_s):
            return Stop(SECOND_PUBLISHER, self.publisher_fault)
        for role, report in self._reports.items():
            reasons = (*WATCHDOG, INACTIVE, SECOND_PUBLISHER) if moving else WATCHDOG
            # Latched: such a hold does not end by itself.
            held = report.state == NodeState.HOLDING and report.reason in reasons
            if role != "episode" and (held or report.state == NodeState.FAILED):
                return Stop(report.reason, f"{role}: {report.detail}")
        return self.silent(wall_s) or self._held_for_long(wall_s, moving)

    def silent(self, wall_s: float) -> Stop | None:
        """The node that gives no sign of life any more; it is lost once."""
        silent = self._heartbeats.lost(wall_s)
        if silent is None:
            return None
        self.lost, silent_s = silent
        self._heartbeats.dismiss()
        detail = f"{self.lost} has given no /diagnostics for {silent_s:.1f} s: it has ended or hangs"
        return Stop(NODE_LOST, detail)

    def is_lost(self, role: str) -> bool:
        """Whether the node of a role was lost."""
        return bool(self.lost) and self.fact(role, "node", "") == self.lost

    def fact(self, role: str, key: str, default: str) -> str:
        """A fact of a role's status, or `default`."""
        return self._reports[role].facts.get(key, default) if role in self._reports else default

    def _is_ready(self, report: NodeReport) -> bool:
        held = report.role == "gate" and report.state == NodeState.HOLDING and report.reason == DEADMAN
        return held or report.state in _READY[report.role]

    def _held_for_long(self, wall_s: float, moving: bool) -> Stop | None:
        # Longer than it takes to notice that somebody is lost, which would be the better answer.
        held_s = wall_s - self._held_since if moving and self._held_since is not None else 0.0
        return Stop(DEADMAN, f"gate: {self._reports['gate'].detail}") if held_s > self._node_timeout_s + 1.0 else None


# Commands that do not reach the arm: no reason to stop while others do, and the first cause where none does.
CAUSES = (COMMAND_REFUSED, NON_FINITE_ACTION)
# What follows from something else: the arm is stopped by then, and whoever looks a moment longer may see from what.
SYMPTOMS = (LOCKSTEP_LOST, SIMULATOR_STOPPED, STALE_CAMERA, STALE_CHUNK, STALE_JOINTS, DEADMAN)
# A world that is teleported: somebody's reset, or somebody else's publisher, which discovery shows a little later.
ELSEWHERE = (SCENE_RESET, CLOCK_JUMPED_BACK)
_PATIENCE_S = 0.5  # wall time in which a cause is seen that was there before its symptom


class FirstCause:
    """Of several reasons to stop, the one that the others follow from."""

    def __init__(self) -> None:
        """Nothing happened yet."""
        self._since_s = 0.0
        self.pending: Stop | None = None

    pending: Stop | None
    """The best reason so far, while a better one may come."""

    def judge(self, stop: Stop | None, wall_s: float) -> Stop | None:
        """Takes a reason, or none, at wall time [s]; gives the one to stop for once it is known."""
        if stop is None and self.pending is not None and self.pending.reason == DEADMAN:
            self.pending = None  # the gate has let go
        if stop is not None and _rank(stop) == 0:
            return stop
        if stop is not None and (self.pending is None or _rank(stop) < _rank(self.pending)):
            self._since_s = wall_s if self.pending is None else self._since_s
            self.pending = stop
        return self.pending if self.pending is not None and wall_s - self._since_s >= _PATIENCE_S else None


def _rank(stop: Stop) -> int:
    return 2 if stop.reason in SYMPTOMS else 1 if stop.reason in ELSEWHERE else 0
