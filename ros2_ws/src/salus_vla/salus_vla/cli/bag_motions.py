"""What `salus bag info` says of interventions: decisions by the motion that was in force, and what was handed over."""

from __future__ import annotations

from salus_vla.cli.bag_alarms import counted_entries
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.bag_predictions import interventions_of
from salus_vla.data.bags.run_info import BagInfo, RunInfo
from salus_vla.data.motion_counts import MotionCounts, add_up, motion_counts


def motions_of_bag(bag: BagInfo) -> list[tuple[str, str]]:
    """Motions of a bag; empty where nobody could intervene.

    Raises:
        RecordingError: the bag cannot be read; names it.
    """
    found = interventions_of(bag.path)
    if found is None:
        return []
    if bag.record is None:  # of `ros2 bag record`: nobody says how the episode ended
        return [("motions", _words(motion_counts(found, Outcome.RUNNING)))]
    episode = bag.record.episode
    outcome = Outcome.__members__.get(episode.outcome, Outcome.RUNNING)
    return [("motions", _words(motion_counts(found, outcome, episode.decisions)))]


def motions_in_run(run: RunInfo) -> list[str]:
    """Motions of all episodes together; empty of a run in which nobody could intervene.

    Raises:
        RecordingError: a bag cannot be read; names it.
    """
    counts = []
    for entry in counted_entries(run):
        bag = run.path / entry.path
        if bag.is_dir() and (found := interventions_of(bag)) is not None:
            counts.append(motion_counts(found, Outcome[entry.outcome], entry.decisions))
    if not counts:
        return []
    whole = add_up(counts)
    lines = [f"motions: {_words(whole)}; other than the plan in {whole.intervened} of {whole.episodes} episodes"]
    if whole.handed_over:
        lines.append(f"handed over, counted apart: {whole.handed_over} of {whole.episodes} episodes")
    if whole.advised:
        lines.append(f"only advised, the arm followed the plan: {whole.advised} of {whole.episodes} episodes")
    return lines


def _words(counts: MotionCounts) -> str:
    """Decisions by motion with their shares."""
    total = max(sum(counts.decisions.values()), 1)
    words = [f"{name} {number} ({number / total:.0%})" for name, number in counts.by_motion]
    return ", ".join(words) or "none"
