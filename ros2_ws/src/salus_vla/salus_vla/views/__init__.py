"""What people look at: the terminal, rerun, rviz markers, HTML reports. No rclpy."""
