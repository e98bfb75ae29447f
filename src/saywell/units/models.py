"""Loading the model under study, and its twin with random weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saywell.encoders.checkpoints import find_checkpoint, gguf_file, read_settings
from saywell.encoders.fingerprints import model_fingerprint
from saywell.encoders.loading import load_gguf, load_part, load_weights, opening, refuse_wordless
from saywell.encoders.positions import position_limit, token_ids
from saywell.encoders.vision import blank, open_image_processor
from saywell.errors import InputError
from saywell.units.probe import first_tensor
from saywell.units.sites import encoder_of


@dataclass(frozen=True)
class LoadedModel:
    """A model, its tokenizer and what the record has to say about them."""

    name: str
    model: nn.Module
    tokenizer: Any
    max_tokens: int
    """Longest text, in tokens, that the model can read."""
    fingerprint: str
    """Of the weights, the configuration and the tokenizer."""

    @property
    def pad_id(self) -> int:
        """What fills up short texts; never looked at."""
        return self.tokenizer.pad_token_id or 0


def load_model(
    name: str, *, device: str = "auto", dtype: str | None = None, decoder: bool = False
) -> LoadedModel:
    """A transformers model by folder, hub name, GGUF file or the aliases `minilm` and `smollm2`.

    Of an encoder-decoder it is the encoder, or with `decoder` a `Decoding`; of a model for images and texts
    the part that reads. Weights are read from safetensors and GGUF only. `dtype` is a torch name such as
    float32 (the default on a processor; elsewhere the checkpoint's own).

    Raises InputError when the name is not a model, lacks weights, or has no fast tokenizer.
    """
    from transformers import AutoModel, AutoTokenizer

    place = pick_device(device)
    file = gguf_file(name)
    checkpoint = find_checkpoint(name) if file is None else str(file.parent)
    options: dict[str, Any] = {
        "dtype": _dtype(dtype or ("float32" if place.type == "cpu" else "auto")),
        "part": decoding if decoder else _reading,
        "probe": _last_hidden_state,
    }
    with opening("the language model", name, checkpoint):
        if file is None:
            model = load_weights(AutoModel, checkpoint, **options)
            tokenizer = load_part(AutoTokenizer, checkpoint)
        else:
            model, tokenizer = load_gguf(AutoModel, file, **options)
        tokenizer(["a \u2603"], verbose=False)  # a word, and a sign that it need not have
        return wrap_model(model.to(place), tokenizer, name)


def load_parts(name: str, *, device: str = "auto") -> dict[str, LoadedModel | VisionModel]:
    """What can be looked into of a model: "text", "decoder" of an encoder-decoder, "images".

    Raises InputError where it is no model, or one that shows neither how it reads nor how it sees.
    """
    if gguf_file(name) is not None:
        return {"text": load_model(name, device=device)}
    folder = Path(find_checkpoint(name))
    settings = read_settings(folder / "config.json")
    found: dict[str, LoadedModel | VisionModel] = {}
    if any((folder / file).is_file() for file in _READS):
        found["text"] = load_model(name, device=device)
        if settings.get("is_encoder_decoder"):
            found["decoder"] = load_model(name, device=device, decoder=True)
    if any((folder / file).is_file() for file in _SEES):
        found["images"] = load_vision_model(name, device=device)
    if not found:
        raise InputError(
            f"{name!r} has neither a tokenizer ({', '.join(_READS)}) nor settings for its pictures"
            f" ({', '.join(_SEES)}) beside its weights"
        )
    return found


_READS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.txt", "vocab.json")
_SEES = ("preprocessor_config.json", "processor_config.json")


def _reading(model: nn.Module) -> nn.Module:
    return encoder_of(getattr(model, "text_model", model))


class Decoding(nn.Module):
    """An encoder-decoder as a model of one text, which both parts read: the decoder after its start token.

    Called with a text alone, the decoder reads just that.
    """

    trunk = "model.decoder"
    """Where its blocks are."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.config = model, model.config

    @property
    def start(self) -> int:
        """The token before all that the decoder reads."""
        return self.config.decoder_start_token_id  # type: ignore[union-attr]

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **more: Any) -> Any:
        """The decoder's last and other hidden states."""
        from transformers.modeling_outputs import BaseModelOutput

        read = {"decoder_input_ids": input_ids, "decoder_attention_mask": attention_mask} | more
        given = self.model(input_ids=input_ids, attention_mask=attention_mask, **read)
        return BaseModelOutput(given.last_hidden_state, getattr(given, "decoder_hidden_states", None))


def decoding(model: nn.Module) -> Decoding:
    """The decoder of an encoder-decoder.

    Raises InputError for what is none, or does not say how it starts.
    """
    config = getattr(model, "config", None)
    both = getattr(config, "is_encoder_decoder", False)
    if not both or not isinstance(getattr(model, "decoder", None), nn.Module):
        raise InputError(
            f"{type(model).__name__} is no encoder-decoder; its blocks are those of the model itself"
        )
    if getattr(config, "decoder_start_token_id", None) is None:
        raise InputError(
            "its config.json has no decoder_start_token_id, so how its decoder starts is not known"
        )
    return Decoding(model)


def _last_hidden_state(model: nn.Module) -> Any:
    ids = token_ids(model, 4)
    return first_tensor(model(input_ids=ids, attention_mask=torch.ones_like(ids)))


def wrap_model(model: nn.Module, tokenizer: Any, name: str | None = None) -> LoadedModel:
    """Any module that takes `input_ids` and `attention_mask`, with its tokenizer."""
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(
            f"{type(tokenizer).__name__} cannot say which characters a token covers; give a fast"
            " tokenizer (transformers.PreTrainedTokenizerFast)"
        )
    refuse_wordless(tokenizer)
    config = getattr(model, "config", None)
    if getattr(config, "use_cache", False):
        # Keys and values for generation: memory and time that a single pass does not need.
        config.use_cache = False  # type: ignore[union-attr]
    model.eval()
    limits = [getattr(tokenizer, "model_max_length", None), _positions(model)] + [
        getattr(config, key, None) for key in ("max_position_embeddings", "n_positions")
    ]
    known = [limit for limit in limits if isinstance(limit, int) and 0 < limit < 1_000_000]
    return LoadedModel(
        name or type(model).__name__,
        model,
        tokenizer,
        min(known, default=512),
        model_fingerprint(model, tokenizer),
    )


def _positions(model: nn.Module) -> int | None:
    """The longest text for which the model's tables have a position; None where it does not say."""
    ids = token_ids(model, 4)
    if ids is None:
        return None
    try:
        return position_limit(lambda ids: model(input_ids=ids, attention_mask=torch.ones_like(ids)), ids)
    except Exception:  # a model that does not run is told of where its units are sought
        return None


def random_twin(loaded: LoadedModel, seed: int) -> LoadedModel:
    """The same architecture with freshly initialised weights: what structure alone can do.

    Raises InputError when a part of the model does not say how to initialise itself.
    """
    return wrap_model(random_weights(loaded.model, seed), loaded.tokenizer, loaded.name)


def random_weights(original: nn.Module, seed: int) -> nn.Module:
    """See `random_twin`."""
    device = next(original.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if hasattr(original, "config") and hasattr(original, "post_init"):
            twin = type(original)(copy.deepcopy(original.config))  # type: ignore[call-arg]
        else:
            twin = copy.deepcopy(original)
            for path, module in twin.named_modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()  # type: ignore[operator]
                elif list(module.parameters(recurse=False)):
                    raise InputError(
                        f"module {path!r} ({type(module).__name__}) has no reset_parameters(), so"
                        " the control with random weights cannot be made; switch it off with"
                        " --no-random-control (random_control=False from Python)"
                    )
    return twin.to(device=device, dtype=next(original.parameters()).dtype).eval()


@dataclass(frozen=True)
class VisionModel:
    """An image model and how it is shown pictures."""

    name: str
    model: nn.Module
    processor: Any
    """Turns RGB pictures into `pixel_values`, as the image processors of transformers do."""
    fingerprint: str
    labels: tuple[str, ...] = ()
    """What a classifier calls its outputs."""


def load_vision_model(name: str, *, device: str = "auto") -> VisionModel:
    """An image model of transformers by folder or hub name: a classifier with its head, else the model.

    Of a model for images and texts together, the part that sees is used.

    Raises InputError when it is not an image model, or lacks weights or settings for its pictures.
    """
    from transformers import AutoModel, AutoModelForImageClassification

    checkpoint = find_checkpoint(name)
    with opening("the image model", name, checkpoint):
        processor = open_image_processor(checkpoint)
        made_as = read_settings(Path(checkpoint) / "config.json").get("architectures") or [""]
        classifies = str(made_as[0]).endswith("ForImageClassification")

        def probe(model: Any) -> Any:
            return first_tensor(model(**processor(blank(), return_tensors="pt")))

        model = load_weights(
            AutoModelForImageClassification if classifies else AutoModel,
            checkpoint,
            dtype=torch.float32,
            probe=probe,
            part=lambda model: getattr(model, "vision_model", model),
        )
        return wrap_vision_model(model.to(pick_device(device)), processor, name)


def wrap_vision_model(model: nn.Module, processor: Any, name: str | None = None) -> VisionModel:
    """Any module that takes `pixel_values`, with what makes them."""
    model.eval()
    known = getattr(getattr(model, "config", None), "id2label", None) or {}
    labels = tuple(str(known[number]) for number in sorted(known))
    return VisionModel(
        name or type(model).__name__, model, processor, model_fingerprint(model, processor), labels
    )


def random_vision_twin(loaded: VisionModel, seed: int) -> VisionModel:
    """See `random_twin`."""
    twin = random_weights(loaded.model, seed)
    return replace(wrap_vision_model(twin, loaded.processor, loaded.name), labels=loaded.labels)


def pick_device(device: str) -> torch.device:
    """`auto` is the first accelerator there is, else the processor.

    Raises InputError for a device that torch does not know or this machine does not have.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.zeros(1, device=place)
    except (RuntimeError, AssertionError) as error:
        # Torch answers a wrong name with the dozens that it knows.
        unknown = "device type at start of device string" in str(error)
        why = "there is no such kind" if unknown else _first_line(error)
        raise InputError(f"device {device!r} cannot be used: {why}; choose auto, cpu, cuda or mps") from error
    return place


def _dtype(name: str) -> Any:
    if name == "auto":
        return "auto"
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise InputError(f"unknown dtype {name!r}; use float32, bfloat16 or float16")
    return dtype


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
