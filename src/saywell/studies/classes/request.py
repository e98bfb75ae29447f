"""What a study of classes is asked for, read and checked before anything slow or lasting is done.

Nothing here decodes a picture, opens a model, asks anyone or writes a file: what is wrong with the
options, the columns or the files of texts is told at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from saywell.data.descriptor_files import load_descriptors
from saywell.data.examples import Examples
from saywell.data.image_sources import open_source
from saywell.data.images import check_limit, class_names
from saywell.data.knowledge import WIKIPEDIA, Knowledge, load_knowledge
from saywell.describers.class_texts.class_describer import WRITING, extract_texts
from saywell.describers.class_texts.describer import GivenTexts, check_usable
from saywell.describers.class_texts.given import GIVEN
from saywell.describers.describer import Describer
from saywell.describers.registry import find_describers
from saywell.errors import InputError
from saywell.language_models import load_prompt
from saywell.readers.registry import find_reader
from saywell.scorers.judge import JUDGE
from saywell.studies.classes.pool import Texts
from saywell.studies.settings import EXTRACTIVE, ClassSettings

SELECTS = {"ift": "ift-proponent"}
"""Short names of rules."""


@dataclass(frozen=True)
class ClassRequest:
    """What was asked for: the rule, the classes by name, and the texts that are known so far.

    `knowledge` is None where articles are yet to be fetched, `texts` where none were given.
    """

    rule: str
    names: list[str]
    knowledge: Knowledge | None
    texts: GivenTexts | None
    files: Mapping[str, Texts]


def read_request(images: str | Path | Examples, asked: ClassSettings) -> ClassRequest:
    """The request, where it can be met.

    Raises InputError for columns and files that are not there, classes that files do not name, and
    where no text for any class can come of it.
    """
    if isinstance(images, Examples):
        names = list(images.classes)
    else:
        opened = open_source(images, "image", asked.label, asked.split)
        names = sorted(set(class_names(opened.classes, repr(str(images)[:200])).values()))
    if len(names) < 2:
        raise InputError(
            f"there is one class, {names[0]!r}; telling classes apart takes two"
            if names
            else f"{str(images)[:200]!r} names no class"
        )
    if asked.limit is not None and not isinstance(images, Examples):
        check_limit(asked.limit, len(names))
    more_describers(asked)
    for reader in asked.reader:
        find_reader(reader, "image")
    asks = asked.llm != EXTRACTIVE
    if asks:
        for prompt in (*WRITING, *([JUDGE] if asked.judge else [])):
            load_prompt(prompt, asked.prompts)
    files = {name: load_descriptors(source, names) for name, source in _named(asked.compare).items()}
    given = None
    if asked.texts is not None:
        called = asked.texts.name if isinstance(asked.texts, Path) else GIVEN
        given = GivenTexts(*load_descriptors(asked.texts, names), called)
    local = None if asked.knowledge == WIKIPEDIA else load_knowledge(asked.knowledge, names)
    if local is not None and given is None and not asks:
        check_usable(extract_texts(names, local, None), names)
    return ClassRequest(SELECTS.get(asked.select, asked.select), names, local, given, files)


def more_describers(asked: ClassSettings) -> list[Describer]:
    """Those that write beside. Raises InputError for one that speaks in descriptors."""
    found = find_describers(asked.describer, "image")
    for describer in found:
        if describer.needs_tags:
            raise InputError(
                f"describer={describer.name!r} (--describer) speaks in descriptors, and nobody tags pictures"
                " of classes; leave it out"
            )
    return found


def _named(
    compare: Sequence[str | Path] | Mapping[str, Mapping[str, Sequence[str]]],
) -> Mapping[str, str | Path | Mapping[str, Sequence[str]]]:
    given = compare if isinstance(compare, Mapping) else {Path(file).stem: file for file in compare}
    if len(given) < len(compare):
        raise InputError(f"two of the files {[str(file) for file in compare]!r} have one name; rename one")
    return given
