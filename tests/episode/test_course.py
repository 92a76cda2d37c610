"""The course of an episode: what is teleported in it, what ends it, and what is said of its end."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.config.scene import load_scene
from salus_vla.contract import ENTITIES
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.reasons import SCENE_RESET, SIMULATOR_LOST
from salus_vla.contract.robot_limits import PANDA
from salus_vla.contract.types import Pose
from salus_vla.episode.course import EpisodeCourse
from salus_vla.episode.teleports import TeleportWatch
from salus_vla.health.supervision import Stop

FRAME, START = 20_000_000, 5_000_000_000
HOME = np.array([0.0, -0.7854, 0.0, -2.3562, 0.0, 1.5708, 0.7854, 0.04, 0.04])
UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])
PLACES = {"red_cube": np.array([0.5, 0.15, 0.025]), "blue_bin": np.array([0.45, -0.30, 0.0])}


def poses(**moved: np.ndarray) -> dict[str, Pose]:
    return {entity: Pose(moved.get(entity, PLACES[entity]), UPRIGHT) for entity in ENTITIES}


class Episode:
    """A course that is fed frame by frame."""

    def __init__(self, max_decisions: int | None = None) -> None:
        self.course = EpisodeCourse(load_scene(), max_decisions=max_decisions, silence_timeout_s=10.0)
        self.stamp, self.wall = START, 100.0
        self.course.begin(START, self.wall)

    def frame(self, arm: np.ndarray = HOME, seen: dict[str, Pose] | None = None):
        self.course.joints(self.stamp, arm)
        for entity, pose in (seen or poses()).items():
            self.course.frames.add_pose(entity, self.stamp, pose)
        self.stamp += FRAME
        self.wall += 0.02
        return self.course.advance(self.wall)


def test_an_episode_without_events_ends_by_its_clock_as_censored() -> None:
    episode = Episode(max_decisions=5)
    over = False
    while not over:
        _, over, stop = episode.frame()
        assert stop is None
    end = episode.course.end(episode.stamp)
    assert (end.outcome, end.event, end.event_ns, end.decisions) == (Outcome.TIMEOUT, "", 0, 5)
    assert end.end_ns == START + 5 * 100_000_000
    assert episode.course.counts == {"TIMEOUT": 1}


def test_frames_that_stay_away_are_a_simulator_that_is_lost() -> None:
    episode = Episode()
    for _ in range(10):
        assert episode.frame()[2] is None
    assert episode.course.advance(episode.wall + 9.9)[2] is None
    stop = episode.course.advance(episode.wall + 10.1)[2]
    assert stop is not None
    assert stop.reason == SIMULATOR_LOST


def test_frames_that_were_lost_are_counted() -> None:
    episode = Episode()
    for number in range(20):
        if number == 7:
            episode.stamp += 3 * FRAME
        episode.frame()
    assert episode.course.frames_lost == 3


def test_a_reset_in_motion_is_seen_in_the_joints_before_any_frame_is_complete() -> None:
    episode = Episode()
    arm = HOME.copy()
    for _ in range(30):
        arm[1] += 0.02
        assert episode.frame(arm)[2] is None
    episode.course.joints(episode.stamp, HOME)
    _, over, stop = episode.course.advance(episode.wall)
    assert not over
    assert stop is not None
    assert stop.reason == SCENE_RESET
    assert "panda_joint2 moved by 0.600 rad within 20 ms" in stop.detail
    end = episode.course.end(episode.stamp, stop)
    assert (end.outcome, end.detail) == (Outcome.ABORTED, f"scene_reset: {stop.detail}")


def test_a_reset_at_home_is_seen_in_the_cube() -> None:
    episode = Episode()
    for _ in range(5):
        episode.frame()
    elsewhere = poses(red_cube=np.array([0.42, 0.05, 0.025]))
    stops = [episode.frame(seen=elsewhere)[2] for _ in range(5)]
    found = next(stop for stop in stops if stop is not None)
    assert found.reason == SCENE_RESET
    assert "red_cube moved by 128 mm" in found.detail


def test_a_cube_that_was_carried_while_nobody_listened_is_no_reset() -> None:
    """The episode node stood still for a second: frames are missing."""
    watch = TeleportWatch(FRAME)
    stamp = START
    for frame in range(20):
        stamp += FRAME * (50 if frame == 10 else 1)
        place = np.array([0.5, 0.15 if frame < 10 else -0.1, 0.2])
        assert watch.poses(stamp, poses(red_cube=place)) == ""


def test_what_the_run_itself_resets_is_no_surprise() -> None:
    episode = Episode()
    for _ in range(5):
        episode.frame(HOME + 0.5)
    episode.course.end(episode.stamp)
    episode.course.begin(episode.stamp, episode.wall)
    for _ in range(10):
        assert episode.frame(HOME, poses(red_cube=np.array([0.42, 0.05, 0.025])))[2] is None


@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_no_arm_inside_its_limits_and_no_falling_cube_is_taken_for_a_reset(seed: int, lost: int) -> None:
    random = np.random.default_rng(seed)
    watch = TeleportWatch(FRAME)
    arm, height, speed = HOME[:7].copy(), 0.5, 0.0
    stamp = START
    for frame in range(60):
        skipped = 1 + lost * (frame % 10 == 5)
        stamp += skipped * FRAME
        arm = arm + random.uniform(-1.0, 1.0, 7) * PANDA.velocity * 0.02 * skipped
        assert watch.joints(stamp, np.append(arm, [0.0, 0.0])) == ""
        if frame >= 10 and height > 0.025:
            speed += 9.81 * 0.02
            height = max(0.025, height - speed * 0.02)
        assert watch.poses(stamp, poses(red_cube=np.array([0.5, 0.1, height]))) == ""


def test_a_clock_that_jumped_back_ends_no_episode_before_its_beginning() -> None:
    episode = Episode()
    assert episode.course.end(START - 10**9, Stop("clock_jumped_back", "policy: ...")).end_ns == START
