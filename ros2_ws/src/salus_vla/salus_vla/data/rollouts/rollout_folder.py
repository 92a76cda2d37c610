"""The folder of a run that is being made.

RUN/run.json                            settings, and what made the episodes
RUN/episodes/seed_000042.safetensors    a finished episode (see `rollout_store.py`)
RUN/workers.log                         output of the workers
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from salus_vla.contract.errors import RecordingError
from salus_vla.data.bags.provenance import machine_facts
from salus_vla.data.bags.run_folder import RunFolder
from salus_vla.data.bags.run_records import RUN_FILE, write_atomically, write_record
from salus_vla.data.rollouts.rollout_settings import RolloutSettings
from salus_vla.data.rollouts.rollout_store import (
    EPISODES,
    EpisodeSummary,
    StoredRun,
    decode,
    episode_file,
    is_rollout_run,
    read_run,
    read_summary,
)
from salus_vla.data.rollouts.worker_results import Finished, Ready

WORKER = "worker."  # what the workers say of themselves, in `provenance` of run.json
# What of it decides about the episodes; a path or the time of loading may differ between workers.
_DECIDES = re.compile(r"salus|scene_hash|version\..*|policy\.(policy|members|noise_samples|device|dtype|torch|.*_hash)")


class RolloutFolder:
    """A run that this process makes; no other process can open it until `close`.

    Attributes:
        settings: of all its episodes.
        first_seed: of the run's first episode.
        finished: what is known of its finished episodes, by seed.
        damaged: files of episodes that are damaged; making these again replaces them.
    """

    def __init__(self, run: RunFolder) -> None:
        """Uses `create` or `resume`."""
        self._run = run
        self.path = run.path
        where = str(run.path / RUN_FILE)
        self.settings = RolloutSettings.from_arguments(run.record.arguments, where)
        self.first_seed = first_seed(run.record.arguments, where)
        self.finished: dict[int, EpisodeSummary] = {}
        self.damaged: list[Path] = []

    @classmethod
    def create(cls, out: Path, run_id: str, settings: RolloutSettings, first: int) -> RolloutFolder:
        """Starts a new run in `out/run_id`.

        Raises:
            RecordingError: the folder exists, cannot be written, or the name is not a folder name.
        """
        arguments = {"seed": str(first), **settings.to_arguments()}
        run = RunFolder.create(out, run_id, provenance=machine_facts(), arguments=arguments)
        try:
            (run.path / EPISODES).mkdir()
        except OSError as error:
            run.close()
            raise RecordingError(f"{run.path}: cannot be written ({error.strerror or error})") from error
        return cls(run)

    @classmethod
    def resume(cls, path: Path) -> RolloutFolder:
        """Continues a run; finished episodes stay.

        Raises:
            RecordingError: `path` is not a run of `salus rollout`, cannot be written, or is in use by another process.
        """
        if not is_rollout_run(path):
            raise RecordingError(f"{path}: is not a run of `salus rollout`")
        run = RunFolder.open_existing(path)
        try:
            folder = cls(run)
            folder._adopt(read_run(path))
        except RecordingError:
            run.close()
            raise
        return folder

    def worker_ready(self, ready: Ready) -> None:
        """Notes what the episodes are made with.

        Raises:
            RecordingError: this worker would make other episodes than the ones before.
        """
        record = self._run.record
        facts = {WORKER + key: value for key, value in ready.facts.items()}
        known = {key: value for key, value in record.provenance.items() if key.startswith(WORKER)}
        if not known:
            self._run.record = replace(record, provenance={**record.provenance, **facts})
            write_record(self.path / RUN_FILE, self._run.record)
            return
        for key in sorted(known.keys() | facts.keys()):
            if known.get(key) != facts.get(key) and _DECIDES.fullmatch(key.removeprefix(WORKER)):
                raise RecordingError(
                    f"{self.path}: {key.removeprefix(WORKER)} is {facts.get(key)!r} for the worker on {ready.host}, "
                    f"the run was made with {known.get(key)!r}; one run must not mix them, start another one"
                )

    def add(self, result: Finished) -> EpisodeSummary:
        """Writes an episode.

        Raises:
            RecordingError: it is damaged, not the one that it says, there already, or cannot be written.
        """
        path = self.path / EPISODES / episode_file(result.seed)
        summary = decode(result.data, f"{path} (as the worker sent it)").summary
        if summary.seed != result.seed or result.seed in self.finished:
            raise RecordingError(f"{path}: got the episode of seed {summary.seed}, expected seed {result.seed}, once")
        write_atomically(path, result.data)
        self.finished[result.seed] = summary
        return summary

    def close(self) -> None:
        """Lets other processes open the run."""
        self._run.close()

    def _adopt(self, stored: StoredRun) -> None:
        for seed, file in stored.by_seed.items():
            try:
                summary = read_summary(file)
            except RecordingError:
                self.damaged.append(file)
                continue
            if summary.seed != seed:
                raise RecordingError(f"{file}: is the episode of seed {summary.seed}")
            self.finished[seed] = summary


def first_seed(arguments: Mapping[str, str], where: str) -> int:
    """The seed of a run's first episode.

    Raises:
        RecordingError: there is none; `where` names the file.
    """
    text = arguments.get("seed", "")
    if not text.isdecimal():
        raise RecordingError(f"{where}: arguments.seed: is {text!r}, expected a whole number")
    return int(text)
