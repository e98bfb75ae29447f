"""Training with checkpoints: the same as torch's own SGD, and the same after a stop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saywell.errors import InputError
from saywell.influence.tracin import Labelled
from saywell.influence.training import (
    Pixels,
    checkpoint_epochs,
    image_classifier,
    resnet34,
    train_head,
    train_network,
)
from saywell.transfer.linear_heads import (
    Heads,
    Stream,
    cosine_rates,
    pad_rows,
    step_rates,
    train_heads,
    zero_heads,
)


def blobs(n=50, dim=6, classes=3, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    return Labelled(random.normal(size=(classes, dim))[labels] + random.normal(size=(n, dim)), labels)


def torch_loop(features, labels, weights, rates, batch_size, seed, classes):
    linear = torch.nn.Linear(features.shape[1], classes).double()
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    optimizer = torch.optim.SGD(linear.parameters(), lr=1.0)
    x, y, w = torch.as_tensor(features), torch.as_tensor(labels), torch.as_tensor(weights)
    for epoch, rate in enumerate(rates):
        optimizer.param_groups[0]["lr"] = rate
        order = np.random.default_rng([seed, epoch, 0]).permutation(len(y))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            losses = torch.nn.functional.cross_entropy(linear(x[rows]), y[rows], reduction="none")
            optimizer.zero_grad()
            (w[rows] * losses).mean().backward()
            optimizer.step()
    return linear


@pytest.mark.parametrize("batch_size", [7, 50, 64])
def test_head_equals_torch(batch_size):
    train = blobs()
    weights = np.random.default_rng(1).uniform(0, 2, 50)
    rates = cosine_rates(0.3, 6)
    head = train_head(
        train,
        3,
        rates=rates,
        batch_size=batch_size,
        checkpoints=3,
        weights=weights,
        seed=4,
        dtype=torch.float64,
    )
    linear = torch_loop(*train, weights, rates, batch_size, 4, 3)
    assert torch.allclose(head.weights[-1], linear.weight.detach(), atol=1e-12)
    assert torch.allclose(head.biases[-1], linear.bias.detach(), atol=1e-12)
    half = torch_loop(*train, weights, rates[:4], batch_size, 4, 3)
    assert torch.allclose(head.weights[1], half.weight.detach(), atol=1e-12)
    assert np.allclose(head.rates, rates[[1, 3, 5]])


def test_runs_do_not_depend_on_their_company():
    train = blobs()
    own = [np.arange(50), np.arange(0, 50, 2), np.arange(5), np.arange(0)]
    rows = pad_rows(own)
    weights = np.random.default_rng(2).uniform(0, 1, rows.shape)
    rates = np.array([[0.5, 0.1], [0.2, 0.2], [1.0, 0.3], [1.0, 1.0]])
    x, y = torch.as_tensor(train.features), torch.as_tensor(train.labels)
    together = train_heads(
        zero_heads(4, 3, 6, torch.float64), [Stream(x, y, rows, weights, 8)], rates, [3, 3, 9, 1]
    )[2]
    for run, chosen in enumerate(own[:3]):
        alone = torch_loop(
            x[chosen], y[chosen], weights[run, : len(chosen)], rates[run], 8, [3, 3, 9][run], 3
        )
        assert torch.allclose(together.weights[run], alone.weight.detach(), atol=1e-12)
    assert not together.weights[3].any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_many_runs_at_once_equal_a_plain_loop_each(seed):
    """Runs that share rows and runs that do not, with one stream and with two, by either solver."""
    random = np.random.default_rng(seed)
    n, dim, classes, runs = 40, int(random.choice([3, 30])), 3, 5
    x = torch.as_tensor(random.normal(size=(n, dim)))
    y = torch.as_tensor(random.integers(0, classes, n))
    sets = [np.sort(random.permutation(n)[: random.integers(1, n)]) for _ in range(2)]
    owner = random.integers(0, 2, runs)
    streams = []
    for _ in range(random.integers(1, 3)):
        rows = pad_rows([sets[o] for o in owner])
        streams.append(Stream(x, y, rows, random.uniform(0, 2, rows.shape), int(random.integers(2, 50))))
    seeds, rates = random.integers(0, 2, runs).tolist(), random.uniform(0, 0.5, (runs, 3))
    rates[0] = 0
    start = Heads(
        torch.as_tensor(random.normal(size=(runs, classes, dim))),
        torch.as_tensor(random.normal(size=(runs, classes))),
    )
    found = train_heads(start, streams, rates, seeds, keep=[0, 2])
    assert sorted(found) == [0, 2, 3] and torch.equal(found[0].weights, start.weights)
    for run in range(runs):
        expected = loop(start, streams, rates[run], seeds[run], run)
        assert torch.allclose(found[3].weights[run], expected[0], atol=1e-10)
        assert torch.allclose(found[3].biases[run], expected[1], atol=1e-10)


def loop(start, streams, rates, seed, run):
    """Step by step, with torch's own derivatives."""
    weight = start.weights[run].clone().requires_grad_()
    bias = start.biases[run].clone().requires_grad_()
    own = [s.rows[run][s.rows[run] >= 0] for s in streams]
    steps = [-(-len(rows) // s.batch_size) for rows, s in zip(own, streams, strict=True)]
    for epoch, rate in enumerate(rates):
        for step in range(epoch * steps[0], (epoch + 1) * steps[0]):
            loss = torch.zeros(())
            for number, stream in enumerate(streams):
                done, place = divmod(step, steps[number])
                random = np.random.default_rng([seed, done, number])
                part = slice(place * stream.batch_size, (place + 1) * stream.batch_size)
                order = random.permutation(len(own[number]))[part]
                rows = own[number][order]
                logits = stream.features[rows] @ weight.T + bias
                each = torch.nn.functional.cross_entropy(logits, stream.labels[rows], reduction="none")
                loss = loss + (torch.as_tensor(stream.weights[run][order]) * each).mean()
            by_weight, by_bias = torch.autograd.grad(loss, [weight, bias])
            with torch.no_grad():
                weight -= rate * by_weight
                bias -= rate * by_bias
    return weight.detach(), bias.detach()


def test_two_streams_add_their_gradients():
    train = blobs(8)
    x, y = torch.as_tensor(train.features), torch.as_tensor(train.labels)
    rows = np.arange(8)[None]

    def stream(part, size):
        return Stream(x, y, rows[:, part], np.ones((1, rows[:, part].shape[1])), size)

    start = zero_heads(1, 3, 6, torch.float64)
    both = train_heads(start, [stream(slice(0, 4), 4), stream(slice(4, 8), 4)], np.array([[0.2]]), [0])[1]
    once = train_heads(start, [stream(slice(0, 8), 8)], np.array([[0.4]]), [0])[1]
    assert torch.allclose(both.weights, once.weights)
    assert torch.equal(start.weights, torch.zeros_like(start.weights))


def test_schedules():
    assert np.allclose(cosine_rates(0.1, 4), [0.1, 0.0853553, 0.05, 0.0146447])
    assert np.allclose(cosine_rates(0.1, 2, t_max=4), [0.1, 0.0853553])
    assert np.allclose(step_rates(0.1, 5, every=2), [0.1, 0.1, 0.01, 0.01, 0.001])
    assert checkpoint_epochs(200, 4) == [50, 100, 150, 200]
    assert checkpoint_epochs(3, 10) == [1, 2, 3]


def test_nothing_to_train_on():
    with pytest.raises(InputError, match="0 training examples"):
        train_head(Labelled(np.zeros((0, 2)), np.zeros(0, dtype=int)), 2)


class Small(torch.nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.drop = torch.nn.Dropout(0.3)
        self.head = torch.nn.Linear(4, classes)

    def forward(self, images):
        return self.head(self.drop(self.norm(self.convolution(images)).relu().mean((2, 3))))


def small(seed=0, classes=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Small(classes)


def pictures(n=20, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    images = torch.tensor(random.normal(size=(n, 3, 6, 6)) + labels[:, None, None, None], dtype=torch.float32)
    return Pixels(images.__getitem__, labels)


def test_network_learns_and_a_stopped_run_ends_the_same(tmp_path):
    rates = step_rates(0.1, 8, every=6)
    losses = []
    options = {"rates": rates, "batch_size": 6, "checkpoints": 4, "momentum": 0.9}
    whole = small()
    kept = train_network(
        whole, pictures(), tmp_path / "a", progress=lambda e, loss: losses.append(loss), **options
    )
    assert [c.epochs for c in kept] == [2, 4, 6, 8]
    assert np.allclose([c.rate for c in kept], [0.1, 0.1, 0.1, 0.01])
    assert losses[-1] < losses[0]

    class Stopped(Exception):
        pass

    def stop(epochs, loss):
        if epochs == 5:
            raise Stopped

    with pytest.raises(Stopped):
        train_network(small(), pictures(), tmp_path / "b", progress=stop, **options)
    torch.manual_seed(123)  # what else draws random numbers must not matter
    again = small(seed=9)  # nor what the network was before its checkpoint is read
    resumed = train_network(again, pictures(), tmp_path / "b", **options)
    for first, second in zip(kept, resumed, strict=True):
        assert first.path.read_bytes() == second.path.read_bytes()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_checkpoints_of_another_network_are_refused(tmp_path):
    rates = np.array([0.1])
    train_network(small(), pictures(), tmp_path, rates=rates)
    with pytest.raises(InputError, match="another network"):
        train_network(small(classes=4), pictures(), tmp_path, rates=rates)


def test_resnet34_has_the_right_size():
    model = resnet34(10)
    # 21,797,672 with 1000 classes, as published.
    assert sum(p.numel() for p in model.parameters()) == 21_797_672 - 990 * 513


def test_any_transformers_classifier(shared):
    model = image_classifier(str(shared / "models" / "mobilenet-v2-imagenet"), 7)
    model.eval()
    assert model(torch.zeros(1, 3, 64, 64)).logits.shape == (1, 7)
    with pytest.raises(InputError, match="nowhere"):
        image_classifier("./nowhere", 7)
