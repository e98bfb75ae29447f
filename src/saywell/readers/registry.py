"""Who can read: a new reader is one file and one line here."""

from __future__ import annotations

from saywell.data.examples import Kind
from saywell.errors import InputError
from saywell.readers.claims import ClaimReader
from saywell.readers.cosine import CosineReader, MeanOfTextsReader
from saywell.readers.detection import BY_TEXT, DetectionReader
from saywell.readers.fuzzing import FuzzingReader
from saywell.readers.lexical import LexicalReader
from saywell.readers.reader import Reader
from saywell.readers.simulation import SimulationReader
from saywell.readers.surprisal import SurprisalReader
from saywell.readers.tags import TagReader

READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (
        ClaimReader(),
        TagReader(),
        LexicalReader(),
        CosineReader("sentence-encoder", ("text", "pair")),
        CosineReader("dual-encoder", ("image",)),
        MeanOfTextsReader(),
        DetectionReader(),
        DetectionReader(BY_TEXT, by_text=True),
        FuzzingReader(),
        SimulationReader(),
        SurprisalReader(),
    )
}


def find_reader(name: str, kind: Kind) -> Reader:
    """The reader of that name. Raises InputError where there is none, or none that reads such examples."""
    if name in READERS and kind in READERS[name].reads:
        return READERS[name]
    able = ", ".join(known for known, reader in READERS.items() if kind in reader.reads)
    if name not in READERS:
        raise InputError(f"unknown reader {name!r}; {kind} examples can be read by {able}")
    reads = " and ".join(READERS[name].reads)
    raise InputError(
        f"the reader {name!r} reads {reads} examples only, and these are {kind} examples: use {able}"
    )
