"""An authority with a real controller, an arm that follows every command, and a policy whose answers wait."""

from collections.abc import Sequence

import numpy as np

from drawn_predictor import EXPERT, PARTS, WIDTH
from salus_vla.contract import CAMERAS
from salus_vla.contract.types import FloatArray, Observation, PolicyOutput
from salus_vla.control.authority import Authority, AuthorityState
from salus_vla.control.authority_types import EpisodeStart, Job, Output, Say, Send, Submit
from salus_vla.control.controller import Controller
from salus_vla.control.target_filter import TargetFilter
from salus_vla.control.watchdog import JOINTS, WatchLimits

FRAME, PERIOD, S = 20_000_000, 100_000_000, 1_000_000_000
HOME = np.array([0.0, -0.785398, 0.0, -2.356194, 0.0, 1.570796, 0.785398, 0.04, 0.04])
IMAGE = np.zeros((2, 2, 3), dtype=np.uint8)


class ChosenPolicy:
    """Gives the chunk that the test chose."""

    source = "chosen"

    def __init__(self) -> None:
        self.arm = HOME[:7]
        self.kind = "move"
        self.started: list[int] = []
        self.hidden: np.random.Generator | None = None  # gives hidden states, and closes the hand

    def start_episode(self, seed: int) -> None:
        self.started.append(seed)

    def predict(self, observation: Observation, decision: int) -> PolicyOutput:
        chunk = np.tile(np.append(self.arm, 0.08), (10, 1))
        if self.kind == "move":
            chunk[:, 0] += 0.03 * np.arange(1, 11)
        elif self.kind == "nan":
            chunk[:] = np.nan
        elif self.kind == "outside":
            chunk[:, 1] = 9.0
        if self.hidden is None:
            return PolicyOutput(chunk[None, None])
        chunk[:, 7] = 0.0
        states = self.hidden.normal(size=EXPERT), self.hidden.normal(size=(PARTS, WIDTH))
        return PolicyOutput(chunk[None, None], expert_state=states[0], prefix_parts=states[1])

    def provenance(self) -> dict[str, str]:
        return {}


class World:
    """Time, arm, gate and worker around an authority."""

    def __init__(self, *, lockstep: bool = True, number: int = 0, filters: Sequence[TargetFilter] = ()) -> None:
        self.policy = ChosenPolicy()
        self.policy.hidden = np.random.default_rng(0) if filters else None
        self.holds = bool(filters)  # something is in the hand: the fingers stop at it, speed and effort are measured
        self.controller = Controller(self.policy, frame_dt_ns=FRAME, control_dt_ns=PERIOD, filters=filters)
        self.authority = Authority(
            self.controller,
            frame_ns=FRAME,
            period_ns=PERIOD,
            lockstep=lockstep,
            limits=WatchLimits(),
            wall_s=0.0,
        )
        self.now = 10 * S
        self.wall = 100.0
        self.arm = HOME.copy()
        self.jobs: list[Job] = []
        self.sends: list[Send] = []
        self.says: list[Say] = []
        self.number = number
        self.epoch = -1  # of the worker's thread

    @property
    def state(self) -> AuthorityState:
        return self.authority.state

    def do(self, outputs: list[Output]) -> list[Output]:
        for output in outputs:
            if isinstance(output, Send):
                self.sends.append(output)
                self.arm = output.position.copy()
            elif isinstance(output, Say):
                self.says.append(output)
            elif isinstance(output, Submit):
                self.jobs = [output.job]  # the newest replaces one that waits
        return outputs

    def clock(self, now_ns: int | None = None) -> None:
        self.now = self.now if now_ns is None else now_ns
        self.do(self.authority.clock(self.now, self.wall)[1])

    def measured(self) -> tuple[FloatArray, FloatArray | None]:
        """Position and motion of the joints, as `Authority.joints` takes them."""
        if not self.holds:
            return self.arm.copy(), None
        return np.append(self.arm[:7], np.maximum(self.arm[7:], 0.025)), np.zeros((2, 9))

    def joints(self, stamp_ns: int | None = None) -> None:
        self.do(self.authority.joints(self.now if stamp_ns is None else stamp_ns, *self.measured()))

    def images(self, stamp_ns: int | None = None) -> None:
        for camera in CAMERAS:
            self.do(self.authority.image(camera, self.now if stamp_ns is None else stamp_ns, IMAGE))

    def frame(self, *, images: bool | None = None) -> None:
        """One frame later: clock, joints and, when they are due, images."""
        self.now += FRAME
        self.wall += 0.02
        self.clock()
        self.joints()
        if images is None:
            images = self.now % PERIOD == 0
        if images:
            self.images()

    def start(self, *, seed: int = 1) -> None:
        self.number += 1
        start = EpisodeStart(self.number, seed, "task", self.now)
        self.do(self.authority.episode_started(start, self.wall))

    def end(self) -> None:
        self.do(self.authority.episode_ended(self.number, self.now))

    def decide(self, kind: str = "move") -> None:
        """The worker's newest job is done."""
        self.policy.kind, self.policy.arm = kind, self.arm[:7]
        job = self.jobs.pop()
        if job.epoch != self.epoch:
            self.epoch = job.epoch
            self.controller.start_decisions(job.seed)
        if kind == "error":
            self.do(self.authority.decision_failed(job, "RuntimeError: no"))
        else:
            self.do(self.authority.decided(job, self.controller.decide(job.observation, job.command_in_force)))

    def run(self, frames: int, kind: str = "move") -> None:
        """Frames, each decision made as soon as it can be."""
        for _ in range(frames):
            if self.jobs:
                self.decide(kind)
            self.frame()
        if self.jobs:
            self.decide(kind)

    def begin(self) -> None:
        """Active and moving in an episode."""
        self.do(self.authority.activate(self.wall))
        self.run(10)
        self.start()
        self.run(15)
        assert self.state is AuthorityState.RUNNING
        assert self.speed() > (0.05 if not self.holds else 0.01)  # what is in the hand is carried at a quarter

    def speed(self) -> float:
        """Of the fastest arm joint between the two newest commands [rad/s]."""
        if len(self.sends) < 2:
            return 0.0
        last, before = self.sends[-1], self.sends[-2]
        frames = (last.stamp_ns - before.stamp_ns) * 1e-9
        return float(np.abs(last.position[:7] - before.position[:7]).max() / frames)


__all__ = ["CAMERAS", "FRAME", "HOME", "JOINTS", "PERIOD", "S", "World"]
