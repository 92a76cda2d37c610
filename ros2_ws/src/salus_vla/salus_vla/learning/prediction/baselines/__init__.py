"""What a predictor is compared with: rules of one line, single signals, and published detectors on the same inputs."""
