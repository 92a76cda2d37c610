"""From recorded runs to the folder of a data set, episode by episode; all of it appears at once, or nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from salus_vla.contract.errors import DatasetError
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.assumed import NOTHING_ASSUMED, Assumed
from salus_vla.data.copies import refuse_copy
from salus_vla.data.lerobot.prepare import LeftOut, Options, Prepared
from salus_vla.data.lerobot.prepare_pool import prepare_all
from salus_vla.data.lerobot.sources import Sources, find_sources
from salus_vla.policies.smolvla.loading.lerobot_logging import quiet_lerobot

if TYPE_CHECKING:
    from salus_vla.data.lerobot.dataset_writer import DatasetWriter

_SMALLEST, _LARGEST = 8, 4096  # side of an image [px]
_EPISODES_PER_WORKER = 8  # fewer do not pay for the start of a process


@dataclass(frozen=True)
class Exported:
    """What an export made.

    Attributes:
        path: folder of the data set.
        episodes, frames: in it.
        left_out: how many episodes of the runs are not in it, by reason.
        incomplete: the episodes that ended as wanted but lack something.
    """

    path: Path
    episodes: int
    frames: int
    left_out: Counter[str]
    incomplete: tuple[LeftOut, ...]


OnEpisode = Callable[[int, int], None]


def export(
    runs: Sequence[Path],
    out: Path,
    *,
    repo_id: str,
    options: Options = Options(),  # noqa: B008  # frozen
    outcomes: Collection[Outcome] = (Outcome.SUCCESS,),
    weights: Sequence[float] = (),
    check_task: Callable[[str], object] = lambda task: None,
    surplus: bool = False,
    assumed: Assumed = NOTHING_ASSUMED,
    workers: int | None = 1,
    on_episode: OnEpisode | None = None,
) -> Exported:
    """Exports the complete episodes of runs; the same runs and options give the same bytes, whatever the workers.

    Args:
        runs: folders of `salus collect` or `salus rollout`.
        out: folder to make; it must not exist.
        repo_id: name of the data set for LeRobot's classes.
        options: what is stored of an episode.
        outcomes: of the episodes to take.
        weights: of the frames of each run when they are learned from; 1 for all when empty.
        check_task: gets each instruction once, and raises SalusError for one that no policy could read whole.
        surplus: take episodes with more messages than one graph publishes, too.
        assumed: what bags of other recorders do not say.
        workers: processes that read and encode; 1 does it in this one, None takes as many as pay off.
        on_episode: called after each episode with the number of those done and of all.

    Raises:
        DatasetError: an argument is wrong, episodes do not agree, none is left, or the folder cannot be written.
        RecordingError: a run, bag or rollout cannot be read.
    """
    _check(out, options, workers)
    sources = find_sources(runs, outcomes, weights, surplus=surplus, assumed=assumed)
    if not sources.episodes:
        names = ", ".join(outcome.name for outcome in outcomes)
        reasons = ", ".join(f"{count} with {reason}" for reason, count in sources.left_out.items()) or "none at all"
        raise DatasetError(f"no episode with outcome {names} in {', '.join(map(str, runs))}: {reasons}")
    for task in sorted({episode.summary.task for episode in sources.episodes}):
        check_task(task)
    if workers is None:
        workers = max(1, min(os.cpu_count() or 1, len(sources.episodes) // _EPISODES_PER_WORKER))
    with _writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        # Built beside its final place: an export that fails leaves no folder that looks like a data set.
        shell = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".exporting", dir=out.parent))
    try:
        return _export(shell / "dataset", out, repo_id, sources, options, workers, on_episode)
    finally:
        shutil.rmtree(shell, ignore_errors=True)


def _check(out: Path, options: Options, workers: int | None) -> None:
    if out.exists() or out.is_symlink():
        raise DatasetError(f"--out {out}: exists already, it is never overwritten")
    size = options.image_size
    if size is not None and not _SMALLEST <= size <= _LARGEST:
        raise DatasetError(f"--image-size {size}: expected {_SMALLEST} to {_LARGEST}")
    if size is not None and options.video and size % 2:
        raise DatasetError(f"--image-size {size}: a video needs an even number")
    if workers is not None and workers < 1:
        raise DatasetError(f"--workers {workers}: expected at least 1")


def _export(
    partial: Path,
    out: Path,
    repo_id: str,
    sources: Sources,
    options: Options,
    workers: int,
    on_episode: OnEpisode | None,
) -> Exported:
    writer: DatasetWriter | None = None
    first: Prepared | None = None
    incomplete: list[LeftOut] = []
    seen: dict[bytes, Path] = {}
    try:
        for done, episode in enumerate(prepare_all(sources.episodes, options, workers), 1):
            if isinstance(episode, LeftOut):
                incomplete.append(episode)
            else:
                first = first or episode
                _check_agreement(first, episode)
                # A bag and a rollout, or two bags, of one seed and policy have the same frames in other bytes.
                refuse_copy(seen, _content(episode), episode.source)
                with _writing(out):
                    writer = writer or _new_writer(partial, repo_id, episode, options)
                    writer.add(episode, sources.weights[done - 1])
            if on_episode is not None:
                on_episode(done, len(sources.episodes))
        if writer is None:
            worst = incomplete[0]
            raise DatasetError(
                f"none of {len(incomplete)} episodes is complete; {worst.source.name} of {worst.source.run}: "
                f"{worst.reason}"
            )
        with _writing(out):
            writer.close()
            if out.exists():  # rename() would replace an empty folder
                raise DatasetError(f"--out {out}: was made by another process meanwhile")
            partial.rename(out)
    except BaseException:  # Ctrl-C too
        if writer is not None:
            writer.abandon()
        raise
    reasons = sources.left_out + Counter({"not complete": len(incomplete)})
    return Exported(out, writer.episodes, writer.frames, reasons, tuple(incomplete))


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatasetError(f"{out}: cannot be written ({error.strerror or error})") from error


def _new_writer(partial: Path, repo_id: str, episode: Prepared, options: Options) -> DatasetWriter:
    with quiet_lerobot():
        from salus_vla.data.lerobot.dataset_writer import DatasetWriter  # lerobot.datasets: seconds

        sizes = {key: state.shape[1] for key, state in episode.states.items()}
        return DatasetWriter(
            partial,
            repo_id,
            episode.stored,
            video=options.video,
            ground_truth=options.ground_truth,
            states=sizes,
        )


def _content(episode: Prepared) -> bytes:
    content = hashlib.sha256(f"{episode.source.seed}".encode())
    content.update(episode.state.tobytes())
    content.update(episode.action.tobytes())
    return content.digest()


def _check_agreement(first: Prepared, other: Prepared) -> None:
    for key, state in first.states.items():
        if other.states[key].shape[1] != state.shape[1]:
            raise DatasetError(
                f"episodes do not agree: {key} has {state.shape[1]} values in {first.source.path}, "
                f"{other.states[key].shape[1]} in {other.source.path}: not of one policy"
            )
    for camera, size in first.recorded.items():
        found = other.recorded[camera]
        if found != size:
            raise DatasetError(
                f"episodes do not agree: camera {camera} has {size[1]} x {size[0]} pixels in {first.source.path}, "
                f"{found[1]} x {found[0]} in {other.source.path}"
            )
