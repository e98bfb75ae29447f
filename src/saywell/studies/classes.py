"""What do the classes of images look like, and which descriptions help? (arXiv 2511.07897)

1. what outside texts say of every class             articles, passages
2. texts about what is visible, grounded or not      class_texts
3. images and texts as vectors of one space          embeddings.sqlite
4. influence of training images on their class       influence
5. every rule's score of every text, and its choice  text_scores
6. classifying by texts alone                        zero_shot
7. classifiers of images that go on with texts       transfer, transfer_summary
8. what a judge thinks of the descriptions           judgements
9. the picture: texts among images                   plane, thumbnails

Steps 1 to 5 use train and validation images only; 6 and 7 read the test images, once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from torch import nn

from saywell.data.descriptor_files import load_descriptors
from saywell.data.images import Images, load_images
from saywell.data.knowledge import NONE, WIKIPEDIA, Knowledge, load_knowledge
from saywell.data.wikipedia import Wiki
from saywell.describers.class_describer import USABLE, extract_classes
from saywell.describers.class_describer import describe_classes as write_texts
from saywell.describers.given import GIVEN, given_texts
from saywell.encoders.cache import EmbeddingCache, embed_images
from saywell.encoders.dual import DualEncoder, open_dual_encoder
from saywell.encoders.joined import JoinedEncoder, save_map
from saywell.encoders.precomputed import Precomputed
from saywell.errors import InputError
from saywell.influence import tracin
from saywell.influence.proponents import opponents_anywhere, proponents
from saywell.influence.tracin import Examples
from saywell.influence.training import train_head
from saywell.language_models import LanguageModel, load_prompt
from saywell.language_models.summary import summarize_calls
from saywell.progress import Progress, silent
from saywell.report.classes import write_report_classes
from saywell.scorers.judge import JUDGE, judge_descriptions
from saywell.scorers.text_influence import select as select_texts
from saywell.store.schemas import empty_table
from saywell.store.study import Study, StudyWriter, write_study
from saywell.studies import class_evaluation as evaluation
from saywell.studies.class_network import network_influence, network_scores
from saywell.studies.class_pictures import plane_table, thumbnail_table
from saywell.studies.class_rows import (
    CLIP_ONLY,
    CONTROLS,
    NAME_FREE,
    RULES,
    STANDARDISED,
    Pool,
    make_pool,
    readable_files,
    score_candidates,
    text_sets,
)
from saywell.studies.classify import MAP, keep_reader
from saywell.transfer.centring import balanced_mean, centred
from saywell.transfer.cross_modal import Embedded, Outcome, Settings, transfer

SELECTS = {"ift": "ift-proponent"}
"""Short names of rules."""
SHOWN = 8
"""Proponent and opponent images a class that are kept."""
LINEAR = "linear head"
WITH_VALIDATION, INSIDE = "validation", "shots"


class Space(NamedTuple):
    """The images of a study as vectors, their classes, and where each split stands."""

    vectors: np.ndarray
    labels: np.ndarray
    rows: Mapping[str, np.ndarray]
    names: list[str]


def describe_classes(
    images: str | Path | Images,
    *,
    out: str | Path,
    encoder: str | DualEncoder,
    llm: LanguageModel | None = None,
    knowledge: str | Path | Mapping[str, str] = NONE,
    texts: str | Path | Mapping[str, Sequence[str]] | None = None,
    select: str = "ift",
    per_class: int = 10,
    shots: Sequence[int] = (1, 2, 4, 8, 16),
    seeds: int = 5,
    compare: Sequence[str | Path] | Mapping[str, Mapping[str, Sequence[str]]] = (),
    judge: bool = False,
    network: str | nn.Module | None = None,
    network_epochs: int = 200,
    network_side: int = 64,
    superclass: str = "",
    context: Sequence[str] = (),
    wiki: Wiki | None = None,
    gold: pl.DataFrame | None = None,
    label: str = "label",
    split: str | None = None,
    seed: int = 0,
    settings: Settings | None = None,
    prompts: Path | None = None,
    command: Sequence[str] = (),
    progress: Progress = silent,
) -> Study:
    """Describe classes of images in words, and measure which of the words help to recognise them.

    `images`     a folder of class folders, Parquet with image bytes, a CSV of paths and labels or a
                 saved dataset (see `load_images`, also for `label` and `split`), or what it returned.
    `encoder`    a CLIP or SigLIP checkpoint by folder or hub name, or any `DualEncoder`: vectors from
                 files, or a vision encoder joined to a sentence encoder.
    `llm`        writes texts in two stages and, with `judge`, compares them; None: texts are taken
                 from the articles.
    `knowledge`  'wikipedia', a folder or table of articles, class -> article, or 'none'.
    `texts`      class -> texts, or a file of them, to choose from instead of writing any.
    `select`     the rule whose choice the study stands for, such as 'ift' (which is
                 'ift-proponent') or 'text-influence-all'; all rules and controls are stored.
    `per_class`  texts chosen for a class.
    `shots`      training images a class in the low-shot rows; all of them is always a row.
    `seeds`      draws of the shots, 0 to seeds - 1.
    `compare`    further files of class -> texts, or such mappings by name, each a row of its own.
    `network`    also measure influence in a network trained from pixels: 'resnet34', the name of a
                 pretrained classifier, or a module that ends in a linear layer. `network_epochs`
                 and `network_side`: how long it learns, and the side of its square images in pixels.
    `superclass` what all classes are, such as 'bird'; `context` words decide between articles.
    `gold`       class, text (a sentence of the article) and good (boolean): used for figures only.

    A stopped run goes on where it was when called again with the same arguments, and leaves the
    same tables. Raises InputError for unusable input, StudyError when `out` holds another study.
    """
    rule = SELECTS.get(select, select)
    _check_options(rule, select, per_class, shots, seeds, judge, llm)
    shown = images if isinstance(images, Images) else None
    if shown is None:
        with progress("images", 0) as advance:
            done = _Steps(advance)
            shown = load_images(images, label=label, split=split, seed=seed, progress=done)  # type: ignore[arg-type]
    names = shown.classes["name"].to_list()
    _check_images(shown)
    reader = open_dual_encoder(encoder) if isinstance(encoder, str) else encoder
    files = _compared(compare, names)
    local = None
    if not (isinstance(knowledge, str) and knowledge == WIKIPEDIA):
        local = load_knowledge(knowledge, names)
    asked = settings or Settings()
    config = {
        "llm": llm.name if llm else None, "knowledge": _named(knowledge), "texts": texts is not None,
        "encoder": reader.name, "joined": _joined(reader), "select": rule, "per_class": per_class,
        "shots": sorted(set(shots)), "seeds": seeds, "compare": sorted(files), "judge": judge,
        "network": _network_name(network) and [_network_name(network), network_epochs, network_side],
        "superclass": superclass, "context": list(context),
        "seed": seed, "settings": json.loads(json.dumps(asked.__dict__)), "gold": gold is not None,
        "prompts": {
            name: load_prompt(name, prompts).hash
            for name in ("class_components", "class_sentences", *([JUDGE] if judge else []))
        } if llm else {},
    }  # fmt: skip
    inputs = {"images": shown.fingerprint, "encoder": reader.fingerprint}
    if local is not None:
        inputs["knowledge"] = local.fingerprint
    if texts is not None:
        inputs["texts"] = _content(*load_descriptors(texts, names))
    inputs |= {f"compare {name}": _content(*given) for name, given in files.items()}
    with write_study(
        out, kind="classes", config=config, inputs=inputs, command=list(command)
    ) as study:
        _examples(study, shown)
        _articles(study, local, names, wiki, context, progress)
        study.table(
            "class_texts",
            lambda: _texts(
                study, names, reader, llm, texts, superclass, gold, prompts, seed, progress
            ),
        )
        cache = EmbeddingCache(study.path / "embeddings.sqlite")
        space = _space(shown, names, reader, cache, progress)
        pool = _pool(study, names, reader, cache, files, superclass, per_class, seed)
        measured = None
        if network is not None:
            with progress("network", 0) as advance:
                measured = network_influence(
                    network, shown, space.labels, space.rows, len(names),
                    study.arrays("network"), epochs=network_epochs, side=network_side, seed=seed,
                    progress=advance,
                )  # fmt: skip
        study.table("influence", lambda: _influence(study, space, measured, config, seed))
        study.table(
            "text_scores", lambda: _text_scores(study, space, pool, measured, per_class, seed)
        )
        with progress("zero-shot", 1):
            study.table("zero_shot", lambda: _zero_shot(study, space, pool, rule, per_class, seed))
        _transfer(
            study, space, pool, rule, per_class, config["shots"], seeds, asked, seed, progress
        )
        if judge and llm is not None:
            with progress("judge", 0) as advance:
                study.table(
                    "judgements",
                    lambda: _judged(study, shown, files, names, llm, rule, prompts, seed, advance),
                )
        _figures(study, names, rule, seed)
        _pictures(study, shown, space, pool, seed, progress)
        if isinstance(reader, JoinedEncoder):
            save_map(reader.mapping, study.arrays(MAP))
        table, _ = _usable(study, names)
        keep_reader(
            study, table["id"].to_list(), pool.vectors[pool.texts],
            space.vectors[space.rows["train"]],
        )  # fmt: skip
        _notes(study, shown, space, pool, rule)
        _cost(study)
    write_report_classes(Study(out))
    return Study(out)


def _check_options(
    rule: str, select: str, per_class: int, shots: Sequence[int], seeds: int, judge: bool,
    llm: LanguageModel | None,
) -> None:  # fmt: skip
    known = (*RULES, *CONTROLS)
    if rule not in known:
        raise InputError(
            f"select={select!r} is no rule; choose one of {', '.join((*SELECTS, *known))}"
        )
    if per_class < 1 or seeds < 1 or any(number < 1 for number in shots):
        raise InputError(
            f"per_class={per_class!r}, seeds={seeds!r} and every one of shots={list(shots)!r} must"
            " be 1 or more"
        )
    if judge and llm is None:
        raise InputError("judge=True asks a language model: give llm=...")


def _check_images(shown: Images) -> None:
    counts = shown.classes.select(pl.col("train", "validation", "test").sum()).row(0, named=True)
    for part in ("train", "test"):
        if counts[part] == 0:
            raise InputError(
                f"there is no {part} image among {shown.examples.height} usable ones"
                f" ({counts}); give more images a class"
            )
    if shown.classes.height < 2:
        raise InputError(
            f"there is one class, {shown.classes['name'][0]!r}; telling classes apart takes two"
        )


def _named(knowledge: str | Path | Mapping[str, str]) -> str:
    return "given" if isinstance(knowledge, Mapping) else str(knowledge)


def _joined(encoder: DualEncoder) -> list[str] | None:
    if not isinstance(encoder, JoinedEncoder):
        return None
    return [encoder.vision.name, encoder.sentence.name]


def _network_name(network: str | nn.Module | None) -> str | None:
    return type(network).__name__ if isinstance(network, nn.Module) else network


def _content(texts: Sequence[str], classes: np.ndarray) -> str:
    digest = hashlib.blake2b(json.dumps(list(texts)).encode(), digest_size=16)
    digest.update(classes.astype("<i8").tobytes())
    return digest.hexdigest()


def _compared(
    compare: Sequence[str | Path] | Mapping[str, Mapping[str, Sequence[str]]], names: Sequence[str]
) -> dict[str, tuple[list[str], np.ndarray]]:
    given = compare if isinstance(compare, Mapping) else {Path(file).stem: file for file in compare}
    if len(given) < len(compare):
        raise InputError(
            f"two of the files {[str(file) for file in compare]!r} have one name; rename one"
        )
    return {name: load_descriptors(source, names) for name, source in given.items()}


class _Steps:
    """From "so many are done" to "so many more are done"."""

    def __init__(self, advance: Any) -> None:
        self._advance, self._done = advance, 0

    def __call__(self, done: int) -> None:
        self._advance(done - self._done)
        self._done = done


# ---- the data, what is known of it, and what is said of it


def _examples(study: StudyWriter, shown: Images) -> None:
    study.table("examples", lambda: shown.examples)
    study.table("rejected", lambda: shown.rejected)
    study.table("converted", lambda: shown.converted)
    study.table("classes", lambda: shown.classes)


def _articles(
    study: StudyWriter,
    local: Knowledge | None,
    names: Sequence[str],
    wiki: Wiki | None,
    context: Sequence[str],
    progress: Progress,
) -> None:
    def make() -> tuple[pl.DataFrame, pl.DataFrame]:
        found = local
        if found is None:
            asked = wiki or Wiki(cache=study.path / "wikipedia")
            with progress("articles", len(names)) as advance:
                found = load_knowledge(
                    WIKIPEDIA, names, wiki=asked, context=context, progress=_Steps(advance)
                )
        if found.unused:
            study.note(
                f"{len(found.unused)} articles belong to no class, such as {found.unused[0]!r}."
            )
        return found.articles, found.passages

    study.tables(("articles", "passages"), make)


def _texts(
    study: StudyWriter,
    names: list[str],
    encoder: DualEncoder,
    llm: LanguageModel | None,
    given: str | Path | Mapping[str, Sequence[str]] | None,
    superclass: str,
    gold: pl.DataFrame | None,
    prompts: Path | None,
    seed: int,
    progress: Progress,
) -> pl.DataFrame:
    """Step 2, in one of three ways: given texts, an LLM, or sentences of the articles."""
    knowledge = Knowledge(study.table("articles"), study.table("passages"))
    if given is not None:
        source = GIVEN if isinstance(given, Mapping) else Path(given).name
        table = given_texts(*load_descriptors(given, names), names, encoder, source)
    elif llm is not None:
        chosen = {n: load_prompt(n, prompts) for n in ("class_components", "class_sentences")}
        with progress("texts", len(names)) as advance:
            table = write_texts(
                names, knowledge, encoder, llm, superclass=superclass, prompts=chosen, seed=seed,
                progress=_Steps(advance),
            )  # fmt: skip
    else:
        table = extract_classes(names, knowledge, encoder)
    if isinstance(encoder, Precomputed):
        known = pl.col("text").is_in(encoder.texts)
        usable = pl.col("status").is_in(USABLE)
        table = table.with_columns(
            status=pl.when(usable & ~known).then(pl.lit("no vector")).otherwise("status")
        )
    if not table["status"].is_in(USABLE).any():
        common = table["status"].mode().sort()[0]
        raise InputError(
            f"there is no usable text for any of the {len(names)} classes (most often: {common});"
            " give llm=..., knowledge=... or texts=..."
        )
    return table if gold is None else _with_gold(table, gold)


def _with_gold(table: pl.DataFrame, gold: pl.DataFrame) -> pl.DataFrame:
    """Column `gold`: whether the article's sentence that a text was taken from is a good one."""
    known: dict[str, list[tuple[str, bool]]] = {}
    for name, text, good in gold.select("class", "text", "good").iter_rows():
        known.setdefault(name, []).append((text, good))
    found = []
    for name, text, quotation in table.select("class", "text", "quotation").iter_rows():
        said = (quotation or text).strip(" .")
        found.append(next((good for s, good in known.get(name, []) if said and said in s), None))
    return table.with_columns(gold=pl.Series(found, dtype=pl.Boolean))


# ---- images and texts as vectors, and influence


def _space(
    shown: Images,
    names: list[str],
    encoder: DualEncoder,
    cache: EmbeddingCache,
    progress: Progress,
) -> Space:
    with progress("image vectors", shown.examples.height) as advance:
        vectors = embed_images(encoder, shown, cache=cache, progress=advance)
    place = {name: number for number, name in enumerate(names)}
    labels = np.array([place[name] for name in shown.examples["label"]], dtype=np.int64)
    splits = shown.examples["split"].to_numpy()
    rows = {part: np.flatnonzero(splits == part) for part in ("train", "validation", "test")}
    return Space(vectors, labels, rows, names)


def _usable(study: StudyWriter, names: Sequence[str]) -> tuple[pl.DataFrame, np.ndarray]:
    table = study.table("class_texts").filter(pl.col("status").is_in(USABLE))
    place = {name: number for number, name in enumerate(names)}
    return table, np.array([place[name] for name in table["class"]], dtype=np.int64)


def _pool(
    study: StudyWriter,
    names: list[str],
    encoder: DualEncoder,
    cache: EmbeddingCache,
    files: Mapping[str, tuple[list[str], np.ndarray]],
    superclass: str,
    per_class: int,
    seed: int,
) -> Pool:
    table, text_class = _usable(study, names)
    return make_pool(
        table["text"].to_list(), text_class, names, readable_files(files, encoder), encoder, cache,
        superclass=superclass, per_class=per_class, seed=seed,
    )  # fmt: skip


def _influence(
    study: StudyWriter, space: Space, measured: np.ndarray | None, config: Mapping[str, Any],
    seed: int,
) -> pl.DataFrame:  # fmt: skip
    """Step 4: the strongest training images of every class, as `score_texts` sees them."""
    train, beside = space.rows["train"], space.rows["validation"]
    checked = beside if len(beside) else train
    mean = balanced_mean(space.vectors[train], space.labels[train])
    seen = Examples(centred(space.vectors[train], mean), space.labels[train])
    held = Examples(centred(space.vectors[checked], mean), space.labels[checked])
    head = train_head(seen, len(space.names), seed=seed)
    by_class = tracin.mean_over_classes(seen, held, head)
    own = by_class[np.arange(len(train)), seen.labels]
    ids = study.examples["id"].to_numpy()[train]
    rows = []
    sides = [(LINEAR, "proponent", proponents(own, space.labels[train], len(space.names), SHOWN)),
             (LINEAR, "opponent", opponents_anywhere(by_class, SHOWN))]  # fmt: skip
    if measured is not None:
        name = str(config["network"][0])
        found = proponents(measured, space.labels[train], len(space.names), SHOWN)
        sides.append((name, "proponent", found))
    for model, side, strongest in sides:
        for name, best in zip(space.names, strongest, strict=True):
            for rank, (row, value) in enumerate(zip(best.rows, best.values, strict=True), 1):
                rows.append((model, name, side, rank, ids[row], float(value)))
    return pl.DataFrame(rows, schema=empty_table("influence").schema, orient="row")


def _text_scores(
    study: StudyWriter,
    space: Space,
    pool: Pool,
    measured: np.ndarray | None,
    per_class: int,
    seed: int,
) -> pl.DataFrame:
    """Step 5: every rule's score of every text, its rank in its class, and whether it is chosen."""
    table, text_class = _usable(study, space.names)
    scores = score_candidates(
        pool, space.vectors, space.labels, space.rows["train"], space.rows["validation"],
        len(space.names), strings=table["text"].to_list(), seed=seed,
    )  # fmt: skip
    if measured is not None:
        train = space.rows["train"]
        scores |= network_scores(
            measured, space.vectors[train], space.labels[train], pool.vectors[pool.texts],
            text_class, len(space.names),
        )  # fmt: skip
    frames = []
    for rule, own in scores.items():
        known = pl.Series(own).cast(pl.Float64).fill_nan(None)
        frames.append(
            table.select(
                text="id",
                **{"class": pl.col("class")},
                rule=pl.lit(rule),
                score=known,
                rank=known.rank("ordinal", descending=True).cast(pl.Int32),
                chosen=pl.Series(select_texts(own, text_class, per_class, seed=seed)),
            ).with_columns(rank=pl.col("rank").rank("ordinal").over("class").cast(pl.Int32))
        )
    return pl.concat(frames)


def _stored_scores(study: StudyWriter) -> dict[str, np.ndarray]:
    scores = study.table("text_scores")
    return {
        rule: scores.filter(rule=rule)["score"].fill_null(float("nan")).to_numpy()
        for rule in scores["rule"].unique(maintain_order=True)
    }


# ---- what the texts are worth


def _zero_shot(
    study: StudyWriter, space: Space, pool: Pool, rule: str, per_class: int, seed: int
) -> pl.DataFrame:
    scores = _stored_scores(study)
    draws = [
        text_sets(pool, scores, rule, per_class=per_class, seed=seed + draw)
        for draw in range(evaluation.DRAWS)
    ]
    test = space.rows["test"]
    return evaluation.zero_shot_table(
        pool, draws, space.vectors[test], space.labels[test], len(space.names), seed=seed
    )


def _transfer(
    study: StudyWriter,
    space: Space,
    pool: Pool,
    rule: str,
    per_class: int,
    shots: Sequence[int],
    seeds: int,
    settings: Settings,
    seed: int,
    progress: Progress,
) -> None:
    """Step 7: all images, then low shots in both forms; each run is kept as soon as it is done."""
    table, _ = _usable(study, space.names)
    strings = table["text"].to_list()
    full = _stored_scores(study)
    has_validation = len(space.rows["validation"]) > 0
    plan = [(0, WITH_VALIDATION if has_validation else INSIDE)]
    for number in shots:
        plan += [(number, form) for form in (WITH_VALIDATION, INSIDE)
                 if has_validation or form == INSIDE]  # fmt: skip
    most = max(np.bincount(space.labels[space.rows["train"]]).tolist())

    def make() -> tuple[pl.DataFrame, pl.DataFrame]:
        runs: dict[tuple[int, str], dict[str, Outcome]] = {}
        with progress("transfer", len(plan)) as advance:
            for number, form in plan:
                run = partial(
                    _transfer_run, space, pool, strings, rule, per_class, number, form, seeds,
                    settings, seed, full,
                )  # fmt: skip
                if number <= most:
                    path = study.arrays(f"transfer/{number}-{form}.safetensors")
                    runs[number, form] = evaluation.kept_outcomes(path, run)
                advance(1)
        return evaluation.transfer_tables(runs, range(seeds), seed=seed)

    study.tables(("transfer", "transfer_summary"), make)


def _transfer_run(
    space: Space,
    pool: Pool,
    strings: Sequence[str],
    rule: str,
    per_class: int,
    shots: int,
    form: str,
    seeds: int,
    settings: Settings,
    seed: int,
    full: Mapping[str, np.ndarray],
) -> dict[str, Outcome]:
    made: dict[tuple[bytes, bytes], dict[str, np.ndarray]] = {}

    def sets(fit: np.ndarray, beside: np.ndarray) -> dict[str, np.ndarray]:
        key = (fit.tobytes(), beside.tobytes())
        if key not in made:
            whole = len(fit) == len(space.rows["train"]) and len(beside) > 0
            scores = full if whole else score_candidates(
                pool, space.vectors, space.labels, fit, beside, len(space.names),
                strings=strings, seed=seed,
            )  # fmt: skip
            # The random choice differs between draws of the shots, as they do.
            drawn = seed + int(fit.sum()) % 2**31
            made[key] = {
                name: weights
                for name, weights in text_sets(
                    pool, scores, rule, per_class=per_class, seed=drawn
                ).items()
                if not name.endswith(NAME_FREE) or name == rule + NAME_FREE
            }
        return made[key]

    def train(keep: Sequence[str] | None, weights: tuple[float, ...]) -> dict[str, Outcome]:
        def choose(fit: np.ndarray, beside: np.ndarray) -> dict[str, np.ndarray]:
            every = sets(fit, beside)
            empty = np.zeros(len(pool.classes))
            wanted = kinds if keep is None else [k for k in keep if k in kinds]
            return {name: every.get(name, empty) for name in wanted}

        return transfer(
            Embedded(space.vectors, space.labels), Embedded(pool.centred, pool.classes),
            train=space.rows["train"], validation=space.rows["validation"],
            test=space.rows["test"], classes=len(space.names), choose_texts=choose,
            shots=shots or None, choose=form, seeds=range(seeds),  # type: ignore[arg-type]
            settings=Settings(**{**settings.__dict__, "joint_weights": weights}),
        )  # fmt: skip

    # A fold of few shots can leave a rule without scores; the rows are those of the whole data.
    kinds = [
        name for name in text_sets(pool, full, rule, per_class=per_class, seed=seed)
        if not name.endswith(NAME_FREE) or name == rule + NAME_FREE
    ]  # fmt: skip
    outcomes = train(None, ())
    if settings.joint_weights:
        outcomes |= train([rule], settings.joint_weights)
    return outcomes


def _judged(
    study: StudyWriter,
    shown: Images,
    files: Mapping[str, tuple[list[str], np.ndarray]],
    names: list[str],
    llm: LanguageModel,
    rule: str,
    prompts: Path | None,
    seed: int,
    advance: Any,
) -> pl.DataFrame:
    texts = dict(study.table("class_texts").select("id", "text").iter_rows())
    ranked = study.table("text_scores").drop_nulls("rank").sort("rank")
    sources: dict[str, dict[str, list[str]]] = {}
    for source in dict.fromkeys((rule, "clip-only", "random")):
        for name, ids in (
            ranked.filter(rule=source).group_by("class").agg(pl.col("text").head(3)).iter_rows()
        ):
            sources.setdefault(name, {})[source] = [texts[id] for id in ids]
    for file, (lines, place) in files.items():
        for line, number in zip(lines, place.tolist(), strict=True):
            own = sources.setdefault(names[number], {}).setdefault(file, [])
            if len(own) < 3:
                own.append(line)
    train = shown.examples.filter(split="train")
    return judge_descriptions(
        {name: sources.get(name, {}) for name in names},
        lambda name: [
            picture for _, picture in shown.pictures(train.filter(label=name)["id"].head(2).to_list())
        ],
        llm, load_prompt(JUDGE, prompts), seed=seed, progress=_Steps(advance),
    )  # fmt: skip


def _figures(study: StudyWriter, names: Sequence[str], rule: str, seed: int) -> None:
    golds = {}
    table, text_class = _usable(study, names)
    if "gold" in table.columns and table["gold"].drop_nulls().n_unique() == 2:
        known = table["gold"].is_not_null().to_numpy()
        scores = {name: own[known] for name, own in _stored_scores(study).items()}
        good = table["gold"].drop_nulls().to_numpy()
        # Against the second, what the rule gains is owed to influence and nothing else.
        golds = {
            against: evaluation.auroc_intervals(
                scores, good, text_class[known], len(names), against=against, seed=seed
            )
            for against in (CLIP_ONLY, STANDARDISED)
        }
    judged = study.table("judgements") if "judgements" in study.manifest.tables else None
    study.write_metrics(
        evaluation.headline(study.table("zero_shot"), study.table("transfer_summary"), golds, rule)
        + ([] if judged is None else evaluation.judge_metrics(judged, rule, seed=seed))
    )


# ---- the picture, and what a reader has to know


def _pictures(
    study: StudyWriter, shown: Images, space: Space, pool: Pool, seed: int, progress: Progress
) -> None:
    def thumbnails() -> pl.DataFrame:
        ids = study.table("influence")["example"].unique().sort().to_list()
        with progress("thumbnails", len(ids)) as advance:
            return thumbnail_table(shown, ids, progress=advance)

    table, text_class = _usable(study, space.names)
    study.table(
        "plane",
        lambda: plane_table(
            space, study.examples["id"].to_list(), pool.vectors[pool.texts], text_class,
            table["id"].to_list(), seed=seed,
        ),
    )  # fmt: skip
    study.table("thumbnails", thumbnails)


def _notes(study: StudyWriter, shown: Images, space: Space, pool: Pool, rule: str) -> None:
    if shown.rejected.height:
        counts = shown.rejected["reason"].value_counts(sort=True).sort("count", "reason")
        listed = ", ".join(f"{count} {reason}" for reason, count in counts.iter_rows())
        study.note(f"{shown.rejected.height} of {shown.total_rows} images were not used: {listed}.")
    if shown.converted.height:
        study.note(f"{shown.converted['row'].n_unique()} images were used after a conversion.")
    for part in ("train", "validation", "test"):
        without = shown.classes.filter(pl.col(part) == 0)["name"].to_list()
        if without:
            study.note(
                f"{len(without)} of {len(space.names)} classes have no {part} image, such as"
                f" {without[0]!r}."
            )
    usable = study.table("class_texts").filter(pl.col("status").is_in(USABLE))
    without = [name for name in space.names if name not in set(usable["class"])]
    if without:
        study.note(f"{len(without)} classes have no usable text, such as {without[0]!r}.")
    chosen = study.table("text_scores").filter(pl.col("rule") == rule, pl.col("chosen"))
    missing = [n for n in space.names if n not in set(chosen["class"]) and n not in without]
    if missing:
        study.note(
            f"{len(missing)} classes have texts, but none that {rule} can score (such as"
            f" {missing[0]!r}): texts alone never choose them."
        )
    for kind, number in pool.lost.items():
        study.note(
            f"{number} texts of the row {kind!r} cannot be read by the encoder, and are out."
        )
    few = chosen.group_by("class").len()["len"]
    offered = usable.group_by("class").len()["len"]
    if len(few) and len(offered) and few.median() == offered.median():
        study.note(
            "Half of the classes or more have no more texts than are chosen: rules differ little."
        )
    if study.manifest.config["shots"] and "validation" in shown.examples["split"]:
        size = len(space.rows["validation"])
        study.note(
            f"Low-shot rows with selection 'validation' use {size} labelled images beside the shots;"
            " those with selection 'shots' use none."
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
