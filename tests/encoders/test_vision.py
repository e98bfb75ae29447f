"""Vision encoders: how many pictures go through the model at once, and that it does not matter."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from saywell.encoders.vision import default_batch, open_vision_encoder


@pytest.fixture(scope="module")
def folder(save_models, tmp_path_factory):
    return str(save_models["clip"](tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    sizes = [(30 + 5 * k, 40) for k in range(9)]
    return [Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


def test_features_do_not_depend_on_the_batch(folder, pictures):
    one = open_vision_encoder(folder, batch_size=1)(pictures)
    assert len(np.unique(one.round(3), axis=0)) == 9
    for size in (None, 3, 32):
        features = open_vision_encoder(folder, batch_size=size)(pictures)
        np.testing.assert_allclose(features, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "batches"), [({}, [4, 4, 1]), ({"device": "cpu"}, [4, 4, 1]), ({"batch_size": 6}, [6, 3])]
)
def test_few_at_once_on_the_processor(folder, pictures, given, batches, monkeypatch):
    encoder = open_vision_encoder(folder, **given)
    inner, sizes = encoder._processor, []
    monkeypatch.setattr(
        encoder, "_processor", lambda batch, **more: sizes.append(len(batch)) or inner(batch, **more)
    )
    encoder(pictures)
    assert sizes == batches


def test_many_at_once_elsewhere():
    assert [default_batch(d) for d in ("cpu", "cpu:0", "cuda", "cuda:1", "mps")] == [4, 4, 32, 32, 32]
