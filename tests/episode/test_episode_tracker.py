"""An episode ends on an observation, and its decisions are counted."""

import numpy as np
import pytest

from salus_vla.config.scene import load_scene
from salus_vla.contract.outcomes import Outcome
from salus_vla.contract.types import Contact, Pose
from salus_vla.episode.outcome_monitor import MISS_TRY
from salus_vla.episode.tracker import EpisodeTracker

SCENE = load_scene()
FRAME, PERIOD = 20_000_000, 100_000_000
START = 7 * FRAME  # an episode starts at any frame
CRASH = Contact("panda_link5", "table", 500.0)


class Episode:
    """Feeds a world in which nothing happens, except for what is asked."""

    def __init__(self, max_decisions: int | None = 50) -> None:
        self.tracker = EpisodeTracker(SCENE, max_decisions=max_decisions)
        self.restart(START)

    def restart(self, stamp_ns: int) -> None:
        self.tracker.start(stamp_ns)
        self.next_ns = stamp_ns

    def frame(
        self,
        *contacts: Contact,
        width: float = 0.08,
        cube: tuple[float, float, float] = (0.5, 0.1, 0.025),
        turned: float = 0.0,
    ) -> list[str]:
        """One frame; gives the kinds of the events in it."""
        poses = {
            "red_cube": Pose(np.array(cube), np.array([0.0, 0.0, 0.0, 1.0])),
            "blue_bin": SCENE.objects.blue_bin.pose(),
        }
        joints = np.array([*SCENE.robot.home, width / 2, width / 2])
        joints[0] += turned
        events = self.tracker.update(self.next_ns, joints, poses, contacts)
        self.next_ns += FRAME
        return [event.kind for event in events]

    def frames(self, count: int) -> list[str]:
        return [kind for _ in range(count) for kind in self.frame()]


@pytest.mark.parametrize(
    ("frame", "decisions"), [(0, 0), (1, 1), (4, 1), (5, 1), (6, 2), (9, 2), (10, 2), (11, 3), (123, 25)]
)
def test_the_terminal_observation_is_the_first_at_or_after_the_event(frame: int, decisions: int) -> None:
    episode = Episode()
    tracker = episode.tracker
    assert episode.frames(frame) == []
    assert tracker.end_ns is None
    assert not tracker.over(10**15)
    assert episode.frame(CRASH) == ["COLLISION"]
    end = START + decisions * PERIOD
    assert tracker.event is not None
    assert tracker.event.stamp_ns == START + frame * FRAME
    assert tracker.outcome is Outcome.COLLISION
    assert tracker.end_ns == end
    assert [tracker.over(end + offset) for offset in (-FRAME, -1, 0, FRAME)] == [False, False, True, True]
    assert tracker.decisions(end) == decisions


@pytest.mark.parametrize("allowed", [1, 3, 20])
def test_timeout_comes_exactly_one_period_after_the_last_decision(allowed: int) -> None:
    episode = Episode(max_decisions=allowed)
    assert episode.frames(5 * allowed) == []
    assert episode.tracker.outcome is Outcome.RUNNING
    assert episode.frame() == ["TIMEOUT"]
    assert episode.tracker.outcome is Outcome.TIMEOUT
    assert episode.tracker.end_ns == START + allowed * PERIOD
    assert episode.tracker.over(START + allowed * PERIOD)
    assert episode.tracker.decisions(START + allowed * PERIOD) == allowed


def test_the_scene_says_how_many_decisions_there_are() -> None:
    episode = Episode(max_decisions=None)
    assert episode.frames(5 * 200) == []
    assert episode.frame() == ["TIMEOUT"]


@pytest.mark.parametrize(("frame", "kind"), [(14, "COLLISION"), (15, "COLLISION"), (16, "TIMEOUT")])
def test_an_event_in_the_frame_of_the_timeout_wins(frame: int, kind: str) -> None:
    episode = Episode(max_decisions=3)
    episode.frames(frame)
    episode.frame(CRASH)
    assert episode.tracker.event is not None
    assert episode.tracker.event.kind == kind
    assert episode.tracker.end_ns == START + 15 * FRAME


def test_nothing_after_the_event_changes_the_end() -> None:
    episode = Episode(max_decisions=2)
    episode.frames(3)
    episode.frame(CRASH)
    end = episode.tracker.end_ns
    assert episode.frames(50) == []
    assert (episode.tracker.outcome, episode.tracker.end_ns) == (Outcome.COLLISION, end)


def test_a_failed_try_is_an_event_but_not_the_end() -> None:
    episode = Episode()
    episode.frame()
    assert episode.frame(width=0.0) == [MISS_TRY]
    assert episode.tracker.outcome is Outcome.RUNNING
    assert episode.tracker.event is None
    assert episode.tracker.end_ns is None


@pytest.mark.parametrize(("offset", "count"), [(0, 0), (1, 1), (PERIOD - 1, 1), (PERIOD, 1), (PERIOD + 1, 2)])
def test_a_decision_counts_once_its_stamp_has_passed(offset: int, count: int) -> None:
    assert Episode().tracker.decisions(START + offset) == count


def test_the_next_episode_starts_afresh() -> None:
    episode = Episode(max_decisions=3)
    episode.frames(2)
    episode.frame(CRASH)
    episode.restart(episode.next_ns + 3 * FRAME)
    start = episode.next_ns
    tracker = episode.tracker
    assert (tracker.outcome, tracker.event, tracker.end_ns) == (Outcome.RUNNING, None, None)
    assert not tracker.over(10**15)
    assert episode.frames(15) == []
    assert episode.frame() == ["TIMEOUT"]
    assert tracker.end_ns == start + 3 * PERIOD


def test_a_closing_on_nothing_is_an_event_with_when_it_began_and_ends_nothing() -> None:
    episode = Episode()
    episode.frames(20)
    kinds = [kind for _ in range(20) for kind in episode.frame(width=0.004)]
    assert kinds == [MISS_TRY, "EMPTY_CLOSING"]
    assert episode.tracker.outcome is Outcome.RUNNING


def test_a_crooked_grasp_is_an_event() -> None:
    episode = Episode()
    episode.frames(20)
    assert [kind for _ in range(40) for kind in episode.frame(width=0.058)] == ["CROOKED_GRASP"]


def timeout_words(episode: Episode) -> str:
    event = episode.tracker.event
    assert event is not None
    assert event.kind == "TIMEOUT"
    return event.detail.split(": ", 1)[1]


def test_a_timeout_says_that_the_gripper_stayed_closed_on_nothing() -> None:
    episode = Episode(max_decisions=10)
    episode.frames(20)
    for _ in range(31):
        episode.frame(width=0.004)
    assert timeout_words(episode) == "closed on nothing at 0.4 s, never opened again"


@pytest.mark.parametrize(
    ("opened", "words"),
    [
        ({}, "waiting: the arm has not moved for the last 2 s"),
        ({"cube": (0.5, 0.1, 0.06)}, "cube out of reach: it lies on something, not on the table"),
        ({"cube": (0.45, -0.3, 0.04)}, "cube out of reach: it is in the bin and does not rest"),
    ],
)
def test_a_timeout_says_what_the_arm_was_doing(opened: dict[str, tuple[float, float, float]], words: str) -> None:
    episode = Episode(max_decisions=10)
    for index in range(51):
        # What moves does not rest in the bin.
        cube = opened.get("cube")
        moved = {} if cube is None else {"cube": (cube[0] + 0.002 * (index % 2), *cube[1:])}
        episode.frame(**moved)  # type: ignore[arg-type]
    assert timeout_words(episode) == words


def test_an_arm_that_moves_over_the_cube_hovers() -> None:
    episode = Episode(max_decisions=10)
    for index in range(51):
        episode.frame(turned=0.002 * index)
    assert timeout_words(episode) == "hovering: the arm moves and does not grasp"


def test_a_gripper_that_opened_again_is_not_the_cause() -> None:
    episode = Episode(max_decisions=10)
    for _ in range(25):
        episode.frame(width=0.004)
    episode.frames(26)
    assert timeout_words(episode).startswith("waiting")


def test_the_next_episode_knows_nothing_of_the_last_ones_grasps() -> None:
    episode = Episode(max_decisions=10)
    for _ in range(25):
        episode.frame(width=0.004)
    episode.restart(episode.next_ns)
    assert [kind for _ in range(25) for kind in episode.frame(width=0.004)] == ["EMPTY_CLOSING"]


@pytest.mark.parametrize(("frame", "decisions"), [(0, 1), (5, 2), (10, 3)])
def test_an_episode_that_is_handed_over_ends_at_the_next_observation(frame: int, decisions: int) -> None:
    episode = Episode()
    episode.frames(frame + 1)
    tracker = episode.tracker
    tracker.hand_over(START + frame * FRAME, "stuck")
    assert tracker.outcome is Outcome.HANDED_OVER
    assert tracker.end_ns == START + decisions * PERIOD
    assert not tracker.over(START + frame * FRAME)
    assert episode.frame(CRASH) == []


def test_what_came_behind_the_hand_over_does_not_count_and_what_came_before_does() -> None:
    episode = Episode()
    episode.frames(11)
    assert episode.frame(CRASH) == ["COLLISION"]  # in a frame that was seen before the hand-over was heard of
    episode.tracker.hand_over(START + 10 * FRAME, "stuck")
    assert episode.tracker.outcome is Outcome.HANDED_OVER
    late = Episode()
    late.frames(3)
    late.frame(CRASH)
    late.tracker.hand_over(START + 5 * FRAME, "stuck")
    assert late.tracker.outcome is Outcome.COLLISION
