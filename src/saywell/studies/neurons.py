"""What do the neurons of a language model respond to? (Mondal et al. 2024, arXiv 2401.16731)

1. candidate descriptors of every calibration sentence      candidates
2. merged by fast community detection                       descriptors
3. every sentence tagged with descriptors                   tags
4. activations of every neuron, one streaming pass          arrays/activations
5. exemplars per neuron, going high and going low           units, exemplars
6. neuron -> descriptors, the paper's rule and ours         associations
7. evaluation on sentences that nothing above has seen      curves, metrics.json
8. a description per neuron, or why there is none           descriptions, scores
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from torch import nn

from saywell.data.texts import Texts, load_texts
from saywell.describers.associations import Associations, associate, length_strata
from saywell.describers.candidates import EXTRACTIVE, extract_candidates
from saywell.describers.descriptors import gold_descriptors, merge_candidates
from saywell.describers.llm_descriptors import FIND, TAG, ask_candidates, ask_tags, tag_requests
from saywell.describers.tagging import drop_incoherent, tag_sentences
from saywell.encoders.sentence import SentenceEncoder, encode_in_chunks, open_sentence_encoder
from saywell.errors import InputError
from saywell.language_models import DryRun, LanguageModel, load_prompt
from saywell.language_models.summary import summarize_calls
from saywell.progress import Progress, silent
from saywell.report.neurons import write_report
from saywell.scorers.intervals import bootstrap_f1, confusion, f1_of
from saywell.store.files import read_array, write_arrays
from saywell.store.schemas import empty_table
from saywell.store.study import Metric, Study, StudyWriter, write_study
from saywell.studies import neuron_evaluation as evaluation
from saywell.studies.neuron_evaluation import Subject, Tags
from saywell.units.activations import Activations, BrokenActivations, Pass, collect_activations
from saywell.units.models import LoadedModel, load_model, random_twin, wrap_model
from saywell.units.pooling import POOLINGS
from saywell.units.sites import Site, find_sites
from saywell.units.statistics import exemplar_table, unit_table
from saywell.units.tokens import Tokens, tokenize

SPLITS = ("calibration", "validation", "test")
MOST_NAMED = 5
"""Descriptors that a description names at most."""


def describe_neurons(
    texts: str | Path | pl.DataFrame | Sequence[str],
    model: str | nn.Module,
    *,
    out: str | Path,
    text: str = "text",
    tags: str | None = None,
    gold: str | None = None,
    llm: LanguageModel | None = None,
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
    progress: Progress = silent,
) -> Study:
    """Describe the neurons of a language model with what its strongest sentences have in common.

    `texts`      a file, saved dataset, hub name, table or list (see `load_texts`); `text` and `tags`
                 name columns. With `tags` the gold tags in that column are the descriptors.
    `gold`       a column of tags that nobody gets to see, to say how many of them were found.
    `model`      a transformers model by folder, hub name or alias, or a module with its `tokenizer`.
    `llm`        finds and tags descriptors; None for the extractive describer, which needs none.
    `kind`       `ffn`, `residual` or `attention-head`; `layers` keeps some, `modules` names the
                 modules by path where the structure is not recognised.
    `pool`       `max`, `mean`, `cls` or `last`: from one activation per token to one per sentence.
    `top`        exemplars per neuron and side.
    `threshold`  the paper's composition threshold: share of exemplars, 0 to 1.
    `limit`      use that many sentences, chosen by content.

    A stopped run goes on where it was when called again with the same arguments, and leaves the
    same tables. Raises InputError for unusable input, StudyError when `out` holds another study.
    """
    if pool not in POOLINGS:
        raise InputError(f"unknown pooling {pool!r}; choose one of {', '.join(POOLINGS)}")
    if top < 3 or not 0 < threshold <= 1:
        raise InputError(
            f"top must be 3 or more and threshold above 0 and at most 1; got {top!r}, {threshold!r}"
        )
    if tags and gold:
        raise InputError(
            f"tags={tags!r} gives the descriptors away, so gold={gold!r} has nothing to find; use one"
        )
    data = load_texts(texts, text=text, tags=tags or gold, limit=limit, seed=seed)
    loaded = _load(model, tokenizer, device, dtype)
    sites = find_sites(loaded.model, kind, layers=layers, modules=modules)  # type: ignore[arg-type]
    reader = None if tags else encoder  # gold tags need neither merging nor a tagger
    if isinstance(reader, str):
        reader = open_sentence_encoder(reader)
    config = {
        "text": text, "tags": tags, "gold": gold, "llm": llm.name if llm else EXTRACTIVE,
        "encoder": reader.name if reader else None,
        "model": loaded.name, "kind": kind, "modules": [site.module for site in sites], "pool": pool,
        "top": top, "threshold": threshold, "limit": limit, "seed": seed,
        "random_control": random_control,
        "prompts": {name: load_prompt(name, prompts).hash for name in (FIND, TAG)} if llm else {},
    }  # fmt: skip
    inputs = {"texts": data.fingerprint, "model": loaded.fingerprint}
    with write_study(
        out, kind="neurons", config=config, inputs=inputs, command=list(command)
    ) as study:
        tokens, examples = _examples(study, data, loaded)
        embeddings = _embeddings(study, examples, reader, progress)
        _descriptors_and_tags(study, examples, embeddings, reader, llm, prompts, seed, progress)
        carried = {"all": _tag_matrix(study, examples, tokens)}
        if "encoder" in study.table("tags")["source"]:
            carried["lexical"] = _tag_matrix(study, examples, tokens, ("lexical",))

        settings = Pass(pool=pool, top=top)  # type: ignore[arg-type]
        splits = {
            split: np.flatnonzero((examples["split"] == split).to_numpy()) for split in SPLITS
        }
        trained = _collect(study, "activations", loaded, sites, tokens, splits, settings, progress)
        study.table("units", lambda: unit_table(trained, sites, loaded.name))
        study.table(
            "exemplars",
            lambda: exemplar_table(trained, study.units, tokens, examples["id"].to_list()),
        )
        subject = _subject(trained, study.units, study.exemplars, examples, carried["all"])
        study.table("associations", lambda: _association_table(study, subject, threshold))

        control = None
        if random_control:
            twin = random_twin(loaded, seed)
            untrained = _collect(
                study, "activations-random", twin, sites, tokens, splits, settings, progress
            )
            control = _control_subject(untrained, sites, tokens, examples, carried["all"])
        with progress("evaluation", 1):
            _evaluate(study, subject, control, carried, examples, threshold, seed)
            study.tables(
                ("descriptions", "scores"),
                lambda: _descriptions_and_scores(study, subject, carried["all"], llm, seed),
            )
            if gold:
                study.table("recovered", lambda: _recovered(study, examples, carried["all"], seed))
        _notes(study, data, tokens, loaded, reader)
        _cost(study)
    write_report(Study(out))
    return Study(out)


def plan_neurons(
    texts: str | Path | pl.DataFrame | Sequence[str],
    llm: DryRun,
    *,
    text: str = "text",
    tags: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    prompts: Path | None = None,
    expected_descriptors: int = 100,
) -> None:
    """Tell a dry run what `describe_neurons` would ask; nothing is sent, nothing is stored.

    How long the list of descriptors will be is known only after the first step; the plan says what
    `expected_descriptors` of them would take.
    """
    if tags is not None:
        return
    examples = load_texts(texts, text=text, limit=limit, seed=seed).examples
    calibration = examples.filter(split="calibration")
    ask_candidates(llm, _by_id(calibration), load_prompt(FIND, prompts), seed=seed)
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
    tokens = tokenize(
        loaded.tokenizer, data.examples["text"].to_list(), max_tokens=loaded.max_tokens
    )
    if not tokens.readable.all():
        readable = pl.Series(tokens.readable)
        unreadable = data.examples.filter(~readable)
        refused = unreadable.select(
            "row", reason=pl.lit("no tokens"), detail=pl.col("text").str.slice(0, 80)
        )
        data = Texts(
            data.examples.filter(readable), pl.concat([data.rejected, refused]).sort("row"),
            data.fingerprint, data.total_rows,
        )  # fmt: skip
        tokens = tokenize(
            loaded.tokenizer, data.examples["text"].to_list(), max_tokens=loaded.max_tokens
        )
    study.table("rejected", lambda: data.rejected)
    return tokens, study.table("examples", lambda: data.examples)


def _embeddings(
    study: StudyWriter, examples: pl.DataFrame, encoder: SentenceEncoder | None, progress: Progress
) -> np.ndarray | None:
    """Sentence vectors for the extractive path; not needed where tags or an LLM are given."""
    if encoder is None or study.manifest.config["llm"] != EXTRACTIVE:
        return None
    path = study.arrays("embeddings.safetensors")
    if not path.exists():
        import torch

        with progress("sentence vectors", examples.height) as advance:
            vectors = encode_in_chunks(encoder, examples["text"].to_list(), progress=advance)
        write_arrays(path, {"sentences": torch.from_numpy(vectors)})
    return read_array(path, "sentences")


def _descriptors_and_tags(
    study: StudyWriter,
    examples: pl.DataFrame,
    embeddings: np.ndarray | None,
    encoder: SentenceEncoder | None,
    llm: LanguageModel | None,
    prompts: Path | None,
    seed: int,
    progress: Progress,
) -> None:
    """Steps 1 to 3, in one of three ways: gold tags, an LLM, or the extractive describer."""
    calibration = examples.filter(split="calibration")
    if encoder is None:
        study.table("descriptors", lambda: gold_descriptors(examples["tags"].to_list()))
        study.tables(
            ("tags", "unanswered"), lambda: (_gold_tags(study, examples), empty_table("unanswered"))
        )
        return
    if llm is not None:
        find, tag = load_prompt(FIND, prompts), load_prompt(TAG, prompts)

        def candidates() -> pl.DataFrame:
            with progress("candidate descriptors", calibration.height) as advance:
                answers = ask_candidates(
                    llm, _by_id(calibration), find, seed=seed, progress=advance
                )
            _need_answers(answers.unanswered, calibration.height, "candidate descriptors")
            return answers.table

        def tagged() -> tuple[pl.DataFrame, pl.DataFrame]:
            descriptors = study.table("descriptors")
            total = examples.height * tag_requests(1, descriptors.height)
            with progress("tags", total) as advance:
                answers = ask_tags(
                    llm, _by_id(examples), descriptors, tag, seed=seed, progress=advance
                )
            _need_answers(answers.unanswered, examples.height, "tags")
            return answers.table, answers.unanswered

        study.table("candidates", candidates)
        study.table("descriptors", lambda: _merged(study, encoder, seed))
        study.tables(("tags", "unanswered"), tagged)
        return
    assert embeddings is not None
    known = (examples["split"] == "calibration").to_numpy()
    vectors = embeddings[known]
    study.table(
        "candidates",
        lambda: extract_candidates(
            calibration["id"].to_list(), calibration["text"].to_list(), vectors, seed=seed
        ),
    )
    study.table(
        "descriptors",
        lambda: _extracted(study, encoder, vectors, calibration["text"].to_list(), seed),
    )
    study.tables(
        ("tags", "unanswered"),
        lambda: (
            tag_sentences(
                examples["id"].to_list(), examples["text"].to_list(), embeddings,
                study.table("descriptors"), known,
            ),
            empty_table("unanswered"),
        ),
    )  # fmt: skip


def _merged(study: StudyWriter, encoder: SentenceEncoder, seed: int) -> pl.DataFrame:
    merged = merge_candidates(study.table("candidates"), encoder, seed=seed)
    study.note(
        f"Wordings were merged at cosine {merged.threshold}; leaving out a fifth of them leaves"
        f" {merged.stability[merged.threshold]:.0%} of the merged pairs together."
    )
    return merged.table


def _extracted(
    study: StudyWriter, encoder: SentenceEncoder, vectors: np.ndarray, texts: list[str], seed: int
) -> pl.DataFrame:
    merged = _merged(study, encoder, seed)
    kept = drop_incoherent(merged, vectors, texts)
    if kept.height < 2:
        raise InputError(
            f"of {merged.height} descriptors that the extractive describer found only {kept.height}"
            " hold of sentences that are alike; give more sentences, an LLM (--llm) or tags of your"
            " own (--tags COLUMN)"
        )
    return kept


def _need_answers(unanswered: pl.DataFrame, asked: int, step: str) -> None:
    if 2 * unanswered.height > asked:
        common = unanswered["reason"].mode().sort()[0]
        raise InputError(
            f"{unanswered.height} of {asked} sentences got no {step} from the LLM, most often with:"
            f" {common}; mend that and run the same command again (answers that came are kept)"
        )


def _gold_tags(study: StudyWriter, examples: pl.DataFrame) -> pl.DataFrame:
    names = study.table("descriptors").select(descriptor="id", tags="text")
    tagged = examples.select(example="id", tags=pl.col("tags").list.unique()).explode("tags")
    return (
        tagged.drop_nulls()
        .join(names, on="tags")
        .select("example", "descriptor", source=pl.lit("gold"), score=pl.lit(1.0))
        .sort("example", "descriptor")
    )


def _by_id(examples: pl.DataFrame) -> dict[str, str]:
    return dict(examples.select("id", "text").iter_rows())


def _tag_matrix(
    study: StudyWriter, examples: pl.DataFrame, tokens: Tokens, sources: Sequence[str] | None = None
) -> Tags:
    tags = study.table("tags")
    if sources is not None:
        tags = tags.filter(pl.col("source").is_in(list(sources)))
    row = {example: number for number, example in enumerate(examples["id"])}
    column = {name: number for number, name in enumerate(study.table("descriptors")["id"])}
    rows = [row[example] for example in tags["example"]]
    columns = [column[name] for name in tags["descriptor"]]
    ones = np.ones(len(rows), dtype=np.float64)
    known = np.ones(len(row), dtype=bool)
    lost = study.table("unanswered").filter(step="tags")["item"]
    known[[row[example] for example in lost]] = False
    matrix = sp.csr_matrix((ones, (rows, columns)), shape=(len(row), len(column)))
    return Tags(matrix, known, tokens.lengths)


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
    folder = study.arrays(name)
    label = "activations" if name == "activations" else "activations, random weights"
    with progress(label, len(tokens)) as advance:
        try:
            collect_activations(
                loaded.model, sites, tokens, splits, folder, settings,
                pad_id=loaded.pad_id, progress=advance,
            )  # fmt: skip
        except BrokenActivations as error:
            text = study.table("examples")["text"][error.text]
            raise InputError(f"{error}: {text[:80]!r}") from error
    return Activations(folder)


def _subject(
    activations: Activations,
    units: pl.DataFrame,
    exemplars: pl.DataFrame,
    examples: pl.DataFrame,
    tags: Tags,
) -> Subject:
    """Step 6 on calibration and, for the comparison, on validation."""
    found = {
        split: _associations(exemplars.filter(split=split), units, examples, split, tags)
        for split in ("calibration", "validation")
    }
    return Subject(units, activations, found["calibration"], found["validation"])


def _associations(
    exemplars: pl.DataFrame, units: pl.DataFrame, examples: pl.DataFrame, split: str, tags: Tags
) -> Associations:
    rows = np.flatnonzero((examples["split"] == split).to_numpy() & tags.known)
    place = pl.DataFrame({"example": examples["id"].gather(rows), "column": np.arange(len(rows))})
    number = pl.DataFrame({"unit": units["id"], "number": np.arange(len(units))})
    pairs = exemplars.join(number, on="unit").join(place, on="example").sort("number", "rank")
    matrix = sp.csr_matrix(
        (np.ones(len(pairs)), (pairs["number"].to_numpy(), pairs["column"].to_numpy())),
        shape=(len(units), len(rows)),
    )
    return associate(matrix, tags.matrix[rows], length_strata(tags.lengths[rows]))


def _control_subject(
    activations: Activations,
    sites: Sequence[Site],
    tokens: Tokens,
    examples: pl.DataFrame,
    tags: Tags,
) -> Subject:
    units = unit_table(activations, sites, "random weights")
    exemplars = exemplar_table(activations, units, tokens, examples["id"].to_list())
    return _subject(activations, units, exemplars, examples, tags)


def _association_table(study: StudyWriter, subject: Subject, threshold: float) -> pl.DataFrame:
    """Every pair that either rule assigns, in calibration or validation."""
    names = study.table("descriptors")["id"].to_numpy()
    units = subject.units["id"].to_numpy()
    exemplars = study.exemplars.group_by("unit", "split").agg(exemplars=pl.len().cast(pl.Int32))
    frames = []
    for split, found in (
        ("calibration", subject.calibration), ("validation", subject.validation),
    ):  # fmt: skip
        composed, enriched = found.composed(threshold), found.enriched()
        unit, descriptor = (composed | enriched).nonzero()
        frames.append(
            pl.DataFrame(
                {
                    "unit": units[unit],
                    "split": [split] * len(unit),
                    "descriptor": names[descriptor],
                    "hits": found.hits[unit, descriptor],
                    "composition": found.composition[unit, descriptor],
                    "lift": found.lift[unit, descriptor],
                    "p": found.p[unit, descriptor],
                    "q": found.q[unit, descriptor],
                    "composed": composed[unit, descriptor],
                    "enriched": enriched[unit, descriptor],
                },
                schema_overrides={"unit": pl.String, "split": pl.String, "descriptor": pl.String},
            )
        )
    return pl.concat(frames).join(exemplars, on=["unit", "split"], maintain_order="left")


def _evaluate(
    study: StudyWriter,
    subject: Subject,
    control: Subject | None,
    carried: dict[str, Tags],
    examples: pl.DataFrame,
    threshold: float,
    seed: int,
) -> None:
    """Step 7: table `curves` and metrics.json."""
    tags = carried["all"]
    rows = evaluation.answered_rows(subject.activations, "test", tags.known)
    if len(rows) < 2:
        raise InputError(f"only {len(rows)} held-out sentences have tags; give more sentences")

    def curves() -> pl.DataFrame:
        frames = [_prediction_curves(subject, control, tags, rows, threshold, seed, suffix="")]
        if "lexical" in carried:
            frames.append(
                _prediction_curves(
                    _retagged(study, subject, examples, carried["lexical"]),
                    None,
                    carried["lexical"],
                    rows,
                    threshold,
                    seed,
                    suffix=" (lexical tags)",
                )
            )
        truth = tags.matrix[rows].toarray() > 0
        frames.append(evaluation.threshold_curves(subject, truth, tags.known, seed))
        return pl.concat(frames)

    table = study.table("curves", curves)
    study.write_metrics(_headline(table, subject, control, threshold, seed))


def _retagged(study: StudyWriter, subject: Subject, examples: pl.DataFrame, tags: Tags) -> Subject:
    return _subject(subject.activations, subject.units, study.exemplars, examples, tags)


def _prediction_curves(
    subject: Subject,
    control: Subject | None,
    tags: Tags,
    rows: np.ndarray,
    threshold: float,
    seed: int,
    *,
    suffix: str,
) -> pl.DataFrame:
    truth = tags.matrix[rows].toarray() > 0
    # Equal scores rank by column; a random order of columns keeps that from favouring frequent ones.
    order = np.random.default_rng(seed).permutation(truth.shape[1])
    scores = _rule_scores(subject, tags, threshold, "")
    shuffled = subject.shuffled(seed)
    scores |= _rule_scores(shuffled, tags, threshold, ", shuffled exemplars")
    if control is not None:
        scores |= _rule_scores(control, tags, threshold, ", random weights")
    calibration = evaluation.answered_rows(subject.activations, "calibration", tags.known)
    frequency = np.asarray(tags.matrix[calibration].mean(0))
    scores["most frequent"] = np.tile(frequency, (len(rows), 1))
    if not suffix:
        scores["linear probe"] = evaluation.probe_scores(
            subject.activations, subject.units, tags, seed=seed
        )
    curves = evaluation.retrieval_curves(
        {name: values[:, order] for name, values in scores.items()}, truth[:, order], seed
    )
    return curves.with_columns(variant=pl.col("variant") + suffix)


def _rule_scores(
    subject: Subject, tags: Tags, threshold: float, suffix: str
) -> dict[str, np.ndarray]:
    weights = {f"{rule}{suffix}": subject.weights(rule, threshold) for rule in evaluation.RULES}
    calibrated = {f"{evaluation.CALIBRATED}{suffix}": weights[f"enrichment{suffix}"]}
    return {
        **evaluation.predict(subject, weights, tags.known),
        **evaluation.predict_calibrated(subject, calibrated, tags),
    }


def _headline(
    curves: pl.DataFrame, subject: Subject, control: Subject | None, threshold: float, seed: int
) -> list[Metric]:
    metrics = []
    variants = curves["variant"].unique()
    tagged = [tag for tag in ("", " (lexical tags)") if f"composition{tag}" in variants]
    for figure in ("precision@k", "recall@k"):
        for rule in (evaluation.CALIBRATED, "enrichment", "composition"):
            for tag in tagged:
                point = partial(evaluation.curve_point, curves, figure, x=2.0)
                controls = {
                    name: point(f"{variant}{tag}")
                    for name, variant in (
                        ("most frequent", "most frequent"),
                        ("shuffled exemplars", f"{rule}, shuffled exemplars"),
                        ("random weights", f"{rule}, random weights"),
                    )
                    if f"{variant}{tag}" in variants
                }
                ceiling = {
                    name: point(f"{name}{tag}")
                    for name in ("linear probe", "best possible")
                    if f"{name}{tag}" in variants
                }
                label = f"{figure.replace('k', '2')}, {rule}{tag}"
                metrics.append(
                    evaluation.metric(
                        label, point(f"{rule}{tag}"), "held-out sentences", controls, ceiling
                    )
                )
    for rule in evaluation.RULES:
        own, others, empty = evaluation.consistency(subject, rule, threshold, seed)
        controls = {"another neuron": others}
        if control is not None:
            controls["random weights"] = evaluation.consistency(control, rule, threshold, seed)[0]
        of = f"units with descriptors; {empty} have none"
        metrics.append(evaluation.metric(f"Jaccard, {rule}", own, of, controls))
    return metrics


def _descriptions_and_scores(
    study: StudyWriter, subject: Subject, tags: Tags, llm: LanguageModel | None, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Step 8: a unit's enriched descriptors in words, checked on held-out sentences."""
    descriptors = study.table("descriptors")
    described = _named(subject.calibration)
    rows = evaluation.answered_rows(subject.activations, "test", tags.known)
    truth = tags.matrix[rows].toarray() > 0
    found = evaluation.score_descriptions(subject, described, truth, tags.known, seed)
    evidence = _evidence(study, described)
    texts, ids = descriptors["text"].to_list(), descriptors["id"].to_list()
    writer = (
        "llm descriptors" if llm else "gold tags" if study.manifest.config["tags"] else EXTRACTIVE
    )
    hashes = ",".join(study.manifest.config["prompts"].values()) or None
    written, scored = [], []
    for number, (unit, state) in enumerate(subject.units.select("id", "state").iter_rows()):
        named = _by_lift(subject.calibration, number, described)
        status = "described" if named else _why_not(state, subject, number)
        name = f"{unit}#0"
        written.append(
            (name, unit, ", ".join(texts[d] for d in named), writer, llm.name if llm else None,
             hashes, evidence.get(unit, []), [ids[d] for d in named], 0, bool(named), status)
        )  # fmt: skip
        if named:
            value, low, high, control, n = found[number].tolist()
            verdict = "verified" if low > control else "not verified"
            scored.append(
                (unit, name, "f1-tags", 1, "test", value, low, high, control, int(n), verdict)
            )
    return (
        pl.DataFrame(written, schema=empty_table("descriptions").schema, orient="row"),
        pl.DataFrame(scored, schema=empty_table("scores").schema, orient="row"),
    )


def _named(found: Associations) -> np.ndarray:
    """Units x descriptors: the enriched descriptors of highest lift, as many as a text names."""
    enriched = found.enriched()
    lift = np.where(enriched, found.lift, -np.inf)
    best = np.argsort(-lift, axis=1, kind="stable")[:, :MOST_NAMED]
    chosen = np.zeros_like(enriched)
    np.put_along_axis(chosen, best, True, axis=1)
    return chosen & enriched


def _by_lift(found: Associations, unit: int, described: np.ndarray) -> list[int]:
    named = np.flatnonzero(described[unit])
    return named[np.argsort(-found.lift[unit, named], kind="stable")].tolist()


def _why_not(state: str, subject: Subject, unit: int) -> str:
    if state == "constant":
        return "no description: it gives the same value on every sentence"
    if state == "flat":
        return "no description: too many sentences reach its top value"
    if subject.calibration.hits[unit].sum() == 0:
        return "no description: its exemplars carry no descriptor"
    return "no description: no descriptor is enriched among its exemplars"


def _evidence(study: StudyWriter, described: np.ndarray, most: int = 5) -> dict[str, list[str]]:
    """Per unit the strongest exemplars that carry one of its descriptors."""
    units = study.units["id"].to_numpy()
    names = study.table("descriptors")["id"].to_numpy()
    unit, descriptor = described.nonzero()
    pairs = pl.DataFrame(
        {"unit": units[unit], "descriptor": names[descriptor]},
        schema={"unit": pl.String, "descriptor": pl.String},
    )
    tags = study.table("tags").select("example", "descriptor")
    shown = (
        study.exemplars.filter(split="calibration")
        .join(pairs, on="unit")
        .join(tags, on=["example", "descriptor"])
        .unique(["unit", "example"])
        .sort("unit", "rank")
        .group_by("unit")
        .agg(pl.col("example").head(most))
    )
    return dict(shown.iter_rows())


def _recovered(study: StudyWriter, examples: pl.DataFrame, tags: Tags, seed: int) -> pl.DataFrame:
    """Table `recovered`: what became of each gold descriptor."""
    descriptors, verified = study.table("descriptors"), study.scores.filter(status="verified")
    named = study.descriptions.join(verified.select("unit"), on="unit").explode("descriptors")
    units = dict(named["descriptors"].value_counts().iter_rows())
    golds = examples["tags"].to_list()
    found = (tags.matrix > 0).toarray()
    split = examples["split"].to_numpy()
    rows = []
    for name in sorted({tag for tagged in golds for tag in tagged or ()}):
        carries = np.array([name in (tagged or ()) for tagged in golds])
        learn, check = (tags.known & (split == part) for part in ("calibration", "test"))
        best = int(np.argmax(f1_of(confusion(carries[learn], found[learn]))))
        cells = confusion(carries[check], found[check][:, [best]])
        value, low, high = bootstrap_f1(cells, seed=seed)[0].tolist()
        always = f1_of(confusion(carries[check], np.ones((check.sum(), 1), dtype=bool)))[0]
        identity = descriptors["id"][best]
        rows.append(
            (name, identity, descriptors["text"][best], value, low, high, always,
             int(carries[check].sum()), units.get(identity, 0), low > always)
        )  # fmt: skip
    return pl.DataFrame(rows, schema=empty_table("recovered").schema, orient="row")


def _notes(
    study: StudyWriter,
    data: Texts,
    tokens: Tokens,
    loaded: LoadedModel,
    encoder: SentenceEncoder | None,
) -> None:
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
    unanswered = study.table("unanswered").height
    if unanswered:
        study.note(f"{unanswered} sentences got no tags from the LLM and are left out.")
    if encoder is not None and loaded.name == encoder.name:
        study.note(
            "The tagger's encoder is the model under study: its tags may agree with the neurons for"
            " that reason alone. The figures with lexical tags do not depend on it."
        )


def _cost(study: StudyWriter) -> None:
    """What LLM calls took, over all runs of this study."""
    path = study.path / "calls.sqlite"
    if not path.exists():
        return
    steps = summarize_calls(path)
    unknown = any(step.cost_unknown for step in steps)
    study.manifest.cost = {
        "calls": sum(step.calls for step in steps),
        "input_tokens": sum(step.input_tokens for step in steps),
        "output_tokens": sum(step.output_tokens for step in steps),
        "usd": None if unknown else sum(step.cost_usd for step in steps),
    }
