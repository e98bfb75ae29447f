"""Cross-modal transfer against a plain torch loop, and what it must never do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from saywell.encoders.vectors import unit_length
from saywell.errors import InputError
from saywell.scorers.transfer import Resampling
from saywell.transfer import linear_heads
from saywell.transfer.centring import balanced_mean, centred
from saywell.transfer.cross_modal import (
    IMAGES_AND_VALIDATION,
    IMAGES_ONLY,
    Embedded,
    Joint,
    Settings,
    draw_shots,
    loss_weights,
    transfer,
)
from saywell.transfer.linear_heads import cosine_rates

FAST = Settings(epochs=30, image_rates=(1.0,), text_epochs=10, text_rates=(0.0, 1.0), joint_weights=())


def world(classes=5, dim=16, per_class=24, texts_a_class=6, noise=1.0, seed=0):
    """Images around their class's centre, good texts around it too, shifted by a modality gap."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(classes, dim))
    labels = np.repeat(np.arange(classes), per_class)
    text_class = np.repeat(np.arange(classes), texts_a_class)
    images = centres[labels] + noise * random.normal(size=(len(labels), dim)) + 2 * random.normal(size=dim)
    texts = (
        centres[text_class] + 0.5 * random.normal(size=(len(text_class), dim)) + 2 * random.normal(size=dim)
    )
    rows = random.permutation(len(labels))
    third = len(rows) // 3
    splits = {"train": rows[:third], "validation": rows[third : 2 * third], "test": rows[2 * third :]}
    return Embedded(images, labels), Embedded(texts, text_class), splits


def gain(method, control):
    return Resampling(*method.shape).difference(method, control)


def everything(weights):
    return lambda train, validation: {"all": weights}


@pytest.mark.parametrize("centre", [False, True])
def test_equals_a_plain_loop(centre):
    images, texts, splits = world(noise=2.5)
    weights = np.random.default_rng(1).uniform(0, 2, len(texts.classes))
    weights[:4] = 0
    settings = replace(FAST, text_rates=(4.0,), centre=centre, batch_size=8)
    outcome = transfer(
        images, texts, **splits, classes=5, choose_texts=everything(weights), seeds=[7], settings=settings
    )
    rows = np.sort(splits["train"])
    mean = np.zeros(16)
    x, t = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (images.vectors, texts.vectors))
    if centre:
        mean = balanced_mean(x[rows], images.classes[rows])
        x, t = centred(x, mean), centred(t, balanced_mean(t, texts.classes))
    linear = torch.nn.Linear(16, 5)
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    used = np.flatnonzero(weights)
    found = {}
    for name, features, labels, losses, rates in (
        (IMAGES_ONLY, x[rows], images.classes[rows], np.ones(len(rows)), cosine_rates(1.0, 30)),
        ("all", t[used], texts.classes[used], weights[used], cosine_rates(4.0, 10)),
    ):
        for epoch, rate in enumerate(rates):
            order = np.random.default_rng([7, epoch, 0]).permutation(len(labels))
            for start in range(0, len(order), 8):
                batch = order[start : start + 8]
                loss = torch.nn.functional.cross_entropy(
                    linear(torch.tensor(features[batch], dtype=torch.float32)),
                    torch.tensor(labels[batch]),
                    reduction="none",
                )
                linear.zero_grad()
                (torch.tensor(losses[batch]) * loss).mean().backward()
                with torch.no_grad():
                    for parameter in linear.parameters():
                        parameter -= rate * parameter.grad
        predicted = linear(torch.tensor(x[splits["test"]], dtype=torch.float32)).argmax(1).numpy()
        found[name] = predicted == images.classes[splits["test"]]
    for name in found:
        assert np.array_equal(outcome[name].correct[0], found[name])
    assert not np.array_equal(found[IMAGES_ONLY], found["all"])


@pytest.mark.parametrize("choose", ["select", "shots"])
def test_good_texts_help_few_images_and_wrong_ones_can_be_refused(choose):
    images, texts, splits = world(noise=1.6)
    good = np.ones(len(texts.classes))
    wrong = Embedded(texts.vectors, (texts.classes + 1) % 5)
    options = {"shots": 2, "seeds": list(range(10)), "settings": FAST, "choose": choose, "classes": 5}
    helped = transfer(images, texts, **splits, choose_texts=everything(good), **options)
    misled = transfer(images, wrong, **splits, choose_texts=everything(good), **options)
    assert gain(helped["all"].correct, helped[IMAGES_ONLY].correct).low > 0
    assert gain(misled["all"].correct, misled[IMAGES_ONLY].correct).low < 0.02
    assert (misled["all"].chosen == 0).mean() >= 0.5
    assert np.array_equal(helped[IMAGES_ONLY].correct, misled[IMAGES_ONLY].correct)


def test_joint_training_helps_too_and_weight_0_changes_nothing():
    images, texts, splits = world(noise=1.6)
    options = {"shots": 1, "seeds": list(range(8)), "classes": 5, "choose_texts": everything(np.ones(30))}
    off = replace(FAST, joint_weights=(0.0,), batch_size=128, text_rates=(0.0,))
    outcome = transfer(images, texts, **splits, settings=off, **options)
    for name in ("all", Joint("all")):
        assert np.array_equal(outcome[name].correct, outcome[IMAGES_ONLY].correct)
    on = transfer(images, texts, **splits, settings=replace(off, joint_weights=(1.0,)), **options)
    assert gain(on[Joint("all")].correct, on[IMAGES_ONLY].correct).low > 0


def test_seeds_do_not_depend_on_each_other():
    images, texts, splits = world()
    options = {"shots": 2, "settings": FAST, "classes": 5, "choose_texts": everything(np.ones(30))}
    together = transfer(images, texts, **splits, seeds=[3, 5], **options)
    alone = transfer(images, texts, **splits, seeds=[5], **options)
    for name in alone:
        assert np.array_equal(together[name].correct[1:], alone[name].correct)


def test_inside_the_shots_no_validation_image_is_seen():
    images, texts, splits = world()
    seen = []

    def choose_texts(train, validation):
        seen.append((train, validation))
        return {"all": np.ones(30)}

    spoiled = images.vectors.copy()
    spoiled[splits["validation"]] = np.nan
    options = {"choose_texts": choose_texts, "shots": 3, "choose": "shots", "settings": FAST, "classes": 5}
    first = transfer(images, texts, **splits, **options)
    second = transfer(Embedded(spoiled, images.classes), texts, **splits, **options)
    assert np.array_equal(first["all"].correct, second["all"].correct)
    assert all(len(validation) == 0 for _, validation in seen)
    assert not any(np.isin(train, splits["test"]).any() for train, _ in seen)
    assert {len(train) for train, _ in seen} == {10, 15}  # folds of two images a class, then all three


def test_one_shot_inside_takes_the_middle():
    images, texts, splits = world()
    settings = replace(FAST, text_rates=(0.0, 0.5, 1.0), image_rates=(0.1, 1.0, 2.0))
    outcome = transfer(
        images,
        texts,
        **splits,
        classes=5,
        choose_texts=everything(np.ones(30)),
        shots=1,
        choose="shots",
        settings=settings,
    )
    assert set(outcome["all"].chosen) == {0.5}
    assert set(outcome[IMAGES_ONLY].chosen) == {1.0}


def test_classes_without_images_texts_or_chosen_texts():
    images, texts, splits = world()
    splits["train"] = splits["train"][images.classes[splits["train"]] != 0]
    keep = texts.classes != 1
    texts = Embedded(texts.vectors[keep], texts.classes[keep])
    weights = (texts.classes != 2).astype(float)
    outcome = transfer(
        images,
        texts,
        **splits,
        classes=5,
        choose_texts=lambda t, v: {"some": weights, "none": 0 * weights},
        shots=2,
        settings=FAST,
    )
    truth = images.classes[splits["test"]]
    assert not outcome[IMAGES_ONLY].correct[:, truth == 0].any()
    assert np.array_equal(outcome["none"].correct, outcome[IMAGES_ONLY].correct)
    nothing = Embedded(np.zeros((0, 16)), np.zeros(0, dtype=int))
    same = transfer(
        images, nothing, **splits, classes=5, choose_texts=everything(np.zeros(0)), shots=2, settings=FAST
    )
    assert np.array_equal(same["all"].correct, same[IMAGES_ONLY].correct)


def test_a_thousand_classes():
    random = np.random.default_rng(0)
    labels = np.tile(np.arange(1000), 3)
    centres = random.normal(size=(1000, 32))
    images = Embedded(centres[labels] + 0.3 * random.normal(size=(3000, 32)), labels)
    texts = Embedded(centres, np.arange(1000))
    rows = np.arange(3000)
    outcome = transfer(
        images,
        texts,
        train=rows[:1000],
        validation=rows[1000:2000],
        test=rows[2000:],
        classes=1000,
        choose_texts=everything(np.ones(1000)),
        shots=1,
        seeds=[0],
        settings=replace(FAST, epochs=2, text_epochs=2),
    )
    assert outcome["all"].correct.shape == (1, 1000)


def test_shots_are_nested_and_balanced():
    labels = np.repeat([0, 1, 2], [10, 10, 2])
    rows = np.arange(22)
    drawn = {k: draw_shots(labels, rows, k, seed=4) for k in (1, 2, 4)}
    assert set(drawn[1]) < set(drawn[2]) < set(drawn[4])
    assert np.bincount(labels[drawn[4]]).tolist() == [4, 4, 2]
    assert np.array_equal(draw_shots(labels, rows[::-1], 2, seed=4), drawn[2])
    assert not np.array_equal(draw_shots(labels, rows, 4, seed=5), drawn[4])
    assert np.array_equal(draw_shots(labels, rows, None, seed=4), rows)
    assert len(draw_shots(labels, rows[:0], 2, seed=4)) == 0


@pytest.mark.parametrize("how", ["uniform", "softmax", "rank"])
def test_loss_weights_are_never_negative(how):
    scores = np.array([-3.0, 1.0, 5.0, -2.0, -2.0, np.nan])
    text_class = np.array([0, 0, 0, 1, 1, 1])
    chosen = np.array([True, True, True, True, True, False])
    weights = loss_weights(scores, text_class, chosen, how)
    assert (weights[chosen] > 0).all()
    assert weights[5] == 0
    assert np.allclose([weights[:3].mean(), weights[3:5].mean()], 1)
    assert np.allclose(weights[3], weights[4])
    assert (np.diff(weights[:3]) >= 0).all()


def test_loss_weights_worked_by_hand():
    scores, text_class = np.array([0.0, 2.0]), np.array([0, 0])
    both = np.array([True, True])
    e = np.exp(-2)  # standardised scores are -1 and 1
    assert np.allclose(loss_weights(scores, text_class, both), [2 * e / (1 + e), 2 / (1 + e)])
    assert np.allclose(loss_weights(scores, text_class, both, "rank"), [2 / 3, 4 / 3])


def test_texts_without_their_mean_are_not_centred_again():
    images, texts, splits = world(noise=3)
    mean = balanced_mean(unit_length(texts.vectors), texts.classes)
    moved = Embedded(centred(texts.vectors, mean) * 3, texts.classes)
    common = {
        **splits,
        "classes": 5,
        "choose_texts": everything(np.ones(30)),
        "shots": 2,
        "settings": replace(FAST, text_rates=(1.0,)),
    }
    found = transfer(images, moved, **common, texts_centred=True)
    expected = transfer(images, texts, **common)
    assert np.array_equal(found["all"].correct, expected["all"].correct)
    other = transfer(images, texts, **common, texts_centred=True)
    assert not np.array_equal(other["all"].correct, expected["all"].correct)


def test_rows_and_intervals():
    outcomes = transfer(
        *(w := world())[:2], **w[2], classes=5, choose_texts=everything(np.ones(30)), shots=2, settings=FAST
    )
    assert list(outcomes) == [IMAGES_ONLY, IMAGES_AND_VALIDATION, "all"]
    base = outcomes[IMAGES_ONLY].correct
    draws = Resampling(*base.shape)
    assert draws.difference(base, base) == (0, 0, 0, base.shape[1])
    for outcome in outcomes.values():
        level = draws.mean(outcome.correct)
        assert level.low <= level.value == outcome.correct.mean() <= level.high
        gain = draws.difference(outcome.correct, base)
        assert gain.value == pytest.approx(level.value - base.mean())


def test_validation_images_are_also_trained_on_in_a_row_of_their_own():
    images, texts, splits = world(noise=3)
    common = {"classes": 5, "choose_texts": everything(np.zeros(30)), "settings": FAST}
    found = transfer(images, texts, **splits, **common)
    both = splits | {
        "train": np.concatenate([splits["train"], splits["validation"]]),
        "validation": splits["validation"][:0],
    }
    expected = transfer(images, texts, **both, **common, choose="shots")
    assert np.array_equal(found[IMAGES_AND_VALIDATION].correct, expected[IMAGES_ONLY].correct)
    assert not np.array_equal(found[IMAGES_ONLY].correct, expected[IMAGES_ONLY].correct)
    # With everything chosen inside the shots there are no such images.
    assert IMAGES_AND_VALIDATION not in expected
    inside = transfer(images, texts, **splits, **common, choose="shots", shots=2)
    assert IMAGES_AND_VALIDATION not in inside


def test_the_interval_covers_seeds_as_well_as_examples():
    random = np.random.default_rng(0)
    by_seed = random.random((5, 2000)) < np.array([0.2, 0.4, 0.5, 0.6, 0.8])[:, None]
    value, low, high, n = gain(by_seed, np.zeros_like(by_seed))
    assert n == 2000 and low < value < high
    assert high - low > 0.2  # over examples alone it would be 0.02 wide
    assert np.isnan(gain(np.zeros((0, 3), bool), np.zeros((0, 3), bool)).value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choose_texts": everything(np.array([1.0, -1.0] * 15))}, "-1.0"),
        ({"choose_texts": everything(np.full(30, np.nan))}, "nan"),
        ({"choose_texts": everything(np.ones(3))}, r"\(3,\)"),
        ({"validation": np.arange(0)}, "0 validation"),
        ({"test": np.arange(40)}, "two splits"),
        ({"classes": 3}, "0 to 2"),
        ({"choose": "test"}, "'test'"),
        ({"texts": Embedded(np.ones((2, 3)), np.array([0, 1]))}, "16 dimensions and texts 3"),
    ],
)
def test_misuse_is_named(change, message):
    images, texts, splits = world()
    options = {
        "images": images,
        "texts": texts,
        **splits,
        "classes": 5,
        "choose_texts": everything(np.ones(30)),
        "settings": FAST,
    }
    with pytest.raises(InputError, match=message):
        transfer(**{**options, **change})


def test_what_else_is_trained_changes_nothing(monkeypatch):
    """Sets, rates and folds of other sizes beside a set, both ways of solving, and any company."""
    images, texts, splits = world(noise=2.0, dim=24)
    one, few = np.ones(30), np.zeros(30)
    few[::4] = 1
    settings = replace(FAST, text_rates=(0.0, 0.3, 2.0), joint_weights=(0.5, 1.0), batch_size=6)
    common = {**splits, "classes": 5, "shots": 3, "choose": "shots", "settings": settings}

    def run(sets, **options):
        return transfer(images, texts, choose_texts=lambda t, v: sets, **(common | options))

    alone = run({"few": few}, seeds=[4])
    beside = run({"all": one, "few": few}, seeds=[1, 4], joint=["few"])
    assert set(beside) == {IMAGES_ONLY, "all", "few", Joint("few")}
    for name in alone:
        assert np.array_equal(beside[name].correct[1], alone[name].correct[0]), name
        assert beside[name].chosen[1] == alone[name].chosen[0]
    monkeypatch.setattr("saywell.transfer.linear_heads._Dual", linear_heads._Primal)
    monkeypatch.setattr("saywell.transfer.linear_heads._HEAD_NUMBERS", 1)
    plainly = run({"few": few}, seeds=[4])
    for name in alone:
        assert np.array_equal(plainly[name].correct, alone[name].correct), name


def test_progress_counts_sets():
    images, texts, splits = world()
    done = []
    transfer(
        images,
        texts,
        **splits,
        classes=5,
        shots=1,
        settings=FAST,
        progress=done.append,
        choose_texts=lambda t, v: {"all": np.ones(30), "none": np.zeros(30)},
    )
    assert done == [1, 1]
