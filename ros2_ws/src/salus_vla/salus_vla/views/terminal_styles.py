"""How outcomes look on a terminal."""

OUTCOME_STYLES = {
    "SUCCESS": "green",
    "COLLISION": "red",
    "DROP": "red",
    "MISS": "yellow",
    "TIMEOUT": "cyan",
    "ABORTED": "magenta",
    "HANDED_OVER": "bright_magenta",
}
