"""A decision is put together from topics that come in their own time: what is put together does not depend on it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from salus_vla.safety.prediction.decision_assembly import AssembledDecision, DecisionAssembly, HeardSignals

FRAME_NS = 20_000_000
START_NS = 3 * 10**9
DECISIONS = 6


def measured(frame: int) -> np.ndarray:
    return np.full((3, 9), [[frame], [100.0 + frame], [200.0 + frame]])


def heard(decision: int) -> HeardSignals:
    return HeardSignals(START_NS + 5 * decision * FRAME_NS, decision, np.full(12, decision, np.float32), None, None)


def topics(late: int = 0) -> dict[str, list[tuple[int, object]]]:
    """What each topic says, with the frame in which it is said; commands come `late` frames after what they answer."""
    frames = range(-7, 5 * DECISIONS)
    return {
        "joints": [(frame, measured(frame)) for frame in frames],
        "command": [(frame + late, np.full(9, frame + 0.5)) for frame in frames if frame != 12],  # one was lost
        "signals": [(5 * decision, heard(decision)) for decision in range(DECISIONS)],
    }


def fed(order: list[str], said: dict[str, list[tuple[int, object]]]) -> list[AssembledDecision]:
    """Feeds messages; in each place of `order` the next one of that topic, unless another is two frames behind."""
    assembly, found = DecisionAssembly(), []
    places = dict.fromkeys(said, 0)

    def give(topic: str) -> None:
        frame, message = said[topic][places[topic]]
        places[topic] += 1
        stamp_ns = START_NS + frame * FRAME_NS
        if topic == "joints":
            assembly.joints(stamp_ns, message)  # type: ignore[arg-type]
        elif topic == "command":
            assembly.command(stamp_ns, message)  # type: ignore[arg-type]
        else:
            assembly.signals(message)  # type: ignore[arg-type]
        found.extend(assembly.ready())

    while any(places[name] < len(said[name]) for name in said):
        due = {name: said[name][places[name]][0] for name in said if places[name] < len(said[name])}
        wanted = order.pop(0) if order else min(due, key=lambda name: due[name])
        oldest = min(due, key=lambda name: due[name])
        give(wanted if wanted in due and due[wanted] - due[oldest] <= 2 else oldest)
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["joints", "command", "signals"]), max_size=120))
def test_the_order_of_arrival_makes_no_difference(order: list[str]) -> None:
    found = fed(order, topics())
    assert [item.heard.decision for item in found] == list(range(DECISIONS))
    for decision, item in enumerate(found):
        assert item.elapsed_s == np.float32(0.1 * decision)
        frames = np.arange(5 * decision - 4, 5 * decision + 1, dtype=float)
        known = frames >= 0  # what is older is not the episode's
        np.testing.assert_array_equal(item.position[:, 0], np.where(known, frames, np.nan))
        np.testing.assert_array_equal(item.velocity[:, 8], np.where(known, 100.0 + frames, np.nan))
        np.testing.assert_array_equal(item.effort[:, 3], np.where(known, 200.0 + frames, np.nan))
        answered = (frames >= 1) & (frames != 13)  # by the command to the frame before
        np.testing.assert_array_equal(item.error[:, 0], np.where(answered, -0.5, np.nan))


def test_it_waits_for_the_last_command_but_not_for_ever() -> None:
    assembly = DecisionAssembly()
    for frame in range(6):
        assembly.joints(START_NS + frame * FRAME_NS, measured(frame))
    assembly.signals(heard(0))
    assembly.signals(heard(1))
    assert [item.heard.decision for item in assembly.ready()] == [0]  # the first one answers to no command
    for frame in range(6, 10):
        assembly.joints(START_NS + frame * FRAME_NS, measured(frame))
    assert assembly.ready() == []
    assembly.joints(START_NS + 10 * FRAME_NS, measured(10))  # the next decision's
    (late,) = assembly.ready()
    assert np.isnan(late.error).all()
    assert np.isfinite(late.position).all()


def test_a_new_episode_does_not_see_the_one_before() -> None:
    assembly = DecisionAssembly()
    for frame in range(30):
        assembly.joints(START_NS + frame * FRAME_NS, measured(frame))
        assembly.command(START_NS + frame * FRAME_NS, np.zeros(9))
    assembly.signals(heard(0))
    assembly.signals(HeardSignals(START_NS + 20 * FRAME_NS, 0, np.zeros(12, np.float32), None, None))
    first, second = assembly.ready()
    for item, frame in ((first, 0), (second, 20)):
        assert item.elapsed_s == 0.0
        assert np.isnan(item.position[:4]).all()
        assert item.position[4, 0] == frame
        assert np.isnan(item.error).all()


def test_whoever_joins_late_knows_when_the_episode_began() -> None:
    assembly = DecisionAssembly()
    assembly.joints(START_NS + 20 * FRAME_NS, measured(20))
    assembly.command(START_NS + 19 * FRAME_NS, np.zeros(9))
    assembly.signals(heard(4))
    (item,) = assembly.ready()
    assert item.elapsed_s == np.float32(0.4)
    assembly.forget()
    assembly.signals(heard(5))
    assert assembly.ready() == []
