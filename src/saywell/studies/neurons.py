"""What do the neurons of a language model respond to? (Mondal et al. 2024, arXiv 2401.16731)

1. candidate descriptors of every calibration sentence      candidates
2. merged by fast community detection                       descriptors
3. every sentence tagged with descriptors                   tags
4. activations of every neuron, one streaming pass          arrays/activations
5. exemplars per neuron, going high and going low           units, exemplars
6. neuron -> descriptors, the paper's rule and ours         associations
7. evaluation on sentences that nothing above has seen      curves, metrics.json
8. a description per neuron, or why there is none           descriptions
9. each put to the test beside its floors                   scores, floors, counterexamples,
                                                            contrasts, meanings
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from torch import nn

from saywell.data.examples import Examples
from saywell.data.parts import DESCRIBE, PARTS, SCORE, SELECT, parts_of
from saywell.data.texts import load_texts
from saywell.describers.descriptors.asking import FIND, TAG, ask_candidates, expect_tags
from saywell.description import Description
from saywell.encoders.sentence import SentenceEncoder, encoder_fingerprint, open_sentence_encoder
from saywell.errors import InputError
from saywell.language_models import DryRun, LanguageModel, load_prompt
from saywell.language_models.dry_run import made_up
from saywell.progress import Progress, automatic
from saywell.readers.detection import DETECT, DETECTION, DetectionReader
from saywell.report.page import write_report
from saywell.resources import Resources
from saywell.store.schemas import empty_table
from saywell.store.study import Study, StudyWriter, write_study
from saywell.studies.cost import note_cost
from saywell.studies.llm import Plan, counting_llm, opened_llm
from saywell.studies.neuron_descriptions import association_table, description_table, recovered_table
from saywell.studies.neuron_descriptors import (
    by_id,
    find_descriptors_and_tags,
    sentence_vectors,
    stored_vectors,
    tag_matrix,
)
from saywell.studies.neuron_evaluation import curve_table, headline
from saywell.studies.neuron_meanings import meaning_table
from saywell.studies.neuron_scores import (
    ANOTHER,
    BY_TAGS,
    LLM_EXAMPLES,
    counterexample_table,
    described_units,
    open_reading,
    score_by_llm,
    score_described,
)
from saywell.studies.neuron_subject import FIRES, Subject, Tags, make_control, make_subject, strongest_texts
from saywell.studies.neuron_verified import score_control, tagged_by_itself, verified_metrics
from saywell.studies.score_tables import score_tables
from saywell.studies.settings import NeuronSettings, named, only_its_own, settings_of
from saywell.units.exemplars import contrast_table
from saywell.units.hooks import BrokenActivations, TextFeed, run_pass, site_taps
from saywell.units.models import LoadedModel, load_model, random_twin, wrap_model
from saywell.units.neurons import neuron_units, token_spans
from saywell.units.responses import Shards
from saywell.units.shards import Keep
from saywell.units.sites import Site, find_sites
from saywell.units.statistics import UNITS, unit_table
from saywell.units.tokens import Tokens, tokenize

SPLITS = PARTS
SCORED = ("scores", "floors", "counterexamples", "contrasts", "meanings")


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
    `llm`        finds and tags descriptors and reads: a model, or its name ("openai:gpt-x", see
                 `saywell doctor`); None for the extractive describer, which needs none.
    `encoder`    merges and tags: a sentence encoder, or its name.

    A stopped run goes on where it was when called again with the same arguments, and leaves the
    same tables. Raises InputError for unusable input, StudyError when `out` holds another study.
    """
    asked = settings_of(NeuronSettings, settings, {**options, **named(llm=llm, encoder=encoder)})
    with opened_llm(asked, Path(out), llm) as opened:
        return _described(texts, model, tokenizer, encoder, opened, asked, Path(out), command, progress)


def _described(
    texts: str | Path | pl.DataFrame | Sequence[str],
    model: str | nn.Module,
    tokenizer: Any,
    encoder: str | SentenceEncoder | None,
    llm: LanguageModel | None,
    asked: NeuronSettings,
    out: Path,
    command: Sequence[str],
    progress: Progress,
) -> Study:
    tags, gold, seed, prompts = asked.tags, asked.gold, asked.seed, asked.prompts
    encoder = encoder or asked.encoder
    data, loaded, sites = _subject(texts, model, tokenizer, asked)
    # A wrong name is better told now than after the first step; gold tags need no encoder.
    reader = None if tags else _opened(encoder)
    config = asked.stored() | {
        "llm_units": asked.llm_units if llm else 0,
        "encoder": None if tags else asked.encoder,
        "model": loaded.name,
        "modules": [site.module for site in sites],
        "prompts": {name: load_prompt(name, prompts).hash for name in (FIND, TAG, DETECT)} if llm else {},
    }
    inputs = {"texts": data.fingerprint, "model": loaded.fingerprint}
    if reader is not None:
        inputs["encoder"] = encoder_fingerprint(reader)
    with write_study(
        out, kind="neurons", config=config, inputs=inputs, command=list(command), report=write_report
    ) as study:
        if study.finished:
            return Study(out)
        tokens, examples = _examples(study, data, loaded)
        vectors = sentence_vectors(study, examples, reader, progress)
        find_descriptors_and_tags(study, examples, vectors, reader, llm, prompts, seed, progress)
        reader = vectors = None  # they live no longer than this takes
        carried = {"all": tag_matrix(study)}
        if "encoder" in study.table("tags")["source"]:
            carried["lexical"] = tag_matrix(study, ("lexical",))

        splits = {split: np.flatnonzero((examples["part"] == split).to_numpy()) for split in SPLITS}
        trained = _collect(study, "activations", loaded, sites, tokens, splits, asked, progress)
        describe, of_model = parts_of(examples).describe, neuron_units(sites, loaded.name)
        study.table(UNITS, lambda: unit_table(of_model, trained, FIRES, describe), uses=("activations",))
        study.table(
            "exemplars",
            lambda: strongest_texts(trained, study.units, examples, asked.top, token_spans(tokens)),
            uses=("activations", "units"),
        )
        subject = make_subject(trained, study.units, study.exemplars, examples, carried["all"])
        study.table("associations", lambda: association_table(study, subject, asked.threshold))
        subject = subject.without_p()

        control = None
        if asked.random_control:
            untrained = _collect(
                study, "activations-random", random_twin(loaded, seed), sites, tokens, splits, asked, progress
            )
            control = make_control(untrained, of_model, examples, carried["all"], asked.top)
        with progress("evaluation", 1):
            curves = study.table(
                "curves", lambda: curve_table(study, subject, control, carried, asked.threshold, seed)
            )
            figures = headline(curves, subject, control, asked.threshold, seed)
            study.write_metrics(figures)
            of_control = None
            if control is not None:
                of_control = study.table(
                    "control_scores",
                    lambda: score_control(
                        control, study.table("descriptors"), examples, carried["all"], seed
                    ),
                )
        del control  # with `subject` the largest thing in memory
        study.table("descriptions", lambda: description_table(study, subject, llm))
        with progress("scores", 1):
            study.tables(SCORED, lambda: _scores(study, subject, carried["all"], encoder, llm, prompts, seed))
            own_tags = tagged_by_itself(study, loaded.name)
            study.write_metrics([*figures, *verified_metrics(study.scores, of_control, own_tags=own_tags)])
            if gold:
                study.table("recovered", lambda: recovered_table(study, examples, carried["all"], seed))
        _notes(study, data, tokens, loaded)
        note_cost(study)
        del subject, carried  # the report has need of memory, too
    return Study(out)


def plan_neurons(
    texts: str | Path | pl.DataFrame | Sequence[str],
    model: str | nn.Module,
    *,
    out: str | Path | None = None,
    settings: NeuronSettings | None = None,
    llm: DryRun | str | None = None,
    tokenizer: Any = None,
    **options: Any,
) -> Plan:
    """What `describe_neurons` would ask a language model, step by step; nothing is sent or stored.

    The arguments are those of `describe_neurons` and are checked as it does. Replies that the study
    in `out` has already are counted as such. How many descriptors there will be and what they are
    called is known only from replies: the steps after the first are asked about made-up ones.

    Raises InputError for unusable input.
    """
    asked = settings_of(NeuronSettings, settings, {**options, **named(llm=llm)})
    with counting_llm(asked, None if out is None else Path(out), llm) as counting:
        data, _, sites = _subject(texts, model, tokenizer, asked)
        of = f"{len(data)} texts, {sum(site.units for site in sites)} neurons"
        if counting is None:
            return Plan(of, [])
        seed, prompts = asked.seed, asked.prompts
        if asked.tags is None:
            described = data.table.filter(part=DESCRIBE)
            ask_candidates(counting, by_id(described), load_prompt(FIND, prompts), seed=seed)
            expect_tags(counting, by_id(data.table), load_prompt(TAG, prompts), seed=seed)
        predict = DetectionReader().open(data, Resources(llm=counting, seed=seed, prompts=prompts))
        # Both parts are read twice, with the unit's description and with another's.
        descriptions = [Description("", made_up(number)) for number in range(2 * asked.llm_units)]
        with counting.guessing():
            for part in (SELECT, SCORE):
                predict(descriptions, np.flatnonzero(data.table["part"] == part)[:LLM_EXAMPLES])
        return Plan(of, counting.plan())


def _subject(
    texts: str | Path | pl.DataFrame | Sequence[str],
    model: str | nn.Module,
    tokenizer: Any,
    asked: NeuronSettings,
) -> tuple[Examples, LoadedModel, list[Site]]:
    only_its_own(asked)
    data = load_texts(
        texts, text=asked.text, tags=asked.tags or asked.gold, limit=asked.limit, seed=asked.seed
    )
    loaded = _load(model, tokenizer, asked.device, asked.dtype)
    return data, loaded, find_sites(loaded.model, asked.kind, layers=asked.layers, modules=asked.modules)


def _load(model: str | nn.Module, tokenizer: Any, device: str, dtype: str | None) -> LoadedModel:
    if isinstance(model, str):
        return load_model(model, device=device, dtype=dtype)
    if tokenizer is None:
        raise InputError("a model given as a module needs its tokenizer: tokenizer=...")
    return wrap_model(model, tokenizer)


def _examples(study: StudyWriter, data: Examples, loaded: LoadedModel) -> tuple[Tokens, pl.DataFrame]:
    """Tables `examples` and `rejected`, without the texts that the tokenizer makes nothing of."""
    tokens = tokenize(loaded.tokenizer, data.table["text"].to_list(), max_tokens=loaded.max_tokens)
    if not tokens.readable.all():
        readable = pl.Series(tokens.readable)
        unreadable = data.table.filter(~readable)
        refused = unreadable.select("row", reason=pl.lit("no tokens"), detail=pl.col("text").str.slice(0, 80))
        rejected = pl.concat([data.rejected, refused]).sort("row")
        data = replace(data, table=data.table.filter(readable), rejected=rejected)
        tokens = tokenize(loaded.tokenizer, data.table["text"].to_list(), max_tokens=loaded.max_tokens)
    study.table("rejected", lambda: data.rejected)
    lengths = pl.Series("tokens", tokens.lengths, dtype=pl.Int32)
    return tokens, study.table("examples", lambda: data.table.with_columns(lengths))


def _opened(encoder: str | SentenceEncoder) -> SentenceEncoder:
    return open_sentence_encoder(encoder) if isinstance(encoder, str) else encoder


def _collect(
    study: StudyWriter,
    name: str,
    loaded: LoadedModel,
    sites: Sequence[Site],
    tokens: Tokens,
    splits: dict[str, np.ndarray],
    asked: NeuronSettings,
    progress: Progress,
) -> Shards:
    folder, uses = study.arrays(name), ("examples",)

    def collect() -> None:
        label = "activations" if name == "activations" else "activations, random weights"
        with progress(label, len(tokens)) as advance:
            keep = Keep(asked.top, study.made_from(uses), progress=advance)
            feed = TextFeed(tokens, loaded.pad_id, special=asked.pool == "cls")
            try:
                run_pass(
                    loaded.model, site_taps(loaded.model, sites), feed, splits, folder, keep, pool=asked.pool
                )
            except BrokenActivations as error:
                text = study.table("examples")["text"][error.example]
                raise InputError(f"{error}: {text[:80]!r}") from error

    study.step(name, collect, files=(f"arrays/{name}",), uses=uses)
    return Shards(folder)


def _scores(
    study: StudyWriter,
    subject: Subject,
    tags: Tags,
    encoder: str | SentenceEncoder,
    llm: LanguageModel | None,
    prompts: Path | None,
    seed: int,
) -> tuple[pl.DataFrame, ...]:
    """Step 9. The encoder lives no longer than it takes."""
    examples, llm_units = study.examples, study.manifest.config["llm_units"]
    described = described_units(subject.units, study.descriptions, study.table("descriptors"))
    if not described.ids:
        return tuple(map(empty_table, SCORED))
    vectors = stored_vectors(study)
    reader = None
    if vectors is not None:
        reader = _opened(encoder)
    with open_reading(study, subject, described, tags, examples, reader, vectors) as reading:
        found = score_described(reading, described, subject, seed)
        scores, floors = score_tables(described.ids, described.descriptions, found)
        if llm is not None and llm_units:
            others = found[BY_TAGS].stand_ins[ANOTHER]
            *read, unanswered = score_by_llm(
                reading, described, subject, examples, llm, llm_units, others, seed, prompts
            )
            study.unanswered(DETECTION, unanswered)
            scores, floors = (pl.concat(both) for both in zip((scores, floors), read, strict=True))
        against = counterexample_table(reading, described, subject, found, examples["id"].to_list())
    meanings = meaning_table(study, subject, described, examples, tags, vectors, seed)
    mine, ids = subject.activations.only(described.ids), examples["id"].to_list()
    contrasts = contrast_table(mine, ids, parts_of(examples).describe, seed)
    return scores, floors, against, contrasts, meanings


def _notes(study: StudyWriter, data: Examples, tokens: Tokens, loaded: LoadedModel) -> None:
    for note in data.notes:
        study.note(note)
    rejected = study.table("rejected")
    if rejected.height:
        counts = rejected["reason"].value_counts(sort=True)
        listed = ", ".join(f"{count} {reason}" for reason, count in counts.iter_rows())
        study.note(f"{rejected.height} of {data.total_rows} rows were not used: {listed}.")
    if tokens.cut:
        study.note(
            f"{tokens.cut} sentences are longer than the model reads ({loaded.max_tokens} tokens)"
            " and lost their end."
        )
    lost = dict(study.table("unanswered")["step"].value_counts().iter_rows())
    for step, told in (
        ("candidates", "{} sentences got no candidate descriptors from the LLM."),
        ("tags", "{} sentences got no tags from the LLM and are left out."),
        (DETECTION, "{} readings of descriptions by the LLM got no answer and are left out."),
    ):
        if step in lost:
            study.note(told.format(lost[step]))
    if tagged_by_itself(study, loaded.name):
        study.note(
            "The tagger's encoder is the model under study: its tags may agree with the neurons for"
            " that reason alone. The figures with lexical tags do not depend on it."
        )
