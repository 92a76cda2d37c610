"""The measurements of `make load`: what counts as growth, and the recorder under large pictures for a second."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus_vla.bench.load.large_images import HZ, run_images
from salus_vla.bench.load.load_results import Result, table
from salus_vla.bench.load.many_episodes import Memory, growth


@given(st.floats(10, 1000), st.integers(8, 200), st.floats(0, 100))
def test_what_fills_in_the_first_quarter_is_no_growth(level: float, count: int, filling: float) -> None:
    samples = [level] * count
    samples[: count // 4] = [level - filling] * (count // 4)
    assert growth(samples) == pytest.approx(0.0)


@given(st.floats(0.01, 10), st.integers(8, 200))
def test_what_goes_on_growing_is_seen(slope: float, count: int) -> None:
    quarter = count // 4
    assert growth([slope * index for index in range(count)]) >= slope * quarter


def test_one_high_sample_is_no_growth() -> None:
    assert growth([10.0] * 39 + [500.0]) == 0.0


def test_too_few_samples_say_nothing() -> None:
    memory = Memory({"a": [1.0] * 7, "b": [1.0] * 8}, [0.0] * 8)
    assert set(memory.growths()) == {"b", "/dev/shm"}


def test_a_row_says_whether_it_passed() -> None:
    text = table([Result("this", "seen"), Result("that", "seen", ("lost",))])
    assert text.splitlines()[2:] == ["| this | seen | passed |", "| that | seen | **failed** |"]


@pytest.mark.graph
@pytest.mark.timeout(120)
def test_a_recorder_loses_no_large_picture(tmp_path: Path) -> None:
    result = run_images(tmp_path, 1, late_s=60.0)  # a busy machine takes longer, and may lose nothing either
    assert result.passed, result
    assert result.seen.startswith(f"{3 * HZ} pictures")
