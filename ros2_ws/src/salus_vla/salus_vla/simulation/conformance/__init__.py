"""Whether a simulator keeps the topic contract: what was seen of it (`observed`), and the rules (`rules`); no ROS."""
