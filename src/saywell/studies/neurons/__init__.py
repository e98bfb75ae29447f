"""What do the neurons of a language model respond to? (Mondal et al. 2024, arXiv 2401.16731)

The loop of `saywell.studies.spine`, with neurons as units, and what the paper adds to it:

descriptors of the corpus, and which sentence carries which    descriptors, tags (the tagger)
neuron -> descriptors, by the paper's rule and ours            associations
how well firing neurons tell what a sentence carries           curves, metrics.json
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from torch import nn

from saywell.claims.paraphrase import PARAPHRASE
from saywell.data.examples import Examples
from saywell.data.tables import open_table
from saywell.data.texts import load_texts
from saywell.describers.descriptors.asking import FIND, TAG
from saywell.describers.descriptors.taggers import ExtractiveTags, GoldTags, LLMTags, sharing
from saywell.describers.registry import find_describers
from saywell.encoders.sentence import SentenceEncoder
from saywell.errors import InputError
from saywell.language_models import Client, DryRun, LanguageModel
from saywell.progress import Progress, automatic, silent
from saywell.readers.detection import DETECT, DETECT_ONE
from saywell.readers.registry import find_reader
from saywell.resources import Resources
from saywell.scorers.evaluate import Budget
from saywell.store.study import Study
from saywell.studies.dry_run import plan
from saywell.studies.llm import Plan, counting_llm, opened_llm
from saywell.studies.meanings import Meanings
from saywell.studies.neurons.curves import Curves
from saywell.studies.neurons.extras import AssociationsOf, Recovered
from saywell.studies.settings import NeuronSettings, named, settings_of
from saywell.studies.spine import Extra, Question, run
from saywell.studies.surprised import surprised_by
from saywell.units.models import LoadedModel, load_model, wrap_model
from saywell.units.neurons import Neurons
from saywell.units.sites import find_sites

TRUE_OF = "Verified means true of the unit, not that the model learned it."
OWN_TAGS = (
    "The tagger's encoder is the model under study: tags and neurons may agree for that reason alone. "
    + TRUE_OF
)


def describe_neurons(
    texts: str | Path | pl.DataFrame | Sequence[str],
    model: str | nn.Module,
    *,
    out: str | Path,
    settings: NeuronSettings | None = None,
    llm: LanguageModel | str | None = None,
    encoder: str | SentenceEncoder | None = None,
    tokenizer: Any = None,
    command: Sequence[str] = (),
    progress: Progress = automatic,
    **options: Any,
) -> Study:
    """Describe the neurons of a language model with what its strongest sentences have in common.

    `texts`      a file, saved dataset, hub name, table or list (see `load_texts`).
    `model`      a transformers model by folder, hub name or alias, or a module with its `tokenizer`.
    `settings`, `options`: the fields of `NeuronSettings`, as a record or one by one (`top=20`).
    `llm`        finds and tags descriptors and reads: a language model by its name, as on the command
                 line ("openai:gpt-x", "gguf:PATH"; see `saywell doctor`), opened for the time of the run
                 with the options of `LlmSettings` (`llm_url`, `max_usd`, ...), its replies kept in `out`;
                 or one that is open (`open_language_model`). None for the extractive describer, which
                 needs none.
    `encoder`    merges and tags: a sentence encoder, or its name.

    A stopped run goes on where it was when called again with the same arguments, and leaves the
    same tables. Raises InputError for unusable input, StudyError when `out` holds another study.
    """
    asked = settings_of(NeuronSettings, settings, {**options, **named(llm=llm, encoder=encoder)})
    with opened_llm(asked, Path(out), llm, progress) as opened:
        resources = _resources(asked, opened, encoder or asked.encoder, progress)
        with progress("texts and models", 1):
            examples = _examples(texts, asked)
            question = neuron_question(examples, _load(model, tokenizer, asked), asked, resources)
        return run(question, examples, out=out, resources=resources, command=command)


def plan_neurons(
    texts: str | Path | pl.DataFrame | Sequence[str],
    model: str | nn.Module,
    *,
    out: str | Path | None = None,
    settings: NeuronSettings | None = None,
    llm: Client | DryRun | str | None = None,
    tokenizer: Any = None,
    **options: Any,
) -> Plan:
    """What `describe_neurons` would ask a language model, step by step; nothing is sent or stored.

    The arguments are those of `describe_neurons` and are checked as it does. Replies that the study
    in `out` has already are counted as such. Raises InputError for unusable input.
    """
    asked = settings_of(NeuronSettings, settings, {**options, **named(llm=llm)})
    folder = None if out is None else Path(out)
    with counting_llm(asked, folder, llm) as counting:
        resources = _resources(asked, counting, asked.encoder, silent)
        examples = _examples(texts, asked)
        question = neuron_question(examples, _load(model, tokenizer, asked), asked, resources)
        of = f"{len(examples)} texts, {question.source.units()['name'].n_unique()} neurons"
        return Plan(of, plan(question, examples, resources, counting, folder))


def neuron_question(
    examples: Examples, loaded: LoadedModel, asked: NeuronSettings, resources: Resources
) -> Question:
    """What is asked of a model's neurons. Raises InputError for names of nothing."""
    sites = tuple(find_sites(loaded.model, asked.kind, layers=asked.layers, modules=asked.modules))
    tagger = GoldTags() if asked.tags else LLMTags() if resources.llm else ExtractiveTags()
    # Gold tags need no encoder.
    readers = ["claims", "tags", "lexical", *([] if asked.tags else ["sentence-encoder"])]
    readers += ["detection"] if resources.llm and asked.llm_units else []
    reading = [find_reader(name, examples.kind) for name in asked.reader or readers]
    prompts = (FIND, TAG, DETECT, DETECT_ONE, *[PARAPHRASE] * asked.paraphrase)
    config = asked.stored() | {
        "llm_units": asked.llm_units if any(reader.costly for reader in reading) else 0,
        "encoder": None if asked.tags else asked.encoder,
        "model": loaded.name,
        "modules": [site.module for site in sites],
        "prompts": {n: resources.prompt(n).hash for n in prompts} if resources.llm else {},
    }
    surprised = surprised_by(asked, reading, resources, loaded)
    config |= surprised.config
    inputs = {"model": loaded.fingerprint, **surprised.inputs}
    own = config["encoder"] == config["model"]
    describers = find_describers(
        asked.describer or ["claims", "enrichment"],
        examples.kind,
        threshold=asked.threshold,
        topics=not own and not asked.tags,
    )
    return Question(
        "neurons",
        Neurons(loaded, sites, asked.pool, asked.top),
        describers,
        reading,
        config,
        inputs if asked.tags else inputs | {"encoder": resources.fingerprint(examples)},
        tagger,
        extras=extras_of(config),
        strongest=asked.top,
        budget=Budget(asked.llm_units),
        control=asked.random_control,
        caveats=caveats_of(config),
        paraphrase=asked.paraphrase,
        shared=(sharing(tagger) if own else frozenset()) | surprised.shared,
    )


def extras_of(config: Mapping[str, Any]) -> list[Extra]:
    """What the paper adds, by the stored settings of a study."""
    threshold = config["threshold"]
    gold: list[Extra] = [Recovered()] if config["gold"] else []
    meanings: list[Extra] = [] if config["tags"] else [Meanings()]
    return [AssociationsOf(threshold), Curves(threshold), *gold, *meanings]


def caveats_of(config: Mapping[str, Any]) -> dict[str, str]:
    """What has to be known of verdicts, by reader."""
    return {"tags": OWN_TAGS if config["encoder"] == config["model"] else TRUE_OF}


def _resources(
    asked: NeuronSettings, llm: LanguageModel | None, encoder: str | SentenceEncoder, progress: Progress
) -> Resources:
    return Resources(
        encoder, llm=llm, seed=asked.seed, progress=progress, prompts=asked.prompts, device=asked.device
    )


def _examples(texts: str | Path | pl.DataFrame | Sequence[str], asked: NeuronSettings) -> Examples:
    if asked.gold is not None:  # or it would be called tags
        open_table(texts).require(asked.gold, "gold")
    tags = asked.tags or asked.gold
    return load_texts(texts, text=asked.text, tags=tags, limit=asked.limit, seed=asked.seed)


def _load(model: str | nn.Module, tokenizer: Any, asked: NeuronSettings) -> LoadedModel:
    if isinstance(model, str):
        return load_model(model, device=asked.device, dtype=asked.dtype)
    if tokenizer is None:
        raise InputError("a model given as a module needs its tokenizer: tokenizer=...")
    return wrap_model(model, tokenizer)
