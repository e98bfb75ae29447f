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
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from torch import nn

from saywell.data.examples import Examples
from saywell.data.images import class_counts, load_images
from saywell.data.knowledge import WIKIPEDIA, load_knowledge
from saywell.data.parts import DESCRIBE, PARTS, SCORE, SELECT
from saywell.data.wikipedia import Wiki
from saywell.describers.class_texts.class_describer import CLASS_TEXTS, WRITING, expect_texts
from saywell.encoders.cache import EmbeddingCache
from saywell.encoders.dual import DualEncoder
from saywell.encoders.fingerprints import combined, model_fingerprint
from saywell.encoders.joined import JoinedEncoder, save_map
from saywell.errors import InputError
from saywell.influence.proponents import INFLUENCE
from saywell.language_models import DryRun, LanguageModel, load_prompt
from saywell.progress import Progress, automatic
from saywell.report.page import write_report
from saywell.scorers.judge import JUDGE, JUDGEMENTS, expect_judgements
from saywell.scorers.text_influence import TEXT_SCORES
from saywell.store.study import Study, write_study
from saywell.studies.class_choice import influence_table, text_pool, text_score_table
from saywell.studies.class_encoder import Opened, check_encoder, open_encoder
from saywell.studies.class_network import network_influence, read_influence
from saywell.studies.class_notes import write_notes
from saywell.studies.class_pictures import picture_tables
from saywell.studies.class_request import read_request
from saywell.studies.class_rows import choosing
from saywell.studies.class_scores import class_score_tables, description_table
from saywell.studies.class_subject import Steps, embed, example_tables
from saywell.studies.class_texts import article_tables, text_table, usable_texts, written_texts
from saywell.studies.class_worth import JUDGED, class_metrics, judged, measure_transfer, zero_shot
from saywell.studies.classify import MAP, READER, keep_reader
from saywell.studies.cost import note_cost
from saywell.studies.llm import Plan, counting_llm, opened_llm
from saywell.studies.settings import ClassSettings, named, settings_of
from saywell.transfer.cross_modal import Settings as Training
from saywell.transfer.text_sets import ZERO_SHOT


class Given(NamedTuple):
    """What a study of classes is of, and what is no plain value; None: as the settings say."""

    images: str | Path | Examples
    encoder: DualEncoder | Callable[[], DualEncoder] | None
    network: nn.Module | None
    gold: pl.DataFrame | None
    training: Training


def describe_classes(
    images: str | Path | Examples,
    *,
    out: str | Path,
    settings: ClassSettings | None = None,
    encoder: str | DualEncoder | Callable[[], DualEncoder] | None = None,
    llm: LanguageModel | str | None = None,
    network: str | nn.Module | None = None,
    wiki: Wiki | None = None,
    gold: pl.DataFrame | None = None,
    training: Training | None = None,
    command: Sequence[str] = (),
    progress: Progress = automatic,
    **options: Any,
) -> Study:
    """Describe classes of images in words, and measure which of the words help to recognise them.

    `images`     a folder of class folders, Parquet with image bytes, a CSV of paths and labels or a
                 saved dataset (see `load_images`, also for `label` and `split`), or what it returned.
    `settings`, `options`: the fields of `ClassSettings`, as a record or one by one (`per_class=5`).
                 `knowledge`, `texts` and `compare` may also be mappings: class -> article,
                 class -> texts, and name -> class -> texts.
    `encoder`    a CLIP or SigLIP checkpoint by folder or hub name, or any `DualEncoder`. A function
                 is called for it when everything that can be checked without it has been.
    `llm`        writes texts in two stages and, with `judge`, compares them: a model, or its name as
                 in "openai:gpt-x"; None: texts are taken from the articles.
    `network`    'resnet34', the name of a pretrained classifier, or a module that ends in a linear
                 layer and takes square images of side `network_side`.
    `wiki`       the client that fetches articles.
    `gold`       class, text (a sentence of the article) and good (boolean): used for figures only.
    `training`   how the classifiers of images are trained.

    A stopped run goes on where it was when called again with the same arguments, and leaves the
    same tables. Raises InputError for unusable input, StudyError when `out` holds another study.
    """
    asked = _settings(settings, options, encoder, llm, network)
    given = Given(
        images,
        None if isinstance(encoder, str) else encoder,
        network if isinstance(network, nn.Module) else None,
        gold,
        training or Training(),
    )
    with opened_llm(asked, Path(out), llm) as opened, _opened_wiki(wiki, asked, Path(out)) as client:
        return _described(given, asked, opened, client, Path(out), command, progress)


def _settings(
    settings: ClassSettings | None, options: dict[str, Any], encoder, llm, network
) -> ClassSettings:
    if isinstance(network, nn.Module):
        network = type(network).__name__
    by_name = encoder if isinstance(encoder, str) else None
    return settings_of(ClassSettings, settings, options | named(encoder=by_name, llm=llm, network=network))


def _opened_wiki(wiki: Wiki | None, asked: ClassSettings, out: Path | None) -> AbstractContextManager[Wiki]:
    """The client; of one's own, its replies are kept beside the study."""
    if wiki is not None:
        return nullcontext(wiki)
    cache = None if out is None else out.parent / "wikipedia"
    return Wiki(asked.language, cache=cache, contact=asked.contact)


def _described(
    given: Given,
    asked: ClassSettings,
    llm: LanguageModel | None,
    wiki: Wiki,
    out: Path,
    command: Sequence[str],
    progress: Progress,
) -> Study:
    request = read_request(given.images, asked)
    if given.encoder is None:
        check_encoder(asked)
    training = given.training
    rule, names, local, files = request.rule, request.names, request.knowledge, request.files
    per_class, seed, prompts, gold = asked.per_class, asked.seed, asked.prompts, given.gold
    shown = given.images if isinstance(given.images, Examples) else _loaded(given.images, asked, progress)
    _check_images(shown)
    reader, made_how = _opened_encoder(given, asked)
    # Texts that nobody has to be asked for are made before there is a folder: where none can be
    # used, the name of the folder is still free.
    ready = None
    if local is not None and (request.texts is not None or llm is None):
        ready = written_texts(names, local, reader, None, request.texts, asked.texts)
    network = given.network or asked.network
    config = asked.stored() | {
        "knowledge": "given" if isinstance(asked.knowledge, Mapping) else str(asked.knowledge),
        "texts": asked.texts is not None,
        "encoder": reader.name,
        "joined": _joined(reader),
        "select": rule,
        "shots": sorted(set(asked.shots)),
        "compare": sorted(files),
        "network": asked.network and [asked.network, asked.network_epochs, asked.network_side],
        "training": asdict(training),
        "gold": gold is not None,
        "prompts": {name: load_prompt(name, prompts).hash for name in _prompts(asked)} if llm else {},
    }
    inputs = {"images": shown.fingerprint, "encoder": reader.fingerprint}
    if local is not None:
        inputs["knowledge"] = local.fingerprint
    if request.texts is not None:
        inputs["texts"] = _content(*request.texts)
    inputs |= {f"compare {name}": _content(*texts) for name, texts in files.items()}
    if given.network is not None:
        inputs["network"] = model_fingerprint(given.network)
    if gold is not None:
        inputs["gold"] = combined(gold.select("class", "text", "good").write_ndjson())
    with write_study(
        out, kind="classes", config=config, inputs=inputs, command=list(command), report=write_report
    ) as study:
        if study.finished:
            return Study(out)
        example_tables(study, shown)
        article_tables(study, local, names, wiki, asked.context, progress)
        study.table(
            CLASS_TEXTS,
            lambda: text_table(
                study,
                names,
                reader,
                llm,
                request.texts,
                asked.texts,
                ready,
                asked.superclass,
                gold,
                prompts,
                seed,
                progress,
            ),
        )
        cache = EmbeddingCache(study.path / "embeddings.sqlite")
        space = embed(shown, names, reader, cache, progress)
        pool = text_pool(study, names, reader, cache, files, asked.superclass, per_class, seed)
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
                        epochs=asked.network_epochs,
                        side=asked.network_side,
                        seed=seed,
                        of=study.made_from(uses),
                        progress=advance,
                    )

            study.step("network", learn, files=("arrays/network",), uses=uses)
            measured = read_influence(study.arrays("network"))
        by = choosing(
            space.vectors, space.labels, space.rows[DESCRIBE], space.rows[SELECT], len(names), seed=seed
        )
        study.table(INFLUENCE, lambda: influence_table(study, space, by, measured, config, seed))
        study.table(TEXT_SCORES, lambda: text_score_table(study, space, pool, by, measured, per_class, seed))
        study.table("descriptions", lambda: description_table(study, space, rule))
        with progress("scores", 1):
            study.tables(
                ("scores", "floors", "counterexamples"),
                lambda: class_score_tables(study, space, pool, rule, per_class, seed),
            )
        with progress("zero-shot", 1):
            study.table(ZERO_SHOT, lambda: zero_shot(study, space, pool, by, rule, per_class, seed))
        measure_transfer(
            study,
            space,
            pool,
            by,
            rule,
            per_class,
            config["shots"],
            asked.seeds,
            given.training,
            seed,
            progress,
        )
        if asked.judge and llm is not None:
            with progress("judge", 0) as advance:
                study.table(
                    JUDGEMENTS, lambda: judged(study, shown, files, names, llm, rule, prompts, seed, advance)
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
        for note in made_how:
            study.note(note)
        write_notes(study, shown, space, pool, rule)
        note_cost(study)
    return Study(out)


def plan_classes(
    images: str | Path | Examples,
    *,
    out: str | Path | None = None,
    settings: ClassSettings | None = None,
    encoder: str | DualEncoder | Callable[[], DualEncoder] | None = None,
    llm: DryRun | str | None = None,
    wiki: Wiki | None = None,
    **options: Any,
) -> Plan:
    """What `describe_classes` would ask a language model, step by step; nothing is sent or stored.

    The arguments are those of `describe_classes` and are checked as it does; no picture is decoded and
    no encoder opened. Articles are fetched, since they are most of what a model would read. The second
    stage and the judge depend on replies: what is not there is made up, at its longest.

    Raises InputError for unusable input.
    """
    asked = _settings(settings, options, encoder, llm, None)
    folder = None if out is None else Path(out)
    with counting_llm(asked, folder, llm) as counting, _opened_wiki(wiki, asked, folder) as client:
        request = read_request(images, asked)
        if encoder is None or isinstance(encoder, str):
            check_encoder(asked)
        names = request.names
        if counting is not None and request.texts is None:
            known = request.knowledge or load_knowledge(WIKIPEDIA, names, wiki=client, context=asked.context)
            prompts = {name: load_prompt(name, asked.prompts) for name in WRITING}
            expect_texts(
                names, known, counting, superclass=asked.superclass, prompts=prompts, seed=asked.seed
            )
        if counting is not None and asked.judge:
            sources = (*JUDGED, request.rule, *request.files)
            expect_judgements(counting, names, sources, load_prompt(JUDGE, asked.prompts), seed=asked.seed)
        return Plan(f"{len(names)} classes", [] if counting is None else counting.plan())


def _prompts(asked: ClassSettings) -> tuple[str, ...]:
    return (*WRITING, JUDGE) if asked.judge else WRITING


def _loaded(images: str | Path, asked: ClassSettings, progress: Progress) -> Examples:
    with progress("images", 0) as advance:
        return load_images(
            images,
            label=asked.label,
            split=asked.split,
            limit=asked.limit,
            seed=asked.seed,
            progress=Steps(advance),
        )


def _opened_encoder(given: Given, asked: ClassSettings) -> Opened:
    if given.encoder is not None:
        return Opened(given.encoder() if callable(given.encoder) else given.encoder, [])
    source = given.images if not isinstance(given.images, Examples) else ""
    return open_encoder(asked, source, asked.label)


def _check_images(shown: Examples) -> None:
    counts = class_counts(shown).select(pl.col(PARTS).sum()).row(0, named=True)
    for part in (DESCRIBE, SCORE):
        if counts[part] == 0:
            raise InputError(
                f"there is no image to {part} with among {shown.table.height} usable ones"
                f" ({counts}); give more images a class"
            )


def _joined(encoder: DualEncoder) -> list[str] | None:
    if not isinstance(encoder, JoinedEncoder):
        return None
    return [encoder.vision.name, encoder.sentence.name]


def _content(texts: Sequence[str], classes: np.ndarray) -> str:
    digest = hashlib.blake2b(json.dumps(list(texts)).encode(), digest_size=16)
    digest.update(classes.astype("<i8").tobytes())
    return digest.hexdigest()
