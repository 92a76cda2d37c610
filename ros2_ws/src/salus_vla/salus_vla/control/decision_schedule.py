"""Whose turn it is in an episode: which frames wait for a decision, and when a simulator in lockstep did not wait."""

from __future__ import annotations


class DecisionSchedule:
    """Stamps of one episode, all in ROS time [ns].

    Attributes:
        start_ns: the first observation.
        end_ns: the terminal observation, once it is known.
        decided_ns: the last camera set that was decided on; -1 before the first.
        submitted_ns: the last camera set that was given to the policy; -1 before the first.
        answered_ns: the last frame that was answered with a command; -1 before the first.
    """

    def __init__(self, *, period_ns: int, frame_ns: int, lockstep: bool) -> None:
        """No episode yet.

        Args:
            period_ns: time between two camera sets [ns].
            frame_ns: time between two frames [ns].
            lockstep: whether a camera set's frame is answered after its decision only.
        """
        self._period_ns, self._frame_ns, self._lockstep = period_ns, frame_ns, lockstep
        self.forget()

    end_ns: int | None

    def forget(self) -> None:
        """No episode: nothing of before can be compared with what comes."""
        self.start(0)

    def start(self, start_ns: int) -> None:
        """A new episode, whose first observation has this stamp."""
        self.start_ns, self.end_ns = start_ns, None
        self.decided_ns = self.submitted_ns = self.answered_ns = -1

    @property
    def pending(self) -> bool:
        """Whether a camera set waits for its decision."""
        return self.submitted_ns > self.decided_ns

    def after_end(self, stamp_ns: int) -> bool:
        """Whether a stamp lies behind the terminal observation; that one itself is still decided on."""
        return self.end_ns is not None and stamp_ns > self.end_ns

    def finished(self, stamp_ns: int) -> bool:
        """Whether a frame lies behind the terminal observation."""
        return self.end_ns is not None and stamp_ns >= self.end_ns + self._frame_ns // 2

    def is_next(self, stamp_ns: int) -> bool:
        """Whether a frame is one of this episode that was not answered yet."""
        return stamp_ns >= self.start_ns and stamp_ns > self.answered_ns

    def decision_due(self, stamp_ns: int) -> bool:
        """Whether a camera set of this very frame is still to come or being decided on."""
        last = self.decided_ns if self.decided_ns >= 0 else self.start_ns - self._period_ns
        return stamp_ns > last + self._period_ns - self._frame_ns // 2

    def skip_to_answered(self) -> None:
        """Camera sets up to the frame answered last are not waited for any more."""
        periods = max(0, self.answered_ns - self.start_ns) // self._period_ns
        self.decided_ns = max(self.decided_ns, self.start_ns + periods * self._period_ns)

    def lost(self, last_ns: int, now_ns: int) -> bool:
        """Whether a simulator in lockstep went on to `now_ns` without the answer to its frame `last_ns`."""
        over = self.end_ns is not None and last_ns >= self.end_ns
        return self._lockstep and self.answered_ns < last_ns < now_ns and last_ns >= self.start_ns and not over
