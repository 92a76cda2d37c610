"""NVIDIA Isaac Sim as the simulator; nothing here imports ROS or Isaac Sim when it is imported.

`scene_spec`, `channel`, `isaac_environment`, `isaac_versions`: what SALUS's own Python and Isaac's share. `host`: runs
in SALUS's Python. `runtime`: data, rules and the stage in Isaac's, which may be Python 3.11 and has no pydantic. The
ROS sides are `ros/nodes/isaac_sim_node.py` (SALUS's Python), `ros/nodes/isaac_standalone.py` and
`ros/nodes/isaac_world_node.py` (Isaac's).
"""
