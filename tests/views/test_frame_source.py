"""The view gives the robot's frames only while nobody else does, and never before the others can be known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from salus_vla.views.frame_source import FrameSource

PATIENCE_S = 4.0


def test_a_robot_without_tf_gets_its_frames_after_the_patience() -> None:
    source = FrameSource(PATIENCE_S)
    gives = [source.gives(others=False, joints=second >= 10, wall_s=float(second)) for second in range(20)]
    assert gives == [False] * 14 + [True] * 6


def test_a_simulator_takes_over_at_once_whoever_was_first_and_gives_back_after_the_patience() -> None:
    source = FrameSource(PATIENCE_S)
    others = [False] * 6 + [True] * 3 + [False] * 8
    gives = [source.gives(others=here, joints=True, wall_s=float(second)) for second, here in enumerate(others)]
    assert gives == [False] * 4 + [True] * 2 + [False] * 7 + [True] * 4


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0.0, 3.0)), max_size=60))
def test_never_beside_another_and_never_without_a_robot(looks: list[tuple[bool, bool, float]]) -> None:
    source, wall_s, alone_s = FrameSource(PATIENCE_S), 0.0, 0.0
    for others, joints, step in looks:
        wall_s += step
        alone_s = alone_s if not others and joints else wall_s
        if source.gives(others=others, joints=joints, wall_s=wall_s):
            assert joints
            assert not others
            assert wall_s - alone_s >= PATIENCE_S
        if others or not joints:
            alone_s = wall_s
