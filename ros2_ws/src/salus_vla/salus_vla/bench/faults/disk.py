"""A disk that fills up while episodes are recorded, and a folder that cannot be written."""

from __future__ import annotations

import random
import re
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from salus_vla.bench.faults.bag_checks import RunChecker
from salus_vla.bench.faults.fault_results import Injection
from salus_vla.bench.faults.kills import SEED
from salus_vla.bench.faults.running_graph import Collecting
from salus_vla.contract.outcomes import Outcome
from salus_vla.data.bags.recover_bag import recover
from salus_vla.data.bags.run_info import read_run

MEGABYTE = 1_000_000
_SMALLEST_MB, _LARGEST_MB = 4, 20  # an episode of 10 decisions is 6.7 MB
_FILE_LIMIT = 24 * MEGABYTE  # more than a shared memory segment, less than the bag of a long episode
_RUN = "run"


def fill_disk(folder: Path, seed: int) -> Injection:
    """Records onto a disk that is too small, finds everything before it intact, gives room, and goes on.

    The disk is a tmpfs; where that cannot be mounted, a limit on the size of each file, which ends in the same way.
    """
    megabytes = random.Random(seed).randint(_SMALLEST_MB, _LARGEST_MB)
    out = folder / "disk"
    out.mkdir()
    if mount(out, f"size={megabytes * MEGABYTE}"):
        try:
            return _fill("disk full (tmpfs)", out, 10, lambda: mount(out, "remount,size=256m"))
        finally:
            unmount(out)
    with _file_limit() as lift:
        return _fill("disk full (limit on file size, no mount allowed here)", out, 60, lift)


def refuse_folder(folder: Path) -> Injection:
    """Records into a folder that cannot be written: a read-only file system, or a file where the folder should be."""
    out = folder / "readonly"
    out.mkdir()
    mounted = mount(out, "ro")
    target = out if mounted else folder / "file"
    if not mounted:
        target.touch()
    try:
        collecting = Collecting(target, _options(1, 10), log=folder / "refused.log")
        code = collecting.wait()
        problems = [] if code == 1 else [f"exit code {code}: {collecting.output}"]
        if str(target) not in collecting.output:
            problems.append(f"the folder is not named: {collecting.output}")
        if "ROS_DOMAIN_ID" in collecting.output:
            problems.append("the graph was started")
        kind = "read-only file system" if mounted else "a file in its place"
        return Injection(f"folder that cannot be written ({kind})", "refused before the start", None, tuple(problems))
    finally:
        if mounted:
            unmount(out)


def mount(folder: Path, options: str) -> bool:
    """Mount a tmpfs, or change the one that is there; returns whether that is allowed."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def unmount(folder: Path) -> None:
    """Unmount, also while something still has a file open."""
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)


def _fill(fault: str, out: Path, decisions: int, give_room: Callable[[], bool]) -> Injection:
    collecting = Collecting(out, _options(100, decisions), log=out.with_name("full.log"))
    try:
        code = collecting.wait()
    finally:
        collecting.kill_all()
    output = collecting.output
    problems = [] if code == 1 else [f"exit code {code}: {output}"]
    if not re.search(rf"{re.escape(str(out))}\S*: cannot be written \(", output):
        problems.append(f"no message names the folder: {output}")
    run = out / _RUN
    checker = RunChecker(run, SEED)
    problems += checker.problems()
    finished = len(read_run(run).record.episodes)
    if not give_room():
        problems.append("the disk could not be made larger")
    recovered = recover(run)
    completed = sum(entry.outcome != Outcome.ABORTED.name for entry in read_run(run).record.episodes)
    again = Collecting(
        out, ["--episodes", str(completed + 1), "--run-id", _RUN, "--resume"], log=collecting.output_file
    )
    try:
        code = again.wait()
    finally:
        again.kill_all()
    problems += [f"--resume ended with {code}: {again.output}"] if code else []
    problems += checker.problems()
    numbers = [entry.number for entry in read_run(run).record.episodes]
    if numbers != list(range(finished + len(recovered) + 1)):
        problems.append(f"{finished} were finished and {len(recovered)} recovered, found the episodes {numbers}")
    return Injection(fault, "ended cleanly", None, tuple(problems))


@contextmanager
def _file_limit() -> Iterator[Callable[[], bool]]:
    """What this process starts cannot make files larger than this, until what is given is called."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def lift() -> bool:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        return True

    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_LIMIT, hard))
    try:
        yield lift
    finally:
        lift()


def _options(episodes: int, decisions: int) -> list[str]:
    options = ["--episodes", str(episodes), "--run-id", _RUN, "--policy", "hold", "--seed", str(SEED)]
    return [*options, "--max-decisions", str(decisions)]
