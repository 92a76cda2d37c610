"""Thin rclpy nodes around the pure objects."""
