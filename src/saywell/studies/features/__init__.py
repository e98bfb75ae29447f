"""What do the latents of a dictionary respond to? Of a model's tokens or patches, or of whole examples.

The loop of `saywell.studies.spine`. The dictionary is brought or trained on describe examples and measured on
them (table `fit`), and its latents are described like any other units:

vectors at a hook point -> dictionary -> what fires at which token         units/latents.py
the dictionary, and how far it goes with these examples                   studies/features/dictionary.py
how latents stand to one another: duplicates, parts, absorption           studies/features/relations.py
what they do to what comes next                                           studies/features/outputs.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from saywell.data.examples import Examples
from saywell.data.image_sources import holds_pictures
from saywell.data.images import load_images
from saywell.data.texts import load_texts
from saywell.data.windows import windows
from saywell.describers.describer import Describer
from saywell.describers.llm import ByLLM
from saywell.encoders.dual import DualEncoder
from saywell.encoders.sentence import SentenceEncoder
from saywell.errors import InputError
from saywell.language_models import Client, DryRun, LanguageModel
from saywell.progress import Progress, automatic, silent
from saywell.resources import Resources
from saywell.store.study import Study
from saywell.studies.dry_run import plan
from saywell.studies.features.density import Densities
from saywell.studies.features.dictionary import FOLDER, OWN, Coded, Fits
from saywell.studies.features.outputs import OutputSide, Promotes, Works
from saywell.studies.features.ranges import WholeRange
from saywell.studies.features.relations import Absorption, Relations
from saywell.studies.llm import Plan, counting_llm, opened_llm
from saywell.studies.settings import FeatureSettings, named, settings_of
from saywell.studies.spine import Extra, Question, run
from saywell.studies.token_scores import TokenScores
from saywell.studies.usual import Asked, only_measured, question_of, same_model, usual_resources
from saywell.units.dictionaries.dictionary import Dictionary, Made
from saywell.units.dictionaries.load import Loaded, load_dictionary
from saywell.units.dictionaries.train import parse_method
from saywell.units.firing import firing_rule
from saywell.units.hook_points import check_place, find_hook
from saywell.units.latents import AtHook, OfExamples, chosen_latents
from saywell.units.models import LoadedModel, VisionModel, load_model, load_vision_model, wrap_model

KIND = "features"
_SPECIAL = 2
"""Tokens that a tokenizer may put around a text."""


def describe_features(
    examples: Any,
    *,
    out: str | Path,
    model: str | nn.Module | None = None,
    dictionary: str | Path | Dictionary | None = None,
    settings: FeatureSettings | None = None,
    llm: LanguageModel | str | None = None,
    encoder: str | SentenceEncoder | DualEncoder | None = None,
    tokenizer: Any = None,
    given: Sequence[Describer] = (),
    command: Sequence[str] = (),
    progress: Progress = automatic,
    **options: Any,
) -> Study:
    """Describe what the latents of a dictionary (a sparse autoencoder, a transcoder) respond to.

    `examples`    texts (a file, table, list: see `load_texts`) or pictures (see `load_images`).
    `model`       a model by folder, hub name or alias, or a module with its `tokenizer`; none with
                  `on="embeddings"`, where vectors are the encoder's.
    `dictionary`  a file, folder or hub name of one that somebody trained (see `load_dictionary`), or a
                  `Dictionary`; without it `train="batchtopk:4096:32"` trains one on describe examples.
    `settings`, `options`: the fields of `FeatureSettings`, as a record or one by one (`at="model.layers.2"`).
    `llm`         explains and reads: a language model by its name, as on the command line, opened for the
                  time of the run; or one that is open. None for nobody.
    `encoder`     compares examples with words: an encoder, or its name.
    `given`       describers of your own, in place of those by name.

    A stopped run goes on where it was when called again with the same arguments, and leaves the same tables.
    Raises InputError for unusable input, StudyError when `out` holds another study.
    """
    asked = settings_of(FeatureSettings, settings, {**options, **named(llm=llm, encoder=encoder)})
    brought = _Brought(examples, model, dictionary, tokenizer, encoder, tuple(given))
    with opened_llm(asked, Path(out), llm, progress) as opened:
        with progress("examples and models", 1):
            question, loaded, resources = _posed(brought, asked, opened, progress)
        return run(question, loaded, out=out, resources=resources, command=command)


def plan_features(
    examples: Any,
    *,
    out: str | Path | None = None,
    model: str | nn.Module | None = None,
    dictionary: str | Path | Dictionary | None = None,
    settings: FeatureSettings | None = None,
    llm: Client | DryRun | str | None = None,
    encoder: str | SentenceEncoder | DualEncoder | None = None,
    tokenizer: Any = None,
    given: Sequence[Describer] = (),
    **options: Any,
) -> Plan:
    """What `describe_features` would ask a language model, step by step; nothing is sent or stored.

    The arguments are those of `describe_features` and are checked as it does. Raises InputError for unusable
    input.
    """
    asked = settings_of(FeatureSettings, settings, {**options, **named(llm=llm, encoder=encoder)})
    brought = _Brought(examples, model, dictionary, tokenizer, encoder, tuple(given))
    folder = None if out is None else Path(out)
    with counting_llm(asked, folder, llm) as counting:
        question, loaded, resources = _posed(brought, asked, counting, silent)
        of = f"{len(loaded)} {loaded.kind}s, {asked.train or 'a dictionary'} at {question.source.name}"
        return Plan(of, plan(question, loaded, resources, counting, folder))


@dataclass(frozen=True)
class _Brought:
    """What is no plain value."""

    examples: Any
    model: str | nn.Module | None
    dictionary: str | Path | Dictionary | None
    tokenizer: Any
    encoder: str | SentenceEncoder | DualEncoder | None
    given: tuple[Describer, ...]


def _posed(
    brought: _Brought, asked: FeatureSettings, llm: LanguageModel | None, progress: Progress
) -> tuple[Question, Examples, Resources]:
    """Everything that can be refused is, before anything is run."""
    _check(brought, asked)
    pictures = asked.images or holds_pictures(brought.examples, asked.text)
    made = _dictionary(brought, asked)
    loaded = None if asked.on == "embeddings" else _load_model(brought, asked, pictures)
    examples = _load_pictures(brought, asked) if pictures else _load_windows(brought, asked, loaded)
    resources = usual_resources(examples, brought.examples, asked, brought.encoder, llm, progress)
    if loaded is None:
        encoder = asked.encoder or asked.vision or "minilm"
        vectors, outputs, warnings = OfExamples(encoder, resources.fingerprint(examples)), None, []
        _check_width(made, resources, examples)
    else:
        assert asked.at is not None  # see _check
        said = made.made if isinstance(made, Loaded) else Made("")
        bos = said.bos if asked.bos is None else asked.bos
        point = find_hook(loaded, asked.at, said.head)
        warnings = []
        if isinstance(made, Loaded):
            warnings = check_place(made, loaded, point, bos=bos, context=asked.context)
        vectors, outputs = AtHook(loaded, point, bos, asked.engine), None
        if said.hook_out is not None:
            outputs = AtHook(loaded, find_hook(loaded, said.hook_out), bos, asked.engine)
    chosen = None if asked.latents is None else tuple(asked.latents)
    chosen_latents((made.dictionary if isinstance(made, Loaded) else made).latents, chosen, None, asked.seed)
    source = Coded(
        vectors,
        made,
        asked.train_on,
        chosen,
        asked.some,
        outputs,
        tuple(warnings),
        asked.device or "auto",
        firing_rule(asked.firing),
    )
    examples = source.prepare(examples)
    own = loaded is None or same_model(loaded, asked, pictures)
    one = Asked(
        KIND,
        source,
        ["claims", "enrichment"] if pictures else ["claims"],
        ["claims", "lexical", "sentence-encoder"],
        loaded,
        own,
        brought.given,
        {"model": None if loaded is None else loaded.name},
        extras=extras_of(
            asked.stored(), outputs, near=not asked.tags and not (pictures and only_measured(asked))
        ),
    )
    question = question_of(one, examples, asked, resources)
    if isinstance(vectors, AtHook):
        promotes = Promotes(outputs or vectors, f"arrays/{FOLDER}/{OWN}")
        told = [replace(d, promoted=promotes) if isinstance(d, ByLLM) else d for d in question.describers]
        question = replace(question, describers=told)
    return question, examples, resources


def extras_of(config: Mapping[str, Any], outputs: AtHook | None = None, *, near: bool = True) -> list[Extra]:
    """What the question adds, by the stored settings of a study.

    `outputs`: where a transcoder writes; `near`: whether an encoder says which examples are like another.
    """
    usual = [Fits(), Densities(), WholeRange(near), TokenScores(), Relations()]
    if config["on"] == "embeddings":
        return usual
    held = config["output_units"]
    return [*usual, Absorption(), *([OutputSide(held, outputs), Works()] if held else [])]


def _check(brought: _Brought, asked: FeatureSettings) -> None:
    """Refuse what does not go together before anything is read."""
    if (brought.dictionary is None) == (asked.train is None):
        both = "both" if asked.train else "none"
        raise InputError(
            f"latents are of one dictionary, and there are {both}: give dictionary=... (--dictionary FOLDER)"
            " or train='batchtopk:4096:32' (--train METHOD:LATENTS:K)"
        )
    if asked.on == "embeddings":
        if brought.model is not None:
            raise InputError(
                "on='embeddings' (--on) takes its vectors from the encoder (--encoder); leave out model=..."
                " (--model), or on"
            )
        return
    if brought.model is None:
        raise InputError(
            "whose vectors? give a model and a place in it, model=... and at=... (--model M --at HOOK), or"
            " on='embeddings' (--on embeddings) for those of whole examples"
        )
    if asked.at is None:
        raise InputError(
            f"where in {brought.model if isinstance(brought.model, str) else 'the model'}? give at=..."
            " (--at HOOK); `saywell places MODEL` lists what there is"
        )


def _dictionary(brought: _Brought, asked: FeatureSettings) -> Any:
    """The dictionary that is brought, or how one is to be trained."""
    given = brought.dictionary
    if given is None:
        assert asked.train is not None
        return parse_method(asked.train)
    if isinstance(given, Dictionary):
        return Loaded(given, Made("saywell", own="dictionary"))
    return load_dictionary(given)


def _load_model(brought: _Brought, asked: FeatureSettings, pictures: bool) -> LoadedModel | VisionModel:
    model, device = brought.model, asked.device or "auto"
    if isinstance(model, str):
        if pictures:
            return load_vision_model(model, device=device)
        decoder = (asked.at or "").startswith(("decoder.", "model.decoder."))
        return load_model(model, device=device, dtype=asked.dtype, decoder=decoder)
    if pictures or brought.tokenizer is None:
        needs = (
            "looks at pictures is given by its name or folder"
            if pictures
            else "reads texts needs its tokenizer: tokenizer=..."
        )
        raise InputError(f"a model that is given as a module and {needs}")
    assert model is not None
    return wrap_model(model, brought.tokenizer)


def _load_pictures(brought: _Brought, asked: FeatureSettings) -> Examples:
    if asked.tags:
        raise InputError(
            f"tags={asked.tags!r} (--tags) is of texts, and these examples are pictures: give the phrases"
            " to describe them by in vocabulary=... (--vocabulary FILE)"
        )
    return load_images(brought.examples, image=asked.image, label=None, limit=asked.limit, seed=asked.seed)


def _load_windows(brought: _Brought, asked: FeatureSettings, loaded: Any) -> Examples:
    """Texts, those that are longer than a window cut into several; of whole examples as they are."""
    if loaded is None or asked.context is None:
        return load_texts(
            brought.examples, text=asked.text, tags=asked.tags, limit=asked.limit, seed=asked.seed
        )
    room = loaded.max_tokens - _SPECIAL
    context = asked.context
    if context > room:
        raise InputError(
            f"context={context} (--context) does not fit: {loaded.name!r} reads {loaded.max_tokens} tokens,"
            f" {_SPECIAL} of which may be special ones; give {room} or fewer"
        )
    return windows(
        brought.examples,
        loaded.tokenizer,
        context,
        asked.stride or context,
        text=asked.text,
        tags=asked.tags,
        limit=asked.limit,
        seed=asked.seed,
    )


def _check_width(made: Any, resources: Resources, examples: Examples) -> None:
    if not isinstance(made, Loaded):
        return
    width = resources.encode(examples, ["text"]).shape[1]
    if made.dictionary.width != width:
        raise InputError(
            f"the dictionary {made.made.own!r} is of vectors of {made.dictionary.width} numbers, and the"
            f" encoder gives {width}; name the encoder that it was trained on: encoder=... (--encoder)"
        )
