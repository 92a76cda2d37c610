"""Messages that all have one stamp are no measurements."""

from __future__ import annotations

from salus_vla.health.standing_stamps import StandingStamps


def test_a_message_that_is_sent_again_is_no_fault() -> None:
    stamps = StandingStamps()
    assert [stamps.judge(n // StandingStamps.MOST) for n in range(20 * StandingStamps.MOST)] == [""] * 100


def test_stamps_that_stand_still_are_said_until_they_go_on() -> None:
    stamps = StandingStamps()
    words = [stamps.judge(2_500_000_000) for _ in range(StandingStamps.MOST + 2)]
    assert words[: StandingStamps.MOST] == [""] * StandingStamps.MOST
    assert words[-1] == words[-2] == "is stamped 2.5 s, as the messages before it: the stamps stand still"
    assert stamps.judge(2_520_000_000) == ""
    assert stamps.judge(2_500_000_000) == ""  # back is another's matter


def test_zero_is_a_stamp_as_any_other() -> None:
    stamps = StandingStamps()
    assert [bool(stamps.judge(0)) for _ in range(7)] == [False] * 5 + [True] * 2
