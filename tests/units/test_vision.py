"""Image models: the same pass, with the place in the picture that responded."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import (
    ConvNextConfig,
    ConvNextModel,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    MobileNetV2ImageProcessor,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

from saywell.data.examples import Examples
from saywell.data.parts import PARTS
from saywell.data.splits import content_ids
from saywell.errors import InputError
from saywell.resources import Resources
from saywell.units.activations import Activations
from saywell.units.directions import Directions
from saywell.units.exemplars import EXEMPLARS, exemplar_table
from saywell.units.firing import TopShare
from saywell.units.models import wrap_vision_model
from saywell.units.pictures import PictureFeed, find_places, framing
from saywell.units.statistics import unit_table
from saywell.units.vision import Vision

SIZE = 32


def gallery(pictures, order=None):
    """Examples of pictures, read in an order of their own."""
    ids = content_ids([f"picture {n}" for n in range(len(pictures))])
    held = dict(zip(ids, pictures, strict=True))

    def look(wanted):
        return ((id, held[id]) for id in sorted(wanted, reverse=True))

    table = pl.DataFrame(
        {
            "id": ids,
            "part": [PARTS[n % 3] for n in range(len(ids))],
            "name": [f"{n}.png" for n in range(len(ids))],
            "width": pl.Series([p.width for p in pictures], dtype=pl.Int32),
            "height": pl.Series([p.height for p in pictures], dtype=pl.Int32),
            "row": range(len(ids)),
        }
    )
    table = table if order is None else table[order]
    return Examples(table, "image", "0" * 32, pl.DataFrame(), len(ids), pictures_of=look)


def noise(seed, width=40, height=48):
    draw = np.random.default_rng(seed)
    return Image.fromarray(draw.integers(0, 255, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        image_size=SIZE,
        patch_size=8,
    )
    processor = ViTImageProcessor(size={"height": SIZE, "width": SIZE})
    return wrap_vision_model(ViTModel(config, add_pooling_layer=False), processor, "vit")


@pytest.fixture(scope="module")
def mobilenet():
    torch.manual_seed(0)
    config = MobileNetV2Config(image_size=64, depth_multiplier=0.25, num_labels=6, tf_padding=False)
    config.id2label = {n: f"class {n}" for n in range(6)}
    processor = MobileNetV2ImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    return wrap_vision_model(MobileNetV2ForImageClassification(config), processor, "mobilenet")


def alone(model, path, picture):
    """What a module gives for one picture, by a hook of our own."""
    seen = {}
    hook = model.model.get_submodule(path).register_forward_hook(lambda m, a, out: seen.update(x=out))
    with torch.no_grad():
        model.model(**model.processor([picture], return_tensors="pt"))
    hook.remove()
    found = seen["x"]
    return found if isinstance(found, torch.Tensor) else next(iter(found.values()))


@pytest.mark.parametrize("which", ["tokens", "channels", "outputs", "conv path"])
def test_values_and_places_are_those_of_each_picture_alone(which, vit, mobilenet, tmp_path):
    pictures = [noise(n) for n in range(12)]
    examples = gallery(pictures)
    model = vit if which == "tokens" else mobilenet
    asked = {"tokens": ["layers.0", "layers.1"], "conv path": "mobilenet_v2.layer.3"}.get(which, which)
    if which == "tokens":
        asked = [path for path, m in model.model.named_modules() if type(m).__name__ == "ViTLayer"]
    source = Vision.of(model, asked, top=4)
    stored = source.collect(examples, tmp_path, Resources())
    units = unit_table(source.units(), stored, source.firing, examples.parts.describe)
    activations = Activations(stored, units, source.firing)
    parts = {"describe": examples.parts.describe, "select": examples.parts.select}
    exemplars = exemplar_table(activations, examples.ids, parts, 4, source.locate(examples))
    assert EXEMPLARS.check(exemplars).width == 11
    found = {(row["unit"], row["example"]): row for row in exemplars.iter_rows(named=True)}
    start = 0
    for place in source.places:
        ids = units["id"].to_list()[start : start + place.units]
        start += place.units
        for row in range(12):
            out = alone(model, place.module, pictures[row])[0]
            # The class token stands before the others; channels come first.
            cells = out.flatten(1) if out.ndim == 3 else out[1:].T if out.ndim == 2 else out[:, None]
            value, position = cells.max(1)
            given = activations.of(ids, np.array([row]))[:, 0]
            np.testing.assert_allclose(given, value, rtol=1e-4, atol=1e-5)
            for number, unit in enumerate(ids):
                one = found.get((unit, examples.ids[row]))
                if one is None:
                    continue
                if place.grid is None:
                    assert one["region_left"] is None
                    continue
                line, column = divmod(int(position[number]), place.grid[1])
                middle = (one["region_left"] + one["region_right"]) / 2
                near = abs(cells[number].sort(descending=True).values[:2].diff().item()) < 1e-3
                if which == "tokens" and not near:  # what the model sees is the whole picture
                    assert middle == pytest.approx((column + 0.5) / 4, abs=0.01)
                    assert one["region_top"] == pytest.approx(line / 4, abs=0.01)
    if which == "outputs":
        assert units["name"].to_list() == [f"class {n}" for n in range(6)]
        assert units["id"][0] == "outputs/0" and units["kind"][0] == "output"
    if which == "channels":
        assert source.places[0].module == "mobilenet_v2.conv_1x1"


@pytest.mark.parametrize(
    ("size", "settings"),
    [
        ((96, 96), dict(size={"height": SIZE, "width": SIZE})),
        ((150, 90), dict(size={"height": SIZE, "width": SIZE})),
        ((150, 90), "crop"),
        ((70, 200), "crop"),
    ],
)
def test_a_planted_square_is_found_where_it_is(size, settings, tmp_path):
    """A convolution that sums what is bright: its strongest place is the square, in the original picture."""
    if settings == "crop":
        processor = MobileNetV2ImageProcessor(
            size={"shortest_edge": 40}, crop_size={"height": SIZE, "width": SIZE}
        )
    else:
        processor = ViTImageProcessor(**settings)

    class Bright(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 4, stride=4)

        def forward(self, pixel_values):
            return self.conv(pixel_values)

    net = Bright()
    with torch.no_grad():
        net.conv.weight[0], net.conv.weight[1] = 1 / 48, -1 / 48
        net.conv.bias.zero_()
    model = wrap_vision_model(net, processor, "bright")
    width, height = size
    draw = np.random.default_rng(0)
    pictures, centres = [], []
    for _ in range(15):
        x, y = draw.uniform(0.3, 0.7, 2) if settings != "crop" else draw.uniform(0.42, 0.58, 2)
        canvas = np.full((height, width, 3), 20, dtype=np.uint8)
        half = max(4, min(size) // 14)
        left, top = int(x * width), int(y * height)
        canvas[top - half : top + half, left - half : left + half] = 250
        pictures.append(Image.fromarray(canvas))
        centres.append((left / width, top / height))
    examples = gallery(pictures)
    source = Vision.of(model, ["conv"], top=15)
    stored = source.collect(examples, tmp_path, Resources())
    top = stored.top(examples.parts.describe.rows, 5)
    rows, positions = top.examples[0].numpy(), top.positions[0].numpy()
    regions = source.locate(examples)(np.zeros(5, dtype=int), rows, positions)
    for row, region in zip(rows, regions.iter_rows(named=True), strict=True):
        x, y = centres[row]
        slack = 0.07
        assert region["region_left"] - slack <= x <= region["region_right"] + slack
        assert region["region_top"] - slack <= y <= region["region_bottom"] + slack


def test_what_the_model_sees_of_a_picture():
    crop = MobileNetV2ImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32})
    (left, across), (top, down) = framing(crop, 200, 100)
    # 200 x 100 becomes 80 x 40, of which the middle 32 x 32 stays.
    assert (left, across) == pytest.approx((24 / 80, 32 / 80), abs=0.005)
    assert (top, down) == pytest.approx((4 / 40, 32 / 40), abs=0.005)
    (left, across), (top, down) = framing(ViTImageProcessor(size={"height": 32, "width": 32}), 123, 457)
    assert (left, across, top, down) == pytest.approx((0, 1, 0, 1), abs=0.005)
    bordered = MobileNetV2ImageProcessor(
        do_resize=False, crop_size={"height": 64, "width": 64}
    )  # a smaller picture gets a border
    (left, across), _ = framing(bordered, 32, 32)
    assert (left, across) == pytest.approx((-0.5, 2.0), abs=0.02)


def test_neither_order_nor_batch_nor_a_stop_changes_a_number(vit, tmp_path, monkeypatch):
    pictures = [noise(n) for n in range(30)]
    source = Vision.of(vit, "channels", top=5)
    rows, ids = np.arange(30), source.units()["id"].to_list()

    def values(examples, folder):
        stored = source.collect(examples, folder, Resources())
        units = unit_table(source.units(), stored, TopShare(0.2), examples.parts.describe)
        return Activations(stored, units, TopShare(0.2))

    plain = values(gallery(pictures), tmp_path / "plain")
    order = np.random.default_rng(0).permutation(30)
    moved = values(gallery(pictures, order), tmp_path / "moved")
    assert np.array_equal(plain.of(ids, rows), moved.of(ids, np.argsort(order)))
    assert plain.units.equals(moved.units)

    whole = PictureFeed.of

    def small(batch, shard):
        class Small(PictureFeed):
            @property
            def shard(self):
                return shard

        def make(model, examples):
            made = whole(model, examples)
            return Small(made.examples, made.processor, made.size, batch)

        return make

    monkeypatch.setattr(PictureFeed, "of", small(7, 4))
    np.testing.assert_allclose(
        plain.of(ids, rows), values(gallery(pictures), tmp_path / "b").of(ids, rows), rtol=1e-4, atol=1e-5
    )

    class Stop(Exception):
        pass

    def stopping(label, total):
        from contextlib import contextmanager

        @contextmanager
        def told():
            count = [0]

            def advance(done):
                count[0] += done
                if count[0] > 9:
                    raise Stop

            yield advance

        return told()

    monkeypatch.setattr(PictureFeed, "of", small(2, 4))
    with pytest.raises(Stop):
        source.collect(gallery(pictures), tmp_path / "c", Resources(progress=stopping))
    assert list((tmp_path / "c").glob("describe-*"))
    values(gallery(pictures), tmp_path / "c")
    values(gallery(pictures), tmp_path / "d")
    for path in (tmp_path / "d").iterdir():
        assert path.read_bytes() == (tmp_path / "c" / path.name).read_bytes()


def test_the_control_has_other_weights_and_the_same_units(vit, tmp_path):
    source = Vision.of(vit, "channels")
    control = source.control(1)
    assert control.units()["id"].equals(source.units()["id"])
    assert control.fingerprint != source.fingerprint == Vision.of(vit, "channels").fingerprint
    assert source.control(1).fingerprint == control.fingerprint


def test_places_of_other_layouts():
    """Units in the last of four axes, where rows come first."""
    torch.manual_seed(0)
    config = ConvNextConfig(hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], image_size=64)
    model = wrap_vision_model(
        ConvNextModel(config), ViTImageProcessor(size={"height": 64, "width": 64}), "convnext"
    )
    paths = {path for path, m in model.model.named_modules() if isinstance(m, nn.Linear)}
    path = next(path for path in sorted(paths) if "stages.0" in path and "pwconv1" in path)
    [place] = find_places(model, path)
    assert (place.units, place.grid, place.last) == (32, (16, 16), True)
    [place] = find_places(model, path.replace("pwconv1", "dwconv"))
    assert (place.units, place.grid, place.last) == (8, (16, 16), False)


def test_modules_that_are_no_units_are_named(vit):
    with pytest.raises(InputError, match="no module 'nowhere' that runs; some that do: "):
        Vision.of(vit, ["nowhere"])
    with pytest.raises(InputError, match="the examples are texts"):
        PictureFeed.of(vit, Examples(pl.DataFrame(), "text", "", pl.DataFrame(), 0))


def test_directions_in_an_image_model(vit, tmp_path):
    pictures = [noise(n) for n in range(12)]
    examples = gallery(pictures)
    layer = Vision.of(vit, "channels").places[0].module
    vectors = {"a": np.eye(16)[3], "b": np.arange(16.0)}
    source = Directions.of(vit, layer, vectors)
    stored = source.collect(examples, tmp_path, Resources())
    for row in range(12):
        cells = alone(vit, layer, pictures[row])[0][1:].numpy()
        expected = (cells @ np.stack(list(vectors.values())).T).max(0)
        np.testing.assert_allclose(
            stored.read(np.array([row]), np.arange(2))[0], expected, rtol=1e-4, atol=1e-4
        )
    top = stored.top(examples.parts.describe.rows, 1)
    regions = source.locate(examples)(np.arange(2), top.examples[:, 0].numpy(), top.positions[:, 0].numpy())
    assert regions["region_left"].null_count() == 0
