"""Tiny CLIP and SigLIP checkpoints with random weights, as folders that transformers wrote."""

from __future__ import annotations

import pytest

WORDS = [
    *["a", "photo", "of", "the", "red", "blue", "green", "bird", "house", "dog", "wing", "tail"],
    ".",
    ",",
]


def save_clip(folder, seed=0):
    import torch
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig(
        text_config=_text(bos_token_id=1, eos_token_id=2), vision_config=_vision(), projection_dim=12
    )
    torch.manual_seed(seed)
    CLIPModel(config).save_pretrained(folder)
    _save_inputs(folder, "CLIPImageProcessor", {"shortest_edge": 32})
    return folder


def save_siglip(folder):
    import torch
    from transformers import SiglipConfig, SiglipModel

    torch.manual_seed(0)
    text = _text() | {"projection_size": 16}
    SiglipModel(SiglipConfig(text_config=text, vision_config=_vision())).save_pretrained(folder)
    _save_inputs(folder, "SiglipImageProcessor", {"height": 32, "width": 32})
    return folder


def _text(**more):
    return {
        "vocab_size": len(WORDS) + 4,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 16,
        **more,
    }


def _vision():
    return {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    }


def _save_inputs(folder, processor, size):
    import json

    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<start>", "<end>", "<unk>"]
    vocabulary = {w: i for i, w in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<start>",
        eos_token="<end>",
        unk_token="<unk>",
        model_max_length=16,
    ).save_pretrained(folder)
    settings = {
        "image_processor_type": processor,
        "do_resize": True,
        "size": size,
        "do_normalize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "resample": 3,
        "do_convert_rgb": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    if "shortest_edge" in size:
        settings |= {"do_center_crop": True, "crop_size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


@pytest.fixture(scope="session")
def save_models():
    """By name, what writes a tiny checkpoint into a folder and returns the folder."""
    return {"clip": save_clip, "siglip": save_siglip}
