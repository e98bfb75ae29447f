"""Claims: statements about an example in a small typed language, executed exactly, and their English."""
