"""A tiny world for the task monitor: it reports contacts as changes, frame by frame."""

from dataclasses import dataclass, field

import numpy as np

from salus_vla.config.scene import load_scene
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import Contact, Pose
from salus_vla.episode.outcome_monitor import TaskEvent, TaskMonitor

SCENE = load_scene()
DT = SCENE.rates.frame_dt_ns
REST = SCENE.objects.red_cube.edge / 2
BIN_X, BIN_Y = SCENE.objects.blue_bin.position
IDENTITY = np.array([0.0, 0.0, 0.0, 1.0])
LEFT, RIGHT = "panda_leftfinger", "panda_rightfinger"
GRIP = 0.05  # m, width of the gripper around the cube


FRAMES_PER_DECISION = SCENE.rates.frames_per_decision


@dataclass
class World:
    monitor: TaskMonitor = field(default_factory=lambda: TaskMonitor(SCENE))
    width: float = 0.08
    cube: tuple[float, float, float] = (0.5, 0.1, REST)
    stamp: int = 7 * DT  # an episode does not start at 0
    touching: dict[tuple[str, str], float] = field(default_factory=dict)
    events: list[TaskEvent] = field(default_factory=list)
    changes: dict[tuple[str, str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.monitor.start(self.stamp)

    def touch(self, body_a: str, body_b: str, force: float) -> None:
        self.changes[body_a, body_b] = force

    def squeeze(self, force: float) -> None:
        self.touch(LEFT, "red_cube", force)
        self.touch(RIGHT, "red_cube", force)

    def run(self, frames: int = 1) -> list[TaskEvent]:
        new: list[TaskEvent] = []
        for _ in range(frames):
            self.stamp += DT
            contacts = [Contact(min(pair), max(pair), force) for pair, force in self.changes.items()]
            self.changes = {}
            joints = np.array([0.0] * 7 + [self.width / 2] * 2)
            poses = {
                "red_cube": Pose(np.array(self.cube), IDENTITY),
                "blue_bin": SCENE.objects.blue_bin.pose(),
            }
            new += self.monitor.update(self.stamp, joints, poses, contacts)
        self.events += new
        return new

    def hold(self, height: float = 0.15) -> None:
        """Grip the cube and lift it."""
        self.width = GRIP
        self.squeeze(20.0)
        assert self.run(6) == []
        assert self.monitor.holding
        for z in np.linspace(0.0, height, 10):
            self.cube = (self.cube[0], self.cube[1], REST + float(z))
            assert self.run() == []

    def lose(self) -> list[TaskEvent]:
        self.squeeze(0.0)
        return self.run()


def only(events: list[TaskEvent]) -> TaskEvent:
    assert len(events) == 1
    return events[0]


def outcome_of(events: list[TaskEvent]) -> Outcome | None:
    return only(events).outcome
