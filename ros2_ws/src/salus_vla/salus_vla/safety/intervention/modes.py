"""How far interventions go: the value of the parameter `intervention`.

off         | nothing is computed
advise      | candidates are weighed, published and recorded; the arm follows the plan
act         | the arm follows what was chosen
random      | a motion is drawn at each closing of the hand: to learn from
always:NAME | that motion at each closing of the hand: to compare with
hand_over   | the plan, and a person when it is stuck: to compare with
"""

from __future__ import annotations

from typing import Final

from salus_vla.contract.errors import ConfigError

OFF: Final = "off"
ADVISE: Final = "advise"
ACT: Final = "act"
RANDOM: Final = "random"
HAND_OVER_ONLY: Final = "hand_over"
ALWAYS: Final = "always:"
MODES: Final = (OFF, ADVISE, ACT, RANDOM, HAND_OVER_ONLY)


def checked_mode(text: str, motions: tuple[str, ...]) -> str:
    """The mode.

    Args:
        text: as it was given.
        motions: names that may stand behind `always:`.

    Raises:
        ConfigError: there is no such mode, or no such motion.
    """
    if text in MODES or (text.startswith(ALWAYS) and text.removeprefix(ALWAYS) in motions):
        return text
    raise ConfigError(f"intervention {text!r}: expected {', '.join(MODES)} or {ALWAYS}MOTION of {', '.join(motions)}")
