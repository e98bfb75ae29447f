"""TracIn of networks against one backward pass an image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from saywell.errors import InputError
from saywell.influence import per_sample
from saywell.influence.per_sample import draw_sketch
from saywell.influence.training import Checkpoint, Pixels, train_network


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.relu = torch.nn.ReLU(inplace=True)
        self.drop = torch.nn.Dropout(0.3)
        self.head = torch.nn.Linear(4, 3)

    def forward(self, images):
        return self.head(self.drop(self.relu(self.norm(self.convolution(images))).mean((2, 3))))


def pictures(n, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    images = torch.tensor(random.normal(size=(n, 3, 6, 6)) + labels[:, None, None, None], dtype=torch.float32)
    return Pixels(images.__getitem__, labels)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.manual_seed(0)
    train, validation = pictures(15, 1), pictures(7, 2)
    model = Small()
    folder = tmp_path_factory.mktemp("checkpoints")
    kept = train_network(model, train, folder, rates=np.array([0.1, 0.05, 0.02]), checkpoints=3)
    return model, kept, train, validation


def plain_loop(model, checkpoints, train, validation, layers):
    total = np.zeros((len(train.labels), len(validation.labels)))
    for checkpoint in checkpoints:
        per_sample.restore(model, checkpoint.path)
        model.eval()
        counted = list((model.head if layers == "last" else model).parameters())

        def gradients(pixels, counted=counted):
            rows = []
            for row in range(len(pixels.labels)):
                logits = model(pixels.load(np.array([row])))
                loss = torch.nn.functional.cross_entropy(logits, torch.tensor(pixels.labels[[row]]))
                rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, counted)]))
            return torch.stack(rows)

        total += checkpoint.rate * (gradients(train) @ gradients(validation).T).numpy()
    return total


@pytest.mark.parametrize("layers", ["last", "all"])
@pytest.mark.parametrize("memory", [1, 1 << 20])
def test_equals_the_plain_loop(trained, layers, memory):
    model, kept, train, validation = trained
    expected = plain_loop(model, kept, train, validation, layers)
    model.train()  # influence has to be measured in eval mode whatever the model comes in
    found = per_sample.pairwise(model, kept, train, validation, layers=layers, batch_size=4, memory=memory)
    scale = np.abs(expected).max()
    assert np.abs(found - expected).max() < 1e-5 * scale
    mean = per_sample.mean_over(model, kept, train, validation, layers=layers, batch_size=4)
    assert np.abs(mean - expected.mean(1)).max() < 1e-5 * scale
    own = per_sample.mean_over_own_class(model, kept, train, validation, layers=layers)
    for row, label in enumerate(train.labels):
        assert own[row] == pytest.approx(expected[row, validation.labels == label].mean(), abs=1e-5 * scale)


def test_projection_is_right_on_average_and_seeded(trained):
    model, kept, train, validation = trained
    exact = per_sample.pairwise(model, kept, train, validation, layers="all")
    draws = np.stack(
        [
            per_sample.pairwise(model, kept, train, validation, layers="all", project=64, seed=seed)
            for seed in range(40)
        ]
    )
    error = draws.std(0) / np.sqrt(40)
    assert (np.abs(draws.mean(0) - exact) < 5 * error + 1e-6).all()
    again = per_sample.pairwise(
        model, kept, train, validation, layers="all", project=64, seed=3, batch_size=5
    )
    assert np.allclose(again, draws[3], atol=1e-5 * np.abs(exact).max())
    assert not np.allclose(draws[3], draws[4])


def test_sketch_keeps_lengths_within_its_stated_error():
    vector = torch.randn(1, 20_000, generator=torch.Generator().manual_seed(0))
    lengths = [float(draw_sketch(20_000, 256, seed)(vector).square().sum()) for seed in range(30)]
    truth = float(vector.square().sum())
    assert abs(np.mean(lengths) / truth - 1) < 0.06
    assert np.std(lengths) / truth < 2 * np.sqrt(2 / 256)


def test_projection_is_refused_where_it_means_nothing(trained):
    model, kept, train, validation = trained
    with pytest.raises(InputError, match="project=8"):
        per_sample.pairwise(model, kept, train, validation, project=8)
    with pytest.raises(InputError, match="project=0"):
        per_sample.pairwise(model, kept, train, validation, layers="all", project=0)


def test_no_validation_image(trained):
    model, kept, train, validation = trained
    none = Pixels(validation.load, validation.labels[:0])
    assert per_sample.pairwise(model, kept, train, none).shape == (15, 0)
    assert np.isnan(per_sample.mean_over(model, kept, train, none)).all()


def test_logits_that_are_not_the_last_layer(tmp_path):
    class Scaled(Small):
        def forward(self, images):
            return 2 * super().forward(images)

    model = Scaled()
    kept = train_network(model, pictures(5, 0), tmp_path, rates=np.array([0.1]))
    assert isinstance(kept[0], Checkpoint)
    with pytest.raises(InputError, match="last linear layer"):
        per_sample.pairwise(model, kept, pictures(5, 0), pictures(2, 1))
    with pytest.raises(InputError, match="no linear layer"):
        per_sample.last_layer(torch.nn.Conv2d(1, 1, 1))


@pytest.mark.slow
def test_resnet_of_transformers(tmp_path):
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        depths=[1, 1], hidden_sizes=[8, 8], embedding_size=8, layer_type="basic", num_labels=3
    )
    model = ResNetForImageClassification(config)
    random = np.random.default_rng(0)
    images = torch.tensor(random.normal(size=(9, 3, 32, 32)), dtype=torch.float32)
    pixels = Pixels(images.__getitem__, random.integers(0, 3, 9))
    kept = train_network(model, pixels, tmp_path, rates=np.array([0.05, 0.05]), checkpoints=2)
    every = per_sample.pairwise(model, kept, pixels, pixels, layers="all")
    mean = per_sample.mean_over(model, kept, pixels, pixels)
    assert np.allclose(mean, every.mean(1), atol=1e-5 * np.abs(every).max())
    assert (np.diag(every) > 0).all()
