"""Real neurons for the exam: a small network is trained on planted rules, and asked about.

What its outputs should do is known. What each hidden neuron came to do is not, so hidden neurons have
no truth: they tell how many descriptions of real neurons are verified, not how many are right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from saywell.data.parts import DescribeRows, require
from saywell.units.planted.rules import PlantedUnit

HIDDEN = 24
OUTPUT, NEURON = "network output", "hidden neuron"
_RULES = ("topic", "conjunction", "disjunction", "negation")
_EPOCHS = 60
_FIRES = 0.05
"""Share of the describe texts that a hidden neuron counts as firing on."""


def train_network_units(
    vectors: Float[np.ndarray, "texts dim"],
    planted: Sequence[PlantedUnit],
    known: DescribeRows,
    *,
    outputs: int = 8,
    seed: int = 0,
) -> list[PlantedUnit]:
    """Outputs and hidden neurons of a network trained to tell from sentence vectors which rules hold.

    One hidden layer, one output a rule, trained on describe rows only; on other texts an output is
    therefore wrong now and then, as networks are. The rules are those of planted units, in turns of
    their kinds. A hidden neuron that is the same for all texts is left out.
    """
    from sklearn.neural_network import MLPClassifier

    rows = require(DescribeRows, known).rows
    by_kind = [[unit for unit in planted if unit.kind == kind] for kind in _RULES]
    longest = max(map(len, by_kind), default=0)
    turns = [kind[n] for n in range(longest) for kind in by_kind if n < len(kind)]
    chosen = [unit for unit in turns if unit.rule[rows].any()][:outputs]
    if len(chosen) < 2:  # one target alone would make it a network of another form
        return []
    targets = np.stack([unit.rule[rows] for unit in chosen], axis=1).astype(int)
    network = MLPClassifier(
        (HIDDEN,),
        learning_rate_init=0.01,
        batch_size=128,
        max_iter=_EPOCHS,
        tol=0.0,
        n_iter_no_change=_EPOCHS,
        random_state=seed,
    )
    import warnings

    with warnings.catch_warnings():  # it says that it stops after as many epochs as it was given
        warnings.simplefilter("ignore")
        network.fit(vectors[rows].astype(np.float64), targets)
    inside = np.maximum(vectors @ network.coefs_[0] + network.intercepts_[0], 0.0)
    # Exact zeros and ones come of very large logits; the describers want strength beyond that.
    logits = inside @ network.coefs_[1] + network.intercepts_[1]
    units = [
        PlantedUnit(f"output-{n}", OUTPUT, unit.truth, unit.rule, logits[:, n], 0.0)
        for n, unit in enumerate(chosen)
    ]
    unknown = np.zeros(len(vectors), dtype=bool)
    for n, response in enumerate(inside.T):
        threshold = float(np.quantile(response[rows], 1 - _FIRES))
        if response[rows].min() < threshold:
            units.append(PlantedUnit(f"hidden-{n}", NEURON, None, unknown, response, threshold))
    return units
