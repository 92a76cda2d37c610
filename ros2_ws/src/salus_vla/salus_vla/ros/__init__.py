"""All that needs ROS: nodes, adapters, clients of a running graph, launch files, environment."""
