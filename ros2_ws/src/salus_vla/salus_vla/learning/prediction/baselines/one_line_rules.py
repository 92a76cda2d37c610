"""Rules of one line that a sceptic would try first, and the signals by themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from salus_vla.contract.types import FloatArray
from salus_vla.learning.prediction.baselines.method import (
    PUBLISHED,
    RULE,
    SIGNAL,
    Method,
    block,
    feature,
    lowest_where_unknown,
)
from salus_vla.learning.prediction.samples import Samples
from salus_vla.signals.safety_signals import NAMES

_SECOND = 10  # decisions


def _fixed(name: str, kind: str, score: Callable[[Samples], FloatArray]) -> Method:
    def scored(samples: Samples, _: NDArray[np.bool_], __: int) -> FloatArray:
        return lowest_where_unknown(score(samples))

    return Method(name, kind, scored, learns=False)


def time_alone(samples: Samples) -> FloatArray:
    """Time since the episode began."""
    return samples.time_s


def nothing_held(samples: Samples) -> FloatArray:
    """For how long nothing has been held; while something is held, the less the longer it is."""
    held = feature(samples, "held_s")
    since = np.zeros(len(samples))
    decision = samples.decision
    for row in range(len(samples)):
        since[row] = 0.0 if held[row] > 0.0 else (0.1 if decision[row] == 0 else since[row - 1] + 0.1)
    return np.where(held > 0.0, -held, since)


def _reversals(samples: Samples) -> FloatArray:
    """Share of frames of the last second in which a joint's commanded velocity turned, mean over joints."""
    return _over_last_second(samples, lambda steps: (steps[1:] * steps[:-1] < 0.0).mean())


def _jerk(samples: Samples) -> FloatArray:
    """Mean size of the commands' third difference in the last second."""
    return _over_last_second(samples, lambda steps: np.abs(np.diff(steps, n=2, axis=0)).mean())


def _over_last_second(samples: Samples, measure: Callable[[FloatArray], np.floating]) -> FloatArray:
    found = np.zeros(len(samples))
    decision = samples.decision
    for row in range(len(samples)):
        begin = row - min(int(decision[row]), _SECOND - 1)
        commands = samples.commands[begin : row + 1].reshape(-1, samples.commands.shape[-1])
        steps = np.diff(commands[np.isfinite(commands).all(axis=1)], axis=0)
        if len(steps) > 3:
            found[row] = measure(steps)
    return found


RULES = (
    _fixed("time alone", RULE, time_alone),
    _fixed("nothing held for long", RULE, nothing_held),
    _fixed("closed on nothing for long", RULE, lambda samples: feature(samples, "empty_s")),
    _fixed("width of what is held", RULE, lambda samples: feature(samples, "width") * feature(samples, "holds")),
    _fixed("fingers open since the grasp", RULE, lambda samples: np.abs(feature(samples, "width_since_grasp"))),
    _fixed("hardly moved in 2 s", RULE, lambda samples: -feature(samples, "tool_moved_2s")),
    _fixed("mean effort", RULE, lambda samples: np.abs(block(samples, "effort_mean_0.4s", "felt")[:, :7]).mean(axis=1)),
    _fixed(
        "tracking error", RULE, lambda samples: np.abs(block(samples, "error_mean_0.4s", "felt")[:, :7]).mean(axis=1)
    ),
)


def _signal(name: str) -> Method:
    sign = -1.0 if name == "joint_limit_margin" else 1.0
    return _fixed(name, SIGNAL, lambda samples: sign * feature(samples, f"log_mean.{name}"))


SIGNALS = tuple(_signal(name) for name in NAMES)
BLACK_BOX = (
    _fixed(
        "action total variance (K x S samples)",
        PUBLISHED,
        lambda samples: np.logaddexp(
            feature(samples, "log_mean.epistemic_uncertainty"), feature(samples, "log_mean.sampling_uncertainty")
        ),
    ),
    _fixed(
        "STAC, TIDE: overlapping chunks", PUBLISHED, lambda samples: feature(samples, "log_mean.plan_inconsistency")
    ),
    _fixed("reversal rate of commands", PUBLISHED, _reversals),
    _fixed("jerk of commands", PUBLISHED, _jerk),
)
