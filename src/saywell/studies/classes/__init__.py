"""What do the classes of images look like, and which descriptions help? (arXiv 2511.07897)

The loop of `saywell.studies.spine`, with classes as units, and what the paper adds to it:

what outside texts say of every class, and texts about it    articles, passages, class_texts (the describer)
every rule's score of every text, and its choice             text_scores (the describer)
what each sentence is worth, and which contradict            sentence_scores, contradictions
images that help a class, and that harm it                   influence
classifying by texts alone                                   zero_shot
classifiers of images that go on with texts                  transfer, transfer_summary
what a judge thinks of the descriptions                      judgements
the picture: texts among images                              plane, thumbnails

Texts are chosen by describe and select images only. The control of what is verified are the same
descriptions where labels are exchanged within each part: what is written of a class does not depend on its
images, so nothing is written anew. What the choice alone can do is told by random words that the same
rule has chosen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from torch import nn

from saywell.data.examples import Examples
from saywell.data.images import class_counts, load_images
from saywell.data.knowledge import WIKIPEDIA, load_knowledge
from saywell.data.parts import DESCRIBE, PARTS, SCORE
from saywell.data.wikipedia import Wiki
from saywell.describers.class_texts.class_describer import WRITING, expect_texts
from saywell.describers.class_texts.describer import ClassTexts
from saywell.encoders.checkpoints import find_checkpoint
from saywell.encoders.dual import DualEncoder
from saywell.encoders.fingerprints import combined, model_fingerprint
from saywell.encoders.joined import JoinedEncoder
from saywell.errors import InputError
from saywell.language_models import Client, DryRun, LanguageModel
from saywell.progress import Progress, automatic, increments
from saywell.readers.registry import find_reader
from saywell.resources import Resources
from saywell.scorers.evaluate import Budget
from saywell.scorers.floors import AnotherUnit, ClassName, NearestSibling
from saywell.scorers.judge import JUDGE, expect_judgements
from saywell.selection.of_texts import Choice, ChosenTexts, LabelledImages
from saywell.store.study import Study
from saywell.studies.classes.classify import KeepReader
from saywell.studies.classes.figures import Figures
from saywell.studies.classes.influence import Influence
from saywell.studies.classes.judge import JUDGED, Judge
from saywell.studies.classes.network import RESNET34, Network
from saywell.studies.classes.notes import ClassCounts, Notes
from saywell.studies.classes.pictures import Pictures
from saywell.studies.classes.pool import Compared, templates
from saywell.studies.classes.request import ClassRequest, more_describers, read_request
from saywell.studies.classes.sentences import Sentences
from saywell.studies.classes.transfer import Gains, Transfer
from saywell.studies.classes.zero_shot import ZeroShot
from saywell.studies.dual_encoder import check_encoder, open_encoder
from saywell.studies.llm import Plan, counting_llm, opened_llm
from saywell.studies.settings import ClassSettings, named, settings_of
from saywell.studies.spine import Extra, Question, run
from saywell.transfer.cross_modal import Settings as Training
from saywell.units.labels import Labels

MEAN_OF_TEXTS = "mean-of-texts"
DERIVED = (Sentences(), Gains(), Figures())
"""The extras that follow from what is stored."""
STRONGEST = 50
"""Exemplars of a class at most, drawn by their content: one is as strong as another."""


@dataclass(frozen=True)
class Given:
    """What is given as an object, not by settings. `notes`: what is to be said of how it was made."""

    network: nn.Module | None = None
    wiki: Wiki | None = None
    gold: pl.DataFrame | None = None
    training: Training = field(default_factory=Training)
    notes: Sequence[str] = ()


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
    `llm`        writes texts in two stages and, with `judge`, compares them: a language model by its
                 name, as on the command line ("openai:gpt-x", "gguf:PATH"; see `saywell doctor`), opened
                 for the time of the run with the options of `LlmSettings` (`llm_url`, `max_usd`, ...), its
                 replies kept in `out`; or one that is open (`open_language_model`). None: texts are taken
                 from the articles.
    `network`    'resnet34', the name of a pretrained classifier, or a module that ends in a linear
                 layer and takes square images of side `network_side`.
    `wiki`       the client that fetches articles.
    `gold`       class, text (a sentence of the article) and good (boolean): used for figures only.
    `training`   how the classifiers of images are trained.

    A stopped run goes on where it was when called again with the same arguments, and leaves the
    same tables. Raises InputError for unusable input, StudyError when `out` holds another study.
    """
    asked = _settings(settings, options, encoder, llm, network)
    with (
        opened_llm(asked, Path(out), llm, progress) as opened,
        _opened_wiki(wiki, asked, Path(out)) as client,
    ):
        request = read_request(images, asked)
        module = network if isinstance(network, nn.Module) else None
        if module is None:
            _check_network(asked.network)
        dual, made_how = None if isinstance(encoder, str) else encoder, ()
        if dual is None:
            check_encoder(asked)
        shown = images if isinstance(images, Examples) else _loaded(images, asked, progress)
        _check_images(shown)
        if dual is None:  # joining two models takes a while, so it comes behind all checks
            source = "" if isinstance(images, Examples) else images
            dual, made_how = open_encoder(asked, source, asked.label)
        resources = Resources(
            dual=dual, llm=opened, seed=asked.seed, progress=progress, prompts=asked.prompts
        )
        given = Given(module, client, gold, training or Training(), made_how)
        question = class_question(shown, request, given, asked, resources)
        return run(question, shown, out=out, resources=resources, command=command)


def plan_classes(
    images: str | Path | Examples,
    *,
    out: str | Path | None = None,
    settings: ClassSettings | None = None,
    encoder: str | DualEncoder | Callable[[], DualEncoder] | None = None,
    llm: Client | DryRun | str | None = None,
    wiki: Wiki | None = None,
    **options: Any,
) -> Plan:
    """What `describe_classes` would ask a language model, step by step; nothing is sent or stored.

    The arguments are those of `describe_classes` and are checked as it does, as far as that can be
    without decoding pictures and joining encoders. Articles are fetched, since they are most of what a
    model would read. The second stage and the judge depend on replies: what is not there is made up, at
    its longest.

    Raises InputError for unusable input.
    """
    asked = _settings(settings, options, encoder, llm, None)
    folder = None if out is None else Path(out)
    with counting_llm(asked, folder, llm) as counting, _opened_wiki(wiki, asked, folder) as client:
        request = read_request(images, asked)
        _check_network(asked.network)
        if encoder is None or isinstance(encoder, str):
            check_encoder(asked)
            if asked.vision is None:  # joining two models takes a while
                open_encoder(asked, "" if isinstance(images, Examples) else images, asked.label)
        names, written = request.names, Resources(llm=counting, seed=asked.seed, prompts=asked.prompts)
        if counting is not None and request.texts is None:
            known = request.knowledge or load_knowledge(WIKIPEDIA, names, wiki=client, context=asked.context)
            prompts = {name: written.prompt(name) for name in WRITING}
            expect_texts(
                names, known, counting, superclass=asked.superclass, prompts=prompts, seed=asked.seed
            )
        if counting is not None and asked.judge:
            sources = (*JUDGED, request.rule, *request.files)
            expect_judgements(counting, names, sources, written.prompt(JUDGE), seed=asked.seed)
        return Plan(f"{len(names)} classes", [] if counting is None else counting.plan())


def class_question(
    examples: Examples, request: ClassRequest, given: Given, asked: ClassSettings, resources: Resources
) -> Question:
    """What is asked of classes of images; texts that nobody has to be asked for are made already.

    Where none of them can be used, no folder has been made yet. Raises InputError then.
    """
    names, parts, reader = request.names, examples.parts, resources.dual_encoder
    images = LabelledImages(examples.only(parts.describe), examples.only(parts.select), names, resources)
    choice = Choice(request.rule, asked.per_class, asked.seed)
    compared = Compared(images, choice, request.files, asked.superclass)
    writer = ClassTexts(
        request.texts, request.knowledge, given.wiki, asked.context, asked.superclass, given.gold
    )
    if request.knowledge is not None and (request.texts is not None or resources.llm is None):
        writer = replace(writer, ready=writer.written(names, request.knowledge, resources))
    model = given.network or asked.network
    network = None if model is None else Network(model, images, asked.network_epochs, asked.network_side)
    measured = None if network is None else network.influence
    joined = [reader.vision.name, reader.sentence.name] if isinstance(reader, JoinedEncoder) else None
    prompts = (*WRITING, JUDGE) if asked.judge else WRITING
    config = asked.stored() | {
        "knowledge": "given" if isinstance(asked.knowledge, Mapping) else str(asked.knowledge),
        "texts": asked.texts is not None,
        "encoder": reader.name,
        "joined": joined,
        "select": request.rule,
        "shots": sorted(set(asked.shots)),
        "compare": sorted(request.files),
        "network": asked.network and [asked.network, asked.network_epochs, asked.network_side],
        "training": asdict(given.training),
        "gold": given.gold is not None,
        "prompts": {name: resources.prompt(name).hash for name in prompts} if resources.llm else {},
    }
    extras: list[Extra] = [
        ClassCounts(),
        Sentences(),
        Influence(compared, network, asked.network or ""),
        ZeroShot(compared),
        Transfer(compared, asked.shots, asked.seeds, given.training),
        Gains(),
        *([Judge(compared)] if asked.judge and resources.llm is not None else []),
        Figures(),
        Pictures(compared),
        KeepReader(compared),
        Notes(compared, given.notes),
    ]
    return Question(
        "classes",
        Labels(tuple(names)),
        [ChosenTexts(writer, choice, images, measured), *more_describers(asked)],
        [find_reader(name, "image") for name in asked.reader or [MEAN_OF_TEXTS]],
        config,
        dict(_inputs(request, given, resources)),
        floors=(AnotherUnit(), NearestSibling(), ClassName(templates(resources))),
        extras=extras,
        strongest=STRONGEST,
        budget=Budget(asked.llm_units),
    )


def _inputs(request: ClassRequest, given: Given, resources: Resources) -> Iterator[tuple[str, str]]:
    """Fingerprints of all that is read beside the images."""
    yield "encoder", resources.dual_encoder.fingerprint
    if request.knowledge is not None:
        yield "knowledge", request.knowledge.fingerprint
    if request.texts is not None:
        yield "texts", _content(*request.texts[:2])
    for name, texts in request.files.items():
        yield f"compare {name}", _content(*texts)
    if given.network is not None:
        yield "network", model_fingerprint(given.network)
    if given.gold is not None:
        yield "gold", combined(given.gold.select("class", "text", "good").write_ndjson())


def _check_network(name: str | None) -> None:
    if name not in (None, RESNET34):
        find_checkpoint(name)


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


def _loaded(images: str | Path, asked: ClassSettings, progress: Progress) -> Examples:
    with progress("images", 0) as advance:
        return load_images(
            images,
            label=asked.label,
            split=asked.split,
            limit=asked.limit,
            seed=asked.seed,
            progress=increments(advance),
        )


def _check_images(shown: Examples) -> None:
    counts = class_counts(shown).select(pl.col(PARTS).sum()).row(0, named=True)
    for part in (DESCRIBE, SCORE):
        if counts[part] == 0:
            raise InputError(
                f"there is no image to {part} with among {shown.table.height} usable ones"
                f" ({counts}); give more images a class"
            )


def _content(texts: Sequence[str], text_class: np.ndarray) -> str:
    digest = hashlib.blake2b(json.dumps(list(texts)).encode(), digest_size=16)
    digest.update(text_class.astype("<i8").tobytes())
    return digest.hexdigest()
