"""Thin rclpy nodes around the pure objects; the only folder that imports rclpy."""
