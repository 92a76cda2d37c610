"""A policy that decides too slowly for realtime is told so before anything moves. Time is the policy's own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from salus_vla.config.scene import load_scene
from salus_vla.contract.types import Observation, PolicyOutput
from salus_vla.control import controller
from salus_vla.control.controller import make_controller
from salus_vla.control.realtime_pace import measure_decision_ms, too_slow

FIRST_S, TAKES_S = 1.0, 0.01
PERIOD_NS = 100_000_000


class SlowOnce:
    """Takes a second for the first decision and 10 ms for each other one."""

    source = "slow"
    reference = None

    def __init__(self) -> None:
        self.started, self.seen = 0, []  # type: ignore[var-annotated]
        self.now_s = 0.0

    def start_episode(self, seed: int) -> None:
        self.started += 1

    def predict(self, observation: Observation, decision: int) -> PolicyOutput:
        self.now_s += TAKES_S if self.seen else FIRST_S
        self.seen.append(observation.images)
        return PolicyOutput(np.tile(np.append(observation.arm, 0.05), (10, 1))[None, None])


def test_the_first_decision_warms_up_and_every_one_sees_other_images(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, scene = SlowOnce(), load_scene()
    monkeypatch.setattr(controller, "time", SimpleNamespace(perf_counter=lambda: policy.now_s))
    took_ms = measure_decision_ms(make_controller(policy, scene), scene)  # type: ignore[arg-type]
    assert took_ms == pytest.approx(TAKES_S * 1e3)
    pictures = [images["front"].tobytes() for images in policy.seen]
    assert len(set(pictures)) == len(pictures) > 3
    assert policy.started == 2  # before it, and behind it: nothing of it is left for the first episode


@pytest.mark.parametrize(
    ("took_ms", "chunk_ms", "slow"),
    [
        (20.0, 200, False),
        (53.0, 200, False),  # with images 30 ms late and the slowest decision, a plan becomes 199 ms old
        (55.0, 200, True),
        (90.0, 1000, False),  # a plan may be old: what counts is that the next observation waits
        (91.0, 1000, True),
        (1.0, 100, True),
    ],
)
def test_what_makes_a_plan_too_old_or_leaves_no_time_for_frames_is_too_slow(
    took_ms: float, chunk_ms: int, slow: bool
) -> None:
    words = too_slow(took_ms, PERIOD_NS, chunk_ms * 1_000_000)
    assert bool(words) is slow
    if slow:
        assert words.startswith(f"a decision takes {took_ms:.0f} ms, at most ")
        assert f"younger than {chunk_ms} ms (watch.chunk_age_s) with one every 100 ms" in words
