"""Messages that were refused: counted by topic, shown in the diagnostics, logged when it begins and not again."""

from __future__ import annotations

from collections import Counter

from salus_vla.health.meters import DiagnosticPart, Level


class Refusals:
    """The refused messages of one node.

    Attributes:
        counts: refused messages by topic.
    """

    QUIET_S = 5.0  # wall time without a refusal after which the next one of that topic is news again

    def __init__(self) -> None:
        """Nothing has been refused yet."""
        self.counts: Counter[str] = Counter()
        self._last_wall: dict[str, float] = {}
        self._newest = ""

    def add(self, topic: str, words: str, wall_s: float) -> bool:
        """Counts a message; whether it is the first of its topic after a quiet time, which is worth a line in the log.

        Args:
            topic: name of its topic.
            words: what is wrong with it; names the topic.
            wall_s: wall time now, any monotonic clock [s].
        """
        last, self._last_wall[topic] = self._last_wall.get(topic), wall_s
        self.counts[topic] += 1
        self._newest = words
        return last is None or wall_s - last > self.QUIET_S

    def part(self, wall_s: float) -> DiagnosticPart:
        """What was refused, in all and by topic; a warning until a quiet time is over at this wall time [s]."""
        total = self.counts.total()
        values = {"refused": total} | {f"refused {topic}": count for topic, count in sorted(self.counts.items())}
        if any(wall_s - last <= self.QUIET_S for last in self._last_wall.values()):
            return DiagnosticPart("messages", values, Level.WARN, f"{total} refused, the newest: {self._newest}")
        return DiagnosticPart("messages", values)
