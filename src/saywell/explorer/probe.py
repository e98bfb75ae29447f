"""The box where a person types a sentence or drops an image: which described units respond?

*Reading*: a sentence encoder compares the sentence with every description. *True activations*: the
study's own model reads the sentence, and a unit responds where it reaches its stored threshold.
*Images*: the study's encoder, as in `saywell classify`. Questions that wait are answered together.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from saywell.errors import InputError, SaywellError
from saywell.explorer.tables import Tables
from saywell.explorer.together import Together
from saywell.explorer.units import units_at

if TYPE_CHECKING:
    from saywell.encoders.sentence import SentenceEncoder
    from saywell.studies.classes.classify import EncodeImages
    from saywell.units.models import LoadedModel
    from saywell.units.sites import Site

MOST_CHARACTERS = 2000
MOST_TEXTS = 20_000
"""Different descriptions that are read, best first; more would take minutes on a processor."""
MOST_ANSWERS = 20
SAMPLE = 200
"""The study's own sentences that say what is an ordinary likeness to a description."""


class Likeness(NamedTuple):
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
    """How far above its threshold, in standard deviations of the unit on describe sentences."""
    start: int
    end: int


class Readings(NamedTuple):
    """Answers by reading, best first, and how much was read."""

    best: list[Likeness]
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


class _Places(NamedTuple):
    """The study's units in columns, and where each stands among the model's activations."""

    units: pl.DataFrame
    """no, sign, threshold, std, verified, described; sorted by no."""
    places: Int[np.ndarray, " units"]


class Probe:
    """Asks one study. Models are opened at the first question and kept; one batch at a time.

    `read`, `fire` and `see` answer one question; `ask` puts it in line and gives a promise.
    """

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
        self._places: _Places | None = None
        # One thread: models take all cores by themselves.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="saywell-probe")
        self._lines = {
            "read": Together(self.read_all, self._pool, most=32),
            "fire": Together(self.fire_all, self._pool, most=8),
        }
        self._pictures = Together(self._see_all, self._pool, most=4, waiting=20)

    def ask(self, how: str, sentence: str) -> Future[Any]:
        """A promise of what `read` or (`how` = "fire") `fire` answers.

        Raises InputError for what is no sentence, Busy where too many are waiting.
        """
        return self._lines["fire" if how == "fire" else "read"].ask(_checked(sentence))

    def look(self, image: bytes) -> Future[list[dict[str, Any]]]:
        """A promise of what `see` answers. Raises Busy where too many are waiting."""
        return self._pictures.ask(image)

    @property
    def can_fire(self) -> bool:
        """Whether the study's units are places of a model that can be run."""
        manifest = self._tables.study.manifest
        return "model" in manifest.inputs and {"kind", "modules", "pool"} <= set(manifest.config)

    @property
    def can_see(self) -> bool:
        """Whether it can say of an image which class it looks like."""
        return self._tables.has("class_texts")

    def close(self) -> None:
        """Answer nobody who still waits."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def read(self, sentence: str) -> Readings:
        """The descriptions that the sentence is most like, by how far they stand out.

        Raises InputError for no sentence or one that is too long, and where the encoder is not on
        this machine.
        """
        return self.read_all([_checked(sentence)])[0]

    def read_all(self, sentences: Sequence[str]) -> list[Readings]:
        """`read` of several sentences at once."""
        with self._lock:
            known = self._read = self._read or self._prepare()
            vectors = known.encoder(list(sentences))
        if not known.texts:
            return [Readings([], 0, 0, self._encoder_name()) for _ in sentences]
        return [self._likest(known, vector) for vector in vectors]

    def _likest(self, known: _Read, vector: Float[np.ndarray, " dim"]) -> Readings:
        cosine = known.vectors @ vector
        out = (cosine - known.mean) / known.spread
        best = np.argsort(-out, kind="stable")[:MOST_ANSWERS]
        return Readings(
            [Likeness(known.texts[i], known.units[i], float(cosine[i]), float(out[i])) for i in best],
            len(known.texts),
            known.left_out,
            self._encoder_name(),
        )

    def fire(self, sentence: str) -> Firings:
        """The units whose true activation on the sentence reaches their threshold.

        Raises InputError where the model is not on this machine, or is not the study's.
        """
        found = self.fire_all([_checked(sentence)])[0]
        if isinstance(found, SaywellError):
            raise found
        return found

    def fire_all(self, sentences: Sequence[str]) -> list[Firings | SaywellError]:
        """`fire` of several sentences in one pass; an error in place of an answer concerns one."""
        from saywell.units.hooks import TextFeed, run_pass, site_taps
        from saywell.units.responses import Shards
        from saywell.units.shards import Keep
        from saywell.units.sites import find_sites
        from saywell.units.tokens import tokenize

        config = self._tables.study.manifest.config
        if not self.can_fire:
            raise InputError("only a study of a model's neurons knows what its units do on a new sentence")
        with self._lock:
            loaded = self._model = self._model or self._opened()
            sites = find_sites(loaded.model, config["kind"], modules=config["modules"])
            tokens = tokenize(loaded.tokenizer, list(sentences), max_tokens=loaded.max_tokens)
            readable = np.flatnonzero(tokens.readable).tolist()
            with tempfile.TemporaryDirectory(prefix="saywell-") as folder:
                # A part for each sentence, so that each has strongest tokens of its own.
                rows = {f"probe{row}": np.array([row]) for row in readable}
                feed = TextFeed(tokens, loaded.pad_id, special=config["pool"] == "cls")
                keep = Keep(top=1, parts=tuple(rows))
                taps = site_taps(loaded.model, sites)
                run_pass(loaded.model, taps, feed, rows, Path(folder), keep, pool=config["pool"])
                done = Shards(Path(folder))
                tops = {
                    row: {sign: done.top(np.array([row]), 1, sign) for sign in (1, -1)} for row in readable
                }
            places = self._places = self._places or self._placed(sites)
        answers: list[Firings | SaywellError] = []
        for row, sentence in enumerate(sentences):
            if not tokens.readable[row]:
                answers.append(InputError(f"the model's tokenizer makes nothing of {sentence[:80]!r}"))
                continue
            values, positions = (
                {sign: getattr(top, name)[:, 0].numpy() for sign, top in tops[row].items()}
                for name in ("values", "positions")
            )
            spans = tokens.spans[tokens.starts[row] :]
            answers.append(self._firings(places, values, positions, spans))
        return answers

    def _firings(
        self,
        known: _Places,
        values: dict[int, Float[np.ndarray, " places"]],
        positions: dict[int, Int[np.ndarray, " places"]],
        spans: Int[np.ndarray, "tokens 2"],
    ) -> Firings:
        """Who fires, from each place's activation on a sentence and the token that caused it."""
        high = (known.units["sign"] > 0).to_numpy()
        value = np.where(high, values[1][known.places], values[-1][known.places]).astype(float)
        token = np.where(high, positions[1][known.places], positions[-1][known.places])
        threshold, std = (known.units[name].to_numpy() for name in ("threshold", "std"))
        over = np.divide(value - threshold, std, out=np.zeros(len(value)), where=std > 0)
        fires = np.flatnonzero(value >= threshold)
        verified, described = (known.units[name].to_numpy() for name in ("verified", "described"))
        order = np.lexsort((-over[fires], ~described[fires], ~verified[fires]))
        best = fires[order][: 2 * MOST_ANSWERS]
        rows = units_at(self._tables, known.units["no"].gather(best.tolist()).to_list())
        fired = [
            Firing(
                rows[known.units["no"][int(i)]],
                (1 if high[i] else -1) * float(value[i]),
                float(over[i]),
                *(int(x) for x in spans[token[i]]),
            )
            for i in best
        ]
        return Firings(
            fired,
            len(fires),
            int(described[fires].sum()),
            known.units.height,
            str(self._tables.study.manifest.config["model"]),
        )

    def _placed(self, sites: Sequence[Site]) -> _Places:
        """The study's units, and where the opened model has each of them."""
        from saywell.units.statistics import with_places

        stored = with_places(self._tables.study.units).select("id", "place")
        units = (
            self._tables.frame(
                "select no, id, coalesce(sign, 1) as sign, threshold, coalesce(std, 0) as std,"
                " verdict = 'verified' as verified, status = 'described' as described from cards"
                " where state = 'ok' and index is not null order by no"
            )
            .join(stored, on="id", maintain_order="left")
            .filter(pl.col("place") < sum(site.units for site in sites))
            # What has no threshold never reaches it.
            .with_columns(threshold=pl.col("threshold").fill_null(float("inf")))
        )
        return _Places(units.drop("place", "id"), units["place"].to_numpy())

    def see(self, image: bytes, *, classes: int = 3, texts: int = 3) -> list[dict[str, Any]]:
        """The likeliest classes of an image and the chosen texts that speak for each.

        Raises InputError for what is no usable picture, and what `classify_images` raises.
        """
        from saywell.studies.classes.classify import classify_images, open_image_encoder

        if not self.can_see:
            raise InputError("only a study with texts about classes can look at an image")
        if not image:
            raise InputError("no image was sent; choose a file first")
        with self._lock, tempfile.NamedTemporaryFile(prefix="saywell-") as file:
            file.write(image)
            file.flush()
            if self._encode_images is None:
                _offline(str(self._tables.study.manifest.config.get("encoder") or ""))
                self._encode_images = open_image_encoder(self._tables.study)
            found = classify_images(
                self._tables.study, [file.name], encode=self._encode_images, classes=classes, texts=texts
            )
        problem = found["problem"][0]
        if problem is not None:
            raise InputError(f"this file cannot be used: {problem}")
        return [
            {**row, "said": list(zip(row["texts"], row["evidence"], strict=True))} for row in found.to_dicts()
        ]

    def _see_all(self, images: Sequence[bytes]) -> list[list[dict[str, Any]] | SaywellError]:
        answers: list[list[dict[str, Any]] | SaywellError] = []
        for image in images:
            try:
                answers.append(self.see(image))
            except SaywellError as error:
                answers.append(error)
        return answers

    def _prepare(self) -> _Read:
        """Read every description once."""
        sentences = self._tables.has("class_texts")
        rows = self._tables.rows(
            "select c.id, s.text, c.verdict from said s join cards c on c.id = s.class where s.chosen"
            " order by s.class, s.rank"
            if sentences
            else "select id, text, verdict, no from cards where status = 'described' and text is not null"
            " order by no"
        )
        grouped: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            grouped.setdefault(row["text"], []).append(row)
        texts = list(grouped)[:MOST_TEXTS]
        encoder = self._open_encoder(self._encoder_name())
        sample = texts[:SAMPLE] if self._tables.pictures else self._sample()
        vectors = encoder([text[:MOST_CHARACTERS] for text in texts]) if texts else np.zeros((0, 1))
        usual = encoder(sample) @ vectors.T if sample and texts else np.zeros((1, len(texts)))
        spread = usual.std(0)
        return _Read(
            encoder,
            texts,
            [grouped[text] for text in texts],
            len(grouped) - len(texts),
            vectors,
            usual.mean(0),
            np.where(spread > 0, spread, 1.0),
        )

    def _sample(self) -> list[str]:
        """Sentences from all over, the same each time."""
        rows = self._tables.rows(
            f"select text[1:{MOST_CHARACTERS}] as text from sentences order by hash(id) limit {SAMPLE}"
        )
        return [row["text"] for row in rows]

    def _encoder_name(self) -> str:
        config = self._tables.study.manifest.config
        return "minilm" if self._tables.pictures else str(config.get("encoder") or "minilm")

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
    """The folder or GGUF file of a model that is on this machine; nothing is ever downloaded for a question.

    Raises InputError where it is not.
    """
    from saywell.encoders.checkpoints import find_checkpoint, gguf_file

    try:
        file = gguf_file(name)
        return find_checkpoint(name, download=False) if file is None else str(file)
    except InputError as error:
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
