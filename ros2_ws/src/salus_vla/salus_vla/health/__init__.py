"""What watches the graph: stale inputs, a clock that fails, pictures that show nothing, rates and latencies. No ROS."""
