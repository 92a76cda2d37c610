"""Replay: recorded messages once more, to look at or to decide on again; nothing here imports rclpy."""
