"""Episodes in a script or a notebook, without ROS: what the graph does, in one process.

python examples/episodes_in_python.py [POLICY] [EPISODES]        # expert or ensemble
"""

import sys

import numpy as np

from salus_vla.config.policy_settings import read_settings, replaced
from salus_vla.config.scene import load_scene
from salus_vla.control.build_controller import build_controller
from salus_vla.episode.run_episode import run_episode
from salus_vla.signals.safety_signals import NAMES
from salus_vla.simulation.mujoco.simulator import Simulator

UNCERTAINTY = NAMES.index("epistemic_uncertainty")

policy = sys.argv[1] if len(sys.argv) > 1 else "expert"
episodes = int(sys.argv[2]) if len(sys.argv) > 2 else 2

scene = load_scene()
controller, _ = build_controller(replaced(read_settings(), policy=policy), scene)
# The simulator holds an OpenGL context: `with` gives it back. In a notebook, where a cell is too short for it, call
# `simulator.close()` at the end.
with Simulator(scene, profile="eval") as simulator:
    for seed in range(episodes):
        result = run_episode(simulator, controller, seed)
        unsure = [decision.signals.values[UNCERTAINTY] for decision in result.decided]  # NaN: no members
        print(f"seed {seed}: {result.outcome.name} after {result.decisions} decisions, {np.median(unsure):.1e} rad²")
