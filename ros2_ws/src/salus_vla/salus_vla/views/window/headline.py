"""State and reason of a graph in words for people, and what can be asked of it.

A person should act where the arm is held until somebody resets it, where it was handed over, where a node failed or
somebody else commands, and where a failure is foreseen that nothing intervenes in. All else is told without a colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from salus_vla.contract.message_readers import EpisodeEvent, EventKind
from salus_vla.contract.reasons import HANDED_OVER, INACTIVE, RUN_COMPLETE, SECOND_PUBLISHER, WATCHDOG
from salus_vla.safety.intervention.told_motion import ToldMotion
from salus_vla.views.graph_monitor import RoleLine
from salus_vla.views.window.window_content import Buttons, Headline, Urgency

POLICY: Final = "policy"
SILENT_S: Final = 5.0  # wall time without any message after which the window says so
# Shown in this order where several nodes have something to say; others follow by name.
_ORDER: Final = (POLICY, "gate", "episode", "recorder", "predictor")
_LATCHED_WORDS: Final = "until somebody resets the hold"


def headline(
    *,
    heard: bool,
    silent_s: float,
    domain: str,
    roles: Sequence[RoleLine],
    episode: EpisodeEvent | None,
    motion: ToldMotion | None,
    handed_over: ToldMotion | None,
    alarm: str,
    watched: bool,
) -> Headline:
    """The most important thing.

    Args:
        heard: whether anything came.
        silent_s: wall time since the newest message [s].
        domain: ROS domain that is listened to.
        roles: what the nodes say of themselves.
        episode: newest event.
        motion: newest choice of the intervention; None where none was heard in this episode.
        handed_over: the choice that left the arm to a person in this episode.
        alarm: the alarm in force in words, or empty.
        watched: whether nothing intervenes in what is foreseen.
    """
    if not heard:
        where = f"Listening on ROS_DOMAIN_ID={domain}; salus collect and salus replay print the domain of their graph."
        return Headline("Nothing heard yet", where)
    told = _told(roles, silent_s)
    if told is not None and told.urgency is Urgency.ACT:
        return told
    running = episode is not None and episode.kind is not EventKind.ENDED
    if handed_over is not None and running:
        return Headline("Handed over to a person", handed_over.why_in_words, Urgency.ACT)
    if silent_s > SILENT_S:
        last = "" if episode is None else f"Last heard: {_episode(episode)}."
        return Headline(f"Nothing heard for {silent_s:.0f} s", last)
    if alarm and running:
        return Headline("Alarm", alarm, Urgency.ACT if watched else Urgency.CALM)
    if told is not None:
        return told
    if episode is None:
        return Headline("Waiting for an episode", "")
    if not running:
        return Headline(f"Episode {episode.episode} ended: {episode.outcome}", episode.detail)
    if motion is not None and motion.intervenes:
        title = f"Running: {motion.name}" if motion.acted else f"Running: follows its plan, {motion.name}"
        return Headline(title, motion.why_in_words)
    what = f"{episode.event}: {episode.detail}" if episode.event else ""
    return Headline("Running: follows its plan", what)


def buttons(roles: Sequence[RoleLine]) -> Buttons:
    """What can be asked of the policy's node in its state."""
    policy = next((line for line in roles if line.role == POLICY), None)
    if policy is None:
        return Buttons()
    held = policy.state == "HOLDING"
    return Buttons(
        hold=policy.state in ("READY", "RUNNING", "HOLDING") and not (held and policy.reason == INACTIVE),
        go_on=held and policy.reason == INACTIVE,
        reset=held and policy.reason in WATCHDOG,
    )


def ordered(roles: Sequence[RoleLine]) -> tuple[RoleLine, ...]:
    """The nodes as people read them: who moves the arm first."""
    names = list(_ORDER)
    return tuple(sorted(roles, key=lambda line: (names.index(line.role) if line.role in names else 99, line.role)))


def _told(roles: Sequence[RoleLine], silent_s: float) -> Headline | None:
    """What the nodes say that is more than that they run; None where that is all."""
    lines = ordered(roles)
    for line in lines:
        if line.state == "FAILED":
            return Headline(f"{line.role} failed: {_words(line.reason)}", line.detail, Urgency.ACT)
        if line.state == "HOLDING" and line.reason in WATCHDOG:
            detail = "; ".join(filter(None, (line.detail, _LATCHED_WORDS)))
            return Headline(f"Holding: {_words(line.reason)}", detail, Urgency.ACT)
        if line.reason == SECOND_PUBLISHER:
            return Headline("Somebody else publishes", line.detail, Urgency.ACT)
        if line.state == "HOLDING" and line.reason == HANDED_OVER and silent_s <= SILENT_S:
            return Headline("Handed over to a person", line.detail, Urgency.ACT)
    for line in lines:
        if line.reason == RUN_COMPLETE:
            return Headline("The run is complete", line.detail)
    for line in lines:
        if line.state == "STARTING":
            return Headline(f"{line.role} is starting", line.detail)
    policy = next((line for line in lines if line.role == POLICY), None)
    if policy is not None and policy.state == "HOLDING":
        return Headline(f"Holding: {_words(policy.reason)}", policy.detail)
    gate = next((line for line in lines if line.role == "gate" and line.state == "HOLDING" and line.reason), None)
    return None if gate is None else Headline(f"The gate holds: {_words(gate.reason)}", gate.detail)


def _episode(event: EpisodeEvent) -> str:
    name = f"episode {event.episode}, seed {event.seed}"
    return f"{name}, {event.outcome}" if event.kind is EventKind.ENDED else name


def _words(reason: str) -> str:
    return reason.replace("_", " ")
