"""Split the text of a command line in a launch file into words."""

import shlex

from salus_vla.contract.errors import LaunchError
from salus_vla.ros.launch.substitution import Scope, expand, parse


def split_words(text: str, scope: Scope) -> list[str]:
    """Splits a command line: the text by shell rules, while the value of a substitution is never split.

    Raises:
        LaunchError: a quoted word has a substitution in it or is not closed.
    """
    words: list[str] = []
    word: str | None = None
    for piece in parse(text):
        if not isinstance(piece, str):
            word = (word or "") + expand((piece,), scope)
            continue
        try:
            tokens = shlex.split(piece)
        except ValueError as error:
            raise LaunchError(f"cannot split '{text}': {error} (quotes cannot enclose a substitution)") from error
        if not tokens:  # only spaces; before the first word launch makes an empty word of them
            words.append(word or "")
            word = None
            continue
        if word is not None and piece[0].isspace():
            words.append(word)
            word = None
        for index, token in enumerate(tokens):
            if index and word is not None:
                words.append(word)
                word = None
            word = (word or "") + token
        if word is not None and piece[-1].isspace():
            words.append(word)
            word = None
    return words if word is None else [*words, word]
