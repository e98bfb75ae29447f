from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from saywell.encoders.dual import open_dual_encoder
from saywell.encoders.vectors import unit_length
from saywell.encoders.vision import open_vision_encoder
from saywell.errors import InputError

TEXTS = ["a photo of a bird", "the red house .", "dog", "a wing , a tail"]
PICTURES = [Image.new("RGB", (40 + 7 * k, 30), (60 * k, 20, 200 - 60 * k)) for k in range(4)]


@pytest.fixture(scope="module", params=["clip", "siglip"])
def folder(request, save_models, tmp_path_factory):
    return save_models[request.param](tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def encoder(folder):
    return open_dual_encoder(str(folder))


def test_unit_float32_vectors_of_one_space(encoder):
    for vectors in (encoder.encode_texts(TEXTS), encoder.encode_images(PICTURES)):
        assert vectors.shape == (4, encoder.dim) and vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        assert len(np.unique(vectors.round(4), axis=0)) == 4


def test_the_same_as_transformers_itself(encoder, folder):
    import torch
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    model, tokenizer = (AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder))
    pad = {"padding": "max_length", "max_length": 16} if "siglip" in model.config.model_type else {}
    with torch.no_grad():
        inputs = tokenizer([TEXTS[1]], return_tensors="pt", **pad)
        text = model.get_text_features(**inputs).pooler_output.numpy()
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        image = model.get_image_features(**processor(PICTURES[2], return_tensors="pt")).pooler_output
    assert np.allclose(encoder.encode_texts(TEXTS)[1], unit_length(text)[0], atol=1e-5)
    assert np.allclose(encoder.encode_images(PICTURES)[2], unit_length(image.numpy())[0], atol=1e-5)


def test_neither_batches_nor_neighbours_matter(encoder, folder):
    small = open_dual_encoder(str(folder), batch_size=1)
    assert np.allclose(small.encode_texts(TEXTS), encoder.encode_texts(TEXTS), atol=1e-5)
    assert np.allclose(small.encode_images(PICTURES), encoder.encode_images(PICTURES), atol=1e-5)
    assert np.allclose(encoder.encode_texts(TEXTS[::-1])[::-1], encoder.encode_texts(TEXTS), atol=1e-5)


def test_tokens_are_counted_and_nothing_is_cut(encoder):
    assert encoder.max_tokens == 16
    assert encoder.count_tokens(["dog", "a red bird", ""]).tolist() == [3, 5, 2]
    assert encoder.encode_texts(["dog " * 14]).shape == (1, encoder.dim)
    with pytest.raises(InputError, match=r"17 tokens is longer than the 16.*would be cut: 'dog dog"):
        encoder.encode_texts(["dog", "dog " * 15])


def test_nothing_in_nothing_out(encoder):
    assert encoder.encode_texts([]).shape == encoder.encode_images([]).shape == (0, encoder.dim)
    assert encoder.count_tokens([]).shape == (0,)


def test_the_fingerprint_is_of_the_content(encoder, folder, save_models, tmp_path):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    assert open_dual_encoder(str(copy)).fingerprint == encoder.fingerprint
    settings = copy / "preprocessor_config.json"
    settings.write_text(settings.read_text().replace("0.5", "0.4"))
    assert open_dual_encoder(str(copy)).fingerprint != encoder.fingerprint
    other = save_models["clip"](tmp_path, seed=1)
    assert open_dual_encoder(str(other)).fingerprint != encoder.fingerprint


def test_models_that_do_not_see_and_read(tmp_path):
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="model of type 'bert', which does not encode images and"):
        open_dual_encoder(str(tmp_path))
    with pytest.raises(InputError, match="no such folder"):
        open_dual_encoder("/nowhere/at/all")


def test_a_checkpoint_without_image_settings(folder, tmp_path):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"preprocessor_config\.json"):
        open_dual_encoder(str(copy))


def test_pickled_weights_are_not_read(folder, tmp_path):
    import shutil

    import torch
    from safetensors.torch import load_file

    copy = shutil.copytree(folder, tmp_path / "copy")
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"pytorch_model\.bin, a pickle.*save_pretrained"):
        open_dual_encoder(str(copy))


def test_the_seeing_half_alone(folder):
    vision = open_vision_encoder(str(folder))
    assert vision(PICTURES).shape == (4, vision.dim) == (4, 16)


def test_a_classifier_without_its_head(shared):
    vision = open_vision_encoder(str(shared / "models" / "mobilenet-v2-imagenet"))
    vectors = vision(PICTURES)
    assert vectors.shape == (4, 1280) and np.isfinite(vectors).all()
    assert np.allclose(vision(PICTURES[:1]), vectors[:1], atol=1e-4)
