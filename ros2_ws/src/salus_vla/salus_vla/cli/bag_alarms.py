"""What `salus bag info` says of a failure predictor: of a bag its first alarm, of a run alarms against outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite

from salus_vla.contract.errors import RecordingError
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.bag_predictions import predictions_of
from salus_vla.data.bags.run_info import BagInfo, RunInfo
from salus_vla.data.bags.run_records import EpisodeEntry
from salus_vla.data.recording import Predictions
from salus_vla.learning.evaluation.alarm_outcomes import ForeseenEpisode, alarm_outcomes, foreseen_episode
from salus_vla.learning.evaluation.evaluated_episodes import APART
from salus_vla.learning.evaluation.intervals import Share


def facts_of_bag(bag: BagInfo) -> list[tuple[str, str]]:
    """Largest risk and first alarm of a bag; empty where nothing was foreseen.

    Raises:
        RecordingError: the predictions cannot be read; names the bag.
    """
    predictions = predictions_of(bag.path)
    if predictions is None:
        return []
    if bag.record is not None:
        found = _foreseen(bag.record.episode, predictions)
    else:  # of `ros2 bag record`: nobody says when the episode began and how it ended
        first_ns, last_ns = (int(predictions.stamps_ns[row]) for row in (0, -1))
        found = foreseen_episode(predictions, Outcome.RUNNING, start_ns=first_ns, end_ns=last_ns)
    risk = f"up to {found.largest:.0%} that the episode fails" if isfinite(found.largest) else "not known"
    return [("risk", risk), ("first alarm", _alarm(found))]


def foreseen_in_run(run: RunInfo) -> dict[str, ForeseenEpisode]:
    """What was foreseen, by the path of the bag; empty of a run in which nothing was.

    Raises:
        RecordingError: a bag cannot be read; names it.
    """
    found = {}
    for entry in counted_entries(run):
        bag = run.path / entry.path
        if bag.is_dir() and (predictions := predictions_of(bag)) is not None:
            found[entry.path] = _foreseen(entry, predictions)
    return found


def summary_lines(run: RunInfo, foreseen: Mapping[str, ForeseenEpisode]) -> list[str]:
    """Alarms against outcomes in a few lines; empty of a run in which nothing was foreseen."""
    if not foreseen:
        return []
    unforeseen = sum(
        entry.path not in foreseen and Outcome[entry.outcome] not in APART for entry in counted_entries(run)
    )
    found = alarm_outcomes(list(foreseen.values()), unforeseen)
    lines = []
    if found.successes.total or found.failures.total:
        promised = ", ".join(f"{alpha:.0%}" for alpha in found.alphas)
        said = [
            _share(found.successes, "successes", f", promised at most {promised}"),
            _share(found.failures, "failures"),
        ]
        lead_s = found.lead_s
        if lead_s is not None:
            range_s = f"{found.leads_s[0]:.2f} to {found.leads_s[-1]:.2f}"
            said.append(
                f"median lead {lead_s:.2f} s ({range_s} s)" if len(found.leads_s) > 1 else f"lead {lead_s:.2f} s"
            )
        lines.append(f"alarms: {', '.join(said)}")
    if found.apart:
        said = [f"{alarmed} of {total} {name}" for name, (alarmed, total) in found.apart.items()]
        lines.append(f"alarms, counted apart: {', '.join(said)}")
    if found.unforeseen:
        lines.append(f"complete episodes in which nothing was foreseen: {found.unforeseen}")
    if found.uncalibrated:
        lines.append(
            f"complete episodes with a predictor that was not calibrated and cannot alarm: {found.uncalibrated}"
        )
    return lines


def counted_entries(run: RunInfo) -> Iterator[EpisodeEntry]:
    """Without what was recovered of an episode that was made again, and without outcomes that are none of ours."""
    whole = {entry.number for entry in run.record.episodes if not entry.recovered}
    for entry in run.record.episodes:
        if entry.outcome in Outcome.__members__ and not (entry.recovered and entry.number in whole):
            yield entry


def _foreseen(entry: EpisodeEntry, predictions: Predictions) -> ForeseenEpisode:
    if entry.outcome not in Outcome.__members__:
        raise RecordingError(f"{entry.path}: has outcome {entry.outcome!r}, not one of SALUS")
    return foreseen_episode(
        predictions,
        Outcome[entry.outcome],
        start_ns=entry.start_ns,
        end_ns=entry.end_ns,
        event_ns=entry.event_stamp_ns,
    )


def _alarm(found: ForeseenEpisode) -> str:
    if found.alarm is None:
        return "none" if found.alpha > 0.0 else "none, the predictor was not calibrated"
    alarm, lead = found.alarm, ""
    if found.outcome not in (*APART, Outcome.SUCCESS):
        lead = f", {found.lead_s:.2f} s before the end"
    return f"{alarm.kind} at {alarm.time_s:.2f} s, decision {alarm.decision}{lead}: {alarm.detail}"


def _share(share: Share, what: str, promise: str = "") -> str:
    interval = f" ({share.low:.0%} to {share.high:.0%}{promise})" if share.total else ""
    return f"{share.count} of {share.total} {what}{interval}"
