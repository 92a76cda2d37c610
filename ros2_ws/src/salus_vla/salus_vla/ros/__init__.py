"""Everything that needs ROS: nodes, their adapters, clients of a running graph, launch files and the environment."""
