"""Outcomes of every kind with covariates and readings, for tests of what goes with what."""

from __future__ import annotations

import numpy as np

from saywell.scorers.outcomes import Outcome

KINDS = ("binary", "real", "count", "ordinal")


def waves():
    """Two covariates, a reading and outcomes of every kind that any program can make again."""
    i = np.arange(90)
    covariates = np.stack([np.sin(i), (i % 4 == 1) * 1.0], axis=1)
    reading = ((i * 7) % 5 < 2) * 1.0
    even = np.sin(i * 12.9898) * 43758.5453 % 1
    eta = 0.8 * covariates[:, 0] - 0.5 * covariates[:, 1] + 0.7 * reading
    outcomes = {
        "binary": (even < 1 / (1 + np.exp(-eta))) * 1.0,
        "real": eta + 2 * even,
        "count": np.floor(np.exp(eta) * 4 * even),
        "ordinal": np.digitize(eta + 4 * even - 2, [-1.0, 0, 1.5]) * 1.0,
    }
    return covariates, reading, {kind: Outcome("y", kind, values) for kind, values in outcomes.items()}


def drawn(kind, n=400, covariates=2, m=6, seed=0, share=0.3):
    """Readings that say nothing, and an outcome that the covariates tell in part."""
    random = np.random.default_rng(seed)
    told = random.normal(size=(n, covariates))
    eta = told.sum(1) * 0.5 - 0.3
    values = {
        "binary": random.random(n) < 1 / (1 + np.exp(-eta)),
        "real": eta + random.normal(size=n),
        "count": random.poisson(np.exp(eta)),
        "ordinal": np.digitize(eta + random.logistic(size=n), [-1, 0, 1]),
    }[kind]
    return Outcome("y", kind, values * 1.0), told, (random.random((m, n)) < share) * 1.0
