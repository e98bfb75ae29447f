"""`saywell classes`: describe classes of images, and measure which descriptions help."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saywell.cli.options import (
    AsJson,
    Concurrency,
    LlmDeadline,
    LlmEffort,
    LlmReplyTokens,
    LlmUrl,
    MaxCalls,
    MaxTokens,
    MaxUsd,
    PlanOnly,
    Prompts,
    Replay,
)

if TYPE_CHECKING:
    from saywell.encoders.dual import DualEncoder


def classes(
    images: Annotated[
        str, typer.Argument(help="Folder of class folders, Parquet, CSV of path,label, saved dataset.")
    ],
    out: Annotated[Path, typer.Option(help="Study folder to write.")],
    encoder: Annotated[
        str | None,
        typer.Option(help="CLIP or SigLIP checkpoint: folder, hub name; 'planted' for the demo's alone."),
    ] = None,
    vision: Annotated[
        str | None, typer.Option(help="Without a dual encoder: vision model to be joined.")
    ] = None,
    sentences: Annotated[str, typer.Option(help="With --vision: sentence encoder to be joined.")] = "minilm",
    join_on: Annotated[
        str | None, typer.Option(help="With --vision: named or captioned images to fit on.")
    ] = None,
    join_label: Annotated[str, typer.Option(help="With --join-on: column with names or captions.")] = "label",
    join_caption: Annotated[
        str, typer.Option(help="With --join-on: what is around a name, as 'a photo of a {}'.")
    ] = "{}",
    image_vectors: Annotated[
        Path | None, typer.Option(help="Instead of an encoder: file with vectors of the images.")
    ] = None,
    text_vectors: Annotated[
        Path | None, typer.Option(help="With --image-vectors: file with vectors of texts.")
    ] = None,
    llm: Annotated[
        str, typer.Option(help="Who writes texts: 'extractive' or PROVIDER:MODEL.")
    ] = "extractive",
    knowledge: Annotated[
        str, typer.Option(help="'wikipedia', a folder or table of articles, or 'none'.")
    ] = "none",
    texts: Annotated[
        Path | None, typer.Option(help="Choose from these texts (JSON, Parquet, CSV); write none.")
    ] = None,
    select: Annotated[
        str, typer.Option(help="Rule that chooses: ift (true), stepwise (accurate) ...")
    ] = "ift",
    per_class: Annotated[int, typer.Option(help="Texts chosen for a class.")] = 10,
    shots: Annotated[str, typer.Option(help="Images a class in low-shot rows.")] = "1,2,4,8,16",
    seeds: Annotated[int, typer.Option(help="Draws of the shots.")] = 5,
    compare: Annotated[
        list[Path] | None, typer.Option(help="File of class -> texts, a further row; repeatable.")
    ] = None,
    judge: Annotated[bool, typer.Option("--judge", help="Have the LLM compare texts.")] = False,
    network: Annotated[
        str | None, typer.Option(help="Also influence from pixels: resnet34 or a classifier's name.")
    ] = None,
    network_epochs: Annotated[int, typer.Option(help="How long the network learns.")] = 200,
    network_side: Annotated[int, typer.Option(help="Side of the network's images, pixels.")] = 64,
    superclass: Annotated[str, typer.Option(help="What all classes are, such as bird.")] = "",
    context: Annotated[str, typer.Option(help="Words that decide what an ambiguous class name means.")] = "",
    language: Annotated[str, typer.Option(help="Language of the Wikipedia.")] = "en",
    contact: Annotated[
        str, typer.Option(help="Your address or page, told to Wikipedia with each request.")
    ] = "",
    label: Annotated[str, typer.Option(help="Column with the class.")] = "label",
    split: Annotated[
        str | None, typer.Option(help="Column with train, validation, test; else by hash.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Use that many images, of all classes.")] = None,
    seed: Annotated[int, typer.Option(help="Splits and controls depend on it.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps, for encoders.")] = None,
    prompts: Prompts = None,
    llm_url: LlmUrl = None,
    llm_deadline: LlmDeadline = 600.0,
    llm_effort: LlmEffort = None,
    llm_reply_tokens: LlmReplyTokens = 16_384,
    max_calls: MaxCalls = None,
    max_usd: MaxUsd = None,
    max_tokens: MaxTokens = None,
    concurrency: Concurrency = 16,
    dry_run: PlanOnly = False,
    replay: Replay = False,
    json: AsJson = False,
) -> None:
    """Describe classes of images, choose the descriptions that help, and show what they are worth.

    A stopped run goes on when the same command is given again.
    """
    from saywell.cli.llm import opened_llm, print_plan
    from saywell.cli.progress import terminal_progress
    from saywell.cli.show import print_study
    from saywell.data.wikipedia import Wiki
    from saywell.studies.classes import describe_classes, plan_classes

    with (
        opened_llm(
            llm,
            out / "calls.sqlite",
            url=llm_url,
            deadline=llm_deadline,
            effort=llm_effort,
            reply_tokens=llm_reply_tokens,
            max_calls=max_calls,
            max_usd=max_usd,
            max_tokens=max_tokens,
            replay=replay,
            concurrency=concurrency,
            dry_run=dry_run,
        ) as asked,
        Wiki(language, cache=out.parent / "wikipedia", contact=contact) as wiki,
    ):
        encoders = {
            "vision": vision,
            "sentences": sentences,
            "join_on": join_on,
            "join_label": join_label,
            "join_caption": join_caption,
            "image_vectors": image_vectors,
            "text_vectors": text_vectors,
        }
        check_encoder(encoder, **encoders)
        asked_for = {
            "knowledge": knowledge,
            "texts": texts,
            "select": select,
            "per_class": per_class,
            "shots": parse_shots(shots),
            "seeds": seeds,
            "compare": compare or [],
            "judge": judge,
            "superclass": superclass,
            "context": context.split(),
            "wiki": wiki,
            "label": label,
            "split": split,
            "seed": seed,
            "prompts": prompts,
        }
        if dry_run:
            names = plan_classes(images, asked, **asked_for)
            if not json:
                typer.echo(f"{len(names)} classes; options, columns and files can be used")
            print_plan([] if asked is None else asked.plan(), json=json)
            return
        study = describe_classes(
            images,
            out=out,
            llm=asked,
            network=network,
            network_epochs=network_epochs,
            network_side=network_side,
            limit=limit,
            command=sys.argv,
            progress=terminal_progress,
            encoder=lambda: opened_encoder(encoder, images=images, label=label, device=device, **encoders),
            **asked_for,
        )
    print_study(study, json=json)


def parse_shots(text: str) -> list[int]:
    """`1,2,4` as [1, 2, 4]; empty for none.

    Raises InputError for anything else.
    """
    from saywell.errors import InputError

    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"--shots {text!r} is no list of numbers; write it like 1,2,4,8,16")
    return [int(part) for part in parts]


def check_encoder(
    encoder: str | None,
    *,
    vision: str | None,
    sentences: str,
    join_on: str | None,
    join_label: str,
    join_caption: str,
    image_vectors: Path | None,
    text_vectors: Path | None,
) -> None:
    """Whether the options name one encoder, and files that are there; nothing is opened.

    Raises InputError when they do not.
    """
    from saywell.data.image_sources import open_source
    from saywell.encoders.checkpoints import find_checkpoint
    from saywell.errors import InputError

    if sum(given is not None for given in (encoder, vision, image_vectors)) != 1:
        raise InputError(
            "give one of --encoder (a CLIP or SigLIP checkpoint), --vision with --join-on (two models"
            " to be joined), or --image-vectors with --text-vectors (files)"
        )
    if encoder is not None:
        find_checkpoint(encoder)
    elif image_vectors is not None:
        if text_vectors is None:
            raise InputError("--image-vectors needs --text-vectors, a Parquet file of texts")
        for file in (image_vectors, text_vectors):
            if not file.is_file():
                raise InputError(f"there is no file {str(file)!r} with vectors")
    elif vision is not None:
        if join_on is None:
            raise InputError(
                "--vision needs --join-on: images with names or captions, to join it to --sentences"
            )
        find_checkpoint(vision)
        find_checkpoint(sentences)
        open_source(join_on, "image", join_label, None)
        if "{}" not in join_caption:
            raise InputError(f"--join-caption {join_caption!r} has no {{}} for the name to stand in")


def opened_encoder(
    encoder: str | None,
    *,
    images: str,
    label: str,
    vision: str | None,
    sentences: str,
    join_on: str | None,
    join_label: str,
    join_caption: str,
    image_vectors: Path | None,
    text_vectors: Path | None,
    device: str | None,
) -> DualEncoder:
    """The dual encoder that the options name, in one of three ways; they are those of `check_encoder`.

    Two models are joined for pictures of the size that those of `images` have, whose classes are in
    column `label`.
    """
    check_encoder(
        encoder,
        vision=vision,
        sentences=sentences,
        join_on=join_on,
        join_label=join_label,
        join_caption=join_caption,
        image_vectors=image_vectors,
        text_vectors=text_vectors,
    )
    if encoder is not None:
        from saywell.encoders.dual import open_dual_encoder

        return open_dual_encoder(encoder, device=device)
    if image_vectors is not None and text_vectors is not None:
        from saywell.encoders.precomputed import open_precomputed

        return open_precomputed(image_vectors, text_vectors)
    assert vision is not None and join_on is not None  # see check_encoder
    from saywell.data.captioned import load_captioned, much_larger, typical_side
    from saywell.encoders.joined import join_encoders
    from saywell.encoders.sentence import open_sentence_encoder
    from saywell.encoders.vision import open_vision_encoder

    side = typical_side(images, label=label)
    found = load_captioned(join_on, label=join_label, caption=join_caption)
    if found.rejected:
        typer.secho(
            f"--join-on: {len(found.rejected)} images are not used, such as {found.rejected[0]!r}", err=True
        )
    larger = sum(much_larger(picture, side) for picture in found.pictures)
    if larger:
        typer.secho(
            f"--join-on: {larger} pictures are also learned from at {side} pixels, the size of yours",
            err=True,
        )
    return join_encoders(
        open_vision_encoder(vision, device=device),
        open_sentence_encoder(sentences, device=device),
        found.pictures,
        found.captions,
        side=side,
    )
