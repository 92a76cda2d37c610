"""Pairs of runs: who delivers what the other does not, with exact tests and intervals."""

from math import comb
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorded import make_episode, rollout_run
from salus_vla.cli.main import main
from salus_vla.contract.errors import ConfigError
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.episodes import open_run
from salus_vla.data.recording import JointTrack
from salus_vla.data.rollouts.rollout_settings import RolloutSettings
from salus_vla.learning.evaluation.hand_overs import stuck_for_s
from salus_vla.learning.evaluation.paired import ALL, mcnemar, paired_rows

ARGUMENTS = RolloutSettings(policy="expert", profile="train").to_arguments()
S, T, D = Outcome.SUCCESS, Outcome.TIMEOUT, Outcome.DROP


def run(folder: Path, name: str, outcomes: list[Outcome], decisions: int = 4, **changes: object) -> Path:
    episodes = [
        make_episode(seed, decisions=decisions, outcome=outcome, **changes) for seed, outcome in enumerate(outcomes)
    ]
    return rollout_run(folder, name, episodes, ARGUMENTS)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test_of_the_pairs_that_differ(one: int, two: int) -> None:
    """By its definition: the probability of what is no more likely than what was seen."""
    total = one + two
    likely = [comb(total, count) for count in range(total + 1)]
    expected = sum(item for item in likely if item <= likely[one]) / 2**total
    assert mcnemar(one, two) == pytest.approx(expected, abs=1e-12)
    assert mcnemar(one, two) == mcnemar(two, one)


def test_what_is_avoided_and_caused_is_counted_seed_by_seed(tmp_path: Path) -> None:
    base = run(tmp_path, "base", [S, S, T, T, D, S])
    other = run(tmp_path, "other", [S, D, S, S, S, S], decisions=6)
    (row,) = paired_rows([(open_run(base), open_run(other))])
    assert (row.pairs, row.apart) == (6, 0)
    assert (row.success.base, row.success.other) == (3, 5)
    assert (row.success.only_base, row.success.only_other) == (1, 3)
    assert row.success.p == pytest.approx(2 * (1 + 4) / 16)
    assert (row.timeout.base, row.timeout.other) == (2, 0)
    assert (row.physical.base, row.physical.other) == (1, 1)
    assert row.success.difference[0] == pytest.approx(2 / 6)
    assert row.success.difference[1] <= 2 / 6 <= row.success.difference[2]
    assert row.time_ratio == pytest.approx((1.5, 1.5, 1.5))


def test_seeds_that_only_one_has_and_episodes_that_were_taken_over_do_not_count(tmp_path: Path) -> None:
    base = run(tmp_path, "base", [S, S, S, S])
    other = rollout_run(
        tmp_path,
        "other",
        [
            make_episode(0, decisions=4),
            make_episode(1, decisions=4, taken_over_ns=0, taken_over_by="expert", taken_over_when="stuck"),
            make_episode(77, decisions=4),
        ],
        ARGUMENTS,
    )
    (row,) = paired_rows([(open_run(base), open_run(other))])
    assert (row.pairs, row.apart) == (1, 1)


def test_an_episode_that_was_handed_over_is_neither_a_success_nor_a_failure(tmp_path: Path) -> None:
    base = run(tmp_path, "base", [D, S, D])
    other = run(tmp_path, "other", [Outcome.HANDED_OVER, Outcome.HANDED_OVER, S])
    (row,) = paired_rows([(open_run(base), open_run(other))])
    assert (row.pairs, row.apart) == (3, 0)
    assert (row.handed_over.base, row.handed_over.other) == (0, 2)
    assert (row.success.only_base, row.success.only_other) == (1, 1)
    assert (row.physical.only_base, row.physical.only_other) == (2, 0)


def test_of_the_stuck_those_that_were_handed_over_and_those_that_are_stuck_again_are_counted(tmp_path: Path) -> None:
    miss, over = Outcome.MISS, Outcome.HANDED_OVER
    base = run(tmp_path, "base", [miss, T, miss, T, miss, S])
    other = run(tmp_path, "other", [over, miss, S, T, D, over])
    (row,) = paired_rows([(open_run(base), open_run(other))])
    found = row.hand_overs
    assert (found.stuck, found.stuck_handed_over, found.stuck_left) == (5, 1, 2)
    assert (found.successes, found.successes_handed_over) == (1, 1)


def test_runs_that_are_no_pair_are_refused(tmp_path: Path) -> None:
    base = open_run(run(tmp_path, "base", [S]))
    with pytest.raises(ConfigError, match="no seed in common"):
        paired_rows([(base, open_run(rollout_run(tmp_path, "far", [make_episode(9, decisions=4)], ARGUMENTS)))])
    shifted = open_run(rollout_run(tmp_path, "shifted", [make_episode(0, decisions=4)]))
    with pytest.raises(ConfigError, match="a pair differs in the policy only"):
        paired_rows([(base, shifted)])


def test_the_command_prints_and_writes_the_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, other = run(tmp_path, "base", [T, S]), run(tmp_path, "other", [S, S])
    out = tmp_path / "paired.json"
    assert main(["evaluate", "--paired", str(base), str(other), "--out", str(out)]) == 0
    assert "avoided" in capsys.readouterr().out
    assert '"only_other": 1' in out.read_text()
    assert ALL not in out.read_text()
    assert main(["evaluate"]) == 1
    assert "give runs, or --paired BASE RUN" in capsys.readouterr().err


def test_the_time_without_progress_counts_from_the_first_empty_closing_or_the_last_hold() -> None:
    def stuck_s(*stretches: tuple[float, float]) -> float:
        """Widths [m] for times [s], at 50 Hz, with a hand that is told to close."""
        widths = np.concatenate([np.full(round(seconds * 50), width) for width, seconds in stretches])
        stamps = np.arange(len(widths), dtype=np.int64) * 20_000_000
        positions = np.zeros((len(widths), 9))
        positions[:, 7:] = widths[:, None] / 2.0
        commands = np.zeros_like(positions)
        commands[:, 7:] = np.where(widths[:, None] > 0.07, 0.04, 0.0)
        recording = SimpleNamespace(
            measured=lambda: JointTrack(stamps, positions), commanded=lambda: JointTrack(stamps, commands)
        )
        return stuck_for_s(recording)  # type: ignore[arg-type]

    assert np.isnan(stuck_s((0.08, 2.0)))
    assert stuck_s((0.08, 2.0), (0.0, 1.0), (0.08, 1.0), (0.0, 1.0)) == pytest.approx(3.0, abs=0.03)
    assert stuck_s((0.08, 2.0), (0.0, 1.0), (0.08, 1.0), (0.05, 1.0), (0.0, 2.0)) == pytest.approx(2.0, abs=0.05)
