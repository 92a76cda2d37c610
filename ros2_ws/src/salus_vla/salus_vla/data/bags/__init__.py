"""Recording: one bag per episode, a run folder around them, an audit beside each, and recovery after a crash.

Nothing here imports rclpy: the recorder node feeds raw serialized messages to `EpisodeRecorder`.
"""
