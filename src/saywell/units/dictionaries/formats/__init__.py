"""How others keep their dictionaries: one module a family, each with `read`, from a file of weights."""
