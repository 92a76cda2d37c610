"""What is learned from recorded data, and how good it is: training and evaluation."""
