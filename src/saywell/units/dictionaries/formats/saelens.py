"""SAELens: a folder of `cfg.json` and `sae_weights.safetensors`, of version 6 or before (as sae_lens 6.54).

What training left beside the weights is folded into them: `activation_scaler.json` has the factor by which
activations were multiplied, `activation_whitening.safetensors` the map that whitened them. SAELens itself
leaves a factor out where it loads a folder.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from saywell.errors import InputError
from saywell.units.dictionaries.dictionary import Dictionary, Made, Scaling
from saywell.units.dictionaries.formats.weights import Settings, Weights, read_weights, same
from saywell.units.dictionaries.rules import Gated, JumpReLU, MatchingPursuit, ReLU, Rule, TopK

FILE, SETTINGS = "sae_weights.safetensors", "cfg.json"
_SCALER, _WHITENING = "activation_scaler.json", "activation_whitening.safetensors"
_RENAMED = {
    "hook_point": "hook_name",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}
_SCALINGS = (
    "none",
    "expected_average_only_in",
    "constant_norm_rescale",
    "layer_norm",
    "covariance_whitening",
)
_ARCHITECTURES = (
    *("standard", "gated", "topk", "batchtopk", "abstopk", "jumprelu", "matching_pursuit"),
    *("matryoshka_batchtopk", "transcoder", "skip_transcoder", "jumprelu_transcoder"),
    "jumprelu_skip_transcoder",
)


def read(file: Path) -> tuple[Dictionary, Made]:
    """A dictionary of SAELens.

    Raises InputError for what cannot be read as one, naming the file and what is amiss.
    """
    settings = read_saelens_settings(Settings.read(file.with_name(SETTINGS), needed="how it encodes"))
    return dictionary_of(settings, read_weights(file)), made_of(settings, "SAELens")


def made_of(settings: Settings, form: str) -> Made:
    """What version 6 settings say of where a dictionary comes from."""
    held = settings.within("metadata")
    hook = held.text("hook_name")
    # Of a model whose weights were changed so that the mean of what is at the place is 0; see `units.places`.
    if hook is not None and held.within("model_from_pretrained_kwargs").flag("center_writing_weights"):
        hook = f"{hook}:centred"
    return Made(
        form,
        model=held.text("model_name"),
        hook=hook,
        hook_out=held.text("hook_name_out"),
        head=held.whole("hook_head_index"),
        bos=held.flag("prepend_bos"),
        context=held.whole("context_size"),
        dataset=held.text("dataset_path"),
    )


def read_saelens_settings(settings: Settings) -> Settings:
    """Settings as version 6 writes them, from those of any version (its `handle_pre_6_0_config`)."""
    version = settings.text("sae_lens_version") or settings.within("metadata").text("sae_lens_version")
    if version and version.split(".")[0].isdecimal() and int(version.split(".")[0]) >= 6:
        return settings
    held: dict[str, Any] = {**settings.within("metadata").values, **settings.values}
    values: dict[str, Any] = {_RENAMED.get(name) or name: value for name, value in held.items()}
    values = {"prepend_bos": True} | values
    if isinstance(values.get("normalize_activations"), bool):
        values["normalize_activations"] = (
            "expected_average_only_in" if values["normalize_activations"] else "none"
        )
    function = values.get("activation_fn") or "relu"
    if function == "topk":
        kwargs = Settings(settings.file, values).within("activation_fn_kwargs").values
        values |= {"architecture": "topk", "k": values.get("k", kwargs.get("k"))}
    elif function != "relu":
        raise InputError(f"'activation_fn' in {str(settings.file)!r} is {function!r}; relu and topk are read")
    return Settings(settings.file, values | {"metadata": values})


def dictionary_of(settings: Settings, weights: Weights) -> Dictionary:
    """The dictionary that version 6 settings and arrays describe."""
    architecture = settings.text("architecture") or "standard"
    _refuse_unknown(architecture, settings)
    transcoder, pursuit = architecture.endswith("transcoder"), architecture == "matching_pursuit"
    subtracts = settings.flag("apply_b_dec_to_input")
    if transcoder and subtracts:
        raise InputError(
            f"{str(settings.file)!r} says apply_b_dec_to_input, and b_dec of a {architecture}"
            " is of its output"
        )
    latents, out = weights.table("W_dec")
    width = out if pursuit else weights.table("W_enc")[0]
    same(settings.whole("d_sae"), latents, "d_sae", settings)
    same(settings.whole("d_in"), width, "d_in", settings)
    if transcoder:
        same(settings.whole("d_out"), out, "d_out", settings)
    decoder, centre = weights.take("W_dec", latents, out), weights.take("b_dec", out)
    subtracts = not transcoder and subtracts is not False
    dictionary = Dictionary(
        decoder if pursuit else weights.take("W_enc", width, latents).T.contiguous(),
        # A gated one has two biases, which are its rule's.
        torch.zeros(latents) if pursuit or architecture == "gated" else weights.take("b_enc", latents),
        decoder,
        # A matching pursuit that takes nothing off adds nothing either.
        centre * 0 if pursuit and not subtracts else centre,
        _rule(architecture, settings, weights, latents, width),
        subtracts,
        skip=weights.take("W_skip", out, width) if "skip" in architecture else None,
    )
    by_length = settings.flag("rescale_acts_by_decoder_norm") is True and "topk" in architecture
    return _scaled(_tuned(dictionary, settings, weights), settings, by_length)


def _refuse_unknown(architecture: str, settings: Settings) -> None:
    if architecture == "temporal":
        raise InputError(
            f"{str(settings.file)!r} is of a temporal dictionary: what fires at a token hangs on all tokens"
            " before it, through attention of its own, so that no vector can be encoded alone; it is not read"
        )
    if architecture not in _ARCHITECTURES:
        raise InputError(
            f"'architecture' in {str(settings.file)!r} is {architecture!r};"
            f" read are {', '.join(_ARCHITECTURES)}"
        )


def _rule(architecture: str, settings: Settings, weights: Weights, latents: int, width: int) -> Rule:
    if architecture in ("topk", "abstopk"):
        k = settings.whole("k", needed=True)
        assert k is not None
        return TopK(k, signed=architecture == "abstopk")
    if architecture in ("batchtopk", "matryoshka_batchtopk"):
        return JumpReLU(weights.take("topk_threshold").expand(latents).contiguous())
    if architecture.startswith("jumprelu"):
        if "log_threshold" in weights:
            return JumpReLU(weights.take("log_threshold", latents).exp())
        return JumpReLU(weights.take("threshold", latents))
    if architecture == "gated":
        gate, gain, magnitude = (weights.take(name, latents) for name in ("b_gate", "r_mag", "b_mag"))
        return Gated(gate, gain.exp(), magnitude)
    if architecture == "matching_pursuit":
        least, most = settings.number("residual_threshold"), settings.whole("max_iterations")
        once = settings.flag("stop_on_duplicate_support") is not False
        return MatchingPursuit(0.01 if least is None else least, width if most is None else most, once)
    return ReLU()


def _scaled(dictionary: Dictionary, settings: Settings, by_length: bool) -> Dictionary:
    """With what is done to activations before they are encoded, and in which units latents count."""
    by = settings.text("normalize_activations") or "none"
    if by not in _SCALINGS:
        raise InputError(
            f"'normalize_activations' in {str(settings.file)!r} is {by!r}; read are {', '.join(_SCALINGS)}"
        )
    autoencodes = "transcoder" not in (settings.text("architecture") or "")
    if by == "expected_average_only_in":
        dictionary = _multiplied(dictionary, settings, by_length)
    elif by == "covariance_whitening":
        # Directions have other lengths when the whitening is undone, so those of training count first.
        return _unwhitened(_by_length(dictionary) if by_length else dictionary, settings)
    elif by != "none":
        kind = "layer_norm" if by == "layer_norm" else "constant_norm"
        dictionary = replace(dictionary, scaling=Scaling(kind, undone=autoencodes))
    return _by_length(dictionary) if by_length else dictionary


def _multiplied(dictionary: Dictionary, settings: Settings, by_length: bool) -> Dictionary:
    """Of activations themselves, where it was of activations times a factor."""
    factor = Settings.read(settings.file.with_name(_SCALER)).number("scaling_factor")
    if not factor:
        raise InputError(
            f"{str(settings.file)!r} says that activations are multiplied by a factor first"
            f" (expected_average_only_in), and no {_SCALER} beside it says which; write one there,"
            ' {"scaling_factor": NUMBER}: the square root of d_in over the mean length of an activation'
        )
    _refuse_pursuit(dictionary, settings)
    rule = dictionary.rule
    if by_length and isinstance(rule, JumpReLU):
        rule = JumpReLU(rule.thresholds / factor)
    return replace(
        dictionary,
        encoder=dictionary.encoder * factor,
        decoder=dictionary.decoder / factor,
        centre=dictionary.centre / factor,
        rule=rule,
    )


def _unwhitened(dictionary: Dictionary, settings: Settings) -> Dictionary:
    """Of activations themselves, where it was of (activations - mean) matrix."""
    file = settings.file.with_name(_WHITENING)
    if not file.is_file():
        raise InputError(
            f"{str(settings.file)!r} says that activations are whitened first, and there is no {file.name}"
            " beside it that says how"
        )
    _refuse_pursuit(dictionary, settings)
    held, width = read_weights(file), dictionary.width
    if dictionary.out != width:
        raise InputError(f"whitening of a transcoder is not read ({str(settings.file)!r})")
    mean = held.take("mean", width).double()
    matrix, inverse = (held.take(name, width, width).double() for name in ("matrix", "inverse_matrix"))
    encoder = dictionary.encoder.double() @ matrix.T
    return replace(
        dictionary,
        encoder=encoder.float(),
        bias=dictionary.bias if dictionary.subtracts else (dictionary.bias - encoder @ mean).float(),
        decoder=(dictionary.decoder.double() @ inverse).float(),
        centre=(dictionary.centre.double() @ inverse + mean).float(),
    )


def _refuse_pursuit(dictionary: Dictionary, settings: Settings) -> None:
    if isinstance(dictionary.rule, MatchingPursuit):
        raise InputError(
            f"{str(settings.file)!r} is of a matching pursuit of scaled activations, which cannot be folded"
            " into its weights; it is not read"
        )


def _by_length(dictionary: Dictionary) -> Dictionary:
    """The same decoded, with directions of length 1 and activations in units of what they add."""
    length = dictionary.decoder.norm(dim=1).clamp(min=1e-8)
    return replace(
        dictionary,
        encoder=dictionary.encoder * length[:, None],
        bias=dictionary.bias * length,
        decoder=dictionary.decoder / length[:, None],
    )


def _tuned(dictionary: Dictionary, settings: Settings, weights: Weights) -> Dictionary:
    """With the factors of a fine-tuning (before 6), by which activations are multiplied to be decoded."""
    if "scaling_factor" not in weights:
        return dictionary
    factors = weights.take("scaling_factor", dictionary.latents)
    if not settings.flag("finetuning_scaling_factor") and not torch.allclose(factors, torch.ones(1)):
        raise InputError(
            f"{str(weights.file)!r} has a scaling_factor, and {str(settings.file)!r} says that none is used"
        )
    return replace(dictionary, decoder=dictionary.decoder * factors[:, None])
