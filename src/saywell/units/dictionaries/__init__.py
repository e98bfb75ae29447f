"""Dictionaries of a place in a model: sparse autoencoders, transcoders, linear bases."""
