"""A study to take away, in the forms that other tools read: one file for each form."""
