"""Offline training of an ensemble with LeRobot's own policy and datasets; no ROS."""
