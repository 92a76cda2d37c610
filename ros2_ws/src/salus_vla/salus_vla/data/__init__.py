"""What was recorded: bags, rollouts, LeRobot data sets, replays, and the one reader of all episodes."""
