"""The commands of `salus` and what each is for; the module of one is imported only where it runs."""

from __future__ import annotations

from typing import Final

SUMMARIES: Final = {
    "collect": "record episodes unattended",
    "rollout": "make episodes without ROS, in parallel",
    "launch": "start a launch file",
    "check-sim": "check a simulator against the topic contract",
    "bag": "look into bags and runs, recover interrupted ones",
    "watch": "show the running graph in the terminal",
    "view": "open a run, a bag or the running graph in rerun",
    "replay": "play a bag, or let a policy decide on it again",
    "dataset": "recorded runs as data sets for LeRobot",
    "train": "train an ensemble on a data set",
    "dagger": "let an ensemble learn from its own failures",
    "evaluate": "success rates, shift detection and failure prediction of runs",
    "manifold": "fit and judge the action manifold",
    "predictor": "train, judge and calibrate the failure predictor",
    "intervention": "learn what to do about foreseen failures",
    "report": "show a run as HTML pages",
    "model": "make policy checkpoints, fit what belongs to them",
    "completion": "print a completion script for bash or zsh",
}
