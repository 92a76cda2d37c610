"""Looking at a running graph, in the terminal and in rerun; nothing here imports rclpy."""
