"""The closed form of TracIn against a plain loop over per-sample gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from saywell.errors import InputError
from saywell.influence import tracin
from saywell.influence.proponents import opponents, proponents
from saywell.influence.tracin import HeadCheckpoints, Labelled
from saywell.influence.training import train_head


def problem(n=7, m=5, dim=4, classes=3, checkpoints=2, seed=0, bias=True):
    random = np.random.default_rng(seed)

    def examples(count):
        return Labelled(random.normal(size=(count, dim)), random.integers(0, classes, count))

    weights = torch.tensor(random.normal(size=(checkpoints, classes, dim)))
    biases = torch.tensor(random.normal(size=(checkpoints, classes))) if bias else None
    head = HeadCheckpoints(weights, biases, random.uniform(0, 0.2, checkpoints))
    return examples(n), examples(m), head


def plain_loop(train, validation, head, bias=True):
    """sum over checkpoints of rate * gradient . gradient, one example at a time, by autograd."""
    total = np.zeros((len(train.labels), len(validation.labels)))

    def gradient(checkpoint, x, y):
        linear = torch.nn.Linear(head.weights.shape[2], head.weights.shape[1], head.biases is not None)
        linear.double()
        with torch.no_grad():
            linear.weight.copy_(head.weights[checkpoint])
            if head.biases is not None:
                linear.bias.copy_(head.biases[checkpoint])
        loss = torch.nn.functional.cross_entropy(linear(torch.as_tensor(x)), torch.as_tensor(y))
        loss.backward()
        parts = [linear.weight.grad.flatten()]
        if bias and head.biases is not None:
            parts.append(linear.bias.grad)
        return torch.cat(parts)

    for j, rate in enumerate(head.rates):
        left = torch.stack([gradient(j, x, y) for x, y in zip(*train, strict=True)])
        right = torch.stack([gradient(j, x, y) for x, y in zip(*validation, strict=True)])
        total += rate * (left @ right.T).numpy()
    return total


def test_worked_by_hand():
    # Two classes, weights 0, so p = (1/2, 1/2) and p - y = (-1/2, 1/2) or (1/2, -1/2).
    head = HeadCheckpoints(torch.zeros(1, 2, 2), torch.zeros(1, 2), np.array([0.1]))
    train = Labelled(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([0, 1]))
    validation = Labelled(np.array([[3.0, 1.0]]), np.array([0]))
    # (p-y).(p'-y') is 1/2 for the same class and -1/2 for the other; x.x' + 1 is 4 and 3.
    assert np.allclose(tracin.pairwise(train, validation, head), [[0.2], [-0.15]])
    assert np.allclose(tracin.pairwise(train, validation, head, bias=False), [[0.15], [-0.1]])


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 9),
    m=st.integers(1, 6),
    dim=st.integers(1, 5),
    classes=st.integers(2, 5),
    checkpoints=st.integers(1, 3),
    seed=st.integers(0, 999),
    bias=st.booleans(),
    count=st.booleans(),
    memory=st.integers(1, 4000),
)
def test_equals_the_plain_loop(n, m, dim, classes, checkpoints, seed, bias, count, memory):
    train, validation, head = problem(n, m, dim, classes, checkpoints, seed, bias)
    expected = plain_loop(train, validation, head, count)
    options = {"bias": count, "dtype": torch.float64, "memory": memory}
    close = {"rtol": 1e-9, "atol": 1e-12}
    np.testing.assert_allclose(tracin.pairwise(train, validation, head, **options), expected, **close)
    np.testing.assert_allclose(
        tracin.mean_over(train, validation, head, **options), expected.mean(1), **close
    )
    same = validation.labels[None] == train.labels[:, None]
    own = np.where(same, expected, 0).sum(1) / np.where(same.any(1), same.sum(1), np.nan)
    np.testing.assert_allclose(tracin.mean_over_own_class(train, validation, head, **options), own, **close)
    members = validation.labels[:, None] == np.arange(classes)
    by_class = expected @ members / np.where(members.any(0), members.sum(0), np.nan)
    np.testing.assert_allclose(
        tracin.mean_over_classes(train, validation, head, **options), by_class, **close
    )


def test_float32_is_within_a_hundred_thousandth():
    train, validation, head = problem(200, 100, 64, 10, 5, seed=3)
    expected = tracin.pairwise(train, validation, head, dtype=torch.float64)
    found = tracin.pairwise(train, validation, head)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_examples_the_model_is_sure_of_keep_their_digits():
    head = HeadCheckpoints(torch.tensor([[[18.0], [0.0]]]), None, np.array([1.0]))
    sure = Labelled(np.ones((1, 1)), np.array([0]))
    exact = tracin.pairwise(sure, sure, head, dtype=torch.float64)
    assert np.allclose(tracin.pairwise(sure, sure, head), exact, rtol=1e-5, atol=0)


def test_writes_into_an_array_on_disk(tmp_path):
    train, validation, head = problem()
    out = np.memmap(tmp_path / "influence", dtype=np.float32, mode="w+", shape=(7, 5))
    assert tracin.pairwise(train, validation, head, out=out) is out
    assert np.array_equal(out, tracin.pairwise(train, validation, head))
    with pytest.raises(InputError, match=r"\(5, 7\)"):
        tracin.pairwise(train, validation, head, out=np.zeros((5, 7)))


def test_nothing_to_compare_with():
    train, validation, head = problem()
    none = Labelled(validation.features[:0], validation.labels[:0])
    assert tracin.pairwise(train, none, head).shape == (7, 0)
    assert tracin.pairwise(none, validation, head).shape == (0, 5)
    assert np.isnan(tracin.mean_over(train, none, head)).all()
    assert np.isnan(tracin.mean_over_classes(train, none, head)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, v, h: (t, v, h._replace(rates=np.array([0.1, -0.2]))), "-0.2"),
        (lambda t, v, h: (t, v, h._replace(rates=np.array([0.1]))), r"\(1,\)"),
        (lambda t, v, h: (t._replace(labels=t.labels + 3), v, h), "training label"),
        (lambda t, v, h: (t, v._replace(features=v.features[:, :2]), h), "validation features"),
    ],
)
def test_misfits_are_named(change, message):
    with pytest.raises(InputError, match=message):
        tracin.pairwise(*change(*problem()))


def test_removing_examples_moves_the_loss_as_influence_says():
    """Leave groups out, train again, and compare the change of loss with the summed influence."""
    random = np.random.default_rng(5)
    centres = random.normal(size=(4, 8))
    labels = random.integers(0, 4, 320)
    features = centres[labels] + random.normal(size=(320, 8))
    labels[:30] = random.integers(0, 4, 30)  # some wrong labels, so that there are opponents
    train = Labelled(features[:160], labels[:160])
    validation = Labelled(features[160:], labels[160:])
    rates = np.full(40, 0.2)

    def fit(weights=None):
        return train_head(
            train, 4, rates=rates, batch_size=160, checkpoints=40, weights=weights, dtype=torch.float64
        )

    def loss(head):
        logits = torch.as_tensor(validation.features) @ head.weights[-1].T + head.biases[-1]
        return float(torch.nn.functional.cross_entropy(logits, torch.as_tensor(validation.labels)))

    full = fit()
    influence = tracin.mean_over(train, validation, full, dtype=torch.float64)
    order = np.argsort(-influence)
    groups = [order[:10], order[-10:], *(random.choice(160, 10, replace=False) for _ in range(38))]
    predicted = np.array([influence[group].sum() for group in groups])
    changes = []
    for group in groups:
        weights = np.ones(160)
        weights[group] = 0
        changes.append(loss(fit(weights)) - loss(full))
    changes = np.array(changes)
    assert changes[0] > 0 > changes[1]  # without proponents worse, without opponents better
    draws = random.integers(0, len(groups), (300, len(groups)))
    correlations = [spearmanr(predicted[d], changes[d]).statistic for d in draws]
    assert np.quantile(correlations, 0.025) > 0.6, spearmanr(predicted, changes)


def test_proponents_and_opponents():
    influence = np.array([0.5, -0.1, 0.9, np.nan, 0.2, 0.2, -0.3])
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    helping = proponents(influence, labels, 3, k=2)
    assert [s.rows.tolist() for s in helping] == [[2, 0], [4, 5], []]
    assert np.allclose(helping[0].shares(), [0.9 / 1.4, 0.5 / 1.4])
    harming = opponents(np.array([[0.1, -0.2], [-0.4, -0.1], [-0.5, np.nan]]), k=2)
    assert [s.rows.tolist() for s in harming] == [[2, 1], [0, 1]]
