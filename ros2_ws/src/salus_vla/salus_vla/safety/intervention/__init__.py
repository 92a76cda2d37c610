"""What is done about a foreseen failure: candidates for the next motion, what each is worth, which is chosen."""
