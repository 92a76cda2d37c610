"""NVIDIA Isaac Sim as the simulator; nothing here imports ROS or Isaac Sim when it is imported.

`versions`, `prims`, `graph_spec`, `graph_check`, `contacts`, `world`: data and rules. `spec`, `channel`: what SALUS's
own Python tells Isaac's. `planning`, `environment`, `checks`: run in SALUS's Python. `standalone`, `stage`: run in
Isaac's, which may be Python 3.11 and has no pydantic.
The ROS sides are `nodes/isaac_sim_node.py` (SALUS's Python) and `nodes/isaac_world_node.py` (Isaac's).
"""
