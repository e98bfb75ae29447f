"""What do the classes of images look like, and which descriptions help? (arXiv 2511.07897)

1. what outside texts say of every class             articles, passages
2. texts about what is visible, grounded or not      class_texts
3. images and texts as vectors of one space          embeddings.sqlite
4. influence of training images on their class       influence
5. every rule's score of every text, and its choice  text_scores
6. each class's texts put to the test                descriptions, scores, floors, counterexamples
7. classifying by texts alone                        zero_shot
8. classifiers of images that go on with texts       transfer, transfer_summary
9. what a judge thinks of the descriptions           judgements
10. the picture: texts among images                  plane, thumbnails

Steps 1 to 5 use train and validation images only; 6 to 8 read the test images, once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from torch import nn

from saywell.data.examples import Examples
from saywell.data.images import class_counts, load_images
from saywell.data.knowledge import NONE, load_knowledge
from saywell.data.parts import DESCRIBE, PARTS, SCORE, SELECT
from saywell.data.splits import check_seed
from saywell.data.wikipedia import Wiki
from saywell.describers.class_texts.class_describer import (
    MOST_COMPONENTS,
    WRITING,
    choose_passages,
    write_texts,
)
from saywell.encoders.cache import EmbeddingCache
from saywell.encoders.dual import DualEncoder, open_dual_encoder
from saywell.encoders.fingerprints import combined, model_fingerprint
from saywell.encoders.joined import JoinedEncoder, save_map
from saywell.errors import InputError
from saywell.language_models import DryRun, LanguageModel, load_prompt, names_llm
from saywell.progress import Progress, automatic
from saywell.report.classes import write_report_classes
from saywell.scorers.judge import JUDGE, REPEATS
from saywell.store.study import Study, write_study
from saywell.studies.class_choice import influence_table, text_pool, text_score_table
from saywell.studies.class_network import network_influence, read_influence
from saywell.studies.class_notes import write_notes
from saywell.studies.class_pictures import picture_tables
from saywell.studies.class_request import read_request
from saywell.studies.class_rows import choosing
from saywell.studies.class_scores import class_score_tables, description_table
from saywell.studies.class_subject import Steps, embed, example_tables
from saywell.studies.class_texts import article_tables, text_table, usable_texts, written_texts
from saywell.studies.class_worth import class_metrics, judged, measure_transfer, zero_shot
from saywell.studies.classify import MAP, READER, keep_reader
from saywell.studies.cost import note_cost
from saywell.transfer.cross_modal import Settings


@names_llm
def describe_classes(
    images: str | Path | Examples,
    *,
    out: str | Path,
    encoder: str | DualEncoder | Callable[[], DualEncoder],
    llm: LanguageModel | str | None = None,
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
    limit: int | None = None,
    seed: int = 0,
    settings: Settings | None = None,
    prompts: Path | None = None,
    command: Sequence[str] = (),
    progress: Progress = automatic,
) -> Study:
    """Describe classes of images in words, and measure which of the words help to recognise them.

    `images`     a folder of class folders, Parquet with image bytes, a CSV of paths and labels or a
                 saved dataset (see `load_images`, also for `label` and `split`), or what it returned.
    `encoder`    a CLIP or SigLIP checkpoint by folder or hub name, or any `DualEncoder`: vectors from
                 files, or a vision encoder joined to a sentence encoder. A function is called for it
                 when everything that can be checked without it has been.
    `llm`        writes texts in two stages and, with `judge`, compares them: a model, or its name as
                 in "openai:gpt-x"; None: texts are taken from the articles.
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
    `limit`      use that many images: of each class its share, chosen by content.
    `gold`       class, text (a sentence of the article) and good (boolean): used for figures only.

    A stopped run goes on where it was when called again with the same arguments, and leaves the
    same tables. Raises InputError for unusable input, StudyError when `out` holds another study.
    """
    assert not isinstance(llm, str)  # opened by then
    check_seed(seed)
    asked_for = read_request(
        images,
        asks=llm is not None,
        knowledge=knowledge,
        texts=texts,
        select=select,
        per_class=per_class,
        shots=shots,
        seeds=seeds,
        compare=compare,
        judge=judge,
        label=label,
        split=split,
        prompts=prompts,
    )
    rule, names, local, files = (asked_for.rule, asked_for.names, asked_for.knowledge, asked_for.files)
    reader = open_dual_encoder(encoder) if isinstance(encoder, str) else encoder
    shown = images if isinstance(images, Examples) else None
    if shown is None:
        with progress("images", 0) as advance:
            done = Steps(advance)
            shown = load_images(
                images,
                label=label,
                split=split,
                limit=limit,
                seed=seed,
                progress=done,  # type: ignore[arg-type]
            )
    _check_images(shown)
    if callable(reader):
        reader = reader()
    # Texts that nobody has to be asked for are made before there is a folder: where none can be
    # used, the name of the folder is still free.
    ready = None
    if local is not None and (asked_for.texts is not None or llm is None):
        ready = written_texts(names, local, reader, None, asked_for.texts, texts)
    asked = settings or Settings()
    config = {
        "llm": llm.name if llm else None,
        "knowledge": _named(knowledge),
        "texts": texts is not None,
        "encoder": reader.name,
        "joined": _joined(reader),
        "select": rule,
        "per_class": per_class,
        "shots": sorted(set(shots)),
        "seeds": seeds,
        "compare": sorted(files),
        "judge": judge,
        "network": _network_name(network) and [_network_name(network), network_epochs, network_side],
        "superclass": superclass,
        "context": list(context),
        "limit": limit,
        "seed": seed,
        "settings": json.loads(json.dumps(asked.__dict__)),
        "gold": gold is not None,
        "prompts": {name: load_prompt(name, prompts).hash for name in (*WRITING, *([JUDGE] if judge else []))}
        if llm
        else {},
    }
    inputs = {"images": shown.fingerprint, "encoder": reader.fingerprint}
    if local is not None:
        inputs["knowledge"] = local.fingerprint
    if asked_for.texts is not None:
        inputs["texts"] = _content(*asked_for.texts)
    inputs |= {f"compare {name}": _content(*given) for name, given in files.items()}
    if isinstance(network, nn.Module):
        inputs["network"] = model_fingerprint(network)
    if gold is not None:
        inputs["gold"] = combined(gold.select("class", "text", "good").write_ndjson())
    with write_study(
        out, kind="classes", config=config, inputs=inputs, command=list(command), report=write_report_classes
    ) as study:
        if study.finished:
            return Study(out)
        example_tables(study, shown)
        article_tables(study, local, names, wiki, context, progress)
        study.table(
            "class_texts",
            lambda: text_table(
                study,
                names,
                reader,
                llm,
                asked_for.texts,
                texts,
                ready,
                superclass,
                gold,
                prompts,
                seed,
                progress,
            ),
        )
        cache = EmbeddingCache(study.path / "embeddings.sqlite")
        space = embed(shown, names, reader, cache, progress)
        pool = text_pool(study, names, reader, cache, files, superclass, per_class, seed)
        measured = None
        if network is not None:
            uses = ("examples", "classes")

            def learn() -> None:
                with progress("network", 0) as advance:
                    network_influence(
                        network,
                        shown,
                        space.labels,
                        space.rows,
                        len(names),
                        study.arrays("network"),
                        epochs=network_epochs,
                        side=network_side,
                        seed=seed,
                        of=study.made_from(uses),
                        progress=advance,
                    )

            study.step("network", learn, files=("arrays/network",), uses=uses)
            measured = read_influence(study.arrays("network"))
        by = choosing(
            space.vectors, space.labels, space.rows[DESCRIBE], space.rows[SELECT], len(names), seed=seed
        )
        study.table("influence", lambda: influence_table(study, space, by, measured, config, seed))
        study.table(
            "text_scores", lambda: text_score_table(study, space, pool, by, measured, per_class, seed)
        )
        study.table("descriptions", lambda: description_table(study, space, rule))
        with progress("scores", 1):
            study.tables(
                ("scores", "floors", "counterexamples"),
                lambda: class_score_tables(study, space, pool, rule, per_class, seed),
            )
        with progress("zero-shot", 1):
            study.table("zero_shot", lambda: zero_shot(study, space, pool, by, rule, per_class, seed))
        measure_transfer(
            study, space, pool, by, rule, per_class, config["shots"], seeds, asked, seed, progress
        )
        if judge and llm is not None:
            with progress("judge", 0) as advance:
                study.table(
                    "judgements",
                    lambda: judged(study, shown, files, names, llm, rule, prompts, seed, advance),
                )
        study.write_metrics(class_metrics(study, names, rule, seed))
        picture_tables(study, shown, space, pool, seed, progress)

        def keep() -> None:
            if isinstance(reader, JoinedEncoder):
                save_map(reader.mapping, study.path / MAP)
            table, _ = usable_texts(study, names)
            keep_reader(
                study, table["id"].to_list(), pool.vectors[pool.texts], space.vectors[space.rows[DESCRIBE]]
            )

        kept = (READER, MAP) if isinstance(reader, JoinedEncoder) else (READER,)
        study.step("reader", keep, files=kept)
        write_notes(study, shown, space, pool, rule)
        note_cost(study)
    return Study(out)


def plan_classes(
    images: str | Path | Examples,
    llm: DryRun | None,
    *,
    knowledge: str | Path | Mapping[str, str] = NONE,
    texts: str | Path | Mapping[str, Sequence[str]] | None = None,
    select: str = "ift",
    per_class: int = 10,
    shots: Sequence[int] = (1, 2, 4, 8, 16),
    seeds: int = 5,
    compare: Sequence[str | Path] | Mapping[str, Mapping[str, Sequence[str]]] = (),
    judge: bool = False,
    superclass: str = "",
    context: Sequence[str] = (),
    wiki: Wiki | None = None,
    label: str = "label",
    split: str | None = None,
    seed: int = 0,
    prompts: Path | None = None,
) -> list[str]:
    """Tell a dry run what `describe_classes` would ask; nothing is sent to a model or stored.

    The options, columns and files are checked as `describe_classes` does, no picture is decoded.
    Articles are fetched, since they are most of what a model would read. The second stage and the
    judge depend on replies; the plan says what the longest lists of components would take.

    Returns the names of the classes. Raises InputError for unusable input.
    """
    asked_for = read_request(
        images,
        asks=llm is not None,
        knowledge=knowledge,
        texts=texts,
        select=select,
        per_class=per_class,
        shots=shots,
        seeds=seeds,
        compare=compare,
        judge=judge,
        label=label,
        split=split,
        prompts=prompts,
    )
    names = asked_for.names
    if llm is None:
        return names
    if texts is None:
        known = asked_for.knowledge or load_knowledge(knowledge, names, wiki=wiki, context=context)
        chosen = {name: load_prompt(name, prompts) for name in WRITING}
        write_texts(names, known, None, llm, superclass=superclass, prompts=chosen, seed=seed)
        read = [choose_passages(known.passages.filter(pl.col("class") == name))["text"] for name in names]
        characters = sum(int(passages.str.len_chars().sum()) for passages in read)
        each = 200 * (1 + MOST_COMPONENTS)
        llm.expect("class sentences", len(names), characters // 4 + 500 * len(names), each * len(names))
    if judge:
        questions = len(REPEATS) * len(names)
        llm.expect("judge", questions, 1500 * questions, 300 * questions)
    return names


def _check_images(shown: Examples) -> None:
    counts = class_counts(shown).select(pl.col(PARTS).sum()).row(0, named=True)
    for part in (DESCRIBE, SCORE):
        if counts[part] == 0:
            raise InputError(
                f"there is no image to {part} with among {shown.table.height} usable ones"
                f" ({counts}); give more images a class"
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
