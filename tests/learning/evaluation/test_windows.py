"""Which decisions an episode's value is made of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from salus_vla.data.recording import known_values
from salus_vla.learning.evaluation.windows import first, means, medians, until, whole
from salus_vla.signals.safety_signals import NAMES
from synthetic import episode, signal_rows

unhurried = settings(deadline=None)  # other processes may have the machine


def column(values: list[float], **keys: float) -> np.ndarray:
    """What `means` makes of one signal."""
    rows = signal_rows(0.0, len(values), epistemic_uncertainty=np.array(values))
    return episode(signals=rows, decisions=len(values), **keys)


@pytest.mark.parametrize(
    ("window", "expected"),
    [(first(2), 1.5), (first(4), 3.75), (first(99), 5.2), (whole, 5.2), (until(1.0), 1.5), (until(1.05), 1.0)],
)
def test_mean_over_a_window(window: object, expected: float) -> None:
    item = column([1.0, 2.0, 4.0, 8.0, 11.0], event_s=1.1)
    assert means([item], window)[0, 0] == pytest.approx(expected)


def test_what_is_not_valid_is_not_counted() -> None:
    item = column([np.nan, 2.0, np.nan, 4.0])
    assert means([item], whole)[0, 0] == 3.0
    assert medians([item], first(2))[0, 0] == 2.0
    assert np.isnan(means([item], first(1))[0, 0])


def test_an_episode_without_an_event_has_nothing_before_it() -> None:
    assert len(until(1.0)(column([1.0, 2.0], event_s=None))) == 0


def test_a_stamp_exactly_one_second_before_the_event_belongs_to_it() -> None:
    # In seconds stamps are not exact: 1.2 - 1.0 is below 2 * 0.1.
    item = column([float(number) for number in range(12)], event_s=1.2)
    assert len(until(1.0)(item)) == 3


@unhurried
@given(
    arrays.arrays(np.float32, (3, 12), elements=st.floats(width=32)),
    arrays.arrays(np.uint16, 3, elements=st.integers(0, 4095)),
)
def test_a_value_is_known_where_its_bit_is_set_and_it_is_finite(values: np.ndarray, valid: np.ndarray) -> None:
    found = known_values(values, valid)
    for row in range(3):
        for index in range(len(NAMES)):
            if valid[row] >> index & 1 and np.isfinite(values[row, index]):
                assert found[row, index] == values[row, index]
            else:
                assert np.isnan(found[row, index])
