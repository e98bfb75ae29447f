"""The shipped encoder is an ordinary CLIP folder and sees what the planted pictures show."""

from __future__ import annotations

import json

import numpy as np
import pytest

from saywell.data.planted import encoder_folder
from saywell.data.planted.articles import sentences
from saywell.data.planted.scenes import ATTRIBUTES
from saywell.data.planted.world import pictures


@pytest.fixture(scope="module")
def clip():
    import torch
    from transformers import AutoProcessor, CLIPModel

    torch.set_num_threads(1)
    return CLIPModel.from_pretrained(encoder_folder()).eval(), AutoProcessor.from_pretrained(encoder_folder())


def test_the_folder_is_small_and_holds_no_pickle():
    files = [path for path in encoder_folder().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 5_000_000
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert json.loads((encoder_folder() / "config.json").read_text())["model_type"] == "clip"


def test_it_loads_as_any_clip_does(clip):
    from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer

    model, _ = clip
    assert AutoConfig.from_pretrained(encoder_folder()).projection_dim == model.config.projection_dim
    assert type(AutoModel.from_pretrained(encoder_folder())) is type(model)
    tokens = AutoTokenizer.from_pretrained(encoder_folder())(["a red star"])["input_ids"][0]
    assert tokens[0] == model.config.text_config.bos_token_id
    assert tokens[-1] == model.config.text_config.eos_token_id
    image = next(pictures(1, 0)).image
    shape = AutoImageProcessor.from_pretrained(encoder_folder())(image, return_tensors="pt")[
        "pixel_values"
    ].shape
    assert shape == (1, 3, model.config.vision_config.image_size, model.config.vision_config.image_size)


def test_a_text_means_the_same_beside_a_longer_one(clip):
    import torch

    model, processor = clip
    image = next(pictures(1, 0)).image

    def logits(texts):
        with torch.no_grad():
            return (
                model(**processor(text=texts, images=image, return_tensors="pt", padding=True))
                .logits_per_image[0, 0]
                .item()
            )

    assert logits(["a red star"]) == pytest.approx(logits(["a red star", "a red star " * 8]), abs=1e-3)


def test_every_sentence_of_the_articles_fits(clip):
    model, processor = clip
    longest = max(len(ids) for ids in processor.tokenizer(sentences()["text"].to_list())["input_ids"])
    assert longest <= model.config.text_config.max_position_embeddings == processor.tokenizer.model_max_length


@pytest.mark.parametrize(
    ("attribute", "template", "at_least"),
    [
        ("colour", "it is {} in colour", 0.8),
        ("shape", "a {}", 0.35),
        ("texture", "the surface is {}", 0.5),
        ("ground", "on a {} background", 0.8),
    ],
)
def test_unseen_combinations_are_recognised_far_above_chance(clip, attribute, template, at_least):
    import torch

    model, processor = clip
    shown = list(pictures(8, 5))
    values = ATTRIBUTES[attribute]
    with torch.no_grad():
        inputs = processor(
            text=[template.format(v) for v in values],
            images=[p.image for p in shown],
            return_tensors="pt",
            padding=True,
        )
        guesses = model(**inputs).logits_per_image.argmax(1).numpy()
    answers = np.array([values.index(getattr(p.scene, attribute)) for p in shown])
    assert (guesses == answers).mean() > at_least
