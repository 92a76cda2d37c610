"""What drawn motions and approaches did: which draws of an episode count, and with what they are compared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intervened import told
from recorded import make_episode, rollout_run
from salus_vla.cli.main import main
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.recording import Interventions
from salus_vla.learning.intervention.drawn_trial import BEGINNING, BEHIND, GRASP, Draw, draws_of, trial_rows
from salus_vla.safety.intervention.candidates import CHOICES, MEAN, MEMBER, PLAN, RETREAT
from salus_vla.safety.intervention.random_choice import AGAIN_SHARES, FIRST_SHARES

S, M, H = Outcome.SUCCESS, Outcome.MISS, Outcome.HANDED_OVER


def course(*stretches: tuple[str, float, int]) -> Interventions:
    """Names with the probabilities that they were drawn with, and for how many decisions."""
    names = [(name, share) for name, share, count in stretches for _ in range(count)]
    return Interventions(
        tuple(replace(told(number, name), probability=share) for number, (name, share) in enumerate(names))
    )


def test_the_first_approach_the_first_behind_a_closing_and_the_first_motion_count() -> None:
    found = draws_of(
        course(
            (MEAN, FIRST_SHARES[MEAN], 9),
            ("careful", 0.4, 5),
            (MEAN, FIRST_SHARES[MEAN], 2),
            (PLAN, 0.15, 3),
            (RETREAT, AGAIN_SHARES[RETREAT], 9),
            (MEMBER, 0.3, 4),
        ),
        "eval",
        S,
    )
    assert {draw.stage: draw.name for draw in found} == {BEGINNING: MEAN, GRASP: "careful", BEHIND: RETREAT}
    assert {(draw.profile, draw.outcome) for draw in found} == {("eval", S)}


def test_the_same_name_drawn_again_is_told_by_its_probability() -> None:
    assert set(FIRST_SHARES.items()).isdisjoint(AGAIN_SHARES.items())
    again = course((MEAN, FIRST_SHARES[MEAN], 5), (MEAN, AGAIN_SHARES[MEAN], 5))
    assert [(draw.stage, draw.name) for draw in draws_of(again, "eval", S)] == [(BEGINNING, MEAN), (BEHIND, MEAN)]


def test_what_is_first_drawn_behind_a_closing_is_not_what_the_episode_began_with() -> None:
    late = course((MEAN, 1.0, 20), (PLAN, 1.0, 5), (RETREAT, 0.5, 9))
    assert [(draw.stage, draw.name) for draw in draws_of(late, "eval", S)] == [(BEHIND, RETREAT)]


def test_what_was_chosen_and_not_drawn_does_not_count() -> None:
    assert draws_of(course((PLAN, 1.0, 5), ("careful", 1.0, 5), ("retreat", 1.0, 3)), "eval", S) == []


def draws(name: str, profile: str, successes: int, failures: int, stage: str = BEGINNING) -> list[Draw]:
    return [Draw(stage, name, profile, S)] * successes + [Draw(stage, name, profile, M)] * failures


def test_a_gain_is_within_profiles_of_which_one_is_harder() -> None:
    """Together the member looks worse (11 of 40 against 22 of 40); in each profile it is 10 % better."""
    rows = trial_rows(
        [
            *draws(MEAN, "eval", 20, 10),
            *draws(MEMBER, "eval", 7, 3),
            *draws(MEAN, "hard", 1, 9),
            *draws(MEMBER, "hard", 4, 26),
        ]
    )
    mean, member = rows
    assert (mean.name, member.name, mean.gain) == (MEAN, MEMBER, None)
    assert (member.success.count, member.success.total, member.physical.count) == (11, 40, 29)
    assert member.gain is not None
    assert member.gain[0] == pytest.approx((10 * (7 / 10 - 20 / 30) + 30 * (4 / 30 - 1 / 10)) / 40)
    assert member.gain[1] < 0.0 < member.gain[2]


def test_few_episodes_that_all_end_alike_are_not_certain() -> None:
    """Five failures of five may be chance where one of five succeeds."""
    rows = {row.name: row for row in trial_rows([*draws(MEAN, "eval", 1, 4), *draws(MEMBER, "eval", 0, 5)])}
    gain = rows[MEMBER].gain
    assert gain is not None
    assert gain[0] == pytest.approx(-0.2)
    assert gain[1] < -0.3
    assert gain[2] > 0.05


def test_a_large_gain_is_above_chance_and_nothing_is_said_without_a_reference() -> None:
    good, alone = draws(MEMBER, "eval", 38, 2), draws(RETREAT, "eval", 3, 3, BEHIND)
    rows = {row.name: row for row in trial_rows([*draws(MEAN, "eval", 5, 35), *good, *alone])}
    gain = rows[MEMBER].gain
    assert gain is not None
    assert gain[1] > 0.6
    assert rows[RETREAT].gain is None


@given(st.lists(st.tuples(st.sampled_from(CHOICES), st.sampled_from(["eval", "heavy"]), st.sampled_from([S, M, H]))))
def test_every_draw_is_in_one_row_and_shares_are_shares(found: list[tuple[str, str, Outcome]]) -> None:
    rows = trial_rows([Draw(GRASP, *item) for item in found])
    assert sum(row.success.total for row in rows) == len(found)
    for row in rows:
        assert row.success.count + row.physical.count <= row.success.total
        assert row.gain is None or -1.0 <= row.gain[1] <= row.gain[0] + 1e-9 <= row.gain[2] + 2e-9


def test_the_command_prints_and_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def drawn(name: str, seed: int, outcome: Outcome):  # type: ignore[no-untyped-def]
        episode = make_episode(seed, decisions=4, outcome=outcome)
        count = len(episode.stamps_ns)
        return replace(
            episode,
            chosen=np.full(count, CHOICES.index(name), dtype=np.uint8),
            chosen_probability=np.full(count, 0.4, dtype=np.float32),
            motion_failure=np.full((count, 8), np.nan, dtype=np.float32),
        )

    outcomes = [(MEAN, S), (MEAN, M), (MEMBER, S), (MEMBER, H), (MEMBER, Outcome.ABORTED)]
    run = rollout_run(tmp_path, "run", [drawn(name, seed, outcome) for seed, (name, outcome) in enumerate(outcomes)])
    out = tmp_path / "trial.json"
    assert main(["intervention", "evaluate", str(run), "--json", str(out)]) == 0
    assert "member" in capsys.readouterr().out
    rows = {row["name"]: row for row in json.loads(out.read_text())["rows"]}
    assert (rows[MEAN]["success"]["total"], rows[MEMBER]["success"]["total"]) == (2, 2)  # an aborted one says nothing
    assert rows[MEMBER]["physical"]["count"] == 0  # handed over: neither
    plain = rollout_run(tmp_path, "plain", [make_episode(0, decisions=4)])
    assert main(["intervention", "evaluate", str(plain)]) == 1
    assert f"{plain}: nothing was drawn at random" in capsys.readouterr().err
