"""Dictionaries as their own packages write and encode them; a part of `dictionaries.py`, which runs it.

    PYTHON dictionaries_peers.py FOLDER LATENTS REPEATS

In an environment with sae-lens 6.54.12, eai-sparsify 1.3.3 and dictionary-learning 0.1.0, without saywell.
Reads `FOLDER/vectors.npy`; for each case writes its files under `FOLDER/CASE`, as the package itself saves
them, reads them with it, and leaves `FOLDER/CASE.npz` (activations, decoded). Prints a line of JSON a
case.

What no package writes (Gemma Scope, Qwen Scope, SAELens before 6) is written here with the keys that SAELens'
loader of it reads, and read by that loader, with the hub's download replaced by the folder.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

WIDTH = 512
K = 32
ENCODER_BIASES = ("b_enc", "b_gate", "b_mag", "encoder.bias", "gate_bias", "mag_bias")
CASES = {}


def case(name):
    def keep(write):
        CASES[name] = write
        return write

    return keep


def chance(name, shape, random):
    """Of a usual size: pre-activations are of about -2 +- 1, so that few are above 0."""
    array = torch.randn(shape, generator=random) * (min(shape) ** -0.5 if len(shape) > 1 else 0.3)
    if "threshold" in name.lower():
        return array.abs()
    return array - 2 if name in ENCODER_BIASES and len(shape) == 1 else array


def filled(module, seed=0):
    """A package's module with weights by chance."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, array in module.named_parameters():
            array.copy_(chance(name, array.shape, random))
    return module


def matrices(latents, seed=0, **more):
    random = torch.Generator().manual_seed(seed)
    shapes = dict(W_enc=(WIDTH, latents), b_enc=(latents,), W_dec=(latents, WIDTH), b_dec=(WIDTH,)) | more
    return {name: chance(name, shape, random) for name, shape in shapes.items()}


# SAELens ------------------------------------------------------------------------------------------------


def saelens(architecture, training=False, **options):
    def write(folder, latents):
        from sae_lens import SAE
        from sae_lens.registry import get_sae_class, get_sae_training_class

        kind, config = (get_sae_training_class if training else get_sae_class)(architecture)
        if "transcoder" in architecture:
            options.setdefault("apply_b_dec_to_input", False)
            options.setdefault("d_out", WIDTH // 2)
        sae = filled(kind(config(d_in=WIDTH, d_sae=latents, **options)))
        sae.cfg.metadata.hook_name = "blocks.3.attn.hook_z"
        if architecture == "matching_pursuit":
            sae.W_dec.data /= sae.W_dec.data.norm(dim=1, keepdim=True)
        if training:
            if hasattr(sae, "topk_threshold"):
                sae.topk_threshold.fill_(0.1)
            sae.save_inference_model(folder)
        else:
            sae.save_model(folder)
        sae = SAE.load_from_disk(folder)
        if options.get("reshape_activations") == "hook_z":
            heads = lambda x: x.unflatten(1, (4, -1))  # noqa: E731
            return lambda x: sae.encode(heads(x)), lambda acts, x: sae.decode(acts).flatten(1)
        return (
            sae.encode,
            lambda acts, x: sae.decode(acts) + (x @ sae.W_skip.T if "skip" in architecture else 0),
        )

    return write


for name in ("standard", "gated", "jumprelu", "transcoder", "skip_transcoder", "jumprelu_transcoder"):
    CASES[f"saelens {name}"] = saelens(name)
CASES["saelens jumprelu_skip_transcoder"] = saelens("jumprelu_skip_transcoder")
CASES["saelens topk"] = saelens("topk", k=K)
CASES["saelens topk, by length"] = saelens("topk", k=K, rescale_acts_by_decoder_norm=True)
CASES["saelens abstopk"] = saelens("abstopk", k=K)
CASES["saelens batchtopk"] = saelens("batchtopk", True, k=K)
CASES["saelens matryoshka_batchtopk"] = saelens("matryoshka_batchtopk", True, k=K, matryoshka_widths=[128])
CASES["saelens matching_pursuit"] = saelens("matching_pursuit", residual_threshold=10.0, max_iterations=24)
CASES["saelens b_dec not taken off"] = saelens("standard", apply_b_dec_to_input=False)
CASES["saelens layer_norm"] = saelens("standard", normalize_activations="layer_norm")
CASES["saelens constant_norm_rescale"] = saelens("topk", k=K, normalize_activations="constant_norm_rescale")
CASES["saelens layer_norm transcoder"] = saelens("transcoder", normalize_activations="layer_norm")
CASES["saelens hook_z"] = saelens("standard", reshape_activations="hook_z")


def scaled(architecture, by, **options):
    """A checkpoint of training, with what its activations were scaled by beside it; folded in by SAELens."""

    def write(folder, latents):
        from sae_lens import SAE
        from sae_lens.registry import get_sae_class
        from sae_lens.training.activation_scaler import ActivationScaler, ActivationWhitening

        kind, config = get_sae_class(architecture)
        filled(kind(config(d_in=WIDTH, d_sae=latents, normalize_activations=by, **options))).save_model(
            folder
        )
        sae = SAE.load_from_disk(folder)
        scaler = ActivationScaler(scaling_factor=0.7)
        if by == "covariance_whitening":
            random = torch.Generator().manual_seed(5)
            matrix = (
                torch.eye(WIDTH).double() + 0.3 * torch.randn(WIDTH, WIDTH, generator=random).double() / 22
            )
            mean = torch.randn(WIDTH, generator=random).double()
            scaler = ActivationScaler(whitening=ActivationWhitening(mean, matrix, torch.linalg.inv(matrix)))
            sae.fold_activation_whitening(mean, matrix, torch.linalg.inv(matrix))
        else:
            sae.fold_activation_norm_scaling_factor(0.7)
        scaler.save(str(folder / "activation_scaler.json"))
        return sae.encode, lambda acts, x: sae.decode(acts)

    return write


CASES["saelens expected_average_only_in"] = scaled("jumprelu", "expected_average_only_in")
CASES["saelens covariance_whitening"] = scaled("standard", "covariance_whitening")
CASES["saelens covariance_whitening, not taken off"] = scaled(
    "gated", "covariance_whitening", apply_b_dec_to_input=False
)
CASES["saelens covariance_whitening, by length"] = scaled(
    "topk", "covariance_whitening", k=K, rescale_acts_by_decoder_norm=True
)


@case("saelens before 6")
def before_six(folder, latents):
    from sae_lens import SAE

    cfg = dict(d_in=WIDTH, d_sae=latents, dtype="float32", hook_point="blocks.1.hook_resid_post")
    cfg |= dict(activation_fn_str="topk", activation_fn_kwargs={"k": K}, normalize_activations=False)
    (folder / "cfg.json").write_text(json.dumps(cfg))
    save_file(matrices(latents), folder / "sae_weights.safetensors")
    sae = SAE.load_from_disk(folder)
    return sae.encode, lambda acts, x: sae.decode(acts)


# What SAELens reads from the hub -------------------------------------------------------------------------


def from_hub(loader, folder, repository, inside, **overrides):
    """An SAE of SAELens by one of its loaders, from a folder that stands for the repository."""
    from sae_lens import SAE
    from sae_lens.loading import pretrained_sae_loaders as loaders
    from sae_lens.registry import get_sae_class

    def local(repo_id, filename, subfolder=None, **_):
        return str(folder / repo_id.split("/")[1] / (f"{subfolder}/{filename}" if subfolder else filename))

    def shapes(repo_id, filename):
        held = loaders.load_safetensors_weights(local(repo_id, filename))
        return {name: list(array.shape) for name, array in held.items()}

    loaders.hf_hub_download, loaders.get_safetensors_tensor_shapes = local, shapes
    cfg, state, _ = getattr(loaders, loader)(repository, inside, "cpu", False, overrides)
    cfg = loaders.handle_config_defaulting(cfg)
    kind, config = get_sae_class(cfg["architecture"])
    sae = kind(config.from_dict(cfg)) if "transcoder" in cfg["architecture"] else SAE.from_dict(cfg)
    sae.load_state_dict(state)
    skip = getattr(sae, "W_skip", None)
    return sae.encode, lambda acts, x: sae.decode(acts) + (0 if skip is None else x @ skip.T)


def gemma_scope(repository, inside, loader="gemma_2_sae_huggingface_loader"):
    def write(folder, latents):
        place = folder / repository.split("/")[1] / inside
        place.mkdir(parents=True)
        held = matrices(latents, threshold=(latents,))
        if "embedding" in inside:  # of vectors before they are multiplied
            held["W_enc"] *= WIDTH**0.5
        np.savez(place / "params.npz", **{name: array.numpy() for name, array in held.items()})  # pyright: ignore
        sizes = dict(d_in=WIDTH, d_sae=latents) | ({"d_out": WIDTH} if "transcoder" in loader else {})
        encode, decode = from_hub(loader, folder, repository, inside, normalize_activations="none", **sizes)
        # SAELens multiplies the decoder of embeddings' and leaves its bias as it was.
        left = held["b_dec"] * (WIDTH**0.5 - 1) if "embedding" in inside else 0
        return encode, lambda acts, x: decode(acts, x) + left

    return write


INSIDE = "layer_20/width_16k/average_l0_71"
CASES["gemma scope"] = gemma_scope("google/gemma-scope-2b-pt-res", INSIDE)
CASES["gemma scope embedding, b_dec scaled too"] = gemma_scope(
    "google/gemma-scope-2b-pt-res", "embedding/width_4k/average_l0_6"
)
CASES["gemma scope transcoder"] = gemma_scope(
    "google/gemma-scope-2b-pt-transcoders", INSIDE, "gemma_2_transcoder_huggingface_loader"
)


def gemma_scope_2(inside, affine=None, layers=0):
    def write(folder, latents):
        repository = "google/gemma-scope-2-1b-pt"
        place = folder / repository.split("/")[1] / inside
        place.mkdir(parents=True)
        held = {name.lower(): array for name, array in matrices(latents, threshold=(latents,)).items()}
        if affine:
            held["affine_skip_connection"] = matrices(latents, 1, skip=(WIDTH, WIDTH))["skip"]
        if layers:
            held["w_dec"] = torch.stack([held["w_dec"] / (layer + 1) for layer in range(layers)], 1)
        cfg = dict(
            architecture="jump_relu", model_name="gemma-v3-1b-pt", hf_hook_point_in="model.layers.3.output"
        )
        (place / "config.json").write_text(
            json.dumps(cfg | ({} if affine is None else dict(affine_connection=affine)))
        )
        save_file(held, place.with_suffix(".safetensors") if layers else place / "params.safetensors")
        return from_hub("gemma_3_sae_huggingface_loader", folder, repository, inside)

    return write


CASES["gemma scope 2"] = gemma_scope_2("resid_post/layer_3_width_16k_l0_medium")
CASES["gemma scope 2 transcoder"] = gemma_scope_2("transcoder/layer_3_width_16k_l0_medium", False)
CASES["gemma scope 2 transcoder, affine"] = gemma_scope_2(
    "transcoder/layer_3_width_16k_l0_medium_affine", True
)
CASES["gemma scope 2 across layers"] = gemma_scope_2("clt/width_262k_l0_big/params_layer_3", layers=4)


@case("qwen scope")
def qwen_scope(folder, latents):
    repository = f"Qwen/SAE-Res-Qwen3-1.7B-Base-W32K-L0_{K}"
    place = folder / repository.split("/")[1]
    place.mkdir()
    held = {
        name: array.T.contiguous() if array.ndim == 2 else array for name, array in matrices(latents).items()
    }
    torch.save(held, place / "layer7.sae.pt")
    sizes = dict(d_in=WIDTH, d_sae=latents)
    return from_hub("qwen_scope_sae_huggingface_loader", folder, repository, "layer7.sae.pt", **sizes)


# sparsify ------------------------------------------------------------------------------------------------


def sparsify(**options):
    def write(folder, latents):
        from sparsify import SparseCoder, SparseCoderConfig

        config = SparseCoderConfig(num_latents=latents, k=K, **options)
        filled(SparseCoder(WIDTH, config)).save_to_disk(folder / "layers.3.mlp")
        coder = SparseCoder.load_from_disk(folder / "layers.3.mlp")

        def encode(x):
            found = coder.encode(x)
            return found.top_acts, found.top_indices

        def decode(found, x):
            return coder.decode(*found) + (0 if coder.W_skip is None else x @ coder.W_skip.mT)

        return encode, decode

    return write


CASES["sparsify topk"] = sparsify()
CASES["sparsify groupmax"] = sparsify(activation="groupmax")
CASES["sparsify topk, skip"] = sparsify(skip_connection=True)
CASES["sparsify transcoder"] = sparsify(transcode=True)
CASES["sparsify transcoder, skip"] = sparsify(transcode=True, skip_connection=True)


# dictionary_learning -------------------------------------------------------------------------------------


def dictionary_learning(kind):
    def write(folder, latents):
        from dictionary_learning import utils

        made = getattr(utils, kind)
        options: dict = {"k": K} if "TopK" in kind else {}
        if kind == "MatryoshkaBatchTopKSAE":
            options["group_sizes"] = [latents // 4, latents - latents // 4]
        dictionary = filled(made(WIDTH, latents, **options))
        if "TopK" in kind:
            dictionary.threshold.fill_(0.1)
        torch.save(dictionary.state_dict(), folder / "ae.pt")
        trainer = dict(dict_class=kind, activation_dim=WIDTH, dict_size=latents, layer=3, lm_name="tiny")
        trainer |= {"k": K} if "TopK" in kind else {}
        (folder / "config.json").write_text(json.dumps(dict(trainer=trainer, buffer={"ctx_len": 128})))
        dictionary, _ = utils.load_dictionary(str(folder), "cpu")
        return dictionary.encode, lambda acts, x: dictionary.decode(acts)

    return write


for name in ("AutoEncoder", "AutoEncoderNew", "GatedAutoEncoder", "JumpReluAutoEncoder", "AutoEncoderTopK"):
    CASES[f"dictionary_learning {name}"] = dictionary_learning(name)
for name in ("BatchTopKSAE", "MatryoshkaBatchTopKSAE"):
    CASES[f"dictionary_learning {name}"] = dictionary_learning(name)


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    folder, latents, repeats = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    x = torch.from_numpy(np.load(folder / "vectors.npy"))
    for name, write in CASES.items():
        (folder / name).mkdir()
        encode, decode = write(folder / name, latents)
        with torch.no_grad():
            found, seconds = encode(x), []
            for _ in range(repeats):
                clock = time.process_time()
                encode(x)
                seconds.append(time.process_time() - clock)
            decoded, acts = decode(found, x), found
        if isinstance(found, tuple):
            acts = torch.zeros(len(x), latents).scatter_(1, found[1], found[0])
        np.savez(folder / f"{name}.npz", acts=acts.numpy(), decoded=decoded.numpy())
        print(json.dumps({"case": name, "seconds": min(seconds)}), flush=True)


if __name__ == "__main__":
    main()
