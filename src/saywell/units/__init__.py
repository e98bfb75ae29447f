"""What can be described, and how its activations are collected."""
