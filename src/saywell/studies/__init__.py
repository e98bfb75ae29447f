"""The front doors: one file per question that a user asks."""
