"""Who describes and reads texts or pictures where the question leaves that to the user: whatever the units.

The strictest reader decides what is verified. One that shares its model with the units can only support: it
would be asked about its own thoughts, as would tags that it found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from saywell.claims.paraphrase import PARAPHRASE
from saywell.data.examples import Examples
from saywell.data.names import read_names
from saywell.describers.describer import Describer, Tagger
from saywell.describers.descriptors.asking import FIND, TAG
from saywell.describers.descriptors.taggers import ExtractiveTags, GoldTags, LLMTags, PhraseTags, sharing
from saywell.describers.given import Given
from saywell.describers.registry import DESCRIBERS, find_describers
from saywell.encoders.dual import DualEncoder
from saywell.encoders.fingerprints import combined
from saywell.encoders.sentence import SentenceEncoder
from saywell.errors import InputError
from saywell.language_models import LanguageModel
from saywell.progress import Progress
from saywell.readers.claims import ClaimReader
from saywell.readers.detection import DETECT, DETECT_ONE
from saywell.readers.registry import find_reader
from saywell.resources import Resources
from saywell.scorers.evaluate import Budget
from saywell.scorers.floors import FLOORS, NearestSibling
from saywell.studies.dual_encoder import check_encoder, open_encoder
from saywell.studies.meanings import Meanings
from saywell.studies.settings import ExampleSettings
from saywell.studies.spine import Extra, Question
from saywell.studies.surprised import surprised_by
from saywell.studies.thumbnails import Thumbnails
from saywell.units.models import LoadedModel
from saywell.units.source import ActivationSource

OWN_ENCODER = "The encoder that compares words with examples is the model that the units are of."
OWN_TAGS = "The descriptions are made of these tags."


@dataclass(frozen=True)
class Asked:
    """A question that is to be answered the usual way.

    `describers` and `readers`: who writes and reads of texts where nobody is named. `model`: what the units
    are of; `own`: whether it is the one that compares examples with words. `given`: who wrote, in place of
    all who could be named.
    """

    kind: str
    source: ActivationSource
    describers: Sequence[str]
    readers: Sequence[str]
    model: Any = None
    own: bool = False
    given: Sequence[Describer] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    extras: Sequence[Extra] = ()


def question_of(one: Asked, examples: Examples, asked: ExampleSettings, resources: Resources) -> Question:
    """Who writes, who reads, and what has to be known of it."""
    pictures, kind = examples.kind == "image", examples.kind
    phrases = () if asked.vocabulary is None else phrases_in(asked.vocabulary)
    own = one.own
    describers = one.given or find_describers(
        asked.describer or one.describers, kind, threshold=asked.threshold, topics=not own and not asked.tags
    )
    measured = pictures and only_measured(asked)
    usual = ["claims"] if measured else _readers(one, asked, resources, pictures)
    readers = [find_reader(name, kind) for name in asked.reader or usual]
    with_encoder = not measured and (pictures or not asked.tags or "sentence-encoder" in asked.reader)
    prompts = (FIND, TAG, DETECT, DETECT_ONE, *[PARAPHRASE] * asked.paraphrase)
    config = asked.stored() | {
        "llm_units": asked.llm_units if any(reader.costly for reader in readers) else 0,
        "encoder": (asked.encoder or "minilm") if with_encoder and not pictures else asked.encoder,
        "units": one.source.name,
        "own_encoder": own,
        "prompts": {n: resources.prompt(n).hash for n in prompts} if resources.llm else {},
        **one.config,
    }
    studied = one.model if isinstance(one.model, LoadedModel) else None
    surprised = surprised_by(asked, readers, resources, studied)
    config |= surprised.config
    inputs = {"units": one.source.fingerprint, **surprised.inputs, **one.inputs}
    if brought := [each for each in one.given if isinstance(each, Given)]:
        # Sentences that were written to be understood are not taken at their word.
        readers = [replace(r, literal=False) if isinstance(r, ClaimReader) else r for r in readers]
        config["literal"] = False
        inputs["given"] = combined(*(each.fingerprint for each in brought))
    tagged = phrases or any(d.needs_tags for d in describers) or any(r.name == "tags" for r in readers)
    tagger = _tagger(asked, resources, phrases, pictures) if tagged and not measured else None
    if phrases:
        inputs["vocabulary"] = combined(*phrases)
    if with_encoder:
        inputs["encoder"] = resources.fingerprint(examples)
    return Question(
        one.kind,
        one.source,
        describers,
        readers,
        config,
        inputs,
        tagger,
        # Which units are siblings an encoder says; without one the others have to be beaten.
        floors=[f for f in FLOORS.values() if with_encoder or not isinstance(f, NearestSibling)],
        extras=[
            *([Meanings()] if with_encoder and tagger is not None else []),
            *([Thumbnails()] if pictures else []),
            *one.extras,
        ],
        strongest=asked.top,
        budget=Budget(asked.llm_units),
        control=asked.control,
        caveats=caveats_of(config),
        paraphrase=asked.paraphrase,
        shared=(sharing(tagger) if own and tagger is not None else frozenset()) | surprised.shared,
    )


def usual_resources(
    examples: Examples,
    source: Any,
    asked: ExampleSettings,
    encoder: str | SentenceEncoder | DualEncoder | None,
    llm: LanguageModel | None,
    progress: Progress,
) -> Resources:
    """Encoders of texts, or of pictures from `source`, opened when first asked for."""
    pictures = examples.kind == "image"
    none = encoder is None and not any((asked.encoder, asked.vision, asked.image_vectors))
    unseen = not pictures or (only_measured(asked) and none)
    return Resources(
        "minilm" if pictures else encoder or asked.encoder or "minilm",  # type: ignore[arg-type]
        None if unseen else _dual(source, asked, encoder),
        llm=llm,
        seed=asked.seed,
        progress=progress,
        prompts=asked.prompts,
        device=asked.device or "auto",
    )


def only_measured(asked: ExampleSettings) -> bool:
    """Whether pictures are only measured: nobody who describes them needs phrases, and there are none."""
    known = [DESCRIBERS[name] for name in asked.describer if name in DESCRIBERS]
    return asked.vocabulary is None and bool(known) and not any(each.needs_tags for each in known)


def phrases_in(vocabulary: Path | Sequence[str]) -> list[str]:
    """The phrases of a list or a file, each once, in order. Raises InputError where there are none."""
    found = [" ".join(phrase.split()) for phrase in read_names(vocabulary, "phrases")]
    phrases = list(dict.fromkeys(phrase for phrase in found if phrase))
    if len(phrases) < 2:
        raise InputError(
            f"vocabulary={str(vocabulary)[:80]!r} has {len(phrases)} phrases; give two or more, one a line"
        )
    return phrases


def same_model(model: Any, asked: ExampleSettings, pictures: bool) -> bool:
    """Whether the units are of the model that reads."""
    name = getattr(model, "name", None)
    return name is not None and name in (
        (asked.encoder, asked.vision) if pictures else (asked.encoder or "minilm",)
    )


def caveats_of(config: Mapping[str, Any]) -> dict[str, str]:
    """By reader what has to be known of its verdicts, from the settings of a study."""
    own = OWN_ENCODER if config.get("own_encoder") else ""
    return {"tags": "" if config["tags"] else OWN_TAGS, "sentence-encoder": own, "dual-encoder": own}


def _readers(one: Asked, asked: ExampleSettings, resources: Resources, pictures: bool) -> list[str]:
    """Who reads where nobody is named."""
    if pictures:
        names = ["claims", "dual-encoder", "tags"]
    elif asked.tags:
        names = ["claims", "tags", "lexical"]
    else:
        names = list(one.readers)
    return [*names, "detection"] if resources.llm and asked.llm_units else names


def _tagger(asked: ExampleSettings, resources: Resources, phrases: Sequence[str], pictures: bool) -> Tagger:
    if phrases:
        return PhraseTags(phrases)
    if pictures:
        raise InputError(
            "pictures are described by phrases that somebody brings: vocabulary=... (--vocabulary FILE);"
            " or by what is measured of them: describer='claims' (--describer claims)"
        )
    return GoldTags() if asked.tags else LLMTags() if resources.llm else ExtractiveTags()


def _dual(
    source: Any, asked: ExampleSettings, encoder: str | SentenceEncoder | DualEncoder | None
) -> DualEncoder | Callable[[], DualEncoder]:
    """What sees pictures and reads words."""
    if encoder is not None and not isinstance(encoder, str):
        return encoder  # type: ignore[return-value]
    check_encoder(
        asked, "; what is measured of pictures needs none: describer=['claims'] (--describer claims)"
    )
    return lambda: open_encoder(asked, source, None).encoder
