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
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from torch import nn

from saywell.data.texts import Texts, load_texts
from saywell.describers.descriptors.asking import FIND, TAG, ask_candidates, tag_requests
from saywell.encoders.sentence import SentenceEncoder, encoder_fingerprint, open_sentence_encoder
from saywell.errors import InputError
from saywell.language_models import DryRun, LanguageModel, load_prompt, names_llm
from saywell.language_models.providers import EXTRACTIVE
from saywell.progress import Progress, automatic
from saywell.readers.detection import DETECT, DETECTION, EXAMPLES_PER_REQUEST
from saywell.report.neurons import write_report
from saywell.store.schemas import empty_table
from saywell.store.study import Study, StudyWriter, write_study
from saywell.studies.cost import note_cost
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
    contrast_table,
    counterexample_table,
    described_units,
    open_reading,
    score_by_llm,
    score_described,
)
from saywell.studies.neuron_subject import Subject, Tags, make_control, make_subject
from saywell.studies.neuron_verified import score_control, tagged_by_itself, verified_metrics
from saywell.studies.score_tables import score_tables
from saywell.units.activations import Activations, BrokenActivations, Pass, collect_activations
from saywell.units.models import LoadedModel, load_model, random_twin, wrap_model
from saywell.units.pooling import POOLINGS
from saywell.units.sites import Site, find_sites
from saywell.units.statistics import exemplar_table, unit_table
from saywell.units.tokens import Tokens, tokenize

SPLITS = ("calibration", "validation", "test")
SCORED = ("scores", "floors", "counterexamples", "contrasts", "meanings")


@names_llm
def describe_neurons(
    texts: str | Path | pl.DataFrame | Sequence[str],
    model: str | nn.Module,
    *,
    out: str | Path,
    text: str = "text",
    tags: str | None = None,
    gold: str | None = None,
    llm: LanguageModel | str | None = None,
    llm_units: int = 0,
    encoder: str | SentenceEncoder = "minilm",
    tokenizer: Any = None,
    kind: str = "ffn",
    layers: Sequence[int] | None = None,
    modules: Sequence[str] | None = None,
    pool: str = "max",
    top: int = 50,
    threshold: float = 0.5,
    limit: int | None = None,
    seed: int = 0,
    random_control: bool = True,
    prompts: Path | None = None,
    device: str = "auto",
    dtype: str | None = None,
    command: Sequence[str] = (),
    progress: Progress = automatic,
) -> Study:
    """Describe the neurons of a language model with what its strongest sentences have in common.

    `texts`      a file, saved dataset, hub name, table or list (see `load_texts`); `text` and `tags`
                 name columns. With `tags` the gold tags in that column are the descriptors.
    `gold`       a column of tags that nobody gets to see, to say how many of them were found.
    `model`      a transformers model by folder, hub name or alias, or a module with its `tokenizer`.
    `llm`        finds and tags descriptors, a model or its name ("openai:gpt-x", see `saywell doctor`);
                 None for the extractive describer, which needs none.
    `llm_units`  so many units, drawn by chance, are also scored by the LLM as a reader: does the
                 description hold of this sentence? 24 requests a unit at ten sentences each.
    `kind`       `ffn`, `residual` or `attention-head`; `layers` keeps some, `modules` names the
                 modules by path where the structure is not recognised.
    `pool`       `max`, `mean`, `cls` or `last`: from one activation per token to one per sentence.
    `top`        exemplars per neuron and side.
    `threshold`  the paper's composition threshold: share of exemplars, 0 to 1.
    `limit`      use that many sentences, chosen by content.

    A stopped run goes on where it was when called again with the same arguments, and leaves the
    same tables. Raises InputError for unusable input, StudyError when `out` holds another study.
    """
    assert not isinstance(llm, str)  # opened by then
    if pool not in POOLINGS:
        raise InputError(f"unknown pooling {pool!r}; choose one of {', '.join(POOLINGS)}")
    if top < 3 or not 0 < threshold <= 1:
        raise InputError(
            f"top must be 3 or more and threshold above 0 and at most 1; got {top!r}, {threshold!r}"
        )
    _check_llm_units(llm_units)
    if tags and gold:
        raise InputError(
            f"tags={tags!r} gives the descriptors away, so gold={gold!r} has nothing to find; use one"
        )
    data = load_texts(texts, text=text, tags=tags or gold, limit=limit, seed=seed)
    loaded = _load(model, tokenizer, device, dtype)
    sites = find_sites(loaded.model, kind, layers=layers, modules=modules)  # type: ignore[arg-type]
    # A wrong name is better told now than after the first step; gold tags need no encoder.
    reader = None if tags else _opened(encoder)
    config = {
        "text": text,
        "tags": tags,
        "gold": gold,
        "llm": llm.name if llm else EXTRACTIVE,
        "llm_units": llm_units if llm else 0,
        "encoder": None if tags else encoder if isinstance(encoder, str) else encoder.name,
        "model": loaded.name,
        "kind": kind,
        "modules": [site.module for site in sites],
        "pool": pool,
        "top": top,
        "threshold": threshold,
        "limit": limit,
        "seed": seed,
        "random_control": random_control,
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

        settings = Pass(pool=pool, top=top)  # type: ignore[arg-type]
        splits = {split: np.flatnonzero((examples["split"] == split).to_numpy()) for split in SPLITS}
        trained = _collect(study, "activations", loaded, sites, tokens, splits, settings, progress)
        study.table("units", lambda: unit_table(trained, sites, loaded.name), uses=("activations",))
        study.table(
            "exemplars",
            lambda: exemplar_table(trained, study.units, tokens, examples["id"].to_list()),
            uses=("activations", "units"),
        )
        subject = make_subject(trained, study.units, study.exemplars, examples, carried["all"])
        study.table("associations", lambda: association_table(study, subject, threshold))
        subject = subject.without_p()

        control = None
        if random_control:
            untrained = _collect(
                study,
                "activations-random",
                random_twin(loaded, seed),
                sites,
                tokens,
                splits,
                settings,
                progress,
            )
            control = make_control(untrained, sites, examples, carried["all"])
        with progress("evaluation", 1):
            curves = study.table(
                "curves", lambda: curve_table(study, subject, control, carried, threshold, seed)
            )
            figures = headline(curves, subject, control, threshold, seed)
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


def _check_llm_units(llm_units: object) -> None:
    if isinstance(llm_units, bool) or not isinstance(llm_units, int) or llm_units < 0:
        raise InputError(f"llm_units={llm_units!r} is not a whole number of at least 0")


def plan_neurons(
    texts: str | Path | pl.DataFrame | Sequence[str],
    llm: DryRun | None,
    *,
    text: str = "text",
    tags: str | None = None,
    gold: str | None = None,
    limit: int | None = None,
    llm_units: int = 0,
    seed: int = 0,
    prompts: Path | None = None,
    expected_descriptors: int = 100,
) -> None:
    """Tell a dry run what `describe_neurons` would ask; nothing is sent, nothing is stored.

    How long the list of descriptors will be is known only after the first step; the plan says what
    `expected_descriptors` of them would take.

    Raises InputError for texts and columns that `describe_neurons` could not use.
    """
    _check_llm_units(llm_units)
    examples = load_texts(texts, text=text, tags=tags or gold, limit=limit, seed=seed).examples
    if llm is None:
        return
    # Two splits are read, once with the unit's description and once with another's.
    readings = llm_units * 4 * -(-LLM_EXAMPLES // EXAMPLES_PER_REQUEST)
    if readings:
        llm.expect("detection", readings, 700 * readings, 40 * EXAMPLES_PER_REQUEST * readings)
    if tags is not None:
        return
    calibration = examples.filter(split="calibration")
    ask_candidates(llm, by_id(calibration), load_prompt(FIND, prompts), seed=seed)
    calls = tag_requests(examples.height, expected_descriptors)
    characters = int(examples["text"].str.len_chars().sum()) * calls // max(1, examples.height)
    llm.expect("tags", calls, characters // 4 * 20 + 700 * calls, 20 * 15 * calls)


def _load(model: str | nn.Module, tokenizer: Any, device: str, dtype: str | None) -> LoadedModel:
    if isinstance(model, str):
        return load_model(model, device=device, dtype=dtype)
    if tokenizer is None:
        raise InputError("a model given as a module needs its tokenizer: tokenizer=...")
    return wrap_model(model, tokenizer)


def _examples(study: StudyWriter, data: Texts, loaded: LoadedModel) -> tuple[Tokens, pl.DataFrame]:
    """Tables `examples` and `rejected`, without the texts that the tokenizer makes nothing of."""
    tokens = tokenize(loaded.tokenizer, data.examples["text"].to_list(), max_tokens=loaded.max_tokens)
    if not tokens.readable.all():
        readable = pl.Series(tokens.readable)
        unreadable = data.examples.filter(~readable)
        refused = unreadable.select("row", reason=pl.lit("no tokens"), detail=pl.col("text").str.slice(0, 80))
        data = Texts(
            data.examples.filter(readable),
            pl.concat([data.rejected, refused]).sort("row"),
            data.fingerprint,
            data.total_rows,
        )
        tokens = tokenize(loaded.tokenizer, data.examples["text"].to_list(), max_tokens=loaded.max_tokens)
    study.table("rejected", lambda: data.rejected)
    lengths = pl.Series("tokens", tokens.lengths, dtype=pl.Int32)
    return tokens, study.table("examples", lambda: data.examples.with_columns(lengths))


def _opened(encoder: str | SentenceEncoder) -> SentenceEncoder:
    return open_sentence_encoder(encoder) if isinstance(encoder, str) else encoder


def _collect(
    study: StudyWriter,
    name: str,
    loaded: LoadedModel,
    sites: Sequence[Site],
    tokens: Tokens,
    splits: dict[str, np.ndarray],
    settings: Pass,
    progress: Progress,
) -> Activations:
    folder, uses = study.arrays(name), ("examples",)

    def collect() -> None:
        label = "activations" if name == "activations" else "activations, random weights"
        with progress(label, len(tokens)) as advance:
            try:
                collect_activations(
                    loaded.model,
                    sites,
                    tokens,
                    splits,
                    folder,
                    settings,
                    pad_id=loaded.pad_id,
                    of=study.made_from(uses),
                    progress=advance,
                )
            except BrokenActivations as error:
                text = study.table("examples")["text"][error.text]
                raise InputError(f"{error}: {text[:80]!r}") from error

    study.step(name, collect, files=(f"arrays/{name}",), uses=uses)
    return Activations(folder)


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
    contrasts = contrast_table(subject, described, examples, seed)
    return scores, floors, against, contrasts, meanings


def _notes(study: StudyWriter, data: Texts, tokens: Tokens, loaded: LoadedModel) -> None:
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
