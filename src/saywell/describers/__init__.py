"""Who writes: a describer a file, all by name in `registry`; taggers in `descriptors`."""
