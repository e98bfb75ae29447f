"""Influence: how much a training example lowers the loss on a validation example."""
