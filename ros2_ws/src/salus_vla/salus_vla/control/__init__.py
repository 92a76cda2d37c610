"""From chunks to joint commands: plan, limits, and the controller that ties them to a policy. No rclpy."""
