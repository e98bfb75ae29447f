"""What in texts goes with a target: statements that are found, chosen, and put to the test."""
