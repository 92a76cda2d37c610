"""Opens runs of `salus rollout` and `salus collect` alike: what they were made with, and which episodes they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from salus_vla.config.profiles import DEFAULT_PROFILE
from salus_vla.contract import RESERVED_FROM
from salus_vla.contract.errors import ConfigError, RecordingError
from salus_vla.data.bags import run_info
from salus_vla.data.bags.run_records import AUDIT_FILE, RUN_FILE, EpisodeEntry, EpisodeRecord, RunRecord, read_record
from salus_vla.data.rollouts import rollout_store
from salus_vla.data.rollouts.rollout_folder import WORKER
from salus_vla.data.rollouts.rollout_settings import RolloutSettings
from salus_vla.learning.evaluation.evaluated_episodes import Episode, read_bag, read_rollout

ROLLOUT, COLLECT = "salus rollout", "salus collect"
_DECIDES = ("policy.policy", "policy.members", "policy.noise_samples", "policy.dtype", "policy.novelty_reference")


@dataclass(frozen=True)
class Run:
    """A run before its episodes are read.

    Attributes:
        path: its folder, as given.
        run_id: its name.
        created: UTC, ISO 8601.
        made_by: `ROLLOUT` or `COLLECT`.
        policy: name of the policy.
        profile: randomisation profile.
        arguments: settings, as in run.json.
        facts: what the policy and the scene say of themselves: `policy.*`, `scene_hash`.
        seeds: of its episodes, with those that were aborted.
        readers: reads each of them, in the same order.
    """

    path: Path
    run_id: str
    created: str
    made_by: str
    policy: str
    profile: str
    arguments: Mapping[str, str]
    facts: Mapping[str, str]
    seeds: tuple[int, ...]
    readers: tuple[Callable[[], Episode], ...]

    @property
    def members(self) -> tuple[str, ...]:
        """Hashes of the ensemble's members; empty for a policy without any."""
        found: list[str] = []
        while (digest := self.facts.get(f"policy.member_{len(found)}_hash")) is not None:
            found.append(digest)
        return tuple(found)

    def read(self) -> Iterator[Episode]:
        """Its episodes, one by one.

        Raises:
            RecordingError: one cannot be read or is damaged; names the file or bag.
        """
        for reader in self.readers:
            yield reader()


def open_runs(paths: Sequence[Path], *, acceptance: bool) -> list[Run]:
    """Opens runs without reading their episodes.

    Args:
        paths: their folders.
        acceptance: whether runs with reserved seeds may be opened.

    Raises:
        ConfigError: a run is given twice, or has reserved seeds and `acceptance` is false.
        RecordingError: a folder is no run, or a file of it is wrong or has no finished episode; names it.
    """
    runs: list[Run] = []
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise ConfigError(f"{path}: is given twice")
        seen.add(path.resolve())
        runs.append(_open_rollouts(path) if rollout_store.is_rollout_run(path) else _open_bags(path))
        reserved = [seed for seed in runs[-1].seeds if seed >= RESERVED_FROM]
        if reserved and not acceptance:
            raise ConfigError(
                f"{path}: has {len(reserved)} episodes with seeds from {RESERVED_FROM} on (the first: {reserved[0]}), "
                "which are reserved for acceptance: never train, tune, select or report on them. To run the "
                "acceptance itself, give --acceptance"
            )
    return runs


def _open_rollouts(path: Path) -> Run:
    stored = rollout_store.read_run(path)
    record = stored.record
    settings = RolloutSettings.from_arguments(record.arguments, str(path / RUN_FILE))
    if not stored.by_seed:
        raise RecordingError(f"{path / rollout_store.EPISODES}: holds no finished episode")
    facts = {key.removeprefix(WORKER): value for key, value in record.provenance.items() if key.startswith(WORKER)}
    return Run(
        path=path,
        run_id=record.run_id,
        created=record.created,
        made_by=ROLLOUT,
        policy=settings.policy,
        profile=settings.profile,
        arguments=record.arguments,
        facts=facts,
        seeds=tuple(stored.by_seed),
        readers=tuple(partial(read_rollout, file, seed) for seed, file in stored.by_seed.items()),
    )


def _open_bags(path: Path) -> Run:
    if not run_info.is_run(path):
        raise RecordingError(f"{path}: is no run: `salus collect` and `salus rollout` write {RUN_FILE} into its folder")
    record = read_record(path / RUN_FILE, RunRecord)
    entries = counted_entries(record)
    if not entries:
        raise RecordingError(f"{path / RUN_FILE}: lists no finished episode")
    arguments = record.arguments
    return Run(
        path=path,
        run_id=record.run_id,
        created=record.created,
        made_by=COLLECT,
        policy=arguments.get("policy", entries[0].policy_source),
        # Runs of before there were profiles do not name one.
        profile=arguments.get("profile", DEFAULT_PROFILE),
        arguments=arguments,
        facts=_bag_facts(path, entries),
        seeds=tuple(entry.seed for entry in entries),
        readers=tuple(partial(read_bag, path, entry) for entry in entries),
    )


def counted_entries(record: RunRecord) -> list[EpisodeEntry]:
    """Finished episodes; one that was repeated after a crash counts once, not with what was recovered of it."""
    whole = {entry.number for entry in record.episodes if not entry.recovered}
    return [entry for entry in record.episodes if not entry.recovered or entry.number not in whole]


def _bag_facts(path: Path, entries: Sequence[EpisodeEntry]) -> dict[str, str]:
    """From the audits of the bags; a run whose bags differ in what decides about them is not one."""
    first: dict[str, str] | None = None
    for entry in entries:
        file = path / entry.path / AUDIT_FILE
        provenance = read_record(file, EpisodeRecord).provenance
        facts = {key: value for key, value in provenance.items() if key.startswith("policy.")}
        if "episode.scene_hash" in provenance:
            facts["scene_hash"] = provenance["episode.scene_hash"]
        first = facts if first is None else first
        for key in sorted(first.keys() | facts.keys()):
            if first.get(key) != facts.get(key) and (key in _DECIDES or key.endswith("_hash")):
                raise RecordingError(
                    f"{file}: {key} is {facts.get(key)!r}, other episodes of this run have {first.get(key)!r}; "
                    "one run must not mix them"
                )
    return first or {}
