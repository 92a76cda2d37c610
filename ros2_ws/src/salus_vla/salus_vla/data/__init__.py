"""What was recorded: bags, rollouts, LeRobot data sets, and replays of them."""
