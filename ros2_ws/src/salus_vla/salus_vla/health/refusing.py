"""Nodes that refuse what comes to them: whose newest refusal explains why a graph does not begin, or an arm stopped."""

from __future__ import annotations

from dataclasses import dataclass

HOPELESS_S = 10.0  # wall time of nothing but refusals, of a node that is not ready
LEAST = 5  # messages refused meanwhile
_NEWEST = "the newest: "  # in the words of `Refusals.part`


@dataclass
class _Refusing:
    since_s: float
    before: int
    total: int
    words: str


class Refusing:
    """Remembers who refuses messages, from the diagnostics of the nodes. All times are wall time [s]."""

    def __init__(self) -> None:
        """Nobody refuses anything yet."""
        self._nodes: dict[str, _Refusing] = {}

    def heard(self, node: str, total: int, message: str, wall_s: float) -> None:
        """A node's part `messages` of its diagnostics.

        Args:
            node: its full name.
            total: messages refused since it started.
            message: of the part; has the newest refusal, or nothing when the last one is a while ago.
            wall_s: now [s].
        """
        _, found, words = message.partition(_NEWEST)
        if not found:
            self._nodes.pop(node, None)
            return
        known = self._nodes.setdefault(node, _Refusing(wall_s, total, total, words))
        known.total, known.words = total, words

    def words(self, node: str) -> str:
        """The newest refusal of a node; empty where it refuses nothing."""
        return self._nodes[node].words if node in self._nodes else ""

    def hopeless(self, node: str, wall_s: float) -> bool:
        """Whether a node has refused messages for so long that nothing else can be expected."""
        known = self._nodes.get(node)
        return known is not None and wall_s - known.since_s > HOPELESS_S and known.total - known.before >= LEAST

    def all_words(self) -> str:
        """The newest refusal of each node, for the end of a sentence; empty where nobody refuses anything."""
        return "".join(f"; {node} refuses: {known.words}" for node, known in self._nodes.items())
