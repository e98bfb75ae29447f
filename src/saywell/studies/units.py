"""What do somebody's own units respond to? Numbers, columns, functions, directions; of texts or pictures.

The loop of `saywell.studies.spine`, with nothing added: this says which source (`saywell.studies.usual` who
writes and who reads).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from torch import nn

from saywell.data.examples import Examples
from saywell.data.image_sources import holds_pictures
from saywell.data.images import load_images
from saywell.data.names import read_names
from saywell.data.tables import SourceTable, open_table
from saywell.data.texts import load_texts
from saywell.encoders.dual import DualEncoder
from saywell.encoders.sentence import SentenceEncoder
from saywell.errors import InputError
from saywell.language_models import Client, DryRun, LanguageModel
from saywell.progress import Progress, automatic, silent
from saywell.resources import Resources
from saywell.store.study import Study
from saywell.studies.dry_run import plan
from saywell.studies.llm import Plan, counting_llm, opened_llm
from saywell.studies.settings import UnitSettings, named, settings_of
from saywell.studies.spine import Question, run
from saywell.studies.usual import Asked, question_of, same_model, usual_resources
from saywell.units.arrays import real_numbers
from saywell.units.columns import Columns
from saywell.units.firing import firing_rule, is_rule
from saywell.units.functions import Functions, by_name
from saywell.units.marked import Marked, yes_in
from saywell.units.matrix import load_matrix
from saywell.units.models import LoadedModel, load_model, wrap_model
from saywell.units.source import ActivationSource, Prepares

GIVE = (
    "give one of: activations (--activations FILE), columns of the examples (--column NAME), or a model with"
    " a module and directions (--model M --module PATH --directions FILE)"
)


def describe_units(
    examples: Any,
    activations: Any = None,
    *,
    out: str | Path,
    model: str | nn.Module | None = None,
    directions: Any = None,
    settings: UnitSettings | None = None,
    llm: LanguageModel | str | None = None,
    encoder: str | SentenceEncoder | DualEncoder | None = None,
    tokenizer: Any = None,
    command: Sequence[str] = (),
    progress: Progress = automatic,
    **options: Any,
) -> Study:
    """Describe what your own units respond to: anything with a number for each example.

    `examples`     texts (a file, table, list: see `load_texts`) or pictures (see `load_images`).
    `activations`  a file, array, sparse matrix or table of numbers, examples x units (see `load_matrix`);
                   or functions by name, each of one example or of a list of them; or a source of your own.
    `model`        instead, with `module=...`: a model by name or folder, or a module with its `tokenizer`.
    `directions`   with `model`: vectors by name, an array units x width, or a file of either. Without it,
                   the outputs or channels of an image model are the units.
    `settings`, `options`: the fields of `UnitSettings`, as a record or one by one (`column="stars"`).
    `llm`          finds and tags descriptors and reads: a language model by its name, as on the command
                   line ("openai:gpt-x", "gguf:PATH"; see `saywell doctor`), opened for the time of the run
                   with the options of `LlmSettings` (`llm_url`, `max_usd`, ...), its replies kept in `out`;
                   or one that is open (`open_language_model`). None for nobody.
    `encoder`      compares examples with words: an encoder, or its name.

    A stopped run goes on where it was when called again with the same arguments, and leaves the
    same tables. Raises InputError for unusable input, StudyError when `out` holds another study.
    """
    asked = settings_of(UnitSettings, settings, {**options, **named(llm=llm, encoder=encoder)})
    brought = _Brought(examples, activations, model, directions, tokenizer, encoder)
    with opened_llm(asked, Path(out), llm, progress) as opened:
        with progress("examples and models", 1):
            question, loaded, resources = _posed(brought, asked, opened, progress)
        return run(question, loaded, out=out, resources=resources, command=command)


def plan_units(
    examples: Any,
    activations: Any = None,
    *,
    out: str | Path | None = None,
    model: str | nn.Module | None = None,
    directions: Any = None,
    settings: UnitSettings | None = None,
    llm: Client | DryRun | str | None = None,
    encoder: str | SentenceEncoder | DualEncoder | None = None,
    tokenizer: Any = None,
    **options: Any,
) -> Plan:
    """What `describe_units` would ask a language model, step by step; nothing is sent or stored.

    The arguments are those of `describe_units` and are checked as it does. Replies that the study
    in `out` has already are counted as such. Raises InputError for unusable input.
    """
    asked = settings_of(UnitSettings, settings, {**options, **named(llm=llm, encoder=encoder)})
    brought = _Brought(examples, activations, model, directions, tokenizer, encoder)
    folder = None if out is None else Path(out)
    with counting_llm(asked, folder, llm) as counting:
        question, loaded, resources = _posed(brought, asked, counting, silent)
        of = f"{len(loaded)} {loaded.kind}s, {question.source.units().height} units"
        return Plan(of, plan(question, loaded, resources, counting, folder))


class _Brought(NamedTuple):
    """What is no plain value."""

    examples: Any
    activations: Any
    model: str | nn.Module | None
    directions: Any
    tokenizer: Any
    encoder: str | SentenceEncoder | DualEncoder | None


def _posed(
    brought: _Brought, asked: UnitSettings, llm: LanguageModel | None, progress: Progress
) -> tuple[Question, Examples, Resources]:
    _check(brought, asked)
    examples = _load_examples(brought.examples, asked, progress)
    resources = usual_resources(examples, brought.examples, asked, brought.encoder, llm, progress)
    source = _source(brought, asked, examples)
    if isinstance(source, Prepares):
        examples = source.prepare(examples)
    if asked.firing and not is_rule(asked.firing):
        yes_in(examples, asked.firing)  # refused here if at all
        source = Marked(source, examples, asked.firing)
    pictures = examples.kind == "image"
    # Descriptors that somebody brought are for who speaks in them; else the texts' own words read better.
    given = pictures or asked.tags or asked.vocabulary is not None or resources.llm
    writers = ["claims", "enrichment" if given else "extractive"]
    readers = ["claims", "lexical", "sentence-encoder", "tags"]
    studied = getattr(getattr(source, "of", source), "model", None)
    own = same_model(studied, asked, pictures)
    one = Asked("units", source, writers, readers, studied, own)
    return question_of(one, examples, asked, resources), examples, resources


# ---- what is brought


def _check(brought: _Brought, asked: UnitSettings) -> None:
    """Refuse what does not go together before anything is read."""
    given = [brought.activations is not None, bool(asked.column), brought.model is not None]
    if sum(given) != 1:
        what = ("activations", f"column={asked.column!r}", "model")
        both = " and ".join(name for name, there in zip(what, given, strict=True) if there)
        raise InputError(f"units come from one place, not from {both or 'none'}: {GIVE}")
    if brought.model is None:
        for option, value in (("module", asked.module), ("directions", brought.directions)):
            if value is not None:
                shown = repr(str(value)) if isinstance(value, str | Path) else "..."
                raise InputError(f"{option}={shown} (--{option}) is of a model; name it: model=... (--model)")
    elif asked.module is None:
        raise InputError("a model's units are at a module of it; name it: module=... (--module PATH)")
    if asked.column and asked.names is not None:
        raise InputError("columns have names already: leave out names=... (--names)")
    if asked.vocabulary is not None and asked.tags:
        raise InputError(
            f"tags={asked.tags!r} (--tags) and a vocabulary (--vocabulary) both say what to describe with;"
            " give one of them"
        )


def _load_examples(source: Any, asked: UnitSettings, progress: Progress) -> Examples:
    """Texts or pictures, with the columns that are asked for."""
    if asked.images or holds_pictures(source, asked.text):
        if asked.tags:
            raise InputError(
                f"tags={asked.tags!r} (--tags) is of texts, and these examples are pictures: give the phrases"
                " to describe them by in vocabulary=... (--vocabulary FILE)"
            )
        wanted = list(asked.column)
        if wanted and not (isinstance(source, str | Path) and Path(source).is_dir()):
            table = open_table(source, "images")
            wanted = [table.require(column, "column") for column in wanted]
        if asked.firing and not is_rule(asked.firing):
            wanted.append(asked.firing)
        with progress("pictures", 1):
            return load_images(
                source,
                image=asked.image,
                label="label" if "label" in wanted else None,
                covariates=[column for column in dict.fromkeys(wanted) if column != "label"],
                limit=asked.limit,
                seed=asked.seed,
            )
    table = open_table(source)
    wanted = [table.require(column, "column") for column in dict.fromkeys(asked.column)]
    if asked.firing and not is_rule(asked.firing):
        wanted.append(_firing_column(asked.firing, table))
    named: dict[str, Any] = {ours: ours for ours in ("label", "target") if ours in wanted}
    if "tags" in wanted and asked.tags not in (None, "tags"):
        raise InputError(
            f"the columns 'tags' and {asked.tags!r} would both be called tags; rename one of them"
        )
    if asked.tags in asked.column:
        raise InputError(
            f"tags={asked.tags!r} (--tags) gives away what column={asked.tags!r} is to be described by"
        )
    tags = "tags" if "tags" in wanted else asked.tags
    covariates = [column for column in dict.fromkeys(wanted) if column not in (*named, "tags")]
    return load_texts(
        source, text=asked.text, tags=tags, covariates=covariates, limit=asked.limit, seed=asked.seed, **named
    )


def _firing_column(firing: str, table: SourceTable) -> str:
    if firing in table.kinds:
        return firing
    raise InputError(
        f"firing={firing!r} (--firing) is neither top:SHARE, above:VALUE or median, nor a column of"
        f" {table.name}, which has {', '.join(table.kinds)}"
    )


def _source(brought: _Brought, asked: UnitSettings, examples: Examples) -> ActivationSource:
    """Where the units come from."""
    rule = firing_rule(asked.firing) if asked.firing and is_rule(asked.firing) else None
    given = brought.activations
    if asked.column:
        return Columns.of(examples, asked.column, rule)
    if brought.model is not None:
        return _in_model(brought, asked, examples, rule)
    if callable(getattr(given, "collect", None)) and hasattr(given, "fingerprint"):
        return replace(given, firing=rule) if rule else given
    if callable(given):
        given = [given]
    if isinstance(given, Sequence) and not isinstance(given, str) and any(map(callable, given)):
        given = by_name(given)
    if isinstance(given, Mapping):
        if any(map(callable, given.values())):
            strange = next((name for name, call in given.items() if not callable(call)), None)
            if strange is not None:
                raise InputError(
                    f"activations[{strange!r}] is no function, as others are; give only functions"
                )
            functions = Functions(dict(given))
            return replace(functions, firing=rule) if rule else functions
        given = _as_table(given)
    return load_matrix(given, names=asked.names, firing=rule)


def _as_table(given: Mapping[str, Any]) -> pl.DataFrame:
    try:
        masked = {name: real_numbers(v, name) for name, v in given.items() if np.ma.isMaskedArray(v)}
        return pl.DataFrame({**given, **masked})  # Polars knows no masks
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise InputError(
            "activations by name are functions of an example, or one number for each example:"
            f" {str(error)[:200]}"
        ) from error


def _in_model(brought: _Brought, asked: UnitSettings, examples: Examples, rule: Any) -> ActivationSource:
    from saywell.units.directions import Directions
    from saywell.units.models import load_vision_model
    from saywell.units.vision import Vision

    model, module, device = brought.model, asked.module, asked.device or "auto"
    assert model is not None and module is not None  # see _check
    names = None if asked.names is None else read_names(asked.names)
    pictures = examples.kind == "image"
    if isinstance(model, str):
        loaded = load_vision_model(model, device=device) if pictures else load_model(model, device=device)
    elif pictures or brought.tokenizer is None:
        needs = (
            "looks at pictures is given by its name or folder"
            if pictures
            else "reads texts needs its tokenizer: tokenizer=..."
        )
        raise InputError(f"a model that is given as a module and {needs}")
    else:
        loaded = wrap_model(model, brought.tokenizer)
    if brought.directions is not None:
        source = Directions.of(
            loaded, module, brought.directions, names=names, pool=asked.pool, top=asked.top
        )
    elif not isinstance(loaded, LoadedModel):
        source = Vision.of(loaded, module, pool=asked.pool, top=asked.top)
    else:
        raise InputError(
            "directions are missing: directions=... (--directions FILE); the units of a module as they are"
            f" are described by saywell neurons --modules {module}"
        )
    return replace(source, firing=rule) if rule else source
