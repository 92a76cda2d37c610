"""How unsure was the policy in episodes that went well and in those that did not? Reads a run without ROS or SALUS.

pip install rosbags matplotlib; python examples/uncertainty_vs_outcome.py RUN [PICTURE.png]
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt
from rosbags.highlevel import AnyReader

run = Path(sys.argv[1])
by_outcome: dict[str, list[float]] = defaultdict(list)
for episode in json.loads((run / "run.json").read_text())["episodes"]:
    with AnyReader([run / episode["path"]]) as reader:  # the bag brings the definitions of its messages
        topics = [c for c in reader.connections if c.topic == "/salus/safety_signals"]
        decisions = [reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages(topics)]
    by_outcome[episode["outcome"]] += [decision.epistemic_uncertainty for decision in decisions]

plt.violinplot(list(by_outcome.values()), showmedians=True)
plt.xticks(range(1, len(by_outcome) + 1), list(by_outcome))
plt.ylabel("epistemic uncertainty [rad²]")
plt.savefig(sys.argv[2] if len(sys.argv) > 2 else "uncertainty_vs_outcome.png", dpi=120)
