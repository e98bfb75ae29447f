"""Texts about classes: written from outside passages, or somebody's own."""
