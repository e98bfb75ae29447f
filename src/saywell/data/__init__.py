"""Loading examples and splitting them, so that nothing is described and scored on the same ones."""
