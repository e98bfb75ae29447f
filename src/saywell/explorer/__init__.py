"""`saywell serve`: studies of any size as pages, with search, comparison and verdicts of people."""
