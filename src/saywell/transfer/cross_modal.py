"""Cross-modal transfer: a classifier of images that goes on learning from texts.

Section 3.3 and algorithm 1 of the paper: softmax regression on image embeddings by SGD, then some
epochs on the embeddings of the chosen texts, each text's loss multiplied by its weight. Beside
it, joint training on batches of both kinds (Lin et al. 2023). The classifier always starts from
0: one that started from text would not be a baseline of images alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from saywell.data.parts import SELECT
from saywell.encoders.vectors import unit_length
from saywell.errors import InputError
from saywell.transfer.centring import balanced_mean, centred
from saywell.transfer.linear_heads import Heads, Stream, cosine_rates, pad_rows, train_heads, zero_heads

_KEPT = 50_000_000
"""Numbers of centred images that are kept (200 MB)."""
IMAGES_ONLY = "images only"
IMAGES_AND_VALIDATION = "images and validation images"


@dataclass(frozen=True)
class Settings:
    """How the classifiers are trained; the defaults are the paper's where it states them."""

    epochs: int = 200
    image_rates: tuple[float, ...] = (0.1,)
    """Learning rates of the image phase to choose from; with one there is nothing to choose."""
    batch_size: int = 64
    text_epochs: int = 30
    text_rates: tuple[float, ...] = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)
    """Learning rates of the text phase to choose from. 0 lets the choice refuse the texts."""
    joint_weights: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0, 3.0)
    """Weights of the texts' loss in joint training to choose from; empty leaves joint training out."""
    centre: bool = True
    """Subtract the mean of each modality: of the run's own training images, and of all texts."""
    folds: int = 4
    """Parts in which the shots are held out in turn where the choice is made inside them."""


class Embedded(NamedTuple):
    """Embeddings with class numbers; images and texts of one shared space."""

    vectors: Float[np.ndarray, "n dim"]
    classes: Int[np.ndarray, " n"]


class Outcome(NamedTuple):
    """What one way of training came to, seed by seed."""

    correct: Bool[np.ndarray, "seeds test"]
    chosen: Float[np.ndarray, " seeds"]
    """The learning rate or weight that was chosen."""


class Joint(NamedTuple):
    """The outcome of joint training with a set of texts, beside that of the two phases."""

    texts: Hashable


ChooseTexts = Callable[
    [Int[np.ndarray, " train"], Int[np.ndarray, " validation"]], Mapping[Any, Float[np.ndarray, " texts"]]
]
"""Rows of training images and of validation images (none where the choice is made inside the shots)
to sets of texts by name: a loss weight for every text, 0 where it is not in the set."""


def transfer(
    images: Embedded,
    texts: Embedded,
    *,
    train: Int[np.ndarray, " train"],
    validation: Int[np.ndarray, " validation"],
    test: Int[np.ndarray, " test"],
    classes: int,
    choose_texts: ChooseTexts,
    shots: int | None = None,
    choose: Literal["select", "shots"] = "select",
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    settings: Settings | None = None,
    texts_centred: bool = False,
    joint: Collection[Hashable] | None = None,
    progress: Callable[[int], None] = lambda sets: None,
) -> dict[Hashable, Outcome]:
    """Train on `shots` images a class (all where None) and read the test images once.

    `train`, `validation` and `test` are rows of `images`. The result has the row 'images only',
    and for each set of texts its two-phase training under its name and joint training under
    `Joint(name)`. All rows of one seed see the same images in the same order, so that differences
    are paired. With `choose=SELECT`, 'images and validation images' trains on
    the labelled images that the other rows choose with: what these labels are worth without texts.

    Learning rates and weights are chosen per seed by accuracy: on the validation images (then
    these are labelled images beside the shots, and the table has to say so), or with
    `choose="shots"` by cross-validation inside the shots, where texts are chosen inside each fold
    too and the validation images are never used. Equal accuracies take the smaller value. One
    shot leaves nothing to hold out: then the middle of the values is taken.

    `texts_centred` says that the mean of the texts is not to be subtracted here: where sets are
    compared that have means of their own, one set must not move because another is in the table.
    `joint` names the sets that are also trained jointly (None: all); `progress` is told of each set
    that is done.

    Raises InputError for rows, classes or settings that cannot be used.
    """
    settings = settings or Settings()
    _check(images, texts, (train, validation, test), classes, choose, settings)
    drawn = [draw_shots(images.classes, train, shots, seed) for seed in seeds]
    none = validation[:0]
    if choose == SELECT:
        final = trials = [_Trial(i, rows, validation, validation) for i, rows in enumerate(drawn)]
    else:
        final = [_Trial(i, rows, none, none) for i, rows in enumerate(drawn)]
        trials = [
            _Trial(i, fit, held, none)
            for i, rows in enumerate(drawn)
            for fit, held in _folds(images.classes, rows, settings.folds)
        ]
    space = _Space(images, texts, classes, settings, seeds, texts_centred)
    sets = {
        id(trial): choose_texts(trial.fit, trial.beside)
        for trial in {id(t): t for t in [*trials, *final]}.values()
    }

    def pick(heads: Heads, values: Sequence[float]) -> Int[np.ndarray, " seeds"]:
        if not trials:
            return np.full(len(seeds), len(values) // 2)
        scores = space.accuracies(heads, trials, len(values))
        owner = np.array([trial.number for trial in trials])
        means = np.stack([scores[owner == number].mean(0) for number in range(len(seeds))])
        # Accuracies are ratios of whole numbers: what differs in the last digit is equal.
        return np.round(means, 9).argmax(1)

    def of_seed(values: Sequence[float], picked: np.ndarray) -> np.ndarray:
        return np.asarray(values, dtype=float)[picked]

    def trained(
        train: Callable[[Sequence[_Trial], Sequence[Sequence[float]]], Heads], values: Sequence[float]
    ) -> tuple[Heads, Float[np.ndarray, " seeds"]]:
        """Train the trials with every value, then the final heads with the value picked."""
        heads = train(trials, [values] * len(trials))
        picked = pick(heads, values)
        chosen = of_seed(values, picked)
        if trials is final:  # they are among those that were trained
            rows = torch.as_tensor(np.arange(len(final)) * len(values) + picked)
            return Heads(heads.weights[rows], heads.biases[rows]), chosen
        return train(final, [[value] for value in chosen]), chosen

    base, rate = trained(space.image_phase, settings.image_rates)
    outcomes: dict[Hashable, Outcome] = {IMAGES_ONLY: Outcome(space.correct(base, final, test), rate)}
    if choose == SELECT and len(validation):
        more = [t._replace(fit=np.sort(np.concatenate([t.fit, validation]))) for t in final]
        heads = space.image_phase(more, [[own] for own in rate])
        outcomes[IMAGES_AND_VALIDATION] = Outcome(space.correct(heads, more, test), rate)
    # Texts start from the images of their own trial.
    starts = {id(final): base}
    if trials is not final:
        starts[id(trials)] = space.image_phase(trials, [[rate[t.number]] for t in trials])
    for name in sets[id(final[0])] if final else ():
        weights = {key: _loss_weights(name, chosen[name], len(texts.classes)) for key, chosen in sets.items()}

        def of(group: Sequence[_Trial], weights: dict[int, np.ndarray] = weights) -> list[np.ndarray]:
            return [weights[id(trial)] for trial in group]

        heads, chosen = trained(
            lambda group, values, of=of: space.text_phase(starts[id(group)], group, of(group), values),
            settings.text_rates,
        )
        outcomes[name] = Outcome(space.correct(heads, final, test), chosen)
        if settings.joint_weights and (joint is None or name in joint):
            heads, chosen = trained(
                lambda group, values, of=of: space.joint(
                    group, of(group), [rate[t.number] for t in group], values
                ),
                settings.joint_weights,
            )
            outcomes[Joint(name)] = Outcome(space.correct(heads, final, test), chosen)
        progress(1)
    return outcomes


def draw_shots(
    labels: Int[np.ndarray, " n"], rows: Int[np.ndarray, " train"], shots: int | None, seed: int
) -> Int[np.ndarray, " drawn"]:
    """`shots` of the rows for each class, at random, all where None or where a class has fewer.

    The draw of fewer shots is part of the draw of more.
    """
    if shots is None:
        return np.sort(rows)
    shuffled = np.random.default_rng(seed).permutation(np.sort(rows))
    own = labels[shuffled]
    return np.sort(np.concatenate([shuffled[own == c][:shots] for c in np.unique(own)] or [shuffled]))


def loss_weights(
    scores: Float[np.ndarray, " texts"],
    text_class: Int[np.ndarray, " texts"],
    chosen: Bool[np.ndarray, " texts"],
    how: Literal["uniform", "softmax", "rank"] = "softmax",
    *,
    temperature: float = 1.0,
) -> Float[np.ndarray, " texts"]:
    """The loss weight of every text from its score: 0 where not chosen, mean 1 over a class's chosen texts.

    The paper divides IFT by its sum, which can give negative weights and divide by nothing; these
    cannot be negative. `softmax` is of the scores standardised inside the class, `rank` falls
    evenly from the best to the worst, equal scores sharing their rank. The sum of 1 of the paper
    is a factor that the learning rate absorbs.
    """
    weights = np.zeros(len(scores))
    for name in np.unique(text_class[chosen]):
        rows = np.flatnonzero(chosen & (text_class == name))
        own = scores[rows].astype(float)
        if how == "softmax":
            spread = own.std()
            logits = (own - own.max()) / (temperature * spread) if spread > 0 else np.zeros(len(own))
            raw = np.exp(logits)
        elif how == "rank":
            from scipy.stats import rankdata

            raw = rankdata(own)
        else:
            raw = np.ones(len(own))
        weights[rows] = raw / raw.mean()
    return weights


class _Trial(NamedTuple):
    """One training set of one seed, what its settings are measured on, and labelled images beside it."""

    number: int
    fit: Int[np.ndarray, " fit"]
    held: Int[np.ndarray, " held"]
    beside: Int[np.ndarray, " beside"]


class _Space:
    """Image and text embeddings as each trial sees them, and the training that all trials share.

    Heads of several values a trial stand trial by trial: value v of trial t is run t * values + v.
    """

    def __init__(
        self,
        images: Embedded,
        texts: Embedded,
        classes: int,
        settings: Settings,
        seeds: Sequence[int],
        texts_centred: bool,
    ) -> None:
        self._images = Embedded(unit_length(images.vectors, np.float32), images.classes)
        self._kept: dict[tuple[bytes, bytes], torch.Tensor] = {}
        vectors = unit_length(texts.vectors, np.float32)
        if settings.centre and not texts_centred and len(vectors):
            vectors = centred(vectors, balanced_mean(vectors, texts.classes))
        self._texts = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))
        self._text_classes = torch.as_tensor(texts.classes).long()
        self._classes, self._settings, self._seeds = classes, settings, seeds

    def image_phase(self, trials: Sequence[_Trial], rates: Sequence[Sequence[float]]) -> Heads:
        """Heads of images alone, for every rate of every trial."""
        each = [len(r) for r in rates]
        start = zero_heads(sum(each), self._classes, self._images.vectors.shape[1])
        stream = self._image_stream(trials, each, self._settings.batch_size)
        return self._run(start, [stream], self._schedules(rates, self._settings.epochs), trials, each)

    def text_phase(
        self,
        start: Heads,
        trials: Sequence[_Trial],
        weights: Sequence[np.ndarray],
        rates: Sequence[Sequence[float]],
    ) -> Heads:
        """One start a trial, taken further by its texts at every rate."""
        each = [len(r) for r in rates]
        again = torch.as_tensor(np.repeat(np.arange(len(trials)), each))
        heads = Heads(start.weights[again], start.biases[again])
        stream = self._text_stream(weights, each, [[1.0] * n for n in each], self._settings.batch_size)
        return self._run(heads, [stream], self._schedules(rates, self._settings.text_epochs), trials, each)

    def joint(
        self,
        trials: Sequence[_Trial],
        weights: Sequence[np.ndarray],
        rates: Sequence[float],
        factors: Sequence[Sequence[float]],
    ) -> Heads:
        """Heads of batches that are half images and half texts, for every weight of the texts."""
        each = [len(f) for f in factors]
        start = zero_heads(sum(each), self._classes, self._images.vectors.shape[1])
        half = max(1, self._settings.batch_size // 2)
        streams = [self._image_stream(trials, each, half), self._text_stream(weights, each, factors, half)]
        spread = [[rate] * n for rate, n in zip(rates, each, strict=True)]
        return self._run(start, streams, self._schedules(spread, self._settings.epochs), trials, each)

    def accuracies(
        self, heads: Heads, trials: Sequence[_Trial], values: int
    ) -> Float[np.ndarray, "trials values"]:
        """Accuracy on each trial's held images."""
        result = np.zeros((len(trials), values))
        for t, trial in enumerate(trials):
            if len(trial.held):
                found = self._predicted(heads, slice(t * values, (t + 1) * values), trial, trial.held)
                result[t] = (found == self._images.classes[trial.held]).mean(1)
        return result

    def correct(
        self, heads: Heads, trials: Sequence[_Trial], rows: np.ndarray
    ) -> Bool[np.ndarray, "trials rows"]:
        """Which of the rows each trial's one head classifies rightly."""
        found = [self._predicted(heads, slice(t, t + 1), trial, rows)[0] for t, trial in enumerate(trials)]
        return np.stack(found) == self._images.classes[rows]

    def _predicted(
        self, heads: Heads, runs: slice, trial: _Trial, rows: np.ndarray
    ) -> Int[np.ndarray, "runs rows"]:
        x = self._seen(trial, rows).to(heads.weights.dtype)
        return np.stack(
            [
                torch.addmm(bias, x, weight.T).argmax(1).numpy()
                for weight, bias in zip(heads.weights[runs], heads.biases[runs], strict=True)
            ]
        )

    def _seen(self, trial: _Trial, rows: np.ndarray) -> torch.Tensor:
        """The rows as the trial sees them: with `centre`, without the mean of its own images."""
        vectors = self._images.vectors
        if not self._settings.centre:
            return torch.from_numpy(vectors[rows])
        key = (trial.fit.tobytes(), rows.tobytes())
        if key in self._kept:
            return self._kept[key]
        mean = balanced_mean(vectors[trial.fit], self._images.classes[trial.fit])
        found = torch.from_numpy(centred(vectors[rows], mean).astype(np.float32))
        if sum(len(x) for x in self._kept.values()) + len(found) <= _KEPT // vectors.shape[1]:
            self._kept[key] = found  # every set of texts asks for the same
        return found

    def _image_stream(self, trials: Sequence[_Trial], each: Sequence[int], size: int) -> Stream:
        places: dict[bytes, np.ndarray] = {}
        vectors: list[torch.Tensor] = []
        labels: list[np.ndarray] = []
        taken = 0
        for trial in trials:
            if trial.fit.tobytes() not in places:  # full data is the same for every seed
                places[trial.fit.tobytes()] = np.arange(taken, taken + len(trial.fit))
                vectors.append(self._seen(trial, trial.fit))
                labels.append(self._images.classes[trial.fit])
                taken += len(trial.fit)
        rows = [places[t.fit.tobytes()] for t, n in zip(trials, each, strict=True) for _ in range(n)]
        padded = pad_rows(rows)
        return Stream(
            torch.cat(vectors) if vectors else torch.zeros(0, self._images.vectors.shape[1]),
            torch.as_tensor(np.concatenate([*labels, np.zeros(0)])).long(),
            padded,
            np.ones(padded.shape),
            size,
        )

    def _text_stream(
        self,
        weights: Sequence[np.ndarray],
        each: Sequence[int],
        factors: Sequence[Sequence[float]],
        size: int,
    ) -> Stream:
        runs = [
            (own, factor)
            for own, n, several in zip(weights, each, factors, strict=True)
            for factor in several[:n]
        ]
        rows = pad_rows([np.flatnonzero(own) for own, _ in runs])
        losses = np.zeros(rows.shape)
        for run, (own, factor) in enumerate(runs):
            used = np.flatnonzero(own)
            losses[run, : len(used)] = own[used] * factor
        return Stream(self._texts, self._text_classes, rows, losses, size)

    def _schedules(self, rates: Sequence[Sequence[float]], epochs: int) -> np.ndarray:
        flat = [rate for own in rates for rate in own]
        return np.array([cosine_rates(rate, epochs) for rate in flat]).reshape(len(flat), epochs)

    def _run(
        self,
        start: Heads,
        streams: Sequence[Stream],
        rates: np.ndarray,
        trials: Sequence[_Trial],
        each: Sequence[int],
    ) -> Heads:
        epochs = rates.shape[1]
        if len(start.weights) == 0 or epochs == 0:
            return start
        owners = np.repeat([trial.number for trial in trials], each)
        return train_heads(start, streams, rates, [self._seeds[i] for i in owners])[epochs]


def _folds(labels: np.ndarray, rows: np.ndarray, folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Parts of the rows, each with all classes that have enough; none where every class has one row."""
    place = np.zeros(len(rows), dtype=np.int64)
    for name in np.unique(labels[rows]):
        own = np.flatnonzero(labels[rows] == name)
        place[own] = np.arange(len(own))
    most = int(place.max(initial=0)) + 1
    if most < 2:
        return []
    part = place % min(folds, most)
    return [(rows[part != f], rows[part == f]) for f in range(min(folds, most))]


def _loss_weights(name: str, weights: np.ndarray, texts: int) -> np.ndarray:
    weights = np.asarray(weights, dtype=float)
    if weights.shape != (texts,) or not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise InputError(
            f"the weights of the text set {name!r} have shape {weights.shape!r} and lowest value"
            f" {weights.min(initial=np.inf)!r}: give {texts} numbers of at least 0, one a text"
        )
    return weights


def _check(
    images: Embedded,
    texts: Embedded,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
    classes: int,
    choose: str,
    settings: Settings,
) -> None:
    if images.vectors.shape[1] != texts.vectors.shape[1]:
        raise InputError(
            f"images have {images.vectors.shape[1]!r} dimensions and texts"
            f" {texts.vectors.shape[1]!r}: both"
            " must come from one encoder, or from two joined by a fitted map"
        )
    for kind, own in (("image", images.classes), ("text", texts.classes)):
        if len(own) and not (own.min() >= 0 and own.max() < classes):
            raise InputError(
                f"{kind} classes run from {own.min()!r} to {own.max()!r}: expected 0 to {classes - 1}"
            )
    train, validation, test = rows
    if len(train) == 0 or len(test) == 0 or (choose == SELECT and len(validation) == 0):
        raise InputError(
            f"{len(train)!r} training, {len(validation)!r} validation and {len(test)!r} test"
            " images with"
            f" choose={choose!r}: none may be empty; choose='shots' needs no validation images"
        )
    for first, second in ((train, validation), (train, test), (validation, test)):
        both = np.intersect1d(first, second)
        if len(both):
            raise InputError(f"image row {int(both[0])!r} is in two splits: a split is for one purpose")
    if choose not in (SELECT, "shots") or settings.folds < 2 or not settings.image_rates:
        raise InputError(
            f"choose={choose!r} with folds={settings.folds!r} and"
            f" image_rates={settings.image_rates!r}:"
            " choose is 'select' or 'shots', with at least 2 folds and 1 rate"
        )
