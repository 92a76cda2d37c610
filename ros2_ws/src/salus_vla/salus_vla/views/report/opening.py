"""Opens a run of `salus collect` or `salus rollout` for the report."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from salus_vla.contract.errors import RecordingError
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.run_info import read_run
from salus_vla.data.rollouts import rollout_store
from salus_vla.learning.evaluation.evaluated_runs import COLLECT, Run, counted_entries, open_runs
from salus_vla.views.report.from_bag import read_bag
from salus_vla.views.report.from_rollout import read_rollout
from salus_vla.views.report.recorded import Recorded

# The name of an episode's folder or file, which becomes that of its page.
_NAME = re.compile(r"(episode|seed)_\w+")


@dataclass(frozen=True)
class RecordedRun:
    """A run before its episodes are read.

    Attributes:
        run: as the evaluation opens it.
        provenance: facts of the run.
        interrupted: names of the bags that were never finished.
        readers: reads each episode, by its name, in the order of the run.
    """

    run: Run
    provenance: Mapping[str, str]
    interrupted: tuple[str, ...]
    readers: Mapping[str, Callable[[], Recorded]]


def open_run(path: Path, *, acceptance: bool) -> RecordedRun:
    """Opens a run of `salus collect` or `salus rollout` without reading its episodes.

    Args:
        path: its folder.
        acceptance: whether a run with seeds that are reserved for acceptance may be opened.

    Raises:
        ConfigError: the run has reserved seeds and `acceptance` is false.
        RecordingError: the folder is no run, or a file of it is wrong or lists no finished episode; names it.
    """
    (run,) = open_runs([path], acceptance=acceptance)
    if run.made_by != COLLECT:
        stored = rollout_store.read_run(path)
        files = {
            file.stem: partial(read_rollout, file, seed, number)
            for number, (seed, file) in enumerate(stored.by_seed.items())
        }
        return RecordedRun(run, stored.record.provenance, (), files)
    info = read_run(path)
    counted = counted_entries(info.record)
    readers: dict[str, Callable[[], Recorded]] = {}
    for entry in info.record.episodes:
        if not _NAME.fullmatch(entry.path) or entry.path in readers:
            raise RecordingError(
                f"{path}: run.json: path {entry.path!r} of episode {entry.number}: expected the name of a folder in "
                "the run, like episode_000042, each once"
            )
        if entry.outcome not in Outcome.__members__:
            raise RecordingError(f"{path}: run.json: {entry.path} has outcome {entry.outcome!r}, not one of SALUS")
        readers[entry.path] = partial(read_bag, path, entry, counted=entry in counted)
    interrupted = tuple(bag.parent.name for bag in info.interrupted)
    return RecordedRun(run, info.record.provenance, interrupted, readers)
