"""The box where a person types a sentence or drops an image: which described units respond?

*Reading*: a sentence encoder compares the sentence with every description. *True activations*: the
study's own model reads the sentence, and a unit responds where it reaches its stored threshold.
*Images*: the study's encoder, as in `saywell classify`.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from saywell.errors import InputError, SaywellError
from saywell.explorer.tables import Tables

if TYPE_CHECKING:
    from saywell.encoders.sentence import SentenceEncoder
    from saywell.studies.classify import EncodeImages
    from saywell.units.models import LoadedModel

MOST_CHARACTERS = 2000
MOST_TEXTS = 20_000
"""Different descriptions that are read, best first; more would take minutes on a processor."""
MOST_ANSWERS = 20
SAMPLE = 200
"""The study's own sentences that say what is an ordinary likeness to a description."""


class Reading(NamedTuple):
    """A description that is like the sentence."""

    text: str
    units: list[dict[str, Any]]
    cosine: float
    stands_out: float
    """By how many standard deviations the cosine lies above its mean over sentences of the study."""


class Firing(NamedTuple):
    """A unit that fires on the sentence."""

    row: dict[str, Any]
    activation: float
    over: float
    """How far above its threshold, in standard deviations of the unit on calibration sentences."""
    start: int
    end: int


class Readings(NamedTuple):
    """Answers by reading, best first, and how much was read."""

    best: list[Reading]
    texts: int
    left_out: int
    encoder: str


class Firings(NamedTuple):
    """The units that fire, described ones first and then by how far they go over."""

    best: list[Firing]
    firing: int
    described: int
    units: int
    model: str


@dataclass
class _Read:
    encoder: SentenceEncoder
    texts: list[str]
    units: list[list[dict[str, Any]]]
    left_out: int
    vectors: Float[np.ndarray, "texts dim"]
    mean: Float[np.ndarray, " texts"]
    spread: Float[np.ndarray, " texts"]


class Probe:
    """Asks one study. Models are opened at the first question and kept; one question at a time."""

    def __init__(
        self,
        tables: Tables,
        *,
        open_encoder: Callable[[str], SentenceEncoder] | None = None,
        open_model: Callable[[str], LoadedModel] | None = None,
        encode_images: EncodeImages | None = None,
    ) -> None:
        self._tables = tables
        self._open_encoder = open_encoder or _local_encoder
        self._open_model = open_model or _local_model
        self._encode_images = encode_images
        self._lock = threading.Lock()
        self._read: _Read | None = None
        self._model: LoadedModel | None = None

    def read(self, sentence: str) -> Readings:
        """The descriptions that the sentence is most like, by how far they stand out.

        Raises InputError for no sentence or one that is too long, and where the encoder is not on
        this machine.
        """
        sentence = _checked(sentence)
        with self._lock:
            known = self._read = self._read or self._prepare()
            vector = known.encoder([sentence])[0]
        if not known.texts:
            return Readings([], 0, 0, self._encoder_name())
        cosine = known.vectors @ vector
        out = (cosine - known.mean) / known.spread
        best = np.argsort(-out, kind="stable")[:MOST_ANSWERS]
        return Readings(
            [Reading(known.texts[i], known.units[i], float(cosine[i]), float(out[i])) for i in best],
            len(known.texts), known.left_out, self._encoder_name(),
        )  # fmt: skip

    def fire(self, sentence: str) -> Firings:
        """The units whose true activation on the sentence reaches their threshold.

        Raises InputError where the model is not on this machine, or is not the study's.
        """
        from saywell.units.activations import Activations, Pass, collect_activations
        from saywell.units.sites import find_sites
        from saywell.units.tokens import tokenize

        sentence = _checked(sentence)
        config = self._tables.study.manifest.config
        if self._tables.study.manifest.kind != "neurons":
            raise InputError("only a study of neurons knows what its units do on a new sentence")
        with self._lock:
            loaded = self._model = self._model or self._opened()
            sites = find_sites(loaded.model, config["kind"], modules=config["modules"])
            tokens = tokenize(loaded.tokenizer, [sentence], max_tokens=loaded.max_tokens)
            if not tokens.readable.all():
                raise InputError(f"the model's tokenizer makes nothing of {sentence[:80]!r}")
            with tempfile.TemporaryDirectory(prefix="saywell-") as folder:
                rows = {"probe": np.array([0])}
                collect_activations(
                    loaded.model, sites, tokens, rows, Path(folder),
                    Pass(pool=config["pool"], top=1), pad_id=loaded.pad_id, keep_top=("probe",),
                )  # fmt: skip
                done = Activations(Path(folder))
                tops = {sign: done.top("probe", sign=sign) for sign in (1, -1)}
        # With `modules`, sites are numbered by their place in that list, as in a whole study; a
        # study of some layers keeps the layers' own numbers, so places go by module.
        first = np.cumsum([0, *(site.units for site in sites)])
        start = {site.module: int(first[n]) for n, site in enumerate(sites)}
        values = {sign: top.values[:, 0].numpy() for sign, top in tops.items()}
        units = self._tables.rows("select * from cards where state = 'ok' order by no")
        fired = []
        for row in units:
            module = str(row["name"]).rsplit("[", 1)[0]
            sign = 1 if row["sign"] is None or row["sign"] > 0 else -1
            if module not in start or row["index"] is None:
                continue
            place = start[module] + row["index"]
            value = float(values[sign][place])
            if row["threshold"] is None or value < row["threshold"]:
                continue
            token = int(tokens.starts[0] + tops[sign].positions[place, 0])
            begin, end = (int(x) for x in tokens.spans[token])
            over = (value - row["threshold"]) / row["std"] if row["std"] else 0.0
            fired.append(Firing(row, sign * value, over, begin, end))
        fired.sort(key=lambda one: (one.row["verdict"] != "verified",
                                    one.row["status"] != "described", -one.over))  # fmt: skip
        described = sum(one.row["status"] == "described" for one in fired)
        return Firings(
            fired[: 2 * MOST_ANSWERS], len(fired), described, len(units), str(config["model"])
        )

    def see(self, image: bytes, *, classes: int = 3, texts: int = 3) -> list[dict[str, Any]]:
        """The likeliest classes of an image and the chosen texts that speak for each.

        Raises InputError for what is no usable picture, and what `classify_images` raises.
        """
        from saywell.studies.classify import classify_images, open_image_encoder

        if self._tables.study.manifest.kind != "classes":
            raise InputError("only a study of classes can look at an image")
        if not image:
            raise InputError("no image was sent; choose a file first")
        with self._lock, tempfile.NamedTemporaryFile(prefix="saywell-") as file:
            file.write(image)
            file.flush()
            if self._encode_images is None:
                _offline(str(self._tables.study.manifest.config.get("encoder") or ""))
                self._encode_images = open_image_encoder(self._tables.study)
            found = classify_images(
                self._tables.study, [file.name], encode=self._encode_images, classes=classes,
                texts=texts,
            )  # fmt: skip
        problem = found["problem"][0]
        if problem is not None:
            raise InputError(f"this file cannot be used: {problem}")
        return [
            {**row, "said": list(zip(row["texts"], row["evidence"], strict=True))}
            for row in found.to_dicts()
        ]

    def _prepare(self) -> _Read:
        """Read every description once."""
        classes = self._tables.study.manifest.kind == "classes"
        rows = self._tables.rows(
            "select id, class as name, text, chosen from said where chosen order by class, rank"
            if classes
            else "select id, id as name, text, verdict, no from cards where status = 'described'"
            " and text is not null order by no"
        )
        grouped: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            grouped.setdefault(row["text"], []).append(row)
        texts = list(grouped)[:MOST_TEXTS]
        encoder = self._open_encoder(self._encoder_name())
        sample = self._sample() if not classes else texts[:SAMPLE]
        vectors = encoder([text[:MOST_CHARACTERS] for text in texts]) if texts else np.zeros((0, 1))
        usual = encoder(sample) @ vectors.T if sample and texts else np.zeros((1, len(texts)))
        spread = usual.std(0)
        return _Read(
            encoder, texts, [grouped[text] for text in texts], len(grouped) - len(texts),
            vectors, usual.mean(0), np.where(spread > 0, spread, 1.0),
        )  # fmt: skip

    def _sample(self) -> list[str]:
        """Sentences from all over, the same each time."""
        rows = self._tables.rows(
            f"select text[1:{MOST_CHARACTERS}] as text from sentences order by hash(id) limit {SAMPLE}"
        )
        return [row["text"] for row in rows]

    def _encoder_name(self) -> str:
        config = self._tables.study.manifest.config
        if self._tables.study.manifest.kind == "classes":
            return "minilm"
        return str(config.get("encoder") or "minilm")

    def _opened(self) -> LoadedModel:
        manifest = self._tables.study.manifest
        loaded = self._open_model(str(manifest.config["model"]))
        if loaded.fingerprint != manifest.inputs.get("model"):
            raise InputError(
                f"the model {loaded.name!r} on this machine is not the one that the study was made"
                " with; its activations would mean something else"
            )
        return loaded


def local_checkpoint(name: str) -> str:
    """The folder of a model that is on this machine; nothing is ever downloaded for a question.

    Raises InputError where it is not.
    """
    from saywell.encoders.checkpoints import find_checkpoint

    found = find_checkpoint(name)
    if Path(found).is_dir():
        return found
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(found, local_files_only=True)
    except (OSError, ValueError) as error:
        raise InputError(
            f"the model {name!r} is not on this machine, and a page downloads nothing; fetch it first"
            f" with: hf download {name}"
        ) from error


def _local_encoder(name: str) -> SentenceEncoder:
    from saywell.encoders.sentence import open_sentence_encoder

    return open_sentence_encoder(local_checkpoint(name))


def _local_model(name: str) -> LoadedModel:
    from saywell.units.models import load_model

    return load_model(local_checkpoint(name))


def _offline(name: str) -> None:
    """Refuse an encoder that would have to be downloaded; joined ones and files say so themselves."""
    if name and "precomputed:" not in name and "+" not in name:
        local_checkpoint(name)


def _checked(sentence: str) -> str:
    sentence = sentence.replace("\x00", "").encode("utf-8", "replace").decode("utf-8").strip()
    if not sentence:
        raise InputError("there is no sentence; type one first")
    if len(sentence) > MOST_CHARACTERS:
        raise InputError(
            f"the sentence has {len(sentence):,} characters; at most {MOST_CHARACTERS:,} are read"
        )
    return sentence


def answers_of(probe: Probe, how: str, sentence: str) -> tuple[Readings | Firings | None, str]:
    """What a page shows: the answers, or the sentence that says why there are none."""
    try:
        return (probe.fire if how == "fire" else probe.read)(sentence), ""
    except SaywellError as error:
        return None, str(error)
