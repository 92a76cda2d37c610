"""The one reader of runs and episodes, of `salus collect` and `salus rollout` alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Final

from salus_vla.config.profiles import DEFAULT_PROFILE
from salus_vla.contract.errors import RecordingError
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.assumed import NOTHING_ASSUMED, Assumed
from salus_vla.data.bags.bag_metadata import METADATA_FILE
from salus_vla.data.bags.foreign_bag import bags_in, foreign_record
from salus_vla.data.bags.recorded_bag import BagEpisode
from salus_vla.data.bags.recorded_observations import episodes_in
from salus_vla.data.bags.run_info import is_run
from salus_vla.data.bags.run_info import read_run as read_bags
from salus_vla.data.bags.run_records import AUDIT_FILE, RUN_FILE, RunRecord
from salus_vla.data.recording import Episode
from salus_vla.data.rollouts import rollout_store
from salus_vla.data.rollouts.recorded_rollout import RolloutEpisode
from salus_vla.data.rollouts.rollout_folder import WORKER
from salus_vla.safety.intervention.modes import ADVISE

ROLLOUT: Final = "salus rollout"
COLLECT: Final = "salus collect"
# What one run must not mix, besides hashes.
_DECIDES = ("policy.policy", "policy.members", "policy.noise_samples", "policy.dtype", "policy.novelty_reference")
# The name of an episode's folder or file; pages and files are named after it.
_NAME = re.compile(r"(episode|seed)_\w+")


@dataclass(frozen=True)
class Run:
    """A run before its episodes are read.

    Attributes:
        path: its folder, as given.
        run_id: its name.
        created: UTC, ISO 8601.
        made_by: `ROLLOUT` or `COLLECT`.
        policy: name of the policy; empty for a run without episodes that does not say it.
        profile: randomisation profile.
        arguments: settings, as in run.json.
        provenance: as in run.json.
        episodes: the finished ones, in the order of number (bags) or seed (rollouts).
        interrupted: names of the bags that were never finished.
    """

    path: Path
    run_id: str
    created: str
    made_by: str
    policy: str
    profile: str
    arguments: Mapping[str, str]
    provenance: Mapping[str, str]
    episodes: tuple[Episode, ...]
    interrupted: tuple[str, ...] = ()

    @property
    def counted(self) -> tuple[Episode, ...]:
        """Without what was recovered of an episode that was made again."""
        return tuple(episode for episode in self.episodes if episode.counted)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the episodes that count, with those that were aborted."""
        return tuple(episode.seed for episode in self.counted)

    @cached_property
    def facts(self) -> Mapping[str, str]:
        """What the policy and the scene say of themselves: `policy.*`, `scene_hash`.

        Raises:
            RecordingError: an audit cannot be read, or bags differ in what decides about them.
        """
        if self.made_by == ROLLOUT:
            return {k.removeprefix(WORKER): value for k, value in self.provenance.items() if k.startswith(WORKER)}
        return _bag_facts([episode for episode in self.counted if isinstance(episode, BagEpisode)])

    @property
    def members(self) -> tuple[str, ...]:
        """Hashes of the ensemble's members; empty for a policy without any."""
        found: list[str] = []
        while (digest := self.facts.get(f"policy.member_{len(found)}_hash")) is not None:
            found.append(digest)
        return tuple(found)


def open_run(path: Path, assumed: Assumed = NOTHING_ASSUMED) -> Run:
    """Opens a run without looking into its episodes.

    Args:
        path: its folder; or a bag, or a folder of bags, of another recorder, each of which may hold several episodes.
        assumed: what bags of other recorders do not say.

    Raises:
        RecordingError: the folder is not a run, or a file of it is wrong; names it.
    """
    if rollout_store.is_rollout_run(path):
        return _open_rollouts(path)
    if is_run(path):
        return _open_bags(path)
    if bags := bags_in(path):
        return _open_foreign(path, bags, assumed)
    raise RecordingError(
        f"{path}: is not a run: `salus collect` and `salus rollout` write {RUN_FILE} into its folder; nor a bag, or a "
        "folder of bags, of another recorder"
    )


def _open_rollouts(path: Path) -> Run:
    stored = rollout_store.read_run(path)
    record = stored.record
    advised = record.arguments.get("intervention") == ADVISE
    episodes = tuple(
        RolloutEpisode(file, record.run_id, file.stem, number, seed, counted=True, advised=advised)
        for number, (seed, file) in enumerate(stored.by_seed.items())
    )
    return _run(path, record, ROLLOUT, record.arguments.get("policy", ""), episodes)


def _open_bags(path: Path) -> Run:
    found = read_bags(path)
    record = found.record
    whole = {entry.number for entry in record.episodes if not entry.recovered}
    names: set[str] = set()
    for entry in record.episodes:
        if not _NAME.fullmatch(entry.path) or entry.path in names:
            raise RecordingError(
                f"{path}: run.json: path {entry.path!r} of episode {entry.number}: expected the name of a folder in "
                "the run, like episode_000042, each once"
            )
        if entry.outcome not in Outcome.__members__:
            raise RecordingError(f"{path}: run.json: {entry.path} has outcome {entry.outcome!r}, not one of SALUS")
        names.add(entry.path)
    episodes = tuple(
        BagEpisode(
            path=path / entry.path,
            run=record.run_id,
            name=entry.path,
            number=entry.number,
            seed=entry.seed,
            counted=not entry.recovered or entry.number not in whole,
            entry=entry,
            profile=record.arguments.get("profile", DEFAULT_PROFILE),
        )
        for entry in record.episodes
    )
    first = episodes[0].entry.policy_source if episodes else ""
    policy = record.arguments.get("policy", first)
    interrupted = tuple(bag.parent.name for bag in found.interrupted)
    return _run(path, record, COLLECT, policy, episodes, interrupted)


def _open_foreign(path: Path, bags: tuple[Path, ...], assumed: Assumed) -> Run:
    """Bags of other recorders as a run: what run.json would say is read from their messages."""
    held: list[tuple[Path, int | None]] = []
    for bag in bags:
        numbers = episodes_in(bag)
        held += [(bag, number) for number in numbers] if len(numbers) > 1 else [(bag, None)]
    records = [foreign_record(bag, number, said, assumed) for number, (bag, said) in enumerate(held)]
    profiles = [record.provenance.get("episode.param.profile", f'"{DEFAULT_PROFILE}"') for record in records]
    episodes = tuple(
        BagEpisode(
            path=bag,
            run=path.resolve().name,
            name=f"episode_{number:06d}",
            number=number,
            seed=record.episode.seed,
            counted=True,
            entry=record.episode,
            profile=profiles[number].strip('"'),
            made=record,
            said=said,
        )
        for number, ((bag, said), record) in enumerate(zip(held, records, strict=True))
    )
    created = datetime.fromtimestamp((bags[0] / METADATA_FILE).stat().st_mtime, UTC).isoformat(timespec="seconds")
    record = RunRecord(path.resolve().name, created, {}, {"profile": episodes[0].profile})
    return _run(path, record, COLLECT, episodes[0].entry.policy_source, episodes)


def _run(
    path: Path,
    record: RunRecord,
    made_by: str,
    policy: str,
    episodes: tuple[Episode, ...],
    interrupted: tuple[str, ...] = (),
) -> Run:
    return Run(
        path=path,
        run_id=record.run_id,
        created=record.created,
        made_by=made_by,
        policy=policy,
        # Runs of before there were profiles do not name one.
        profile=record.arguments.get("profile", DEFAULT_PROFILE),
        arguments=record.arguments,
        provenance=record.provenance,
        episodes=episodes,
        interrupted=interrupted,
    )


def _bag_facts(episodes: list[BagEpisode]) -> dict[str, str]:
    """From the audits of the bags; a run whose bags differ in what decides about them is not one."""
    first: dict[str, str] | None = None
    for episode in episodes:
        provenance = episode.record().provenance
        facts = {key: value for key, value in provenance.items() if key.startswith("policy.")}
        if "episode.scene_hash" in provenance:
            facts["scene_hash"] = provenance["episode.scene_hash"]
        first = facts if first is None else first
        for key in sorted(first.keys() | facts.keys()):
            if first.get(key) != facts.get(key) and (key in _DECIDES or key.endswith("_hash")):
                raise RecordingError(
                    f"{episode.path / AUDIT_FILE}: {key} is {facts.get(key)!r}, other episodes of this run have "
                    f"{first.get(key)!r}; one run must not mix them"
                )
    return first or {}
