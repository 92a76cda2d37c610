"""How far interventions go: the value of the parameter `intervention`.

off               | nothing is computed
advise            | candidates are weighed, published and recorded; the arm follows the plan
act               | the arm follows what was chosen
random            | a motion is drawn at each closing of the hand: to learn from
random:NAME=P,... | likewise, each with its probability, and the plan with the rest: to compare with
random_approach   | act, and an approach is drawn at the beginning and behind each closing on nothing: to learn from
random_retreat    | act, and behind the first closing on nothing chance says whether it goes back: to learn from
always:NAME       | that motion at each closing of the hand, or that approach: to compare with
throughout:slow_F | arm and hand at F of their speed, from the beginning of an episode on: to compare with
hand_over         | the plan, and a person when it is stuck: to compare with
"""

from __future__ import annotations

from typing import Final

from salus_vla.contract.errors import ConfigError
from salus_vla.safety.intervention.candidates import MOTIONS, PLAN, SLOW_MOTIONS

OFF: Final = "off"
ADVISE: Final = "advise"
ACT: Final = "act"
RANDOM: Final = "random"
RANDOM_OF: Final = "random:"
RANDOM_APPROACH: Final = "random_approach"
RANDOM_RETREAT: Final = "random_retreat"
HAND_OVER_ONLY: Final = "hand_over"
ALWAYS: Final = "always:"
THROUGHOUT: Final = "throughout:"
MODES: Final = (OFF, ADVISE, ACT, RANDOM, RANDOM_APPROACH, RANDOM_RETREAT, HAND_OVER_ONLY)
WITH_MODEL: Final = (ADVISE, ACT, RANDOM_APPROACH, RANDOM_RETREAT, HAND_OVER_ONLY)  # what weighs motions, or hands over


def checked_mode(text: str, motions: tuple[str, ...]) -> str:
    """The mode.

    Args:
        text: as it was given.
        motions: names that may stand behind `always:`.

    Raises:
        ConfigError: there is no such mode, or no such motion; or probabilities that cannot be.
    """
    if text.startswith(RANDOM_OF):
        given_shares(text)
        return text
    if text in MODES or (text.startswith(ALWAYS) and text.removeprefix(ALWAYS) in motions):
        return text
    if text.startswith(THROUGHOUT) and text.removeprefix(THROUGHOUT) in SLOW_MOTIONS:
        return text
    raise ConfigError(
        f"intervention {text!r}: expected {', '.join(MODES)}, {RANDOM_OF}NAME=P,..., {THROUGHOUT}NAME of "
        f"{', '.join(SLOW_MOTIONS)}, or {ALWAYS}NAME of {', '.join(motions)}"
    )


def given_shares(text: str) -> dict[str, float]:
    """Probabilities of motions in `random:NAME=P,...`; the plan has what is left.

    Raises:
        ConfigError: a name is no motion, or a probability is not above 0, or together they are above 1.
    """
    found: dict[str, float] = {}
    for part in text.removeprefix(RANDOM_OF).split(","):
        name, _, value = part.partition("=")
        try:
            share = float(value)
        except ValueError:
            share = -1.0
        if name not in MOTIONS or name == PLAN or name in found or not 0.0 < share <= 1.0:
            raise ConfigError(
                f"intervention {text!r}: {part!r}, expected NAME=P, once each, of "
                f"{', '.join(name for name in MOTIONS if name != PLAN)}, P above 0 and at most 1"
            )
        found[name] = share
    rest = 1.0 - sum(found.values())
    if rest < -1e-9:
        raise ConfigError(f"intervention {text!r}: probabilities add up to {sum(found.values()):g}, expected at most 1")
    return {PLAN: rest} | found if rest > 1e-9 else found
