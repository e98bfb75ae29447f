"""Every format against a plain reading of its formula, from files with the keys that its package writes."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from saywell.units.dictionaries.load import load_dictionary

D, L, OUT, K, ROWS = 6, 12, 5, 3, 40


def arrays(seed=0, **shapes):
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def autoencoder(out=D):
    return arrays(W_enc=(D, L), b_enc=(L,), W_dec=(L, out), b_dec=(out,))


def dense(codes):
    whole = torch.zeros(ROWS, L)
    whole[codes.rows, codes.latents] = codes.values
    return whole.numpy()


def relu(x):
    return np.maximum(x, 0)


def topk(before, k=K, signed=False):
    after = np.zeros_like(before)
    for row, values in enumerate(before):
        kept = np.argsort(-(np.abs(values) if signed else values))[:k]
        after[row, kept] = values[kept] if signed else relu(values[kept])
    return after


def jump(before, threshold):
    return relu(before) * (before > threshold)


def save(file, held):
    file.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: torch.as_tensor(array).contiguous() for name, array in held.items()}
    if file.suffix == ".safetensors":
        save_file(plain, file)
    elif file.suffix == ".npz":
        np.savez(file, **held)
    else:
        torch.save(plain, file)
    return file


def told(file, **values):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values))


# ------------------------------------------------------------------------------------------ SAELens


def saelens(folder, held, **cfg):
    meta = dict(
        sae_lens_version="6.54.12", model_name="tiny", hook_name="blocks.1.hook_resid_post", prepend_bos=False
    )
    base = dict(d_in=D, d_sae=L, dtype="float32", apply_b_dec_to_input=True, normalize_activations="none")
    told(folder / "cfg.json", **base | dict(architecture="standard", metadata=meta) | cfg)
    save(folder / "sae_weights.safetensors", held)


def standard(folder, *, subtracts=True, **cfg):
    w = autoencoder()
    saelens(folder, w, apply_b_dec_to_input=subtracts, **cfg)

    def truth(x):
        acts = relu((x - w["b_dec"] * subtracts) @ w["W_enc"] + w["b_enc"])
        return acts, acts @ w["W_dec"] + w["b_dec"]

    return truth


def standard_that_does_not_subtract(folder):
    return standard(folder, subtracts=False)


def gated(folder):
    w = autoencoder() | arrays(1, b_gate=(L,), b_mag=(L,), r_mag=(L,))
    del w["b_enc"]
    saelens(folder, w, architecture="gated")

    def truth(x):
        x = x - w["b_dec"]
        opened = x @ w["W_enc"] + w["b_gate"] > 0
        acts = opened * relu(x @ (w["W_enc"] * np.exp(w["r_mag"])) + w["b_mag"])
        return acts, acts @ w["W_dec"] + w["b_dec"]

    return truth


def topk_by_length(folder, *, architecture="topk", by_length=True, **cfg):
    w = autoencoder()
    saelens(folder, w, architecture=architecture, k=K, rescale_acts_by_decoder_norm=by_length, **cfg)
    length = np.linalg.norm(w["W_dec"], axis=1) if by_length else 1.0

    def truth(x):
        before = ((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]) * length
        acts = topk(before, signed=architecture == "abstopk")
        return acts, (acts / length) @ w["W_dec"] + w["b_dec"]

    return truth


def plain_topk(folder):
    return topk_by_length(folder, by_length=False)


def abstopk(folder):
    return topk_by_length(folder, architecture="abstopk", by_length=False)


def jumprelu(folder, key="threshold"):
    w = autoencoder() | arrays(1, threshold=(L,))
    held = w | {key: w["threshold"]}
    if key == "log_threshold":
        del held["threshold"]
    saelens(folder, held, architecture="jumprelu")
    threshold = np.exp(w["threshold"]) if key == "log_threshold" else w["threshold"]

    def truth(x):
        acts = jump((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"], threshold)
        return acts, acts @ w["W_dec"] + w["b_dec"]

    return truth


def jumprelu_of_logarithms(folder):
    return jumprelu(folder, "log_threshold")


def batchtopk_in_training(folder, factor=1.0):
    w = autoencoder()
    held = w | {"topk_threshold": np.float64(1.5)}
    by = "none" if factor == 1 else "expected_average_only_in"
    told(folder / "activation_scaler.json", scaling_factor=factor)
    options = dict(k=K, rescale_acts_by_decoder_norm=True, normalize_activations=by)
    saelens(folder, held, architecture="matryoshka_batchtopk", **options)
    length = np.linalg.norm(w["W_dec"], axis=1)

    def truth(x):
        acts = jump(((factor * x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]) * length, 1.5)
        decoded = (acts / length) @ w["W_dec"] + w["b_dec"]
        return acts / factor, decoded / factor  # latents count in units of what they add

    return truth


def batchtopk_of_multiplied(folder):
    return batchtopk_in_training(folder, 0.5)


def matching_pursuit(folder, *, once=True, subtracts=True):
    w = autoencoder()
    w["W_dec"] /= np.linalg.norm(w["W_dec"], axis=1, keepdims=True)
    saelens(
        folder,
        {name: w[name] for name in ("W_dec", "b_dec")},
        **dict(architecture="matching_pursuit", residual_threshold=2.0, max_iterations=4),
        stop_on_duplicate_support=once,
        apply_b_dec_to_input=subtracts,
    )

    def truth(x):
        acts = np.zeros((len(x), L))
        for row, left in enumerate(x - w["b_dec"] * subtracts):
            for _ in range(4):
                gains = w["W_dec"] @ left
                best = gains.argmax()
                again = acts[row, best] > 0
                if gains[best] <= 0:
                    break
                acts[row, best] += gains[best]
                left = left - gains[best] * w["W_dec"][best]
                if (once and again) or np.linalg.norm(left) < 2.0:
                    break
        return acts, acts @ w["W_dec"] + w["b_dec"] * subtracts

    return truth


def matching_pursuit_again(folder):
    return matching_pursuit(folder, once=False, subtracts=False)


def transcoder(folder, *, skip=False, threshold=False, normalize="none"):
    w = autoencoder(OUT) | arrays(1, threshold=(L,), W_skip=(OUT, D))
    held = {name: w[name] for name in w if (name != "threshold" or threshold) and (name != "W_skip" or skip)}
    architecture = "jumprelu_" * threshold + "skip_" * skip + "transcoder"
    saelens(
        folder,
        held,
        architecture=architecture,
        d_out=OUT,
        apply_b_dec_to_input=False,
        normalize_activations=normalize,
    )

    def truth(x):
        scaled = layer_norm(x)[0] if normalize == "layer_norm" else x
        before = scaled @ w["W_enc"] + w["b_enc"]
        acts = jump(before, w["threshold"]) if threshold else relu(before)
        return acts, acts @ w["W_dec"] + w["b_dec"] + x @ w["W_skip"].T * skip

    return truth


def skip_transcoder(folder):
    return transcoder(folder, skip=True)


def jumprelu_transcoder(folder):
    return transcoder(folder, threshold=True, normalize="layer_norm")


def jumprelu_skip_transcoder(folder):
    return transcoder(folder, skip=True, threshold=True)


def layer_norm(x):
    mean = x.mean(1, keepdims=True)
    size = x.std(1, ddof=1, keepdims=True)
    return (x - mean) / (size + 1e-5), mean, size


def of_layer_norms(folder):
    inner = standard(folder, normalize_activations="layer_norm")

    def truth(x):
        scaled, mean, size = layer_norm(x)
        acts, decoded = inner(scaled)
        return acts, decoded * size + mean

    return truth


def of_constant_norms(folder):
    inner = standard(folder, normalize_activations="constant_norm_rescale")

    def truth(x):
        size = np.linalg.norm(x, axis=1, keepdims=True) / D**0.5
        acts, decoded = inner(x / size)
        return acts, decoded * size

    return truth


def of_multiplied(folder):
    inner = standard(folder, normalize_activations="expected_average_only_in")
    told(folder / "activation_scaler.json", scaling_factor=0.25, has_whitening=False)

    def truth(x):
        acts, decoded = inner(x * 0.25)
        return acts, decoded / 0.25

    return truth


def of_whitened(folder, inner=standard, **options):
    inner = inner(folder, normalize_activations="covariance_whitening", **options)
    random = np.random.default_rng(5)
    matrix, mean = random.standard_normal((D, D)) + 3 * np.eye(D), random.standard_normal(D)
    inverse = np.linalg.inv(matrix)
    save(folder / "activation_whitening.safetensors", dict(mean=mean, matrix=matrix, inverse_matrix=inverse))

    def truth(x):
        acts, decoded = inner((x - mean) @ matrix)
        return acts, decoded @ inverse + mean

    return truth


def of_whitened_that_does_not_subtract(folder):
    return of_whitened(folder, subtracts=False)


def topk_by_length_of_whitened(folder):
    return of_whitened(folder, topk_by_length)


def before_six(folder):
    w = autoencoder()
    told(
        folder / "cfg.json",
        **dict(
            d_in=D, d_sae=L, hook_point="blocks.1.hook_resid_post", hook_point_head_index=2, model_name="tiny"
        ),
        **dict(activation_fn_str="topk", activation_fn_kwargs={"k": K}, normalize_activations=False),
    )
    save(folder / "sae_weights.safetensors", w | {"scaling_factor": np.ones(L, np.float32)})

    def truth(x):
        acts = topk((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"])
        return acts, acts @ w["W_dec"] + w["b_dec"]

    return truth


def tuned_before_six(folder):
    w = autoencoder() | {"scaling_factor": np.linspace(0.5, 2, L, dtype=np.float32)}
    told(folder / "cfg.json", d_in=D, d_sae=L, finetuning_scaling_factor=True, normalize_activations=True)
    told(folder / "activation_scaler.json", scaling_factor=2.0)
    save(folder / "sae_weights.safetensors", w)

    def truth(x):
        acts = relu((2 * x - w["b_dec"]) @ w["W_enc"] + w["b_enc"])
        return acts, ((acts * w["scaling_factor"]) @ w["W_dec"] + w["b_dec"]) / 2

    return truth


# ----------------------------------------------------------------------------------------- the others


def gemma_scope(folder, inside="layer_20/width_16k/average_l0_71", case="W"):
    w = autoencoder() | arrays(1, threshold=(L,))
    held = {name.replace("W", case): array for name, array in w.items()}
    save(folder / "gemma-scope-2b-pt-res" / inside / "params.npz", held)
    root = D**0.5 if inside.startswith("embedding") else 1

    def truth(x):
        acts = jump(x / root @ w["W_enc"] + w["b_enc"], w["threshold"])
        return acts, (acts @ w["W_dec"] + w["b_dec"]) * root

    return truth


def gemma_scope_of_embeddings(folder):
    return gemma_scope(folder, "embedding/width_4k/average_l0_6", "w")


def gemma_scope_2(folder, *, skip=False, layers=()):
    w = arrays(w_enc=(D, L), b_enc=(L,), w_dec=(L, *layers, D), b_dec=(D,), threshold=(L,))
    w |= arrays(1, affine_skip_connection=(D, D)) if skip else {}
    place = dict(hf_hook_point_in="model.layers.3.output")
    told(
        folder / "config.json",
        architecture="jump_relu",
        model_name="gemma-v3-1b-pt",
        affine_connection=skip,
        **place,
    )
    save(folder / ("params_layer_3.safetensors" if layers else "params.safetensors"), w)

    def truth(x):
        acts = jump(x @ w["w_enc"] + w["b_enc"], w["threshold"])
        decoder = w["w_dec"].sum(1) if layers else w["w_dec"]
        return acts, acts @ decoder + w["b_dec"] + (x @ w["affine_skip_connection"] if skip else 0)

    return truth


def gemma_scope_2_with_skip(folder):
    return gemma_scope_2(folder, skip=True)


def gemma_scope_2_across_layers(folder):
    return gemma_scope_2(folder, layers=(4,))


def qwen_scope(folder):
    w = arrays(W_enc=(L, D), b_enc=(L,), W_dec=(D, L), b_dec=(D,))
    save(folder / f"SAE-Res-Qwen3-1.7B-Base-W32K-L0_{K}" / "layer7.sae.pt", w)

    def truth(x):
        acts = topk(x @ w["W_enc"].T + w["b_enc"])
        return acts, acts @ w["W_dec"].T + w["b_dec"]

    return truth


def sparsify(folder, **cfg):
    shapes = {
        "encoder.weight": (L, D),
        "encoder.bias": (L,),
        "W_dec": (L, D),
        "b_dec": (D,),
        "W_skip": (D, D),
    }
    w = arrays(**shapes)
    base = dict(
        activation="topk", expansion_factor=2, normalize_decoder=True, num_latents=0, k=K, multi_topk=True
    )
    cfg = base | dict(skip_connection=False, transcode=False, d_in=D) | cfg
    told(folder / "layers.5.mlp" / "cfg.json", **cfg)
    told(folder / "config.json", model="org/tiny", dataset="texts", ctx_len=64)
    held = {name: array for name, array in w.items() if name != "W_skip" or cfg["skip_connection"]}
    save(folder / "layers.5.mlp" / "sae.safetensors", held)

    def truth(x):
        centred = x - w["b_dec"] * (not cfg["transcode"])
        before = centred @ w["encoder.weight"].T + w["encoder.bias"]
        if cfg["activation"] == "groupmax":
            grouped = relu(before).reshape(len(x), K, -1)
            acts = (grouped * (grouped == grouped.max(2, keepdims=True))).reshape(len(x), L)
        else:
            acts = topk(before, signed=cfg.get("signed", False))
        return acts, acts @ w["W_dec"] + w["b_dec"] + x @ w["W_skip"].T * cfg["skip_connection"]

    return truth


def sparsify_groupmax(folder):
    return sparsify(folder, activation="groupmax")


def sparsify_transcoder(folder):
    return sparsify(folder, transcode=True, skip_connection=True)


def sparsify_with_skip(folder):
    return sparsify(folder, skip_connection=True)


def sparsify_signed(folder):
    return sparsify(folder, signed=True)


def dictionary_learning(folder, kind="AutoEncoder", **names):
    linear = {"encoder.weight": (L, D), "decoder.weight": (D, L)}
    matrices = dict(W_enc=(D, L), W_dec=(L, D), b_enc=(L,), b_dec=(D,))
    shapes = {
        "AutoEncoder": linear | {"bias": (D,), "encoder.bias": (L,)},
        "AutoEncoderNew": linear | {"decoder.bias": (D,), "encoder.bias": (L,)},
        "GatedAutoEncoder": linear | dict(decoder_bias=(D,), r_mag=(L,), gate_bias=(L,), mag_bias=(L,)),
        "JumpReluAutoEncoder": matrices | {"threshold": (L,)},
        "AutoEncoderTopK": linear | {"b_dec": (D,), "encoder.bias": (L,)},
        "BatchTopKSAE": linear | {"b_dec": (D,), "encoder.bias": (L,)},
        "MatryoshkaBatchTopKSAE": matrices,
    }[kind]
    w = arrays(**shapes)
    held = {name: torch.from_numpy(array) for name, array in w.items()}
    if "TopK" in kind:
        held |= {"k": torch.tensor(K, dtype=torch.int), "threshold": torch.tensor(0.7)}
    if kind == "MatryoshkaBatchTopKSAE":
        held["group_sizes"] = torch.tensor([L // 2, L // 2])
    trainer = dict(dict_class=kind, activation_dim=D, dict_size=L, lm_name="org/tiny", layer=3)
    told(
        folder / "config.json",
        trainer=trainer | dict(submodule_name="resid_post_layer_3") | ({"k": K} if "TopK" in kind else {}),
        buffer={"ctx_len": 128},
    )
    save(folder / "ae.pt", held)

    def truth(x):
        encoder, decoder = (
            (w["W_enc"], w["W_dec"]) if "W_enc" in w else (w["encoder.weight"].T, w["decoder.weight"].T)
        )
        names = ("b_dec", "bias", "decoder.bias", "decoder_bias")
        centre = next(w[name] for name in names if name in w)
        subtracted = kind not in ("JumpReluAutoEncoder", "AutoEncoderNew")
        product = (x - centre * subtracted) @ encoder
        if kind == "GatedAutoEncoder":
            acts = (product + w["gate_bias"] > 0) * relu(np.exp(w["r_mag"]) * product + w["mag_bias"])
            return acts, acts @ decoder + centre
        before = product + w.get("encoder.bias", w.get("b_enc"))
        if kind == "AutoEncoder":
            length = np.linalg.norm(decoder, axis=1)
            return relu(before) * length, relu(before) @ decoder + centre
        edge = w.get("threshold", 0.7)
        acts = {"AutoEncoderNew": relu(before), "AutoEncoderTopK": topk(before)}.get(kind, jump(before, edge))
        return acts, acts @ decoder + centre

    return truth


def of_dictionary_learning(kind):
    def write(folder):
        return dictionary_learning(folder, kind)

    write.__name__ = kind
    return write


def arrays_alone(folder, file="mine.npz", names=("W_enc", "b_enc", "W_dec", "b_dec"), turned=False, **cfg):
    w = autoencoder()
    held = dict(zip(names, w.values(), strict=True))
    if turned:
        held = {name: array.T for name, array in held.items()}
    save(folder / file, {name: np.ascontiguousarray(array) for name, array in held.items()})
    told(folder / "mine.json", architecture="topk", k=K, apply_b_dec_to_input=False, **cfg)

    def truth(x):
        acts = topk(x @ w["W_enc"] + w["b_enc"])
        return acts, acts @ w["W_dec"] + w["b_dec"]

    return truth


def linear_layers_alone(folder):
    names = ("encoder_linear.weight", "encoder_linear.bias", "decoder_linear.weight", "decoder_linear.bias")
    return arrays_alone(folder, "mine.pt", names, turned=True)


CASES = [
    *(standard, standard_that_does_not_subtract, gated, plain_topk, topk_by_length, abstopk, jumprelu),
    *(jumprelu_of_logarithms, batchtopk_in_training, matching_pursuit, matching_pursuit_again, transcoder),
    *(skip_transcoder, jumprelu_transcoder, jumprelu_skip_transcoder, of_layer_norms, of_constant_norms),
    *(
        of_multiplied,
        of_whitened,
        of_whitened_that_does_not_subtract,
        topk_by_length_of_whitened,
        batchtopk_of_multiplied,
        before_six,
        tuned_before_six,
    ),
    *(gemma_scope, gemma_scope_of_embeddings, gemma_scope_2, gemma_scope_2_with_skip),
    *(gemma_scope_2_across_layers, qwen_scope, sparsify, sparsify_groupmax, sparsify_transcoder),
    *(sparsify_with_skip, sparsify_signed, arrays_alone, linear_layers_alone),
    *map(
        of_dictionary_learning, ("AutoEncoder", "AutoEncoderNew", "GatedAutoEncoder", "JumpReluAutoEncoder")
    ),
    *map(of_dictionary_learning, ("AutoEncoderTopK", "BatchTopKSAE", "MatryoshkaBatchTopKSAE")),
]


@pytest.mark.parametrize("write", CASES, ids=lambda write: write.__name__)
def test_it_encodes_and_decodes_as_its_formula_says(tmp_path, write):
    truth = write(tmp_path)
    x = np.random.default_rng(9).standard_normal((ROWS, D)) * 2 + 0.5
    acts, decoded = truth(x)
    dictionary = load_dictionary(tmp_path).dictionary
    given = torch.from_numpy(x).float()
    codes = dictionary.encode(given)
    dictionary.save(tmp_path / "own.safetensors")
    assert load_dictionary(tmp_path / "own.safetensors").dictionary.fingerprint == dictionary.fingerprint
    assert 0.05 < (acts != 0).mean() < 0.95
    assert np.abs(dense(codes) - acts).max() < 1e-5 * max(1, np.abs(acts).max())
    assert np.abs(dictionary.decode(codes, given).numpy() - decoded).max() < 1e-5 * max(
        1, np.abs(decoded).max()
    )
