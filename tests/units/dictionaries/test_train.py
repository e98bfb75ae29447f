"""Training against planted directions, dense models and its own resume."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from saywell.errors import InputError
from saywell.units.dictionaries import descent
from saywell.units.dictionaries.active import above, largest, largest_of_all
from saywell.units.dictionaries.batchtopk import BatchTopK
from saywell.units.dictionaries.descent import Weights
from saywell.units.dictionaries.fit import measure
from saywell.units.dictionaries.jumprelu import _BAND, _PENALTY, JumpReLU
from saywell.units.dictionaries.matryoshka import Matryoshka, prefixes
from saywell.units.dictionaries.topk import TopK, exact_codes
from saywell.units.dictionaries.train import METHODS, Method, parse_method, train, usual_size


def planted(vectors: int, latents: int = 24, width: int = 32, active: float = 2.0, signed: bool = False):
    """Vectors that are a centre, a few of some directions, and noise."""
    random = np.random.default_rng(0)
    directions = random.standard_normal((latents, width))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    amounts = (random.random((vectors, latents)) < active / latents) * random.uniform(
        0.5, 1.5, (vectors, latents)
    )
    if signed:
        amounts *= random.choice([-1, 1], amounts.shape)
    noise = 0.02 * random.standard_normal((vectors, width))
    return (amounts @ directions + 2 + noise).astype(np.float32), directions


def explained(dictionary, vectors):
    return measure(dictionary, [torch.from_numpy(vectors)])


def some_weights(latents=20, width=6, thresholds=False):
    random = np.random.default_rng(0)
    encoder, decoder = random.standard_normal((2, latents, width)).astype(np.float32)
    logs = random.uniform(-1, 0, latents * thresholds).astype(np.float32)
    return Weights(encoder, random.standard_normal(latents).astype(np.float32), decoder, logs)


class Step(torch.autograd.Function):
    """Whether x is above a threshold, with the gradient of a rectangle."""

    @staticmethod
    def forward(ctx, x, threshold):
        ctx.save_for_backward(x, threshold)
        return (x > threshold).float()

    @staticmethod
    def backward(ctx, gradient):
        x, threshold = ctx.saved_tensors
        return None, -((x - threshold).abs() < _BAND / 2).float() / _BAND * gradient


def dense_loss(objective, weights, x):
    """The same by a matrix of all activations."""
    encoder, bias, decoder, thresholds = weights
    before = x @ encoder.T + bias
    k, flat = objective.k, before.flatten()
    if isinstance(objective, JumpReLU):
        fires = Step.apply(before, thresholds.exp())
        count = fires.sum(1).mean()
        penalty = _PENALTY * (count / k - 1).square()
        # Straight through: of the value at the threshold, which is the threshold.
        active = before * fires.detach() + thresholds.exp() * (fires - fires.detach())
        return (active @ decoder - x).square().sum() / 2 / len(x) + penalty
    if isinstance(objective, BatchTopK):
        places = flat.topk(k * len(x)).indices
        active = torch.zeros_like(flat).scatter(0, places, flat[places].relu()).view_as(before)
    else:
        places = (before.abs() if objective.signed else before).topk(k, dim=1).indices
        kept = before.gather(1, places)
        active = torch.zeros_like(before).scatter(1, places, kept if objective.signed else kept.relu())
    ends = prefixes(len(bias), k) if isinstance(objective, Matryoshka) else (len(bias),)
    losses = [(active[:, :end] @ decoder[:end] - x).square().sum() / 2 / len(x) for end in ends]
    return torch.stack(losses).mean()


@pytest.mark.parametrize("where", ["processor", "accelerator"])
@pytest.mark.parametrize(
    "objective", [TopK(4), TopK(4, signed=True), BatchTopK(4), Matryoshka(4), JumpReLU(4)], ids=str
)
def test_gradients_are_those_of_a_dense_model(objective, where):
    now = some_weights(thresholds=isinstance(objective, JumpReLU))
    x = np.random.default_rng(1).standard_normal((150, 6)).astype(np.float32)
    weights = [torch.tensor(w, requires_grad=True) for w in now]
    dense_loss(objective, weights, torch.tensor(x)).backward()
    if where == "processor":
        found, fired = objective.gradients(now, x)
    else:  # the sums of whole matrices, which need no accelerator
        found, fired = objective.gradients(Weights(*map(torch.from_numpy, now)), torch.from_numpy(x))
    for own, weight in zip(found[: 3 + bool(now.thresholds.size)], weights, strict=False):
        assert weight.grad is not None and weight.grad.any()
        np.testing.assert_allclose(own, weight.grad, atol=2e-5)
    active = objective.active(now, x @ now.encoder.T + now.bias)
    assert np.array_equal(fired, active.fired()) and fired.any()


def test_what_is_active_on_a_processor_is_so_on_an_accelerator():
    before = np.random.default_rng(0).standard_normal((9, 7)).astype(np.float32)
    tensor, thresholds = torch.from_numpy(before), np.linspace(-1, 1, 7, dtype=np.float32)
    for rows, whole in (
        (largest(before, 3), largest(tensor, 3)),
        (largest(before, 3, signed=True), largest(tensor, 3, signed=True)),
        (largest_of_all(before, 20), largest_of_all(tensor, 20)),
        (above(before, thresholds), above(tensor, torch.from_numpy(thresholds))),
    ):
        np.testing.assert_array_equal(rows.matrix.toarray(), whole.matrix)
    # More are asked for than are above 0.
    assert largest_of_all(before, 60).matrix.nnz == (before > 0).sum()


@pytest.mark.parametrize(
    ("name", "k", "share"),
    [
        ("topk", 4, 1),
        ("abstopk", 4, 1),
        ("batchtopk", 2, 0.95),
        ("matryoshka", 2, 0.6),
        ("jumprelu", 2, 0.95),
    ],
)
def test_planted_directions_are_found(name, k, share):
    vectors, directions = planted(1200, signed=name == "abstopk")
    found = train(Method(name, 48, k), vectors[:1000], seed=0)
    likeness = found.decoder.numpy() @ directions.T
    nearest = (np.abs(likeness) if name == "abstopk" else likeness).max(0)
    assert (nearest > 0.9).mean() >= share
    assert explained(found, vectors[1000:]).explained > 0.75
    np.testing.assert_allclose(found.decoder.norm(dim=1), 1, atol=1e-5)
    active = explained(found, vectors[:1000]).active
    assert active <= k if name in ("topk", "abstopk") else active == pytest.approx(k, rel=0.02)


def test_components_go_up_and_down():
    vectors, directions = planted(2000, latents=8, width=16, active=1.0, signed=True)
    pca, ica = (train(Method(name, 16, 2), vectors, seed=0) for name in ("pca", "ica"))
    assert (np.abs(ica.decoder.numpy() @ directions.T).max(0) > 0.95).all()  # sparse is not Gaussian
    assert explained(pca, vectors).explained <= explained(ica, vectors).explained
    for found in (pca, ica):
        assert torch.equal(found.decoder[::2], -found.decoder[1::2])
        np.testing.assert_allclose(found.decoder.norm(dim=1), 1, atol=1e-5)
        assert (found.encode(torch.from_numpy(vectors)).values > 0).all()
    for found in (pca, ica, train(Method("neurons", 32, 4), vectors, seed=0)):
        fired = torch.bincount(found.encode(torch.from_numpy(vectors)).latents, minlength=found.latents)
        np.testing.assert_allclose(fired, 2000 / 8, rtol=0.02)  # k of latents, whatever varies most
    with pytest.raises(InputError, match="ask for neurons:32:2"):
        train(Method("neurons", 30, 2), vectors, seed=0)
    whole = train(Method("pca", 32, 32), vectors, seed=0)
    assert explained(whole, vectors).explained == pytest.approx(1, abs=1e-5)
    _, _, rows = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    assert (np.abs(whole.decoder[::2].numpy() * rows).sum(1) > 0.999).all()


def test_non_negative_factors():
    vectors, _ = planted(1500, latents=6, width=12, active=1.0)
    random = np.random.default_rng(0)
    parts = np.abs(random.standard_normal((6, 12))) * (random.random((6, 12)) < 0.4) + 0.01
    amounts = random.random((1500, 6)) * (random.random((1500, 6)) < 0.3)
    found = train(Method("nmf", 6, 6), (amounts @ parts).astype(np.float32), seed=0)
    assert (found.decoder >= 0).all()
    likeness = found.decoder.numpy() @ (parts / np.linalg.norm(parts, axis=1, keepdims=True)).T
    assert (likeness.max(0) > 0.9).sum() >= 5
    with pytest.raises(InputError, match="below 0"):
        train(Method("nmf", 6, 2), vectors - 5, seed=0)


def test_the_same_seed_gives_the_same_dictionary_and_units_do_not_matter():
    vectors, _ = planted(300)
    method = Method("batchtopk", 16, 2)
    first, other = (train(method, vectors, seed=seed) for seed in (1, 2))
    with threadpool_limits(4):
        again = train(method, vectors, seed=1)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    larger = train(method, vectors * 1024 + 5, seed=1)
    np.testing.assert_allclose(larger.decoder, first.decoder, atol=2e-2)
    np.testing.assert_allclose(larger.rule.thresholds, first.rule.thresholds * 1024, rtol=1e-2)


@pytest.mark.parametrize("name", ["topk", "jumprelu"])
def test_what_was_stopped_goes_on_to_the_same_weights(name, tmp_path, monkeypatch):
    vectors, _ = planted(300)
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    method, steps = Method(name, 16, 2), []
    whole = train(method, vectors, seed=1)
    monkeypatch.setattr(descent, "_KEPT", 50)
    own = descent._Run.step

    def stopping(run, number):
        steps.append(number)
        if len(steps) == 170:
            raise KeyboardInterrupt
        own(run, number)

    monkeypatch.setattr(descent._Run, "step", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(method, mapped, seed=1, folder=tmp_path)
    assert train(method, mapped, seed=1, folder=tmp_path).fingerprint == whole.fingerprint
    assert steps[170] == 150
    count = len(steps)
    assert train(method, mapped, seed=1, folder=tmp_path).fingerprint == whole.fingerprint
    assert len(steps) == count  # all was done
    train(method, mapped, seed=2, folder=tmp_path)
    assert steps[count] == 0  # another training


@pytest.mark.parametrize("objective", [TopK(2), Matryoshka(2), JumpReLU(2)], ids=str)
def test_steps_on_an_accelerator_are_those_on_a_processor(objective):
    vectors, _ = planted(300)
    scaled = descent._Scaled(vectors, vectors.mean(0), np.float32(3))
    runs = [descent._Run(objective, scaled, 16, 0, torch.device("cpu")) for _ in range(2)]
    runs[1].whole = True  # the sums of whole matrices, which need no accelerator
    for number in range(30):
        for run in runs:
            run.step(number)
    for own, other in zip(*(run.arrays() for run in runs), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-3)
    assert np.array_equal(runs[0].alive, runs[1].alive)


def test_copies_of_a_vector_are_no_two_directions():
    vectors, _ = planted(30)
    scaled = descent._Scaled(np.repeat(vectors, 4, axis=0), vectors.mean(0), np.float32(1))
    run = descent._Run(TopK(2), scaled, 30, 0, torch.device("cpu"))
    decoder = run.now.decoder
    assert (np.triu(decoder @ decoder.T, 1) < 0.99).all()


def test_more_latents_than_vectors():
    vectors, _ = planted(5)
    assert np.isfinite(exact_codes(train(Method("topk", 40, 3), vectors, seed=0), vectors).data).all()


def test_dead_latents_start_anew_as_what_is_explained_worst():
    vectors, _ = planted(60)
    run = descent._Run(
        TopK(2), descent._Scaled(vectors, vectors.mean(0), np.float32(1)), 8, 0, torch.device("cpu")
    )
    run.alive[:5] = True
    before = run.arrays()
    x = run.vectors[run.order]
    left = x - run.objective.active(before, x @ before.encoder.T + before.bias).decoded(before.decoder)
    run._renew()
    now = run.arrays()
    assert np.array_equal(now.decoder[:5], before.decoder[:5])
    worst = left[np.argsort(-np.square(left).sum(1))[:12]]
    worst /= np.linalg.norm(worst, axis=1, keepdims=True)
    likeness = now.decoder[5:] @ worst.T
    assert (likeness.max(1) > 0.9999).all() and len(set(likeness.argmax(1))) == 3


@pytest.mark.parametrize(
    ("vectors", "method", "says"),
    [
        (np.ones((9, 3), np.float32), "topk:4:2", "all 9 vectors are alike"),
        (np.ones((9, 3), np.float32), "pca:4:2", "all 9 vectors are alike"),
        (np.full((9, 3), np.nan, np.float32), "batchtopk:4:2", "not finite"),
        (np.zeros((0, 3), np.float32), "ica:4:2", "no vectors"),
        (np.eye(9, dtype=np.float32), "pca:20:5", "ask for 16 at most"),
        (np.eye(9, dtype=np.float32), "ica:5:5", "even number"),
    ],
)
def test_what_no_dictionary_can_be_made_of(vectors, method, says):
    with pytest.raises(InputError, match=says):
        train(parse_method(method), vectors, seed=0)


@pytest.mark.parametrize(
    "text", "topk topk:4 topk:4:x topk:4:-1 topk:4:0 topk:4:5 sae:4:1 topk:4:1:1 topk:1000000000:4 :".split()
)
def test_what_is_no_method(text):
    with pytest.raises(InputError):
        parse_method(text)


def test_methods_are_said_as_they_are_read():
    for name in METHODS:
        assert parse_method(f" {name.upper()}:64:8") == Method(name, 64, 8)
        assert str(Method(name, 64, 8)) == f"{name}:64:8"


@pytest.mark.parametrize("vectors", [0, 1, 15, 60, 1000, 10**6])
def test_the_usual_size_can_be_trained(vectors):
    latents, k = usual_size(vectors)
    assert 1 <= k <= latents
