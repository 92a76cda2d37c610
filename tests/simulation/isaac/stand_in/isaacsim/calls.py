"""The log of calls."""

import json
import os
from typing import Any


def record(call: str, *arguments: Any) -> None:
    """Writes a call down."""
    with open(os.environ["STAND_IN_LOG"], "a", encoding="utf-8") as log:
        log.write(json.dumps([call, *arguments], default=_plain) + "\n")


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
