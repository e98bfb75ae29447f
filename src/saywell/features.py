"""What a study found, as features for scikit-learn: does each of its descriptions hold of a text?"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from saywell.data.encodings import encodable
from saywell.data.examples import REJECTED, Examples, Kind
from saywell.data.parts import DESCRIBE, SCORE
from saywell.data.tables import is_missing
from saywell.data.texts import normalised
from saywell.description import DESCRIBED, Description
from saywell.encoders.sentence import SentenceEncoder, encoder_fingerprint, open_sentence_encoder
from saywell.errors import InputError
from saywell.language_models import LanguageModel
from saywell.readers.cosine import MeanOfTextsReader
from saywell.readers.lexical import LexicalReader
from saywell.readers.reader import AsksElse
from saywell.readers.registry import READERS
from saywell.resources import STORED_VECTORS, VECTORS, Resources
from saywell.scorers.deciding import VERIFIED
from saywell.scorers.score_tables import F1
from saywell.scorers.thresholds import decide
from saywell.store.files import read_array
from saywell.store.study import Study, deciding_rows
from saywell.studies.described import stored_descriptions
from saywell.studies.hypotheses.extras import SURE
from saywell.studies.hypotheses.pool import borders
from saywell.studies.hypotheses.tables import HYPOTHESES

_SHOWN = 80
"""Characters of a wrong value."""
_TOGETHER = 20_000
"""Texts that are read together, so that many need no more memory."""


class DescriptionFeatures(TransformerMixin, BaseEstimator):
    """Whether each verified description of a study holds of a text: a feature each, 1 or 0.

    A transformer of scikit-learn. Texts are read by the words of the descriptions alone: by the reader who
    decided about each, with the threshold that the study fitted; claims are executed. `fit` learns nothing
    from its texts. But which descriptions are verified was decided on the texts of the study: the figures of
    a model that uses them are to be taken on others.

    `study`    a study of texts, or its folder. Of one of hypotheses the features are its hypotheses, but
               those that repeat another.
    `only`     "verified", or None for all that is described (of hypotheses, all that were put to the test).
    `encoder`  what compares words with texts, where a description needs it: an encoder, or its name; by
               default the study's.
    `llm`      an open language model (`open_language_model`), for descriptions that one has to read.

    A description whose reader cannot read here (a language model that is not given, tags that new texts do
    not have) is read by the next who alone verifies it; where there is none it is no feature, and a warning
    says so.

    `features_` is a table of them, the clearest first: name, unit, text, claim, reader, threshold. The name
    is the description, with its unit where two are worded alike.
    """

    def __init__(
        self,
        study: Study | str | Path,
        only: Literal["verified"] | None = VERIFIED,
        *,
        encoder: SentenceEncoder | str | None = None,
        llm: LanguageModel | None = None,
    ) -> None:
        self.study = study
        self.only = only
        self.encoder = encoder
        self.llm = llm

    def fit(self, X: Any = None, y: Any = None) -> DescriptionFeatures:
        """Look up what is to be read, and by whom; X and y are not looked at.

        Raises InputError for a study of pictures, another encoder than the study's, and where nothing can be
        read here.
        """
        if self.only not in (VERIFIED, None):
            raise InputError(f"only={self.only!r} is neither {VERIFIED!r} nor None (all that is described)")
        study = self.study if isinstance(self.study, Study) else Study(self.study)
        self._reading = _reading_of(study, self.only, self.encoder, self.llm)
        self.features_ = self._reading.table()
        return self

    def transform(self, X: Any) -> Any:
        """1 where a description holds of a text, 0 where not: float64 [texts, features].

        `X`: texts, as a list, an array, a series, or a frame of one column; of a study of pairs, two columns.
        Where that is of hypotheses a row is what holds of the first text less what holds of the second (-1,
        0, 1), and one column of texts can be read, too. NaN where a language model gave no answer; a warning
        counts these.

        Raises InputError for what is no text, naming its row, and NotFittedError before `fit`.
        """
        check_is_fitted(self, "features_")
        reading = self._reading
        sides = [_texts(column) for column in _columns(X, reading.columns)]
        if reading.kind == "pair":
            sides = [_shown(pl.DataFrame(sides, schema=["first", "second"]))]
        places: dict[str, int] = {}
        rows = [[places.setdefault(text, len(places)) for text in side] for side in sides]
        found = reading.read(list(places))
        first, *second = (found[side] for side in rows)
        return first - second[0] if second else first

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The descriptions, as an array of strings; `input_features` are not looked at."""
        check_is_fitted(self, "features_")
        return self.features_["name"].to_numpy().astype(object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags

    def __sklearn_clone__(self) -> DescriptionFeatures:
        """Unfitted, with the same models: nothing fits those, and copies would be large or impossible."""
        new = copy(self)
        for fitted in ("features_", "_reading"):
            new.__dict__.pop(fitted, None)
        return new


class _Feature(NamedTuple):
    """A description, who reads it, and from which number on it holds."""

    description: Description
    reader: str
    threshold: float


@dataclass(frozen=True)
class _Reading:
    """Reads texts of a kind by the words of features."""

    features: Sequence[_Feature]
    kind: Kind
    columns: tuple[int, ...]
    """How many columns of texts can be given."""
    encoder: _StudyEncoder
    llm: LanguageModel | None
    seed: int
    known: Sequence[str]
    """Texts that tell how rare a word is, where a reader asks."""

    def table(self) -> pl.DataFrame:
        """A row for each feature."""
        said = [feature.description for feature in self.features]
        twice = pl.Series([own.text for own in said], dtype=pl.String).is_duplicated()
        rows = [
            (f"{own.text} ({own.unit})" if two else own.text, own.unit, own.text, own.claim or None, *how)
            for (own, *how), two in zip(self.features, twice, strict=True)
        ]
        return pl.DataFrame(rows, schema=_TABLE, orient="row")

    def read(self, texts: Sequence[str]) -> Float[np.ndarray, "texts features"]:
        """1 where a feature holds, 0 where not, NaN where nobody said."""
        found = np.empty((len(texts), len(self.features)))
        lost: list[Any] = []
        for start in range(0, len(texts), _TOGETHER):
            here = slice(start, start + _TOGETHER)
            found[here] = self._some(texts[here], lost)
        if lost:
            warnings.warn(
                f"{np.isnan(found).sum()} of {found.size} readings are NaN: the language model gave no answer"
                f" ({lost[0].reason})",
                stacklevel=3,
            )
        return found

    def _some(self, texts: Sequence[str], lost: list[Any]) -> Float[np.ndarray, "texts features"]:
        found = np.empty((len(texts), len(self.features)))
        resources = Resources(self.encoder, llm=self.llm, seed=self.seed, lost=lost)
        for name in dict.fromkeys(feature.reader for feature in self.features):
            own = [place for place, feature in enumerate(self.features) if feature.reader == name]
            reader = READERS[name]
            known = self.known if isinstance(reader, LexicalReader) else ()
            examples = _examples([*known, *texts], len(known))
            predict, rows = reader.open(examples, resources), np.arange(len(known), len(examples))
            numbers = predict([self.features[place].description for place in own], rows)
            found[:, own] = decide(numbers, np.array([self.features[place].threshold for place in own])).T
        return found


_TABLE = {
    "name": pl.String,
    "unit": pl.String,
    "text": pl.String,
    "claim": pl.String,
    "reader": pl.String,
    "threshold": pl.Float64,
}


@dataclass
class _StudyEncoder:
    """An encoder by its name, opened when first asked for anything; it has to be the study's."""

    name: str
    given: SentenceEncoder | str
    expected: str
    """The fingerprint of the study's; empty where it has none."""

    @cached_property
    def opened(self) -> SentenceEncoder:
        """Raises InputError for one that is not there, and for another than the study's."""
        encoder = open_sentence_encoder(self.given) if isinstance(self.given, str) else self.given
        if self.expected and encoder_fingerprint(encoder) != self.expected:
            raise InputError(
                f"the encoder {encoder.name!r} is not the one of the study, whose thresholds mean nothing to"
                " it; give that: encoder=..."
            )
        return encoder

    @property
    def fingerprint(self) -> str:
        """As of the encoder."""
        return encoder_fingerprint(self.opened)

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "texts dim"]:
        """As the encoder."""
        return self.opened(texts)


# ---- which features a study has


def _reading_of(
    study: Study, only: str | None, encoder: SentenceEncoder | str | None, llm: LanguageModel | None
) -> _Reading:
    """What can be read of a study. Warns of what cannot."""
    examples, config, inputs = study.examples, study.manifest.config, study.manifest.inputs
    if not {"text", "first"} & set(examples.columns):
        raise InputError(f"{str(study.path)!r} is a study of pictures; features are made of texts")
    kind: Kind = "pair" if "first" in examples.columns else "text"
    given = encoder or str(config.get("encoder") or "minilm")
    name = given if isinstance(given, str) else given.name
    same = _StudyEncoder(name, given, inputs.get("encoder", ""))
    if encoder is not None:
        _ = same.opened  # refused here if at all
    if HYPOTHESES.name in study.manifest.tables:
        written, readers = _of_hypotheses(study, only, same)
    else:
        written, readers = _of_units(study, only)
    if written.is_empty():
        raise InputError(
            f"{str(study.path)!r} has nothing {only or 'described'} to make features of"
            + ("; only=None takes all that is described" if only else "")
        )
    seed = int(config.get("seed", 0))
    why = _why_not(readers["reader"].unique(maintain_order=True), kind, Resources(same, llm=llm, seed=seed))
    features = _features(study, written, readers.filter(~pl.col("reader").is_in(list(why))), why)
    lexical = any(isinstance(READERS[feature.reader], LexicalReader) for feature in features)
    known = _shown(examples.filter(part=DESCRIBE)) if lexical else []
    columns = (2,) if kind == "pair" else (1, 2) if _is_of_preferences(study) else (1,)
    return _Reading(features, kind, columns, same, llm, seed, known)


def _is_of_preferences(study: Study) -> bool:
    """Whether its hypotheses are about which of two texts is favoured."""
    return HYPOTHESES.name in study.manifest.tables and bool(study.table(HYPOTHESES)["pairs"].any())


def _of_units(study: Study, only: str | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of table `descriptions`, the clearest first; who may read them, best first, with thresholds."""
    scores = study.scores.filter(measure=F1, part=SCORE)
    decides = deciding_rows(scores)
    alone = scores.filter("verifies") if "verifies" in scores.columns else scores.clear()
    written = study.descriptions.filter(pl.col("selected"), status=DESCRIBED)
    written = written.join(
        decides.select("skill", id="description", verdict="status"),
        on="id",
        how="left",
        maintain_order="left",
    ).sort("skill", descending=True, nulls_last=True, maintain_order=True)
    readers = pl.concat([own.select("description", "reader", "threshold") for own in (decides, alone)])
    return written.filter(pl.col("verdict") == only if only else True), readers


def _of_hypotheses(
    study: Study, only: str | None, encoder: SentenceEncoder
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same, of a study of hypotheses."""
    tested = study.table(HYPOTHESES).filter(pl.col("repeats").fill_null("") == "")
    tested = tested.filter(pl.col("status") == only if only else True)
    readers = tested.select("description", "reader", "text", threshold=pl.lit(SURE))
    # What no reader of the registry has read is words that the search held against texts by their vectors.
    words = ~pl.col("reader").is_in(list(READERS))
    if (texts := readers.filter(words)["text"]).len():
        describe = study.examples["part"] == DESCRIBE
        known = read_array(study.file(VECTORS), STORED_VECTORS[VECTORS][1])[describe.to_numpy()]
        least = dict(zip(texts, borders(encoder(texts.to_list()) @ known.T).tolist(), strict=True))
        readers = readers.with_columns(
            reader=pl.when(words).then(pl.lit(MeanOfTextsReader.name)).otherwise("reader"),
            threshold=pl.when(words)
            .then(pl.col("text").replace_strict(least, default=None))
            .otherwise("threshold"),
        )
    written = tested.select(id="description").join(study.descriptions, on="id", maintain_order="left")
    return written, readers.drop("text")


def _why_not(readers: Iterable[str], kind: Kind, resources: Resources) -> dict[str, str]:
    """By reader why it cannot read new texts here."""
    why = {}
    for name in readers:
        reader = READERS.get(name)
        if reader is None or kind not in reader.reads:
            why[name] = f"nobody called {name!r} reads texts here"
        elif isinstance(reader, AsksElse):
            why[name] = f"the reader {name!r} is not asked whether a description holds"
        else:
            try:
                reader.open(_examples(["a"]), resources)
            except InputError as error:
                why[name] = str(error)
    return why


def _features(
    study: Study, written: pl.DataFrame, readers: pl.DataFrame, why: Mapping[str, str]
) -> list[_Feature]:
    """Each description with the first who can read it, but what is the same again."""
    able = readers.drop_nulls().unique("description", keep="first", maintain_order=True)
    how = {id: (reader, threshold) for id, reader, threshold in able.iter_rows()}
    said = dict(zip(written["id"], stored_descriptions(study, written), strict=True))
    features = [_Feature(own, *how[id]) for id, own in said.items() if id in how]
    if len(features) < len(said):
        lacking = f"{len(said) - len(features)} of {len(said)} descriptions cannot be read here"
        lacking += f": {'; '.join(why.values())}" if why else " (no threshold was fitted)"
        if not features:
            raise InputError(lacking)
        warnings.warn(f"no features: {lacking}", stacklevel=5)
    once: dict[tuple[Any, ...], _Feature] = {}
    for feature in features:
        once.setdefault((feature.description.text, feature.description.claim, *feature[1:]), feature)
    return list(once.values())


# ---- texts as they are given


def _columns(given: Any, able: Sequence[int]) -> Sequence[Iterable[Any]]:
    """The columns of a table of texts. Raises InputError for other numbers of them than can be read."""
    if isinstance(given, str | bytes | Mapping) or not hasattr(given, "__iter__"):
        raise InputError(
            f"X={str(given)[:_SHOWN]!r} is no list of texts; give a list, array, series or frame"
        )
    values = given.to_numpy() if hasattr(given, "to_numpy") else given
    if not isinstance(values, np.ndarray):
        rows = list(values)
        pairs = bool(rows) and all(isinstance(row, list | tuple) and len(row) == len(rows[0]) for row in rows)
        columns = list(zip(*rows, strict=True)) if pairs else [rows]
    else:
        columns = [values] if values.ndim == 1 else list(np.moveaxis(values, 1, 0))
    if len(columns) not in able:
        wanted = " or ".join(("one, of texts", "two, of the texts of pairs")[number - 1] for number in able)
        raise InputError(f"X has {len(columns)} columns, and this study's features are of {wanted}")
    return columns


def _texts(column: Iterable[Any]) -> list[str]:
    """Normalised as those of a study. Raises InputError for what is no text."""
    for row, value in enumerate(column):
        if not isinstance(value, str) or encodable(value) != value:
            what = "missing" if is_missing(value) else encodable(repr(value))[:_SHOWN]
            raise InputError(f"X[{row}] is {what}, not a text; leave such rows out, or put '' there")
    return (
        pl.DataFrame({"text": list(map(str, column))}, schema={"text": pl.String})
        .select(normalised(pl.col("text")))["text"]
        .to_list()
    )


def _shown(table: pl.DataFrame) -> list[str]:
    """Texts of a table of examples; a pair as its two texts, one a line (see `Examples.texts`)."""
    text = pl.col("text") if "text" in table.columns else pl.concat_str("first", "second", separator="\n")
    return table.select(text=text)["text"].to_list()


def _examples(texts: Sequence[str], known: int = 0) -> Examples:
    """Texts as readers want them, the first so many as those that a study was described on."""
    parts = [DESCRIBE] * known + [SCORE] * (len(texts) - known)
    ids = [str(number) for number in range(len(texts))]
    table = pl.DataFrame(
        {"id": ids, "part": parts, "text": texts}, schema=dict.fromkeys(("id", "part", "text"), pl.String)
    )
    return Examples(table, "text", "new texts", REJECTED.empty(), len(texts))
