"""Checkpoints of LeRobot: read, checked against this robot and each other, placed on devices."""
