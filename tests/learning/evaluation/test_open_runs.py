"""What is refused: reserved seeds, damaged files, folders that are no runs; each message names the culprit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorded import bag_run, make_episode
from salus_vla.contract.errors import ConfigError, RecordingError, SalusError
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.run_records import AUDIT_FILE, RUN_FILE, EpisodeRecord, RunRecord, read_record, write_record
from salus_vla.data.episodes import COLLECT, ROLLOUT
from salus_vla.data.rollouts.recorded_rollout import RolloutEpisode
from salus_vla.data.rollouts.rollout_store import EPISODES, episode_file
from salus_vla.learning.evaluation.evaluated_episodes import evaluated
from salus_vla.learning.evaluation.evaluated_runs import open_runs
from salus_vla.learning.evaluation.evaluation import Options, evaluate
from synthetic import rollout_run, stored

RESERVED = 900_000  # no episode of this seed is run here: the files are made up


@pytest.mark.parametrize("make", [rollout_run, bag_run], ids=["rollouts", "bags"])
def test_reserved_seeds_need_the_word(tmp_path: Path, make: Callable[..., Path]) -> None:
    maker = stored if make is rollout_run else make_episode
    run = make(tmp_path, "run", [maker(RESERVED - 1), maker(RESERVED), maker(RESERVED + 7)])
    with pytest.raises(ConfigError, match=rf"{run}: has 2 episodes with seeds from 900000 on .*--acceptance"):
        evaluate([run], Options())
    found = evaluate([run], Options(acceptance=True))
    assert found.reserved_seeds
    assert found.outcomes[0].episodes == 3


def test_reserved_seeds_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    run = rollout_run(tmp_path, "run", [])
    (run / EPISODES / episode_file(RESERVED)).write_bytes(b"not even an episode")
    with pytest.raises(ConfigError, match="reserved for acceptance"):
        evaluate([run], Options())


def test_seeds_below_are_not_reserved(tmp_path: Path) -> None:
    assert not evaluate([rollout_run(tmp_path, "run", [stored(RESERVED - 1)])], Options()).reserved_seeds


def test_what_a_run_says_of_itself(tmp_path: Path) -> None:
    rollouts = rollout_run(tmp_path, "rolled", [stored(3, profile="dark"), stored(1, profile="dark")])
    bags = bag_run(tmp_path, "bags", [make_episode(5)])
    one, two = open_runs([rollouts, bags], acceptance=False)
    assert (one.made_by, one.profile, one.seeds, one.members) == (ROLLOUT, "dark", (1, 3), ("aaaa", "bbbb", "cccc"))
    assert (two.made_by, two.profile, two.seeds, two.policy) == (COLLECT, "train", (5,), "expert")


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_episode_is_named(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "whole" / EPISODES / episode_file(4)
    if not path.exists():
        rollout_run(tmp_path, "whole", [stored(4, decisions=3)])
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[place:]
    else:
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    damaged = tmp_path / episode_file(4)
    damaged.write_bytes(content)
    with pytest.raises(RecordingError, match=str(damaged)):
        RolloutEpisode(damaged, "run", damaged.stem, 0, 4, counted=True).open()


def test_an_episode_under_another_name_is_refused(tmp_path: Path) -> None:
    run = rollout_run(tmp_path, "run", [stored(4)])
    (run / EPISODES / episode_file(4)).rename(run / EPISODES / episode_file(5))
    with pytest.raises(RecordingError, match=r"seed_000005.safetensors: is the episode of seed 4"):
        evaluate([run], Options())


def _no_settings(run: Path) -> None:
    text = (run / RUN_FILE).read_text()
    (run / RUN_FILE).write_text(text.replace('"disturb": "false"', '"disturb": "perhaps"'))


def _no_json(run: Path) -> None:
    (run / RUN_FILE).write_text("{")


def _no_run(run: Path) -> None:
    (run / RUN_FILE).unlink()


def _no_episodes(run: Path) -> None:
    for file in (run / EPISODES).iterdir():
        file.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_no_settings, r"run.json: arguments.disturb: is 'perhaps'"),
        (_no_json, r"run.json: "),
        (_no_run, r"run: is not a run"),
        (_no_episodes, r"run: holds no finished episode"),
    ],
)
def test_a_run_that_is_damaged_is_named(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    run = rollout_run(tmp_path, "run", [stored(4)])
    damage(run)
    with pytest.raises(RecordingError, match=message):
        evaluate([run], Options())


def test_a_bag_that_is_gone_or_another_one_is_named(tmp_path: Path) -> None:
    run = bag_run(tmp_path, "run", [make_episode(1), make_episode(2)])
    (run / "episode_000001" / "episode_000001_0.mcap").unlink()
    with pytest.raises(RecordingError, match=r"run/episode_000001: is not a finished bag"):
        evaluate([run], Options())
    lying = bag_run(tmp_path, "lying", [make_episode(1)], outcome="DROP")
    with pytest.raises(RecordingError, match=r"episode_000000: has outcome 'SUCCESS', run.json of lying says 'DROP'"):
        evaluate([lying], Options())


def test_a_bag_without_signals_is_named_unless_it_was_aborted(tmp_path: Path) -> None:
    def without(content: list) -> list:
        return [(topic, data) for topic, data in content if topic.name != "/salus/safety_signals"]

    run = bag_run(tmp_path, "run", [make_episode(1)], without)
    with pytest.raises(RecordingError, match=r"episode_000000: holds no messages on /salus/safety_signals"):
        evaluate([run], Options())
    aborted = bag_run(tmp_path, "aborted", [make_episode(1, outcome=Outcome.ABORTED)], without)
    found = evaluate([aborted], Options()).outcomes[0]
    assert (found.episodes, found.apart) == (0, {"ABORTED": 1})


def test_what_was_recovered_of_an_episode_that_was_repeated_does_not_count(tmp_path: Path) -> None:
    run = bag_run(tmp_path, "run", [make_episode(1), make_episode(2)])
    record = read_record(run / RUN_FILE, RunRecord)
    part = replace(record.episodes[0], path="episode_000000_recovered", recovered=True)
    write_record(run / RUN_FILE, replace(record, episodes=(part, *record.episodes)))
    assert open_runs([run], acceptance=False)[0].seeds == (1, 2)


def test_a_run_of_two_models_is_refused(tmp_path: Path) -> None:
    run = bag_run(tmp_path, "run", [make_episode(1), make_episode(2)])
    file = run / "episode_000001" / AUDIT_FILE
    audit = read_record(file, EpisodeRecord)
    write_record(file, replace(audit, provenance={**audit.provenance, "policy.member_0_hash": "other"}))
    with pytest.raises(RecordingError, match=rf"{file}: policy.member_0_hash is 'other', .* have None"):
        evaluate([run], Options())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(first=0), "first is 0"),
        (Options(reference="dark"), r"reference profile 'dark': no run has it, the runs have \['eval'\]"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: Options, message: str) -> None:
    run = rollout_run(tmp_path, "run", [stored(1)])
    with pytest.raises(ConfigError, match=message):
        evaluate([run], options)


def test_a_run_counts_once(tmp_path: Path) -> None:
    run = rollout_run(tmp_path, "run", [stored(1)])
    with pytest.raises(SalusError, match="is given twice"):
        evaluate([run, run / ".." / "run"], Options())


def test_the_decision_on_the_terminal_observation_does_not_count(tmp_path: Path) -> None:
    run = rollout_run(tmp_path, "run", [stored(1, decisions=7)])
    (item,) = open_runs([run], acceptance=False)
    (episode,) = map(evaluated, item.counted)
    assert episode.signals.shape == (7, 12)
    assert np.nanmax(episode.signals) < 2.0
    assert episode.times_s.tolist() == pytest.approx([0.1 * n for n in range(7)])
    assert episode.event_s == pytest.approx(0.7)
