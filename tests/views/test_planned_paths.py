"""Where members disagree their paths part, and what nobody can draw is left out."""

from __future__ import annotations

import numpy as np

from salus_vla.contract.forward_kinematics import tool_poses
from salus_vla.views.planned_paths import line_pairs, planned_paths

HOME = np.array([0.0, -0.785398, 0.0, -2.356194, 0.0, 1.570796, 0.785398])
ROW_S = 0.1


def chunks(*turns: float, rows: int = 16) -> np.ndarray:
    """A member for each turn of the first joint, reached row by row, (K, rows, 7)."""
    made = np.tile(HOME, (len(turns), rows, 1))
    made[:, :, 0] = np.outer(turns, np.arange(1, rows + 1) / rows)
    return made


def test_a_path_is_the_tools_way_through_the_next_second_from_where_it_is() -> None:
    start = tool_poses(HOME)[0][0]
    planned = chunks(0.3)
    (path,) = planned_paths(planned, ROW_S, start)
    assert path.shape == (11, 3)  # 1 s of 1.6, and the start
    np.testing.assert_allclose(path[0], start)
    np.testing.assert_allclose(path[1:], tool_poses(planned[0, :10])[0])
    (without,) = planned_paths(planned, ROW_S)
    np.testing.assert_allclose(without, path[1:])


def test_members_that_agree_lie_on_one_line_and_others_part() -> None:
    same, again, other = planned_paths(chunks(0.3, 0.3, -0.3), ROW_S)
    np.testing.assert_array_equal(same, again)
    apart = np.linalg.norm(same - other, axis=1)
    assert (np.diff(apart) > 0.0).all()


def test_a_member_without_numbers_is_left_out_and_the_others_stay() -> None:
    planned = chunks(0.1, 0.2, 0.3)
    planned[1, 4, 2] = np.nan
    planned[2, 12, 0] = np.inf  # after the second that is drawn
    assert len(planned_paths(planned, ROW_S)) == 2


def test_a_chunk_too_short_for_a_line_is_none() -> None:
    assert planned_paths(chunks(0.1, rows=1), ROW_S) == []
    assert len(planned_paths(chunks(0.1, rows=1), ROW_S, np.zeros(3))) == 1
    assert planned_paths(chunks(0.1), 5.0) == []  # rows five seconds apart


def test_pieces_join_ends_within_a_path_and_never_across_two() -> None:
    one, two = np.arange(9.0).reshape(3, 3), np.arange(6.0).reshape(2, 3) + 100.0
    pairs = line_pairs([one, two]).reshape(-1, 2, 3)
    np.testing.assert_array_equal(pairs, [[one[0], one[1]], [one[1], one[2]], [two[0], two[1]]])
    assert line_pairs([]).shape == (0, 3)
