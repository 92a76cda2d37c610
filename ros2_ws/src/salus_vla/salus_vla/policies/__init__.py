"""Policies: from an observation to action chunks. Nothing here imports rclpy."""
