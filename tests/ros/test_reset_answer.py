"""What the episode node makes of a simulator's answer to /sim/reset."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.ros.clients.lifecycle_manager import GraphError
from salus_vla.ros.nodes.episode_runner import first_stamp

values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers())


def test_the_stamp_is_taken_when_the_profile_fits_or_is_not_said() -> None:
    assert first_stamp('{"seed": 3, "stamp_ns": 20000000, "profile": "dark"}', "dark") == 20_000_000
    assert first_stamp('{"stamp_ns": 40000000}', "dark") == 40_000_000


def test_another_profile_than_the_recorded_one_ends_the_run() -> None:
    with pytest.raises(GraphError, match="the simulator shows profile 'dark', expected 'eval'"):
        first_stamp('{"stamp_ns": 40000000, "profile": "dark"}', "eval")


@given(answer=st.text(max_size=20) | st.dictionaries(st.sampled_from(["stamp_ns", "profile"]), values).map(json.dumps))
def test_any_other_answer_is_a_graph_error(answer: str) -> None:
    try:
        stamp_ns = first_stamp(answer, "eval")
    except GraphError:
        return
    assert int(json.loads(answer)["stamp_ns"]) == stamp_ns
    assert json.loads(answer).get("profile", "eval") == "eval"
