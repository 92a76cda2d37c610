"""Between rclpy and the pure objects: messages, QoS, parameters, lifecycle, status."""
