"""Descriptors: found in examples, merged, and said of each example."""
