"""One run: takes what the workers give, writes it, and tells how far it is."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing

from salus_vla.data.rollouts.rollout_folder import RolloutFolder
from salus_vla.data.rollouts.rollout_store import EpisodeSummary
from salus_vla.data.rollouts.worker_results import Failed, Finished, Lost, Ready, Result

Event = Ready | EpisodeSummary | Failed | Lost


def roll_out(
    folder: RolloutFolder, results: Generator[Result, None, None], notify: Callable[[Event], None]
) -> dict[int, str]:
    """Writes every episode that comes; whatever ends it, the workers end too and finished episodes stay.

    Args:
        folder: of the run.
        results: of `run_local` or `run_on_ray`.
        notify: called with everything that happens.

    Returns:
        Seeds whose episodes cannot be made, with the reason.

    Raises:
        SalusError: the workers cannot work, or an episode cannot be written.
    """
    failures: dict[int, str] = {}
    with closing(results):
        for result in results:
            if isinstance(result, Finished):
                notify(folder.add(result))
                continue
            if isinstance(result, Ready):
                folder.worker_ready(result)
            elif isinstance(result, Failed):
                failures[result.seed] = result.message
            notify(result)
    return failures
