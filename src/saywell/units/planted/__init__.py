"""Units made by rules, so that what they respond to is known: the questions of the exam."""
