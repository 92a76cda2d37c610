"""From runs on disk to numbers, tables and files."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from recorded import bag_run, make_episode
from salus_vla.cli.main import main
from salus_vla.contract import SAFETY_SIGNALS, Topic
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.run_records import RUN_FILE, RunRecord, read_record, write_record
from salus_vla.data.rollouts.rollout_store import StoredEpisode
from salus_vla.learning.evaluation.auroc import Group, compare
from salus_vla.learning.evaluation.evaluated_episodes import evaluated
from salus_vla.learning.evaluation.evaluated_runs import open_runs
from salus_vla.learning.evaluation.evaluation import Evaluation, Options, evaluate
from salus_vla.learning.evaluation.outcome_rates import summarise
from salus_vla.learning.evaluation.shift import FIRST, WHOLE
from salus_vla.learning.evaluation.subjects import ALL_SHIFTS, Condition
from salus_vla.learning.evaluation.windows import first, means
from salus_vla.signals.safety_signals import NAMES
from samples import cdr, message_types
from synthetic import HASHES, PERIOD_NS, episode, rollout_run, signal_rows, stored

FAILURES = (Outcome.COLLISION, Outcome.DROP, Outcome.MISS)


def early(seed: int, profile: str, outcome: Outcome = Outcome.SUCCESS) -> StoredEpisode:
    """In the first five decisions the ensemble disagrees in the dark only, later everywhere alike."""
    item = stored(seed, outcome, profile=profile)
    signals = item.signals.copy()
    signals[:5, 0] = 5.0 + 0.01 * seed if profile == "dark" else 1.0 + 0.01 * seed
    signals[5:-1, 0] = 1000.0 - signals[:5, 0].sum()  # the mean over the whole episode depends on nothing
    return dataclasses.replace(item, signals=signals)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two profiles and a member; in `heavy` every second episode fails and knows it."""
    out = tmp_path_factory.mktemp("runs")
    heavy = [
        stored(seed, FAILURES[seed % 3], level=3.0, profile="heavy", decisions=15)
        if seed % 2
        else stored(seed, Outcome.TIMEOUT if seed == 10 else Outcome.SUCCESS, profile="heavy")
        for seed in range(12)
    ]
    return {
        "eval": rollout_run(out, "eval", [early(seed, "eval") for seed in range(6)]),
        "dark": rollout_run(out, "dark", [early(seed, "dark") for seed in range(6)]),
        "heavy": rollout_run(out, "heavy", heavy),
        "member": rollout_run(
            out,
            "member",
            [stored(seed, Outcome.MISS if seed else Outcome.SUCCESS) for seed in range(4)],
            members=HASHES[2:],
            model="models/mine/member_2",
        ),
    }


@pytest.fixture(scope="module")
def found(runs: dict[str, Path]) -> Evaluation:
    return evaluate(list(runs.values()), Options(first=5))


def test_outcomes_are_counted(found: Evaluation) -> None:
    by_profile = {item.profile: item for item in found.outcomes if item.subject == "models/mine"}
    assert list(by_profile) == ["eval", "dark", "heavy", ALL_SHIFTS]
    heavy = by_profile["heavy"]
    assert {name: share.count for name, share in heavy.shares.items()} == {
        "SUCCESS": 5,
        "COLLISION": 2,
        "DROP": 2,
        "MISS": 2,
        "TIMEOUT": 1,
    }
    assert (heavy.physical_failures.count, heavy.physical_failures.total) == (6, 12)
    assert (heavy.median_decisions, heavy.first_seed, heavy.last_seed) == (20.0, 0, 11)
    pooled = by_profile[ALL_SHIFTS]
    assert (pooled.episodes, pooled.seeds, pooled.success.count) == (18, 12, 11)


def test_aborted_episodes_stand_apart() -> None:
    episodes = tuple(episode(seed, wall_s=2.0) for seed in (3, 4))
    from_collect = Condition("eval", (), episodes, {"ABORTED": 3})
    found = summarise("x", from_collect)
    assert (found.episodes, found.success.total, found.apart) == (2, 2, {"ABORTED": 3})
    assert found.decisions_per_s == 10.0
    unknown = summarise("x", Condition("eval", (), (*episodes, episode(5)), {}))
    assert unknown.decisions_per_s is None


def test_episodes_that_another_policy_ended_stand_apart(tmp_path: Path) -> None:
    taken = {"taken_over_ns": 500_000_000, "taken_over_by": "expert", "taken_over_when": "stuck"}
    episodes = [stored(0), stored(1, Outcome.DROP), stored(2, **taken), stored(3, Outcome.TIMEOUT, **taken)]
    found = evaluate([rollout_run(tmp_path, "run", episodes)], Options()).outcomes[0]
    assert (found.episodes, found.success.count) == (2, 1)
    assert found.apart == {"SUCCESS taken over": 1, "TIMEOUT taken over": 1}


def test_a_member_stands_beside_its_ensemble(found: Evaluation) -> None:
    (rates,) = found.members
    assert (rates.ensemble, rates.members, rates.profile, rates.same_seeds) == ("models/mine", 3, "eval", False)
    assert rates.whole.success.count == 6
    assert {number: item.success.count for number, item in rates.single.items()} == {2: 1}


def test_shift_is_told_from_the_first_decisions_and_from_the_whole(found: Evaluation) -> None:
    dark = {item.window: item for item in found.shift if item.profile == "dark"}
    assert dark[FIRST].signals["epistemic_uncertainty"].value == 1.0
    assert dark[WHOLE].signals["epistemic_uncertainty"].value < 1.0
    assert (dark[FIRST].reference_episodes, dark[FIRST].episodes, dark[FIRST].common_seeds) == (6, 6, 6)
    # Never valid, so nothing is known of it.
    assert dark[FIRST].signals["activation_novelty"].value is None
    assert dark[FIRST].signals["activation_novelty"].first == 0


def test_equal_seeds_are_compared_as_pairs(found: Evaluation, runs: dict[str, Path]) -> None:
    usual, dark = (
        list(map(evaluated, run.counted)) for run in open_runs([runs["eval"], runs["dark"]], acceptance=False)
    )
    seeds = np.arange(6)
    values = [means(items, first(5))[:, 1] for items in (usual, dark)]
    paired = compare(Group(values[0], seeds), Group(values[1], seeds))
    apart = compare(Group(values[0], seeds), Group(values[1], seeds + 100))
    (item,) = (item for item in found.shift if (item.profile, item.window) == ("dark", FIRST))
    assert item.signals["sampling_uncertainty"] == paired
    assert paired != apart


def test_disagreement_is_told_with_its_ratio(found: Evaluation) -> None:
    own = [item for item in found.disagreement if (item.subject, item.window) == ("models/mine", FIRST)]
    levels = {item.profile: item.signals["epistemic_uncertainty"] for item in own}
    assert levels["eval"].median == pytest.approx(1.025)
    assert levels["eval"].ratio == 1.0
    assert levels["dark"].median == pytest.approx(5.025)
    assert levels["dark"].ratio == pytest.approx(5.025 / 1.025)
    assert levels["dark"].episodes == 6


def test_failures_are_told_from_successes_before_they_happen(found: Evaluation) -> None:
    predictions = {(item.subject, item.profile): item for item in found.failure_prediction}
    heavy = predictions["models/mine", "heavy"]
    assert (heavy.succeeded, heavy.failed, heavy.left_out) == (5, 6, 1)
    assert heavy.signals["chunk_divergence"].value == 1.0
    assert heavy.time_alone.value == 0.0  # failures came earlier here, always
    assert predictions["models/mine", "eval"].time_alone.value is None


def test_what_happens_in_the_last_second_is_not_used(tmp_path: Path) -> None:
    def late(seed: int) -> StoredEpisode:
        item = stored(seed, Outcome.DROP if seed % 2 else Outcome.SUCCESS)
        signals = signal_rows(1.0, 21)
        signals[11:] += float(seed % 2)  # after 1.0 s of an event at 2.0 s
        return dataclasses.replace(item, signals=signals)

    (heavy,) = evaluate(
        [rollout_run(tmp_path, "run", [late(seed) for seed in range(10)])], Options()
    ).failure_prediction
    assert {heavy.signals[name].value for name in NAMES[:11]} == {0.5}


def test_without_a_reference_there_is_a_note_and_no_shift(runs: dict[str, Path]) -> None:
    found = evaluate([runs["dark"], runs["heavy"]], Options())
    assert found.shift == ()
    assert {item.signals["chunk_divergence"].ratio for item in found.disagreement} == {None}
    assert "no run of profile eval" in found.notes[0]
    other = evaluate([runs["dark"], runs["heavy"]], Options(reference="dark"))
    assert {item.profile for item in other.shift} == {"heavy"}


def test_scenes_that_differ_are_noted(tmp_path: Path) -> None:
    changed = rollout_run(
        tmp_path, "b", [stored(0, profile="dark")], provenance={"worker.scene_hash": "an older contract.yaml"}
    )
    (note,) = evaluate([rollout_run(tmp_path, "a", [stored(0)]), changed], Options()).notes
    assert "2 different versions of the scene" in note


# -- bags say the same -------------------------------------------------------------------------------------------------


def as_bags(out: Path, name: str, episodes: list[StoredEpisode], profile: str) -> Path:
    """The same episodes as `salus collect` records them, with their signals."""
    queue = iter([(item.signals[n], int(item.valid[n])) for item in episodes for n in range(len(item.signals))])

    def with_signals(content: list[tuple[Topic, bytes]]) -> list[tuple[Topic, bytes]]:
        return [(topic, _replaced(data, *next(queue)) if topic == SAFETY_SIGNALS else data) for topic, data in content]

    run = bag_run(out, name, episodes, with_signals)
    record = read_record(run / RUN_FILE, RunRecord)
    entries = tuple(dataclasses.replace(entry, wall_s=0.5) for entry in record.episodes)
    arguments = {"policy": "expert", "profile": profile}
    write_record(run / RUN_FILE, dataclasses.replace(record, arguments=arguments, episodes=entries))
    return run


def _replaced(data: bytes, values: np.ndarray, valid: int) -> bytes:
    message = message_types().store.deserialize_cdr(data, SAFETY_SIGNALS.type)
    named = dict(zip(NAMES, values.tolist(), strict=True))
    return cdr(SAFETY_SIGNALS, dataclasses.replace(message, valid=valid, **named))


def test_bags_give_the_numbers_of_rollouts(tmp_path: Path) -> None:
    paths: dict[str, list[Path]] = {"rollouts": [], "bags": []}
    for shift, profile in enumerate(("eval", "dark")):
        episodes = [
            make_episode(
                seed,
                decisions=3,
                side=8,
                outcome=FAILURES[seed % 3],
                profile=profile,
                signals=signal_rows(1.0 + 0.02 * shift, 4, seed + 100 * shift),
                valid=np.array([2047 - 96, 2047 - 64, 2047, 4095], dtype=np.uint16),
            )
            for seed in range(4)
        ]
        paths["rollouts"].append(rollout_run(tmp_path, f"{profile}_rolled", episodes, members=(), policy="expert"))
        paths["bags"].append(as_bags(tmp_path, f"{profile}_bags", episodes, profile))
    rolled, bags = (evaluate(paths[kind], Options(first=2)) for kind in ("rollouts", "bags"))
    assert [item.shares for item in bags.outcomes] == [item.shares for item in rolled.outcomes]
    assert bags.shift == rolled.shift
    assert bags.failure_prediction == rolled.failure_prediction
    assert bags.disagreement == rolled.disagreement
    assert (bags.outcomes[0].decisions_per_s, rolled.outcomes[0].decisions_per_s) == (6.0, None)
    assert len({auroc.value for item in bags.shift for auroc in item.signals.values()}) > 5


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_prints_and_writes(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / name for name in ("report.md", "report.json", "figure.png")]
    arguments = [*map(str, runs.values()), "--first", "5", "--figure", str(files[2])]
    assert main(["evaluate", *arguments, "--out", str(files[0]), "--out", str(files[1])]) == 0
    printed = capsys.readouterr().out
    for text in ("models/mine/member_2", "ensemble of 3", "all shifts", "time alone", "6 : 6", str(files[2])):
        assert text in printed
    markdown = files[0].read_text()
    assert "salus rollout --policy ensemble --profile heavy --episodes 12 --seed 0 --model models/mine" in markdown
    assert f"salus evaluate {runs['eval']}" in markdown
    assert "| 12 | 5 (41.7 %)<br>19.3-68.0 % |" in markdown  # Wilson of 5 in 12
    content = json.loads(files[1].read_text())
    assert content["format"] == "salus-evaluation-1"
    assert content["outcomes"][2]["shares"]["SUCCESS"] == {
        "count": 5,
        "total": 12,
        "share": 5 / 12,
        "low": pytest.approx(0.19326, abs=1e-5),
        "high": pytest.approx(0.68049, abs=1e-5),
    }
    assert content["shift"][0]["signals"]["activation_novelty"]["value"] is None
    assert content["members"][0]["single"]["2"]["episodes"] == 4
    assert files[2].read_bytes().startswith(b"\x89PNG")


def test_a_table_that_is_too_wide_goes_on_below(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("salus_vla.cli.evaluate._PIPE_WIDTH", 80)
    assert main(["evaluate", str(runs["eval"]), str(runs["dark"])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "..." not in "".join(lines)
    assert any("6 (100.0 %)" in line for line in lines)
    assert any("0 to 5" in line for line in lines)


def test_what_cannot_be_compared_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [rollout_run(tmp_path, name, [stored(n, profile=name) for n in range(3)]) for name in ("eval", "dark")]
    assert main(["evaluate", *map(str, paths)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "fewer than 4 of a side (reference : shifted): models/mine, dark 3 : 3." in printed
    assert "(succeeded : failed): models/mine, eval 3 : 0; models/mine, dark 3 : 0." in printed
    assert "An episode's value is" not in printed


@pytest.mark.parametrize("file", ["report.txt", "report"])
def test_a_report_has_a_known_ending(runs: dict[str, Path], file: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(runs["eval"]), "--out", file])
    assert ended.value.code == 2


def test_a_report_goes_into_a_folder_that_exists(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(runs["eval"]), "--out", str(tmp_path / "no" / "report.md")]) == 1
    assert "there is no folder" in capsys.readouterr().err


def test_the_command_refuses_reserved_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = rollout_run(tmp_path, "run", [stored(900_000)])
    assert main(["evaluate", str(run)]) == 1
    assert "reserved for acceptance" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--acceptance", "--out", str(tmp_path / "a.md")]) == 0
    assert "**Acceptance:**" in (tmp_path / "a.md").read_text()


def test_an_event_that_comes_at_once_leaves_nothing_to_predict_from(tmp_path: Path) -> None:
    episodes = [stored(seed, event_stamp_ns=5 * PERIOD_NS) for seed in range(3)]
    (item,) = evaluate([rollout_run(tmp_path, "run", episodes)], Options()).failure_prediction
    assert (item.succeeded, item.failed, item.left_out) == (0, 0, 3)
