"""What each of many raters goes by: a linear or logistic model whose weights differ by rater.

Item i of rater r is told by a + c_i.g + x_i.w + (a_r + x_i.w_r), with covariates c, readings x, and what is
in brackets the rater's own: a_r and w_r are normal around 0, with a spread of its own for each reading.
Raters of whom little is known are so drawn towards the weights of all.

How far raters differ is found in two steps. The spreads first get about the values under which the data
are most likely (the fixed-point updates of MacKay 1992 around the mode), each drawn towards their mean. Where
a rater said little these are too small, and where raters do not differ they never are quite 0; so all of
them are multiplied by what tells held-out items best, and by 0 unless another is clearly better.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import special

RaterModel = Literal["all", "level", "weights", "alone"]
"""What may differ by rater: nothing; how high a rater goes (of pairs, for the first); that and what the
rater favours; or all of it, with nothing drawn to anything: each rater's items say all."""

SCALES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Of these is chosen what the spreads are multiplied by."""
FOLDS = 5
_ALONE = 10.0  # the spread, where nothing is to be drawn: as good as none, yet separated raters stay finite
_LIKE_ALL = 3.0  # weights that the mean of all spreads counts for beside a reading's own
_FLAT = 1e8  # the variance of the constant
_NONE, _LEAST, _MOST = 1e-12, 1e-6, 1e4  # variances, where the outcome's is about 1
_ROUNDS, _STEPS, _HALVINGS = 20, 30, 30
_DECREMENT = 1e-6  # of a Newton step, in nats of all items


@dataclass(frozen=True)
class Rated:
    """Items that somebody rated. No NaN.

    `outcome`: 1 and 0 where it is `binary`. `rater`: numbers from 0; below 0 where nobody is known.
    `together`: numbers of items that are kept in one fold.
    """

    outcome: Float[np.ndarray, " items"]
    readings: Float[np.ndarray, "items readings"]
    covariates: Float[np.ndarray, "items covariates"]
    rater: Int[np.ndarray, " items"]
    together: Int[np.ndarray, " items"]
    binary: bool

    def of(self, rows: np.ndarray) -> Rated:
        """Some of the items."""
        return Rated(
            self.outcome[rows],
            self.readings[rows],
            self.covariates[rows],
            self.rater[rows],
            self.together[rows],
            self.binary,
        )

    @property
    def features(self) -> Float[np.ndarray, "items features"]:
        """Ones, covariates and readings."""
        return np.column_stack([np.ones(len(self.outcome)), self.covariates, self.readings])


@dataclass(frozen=True)
class Raters:
    """The weights of features (ones, covariates, readings), in log odds or in the outcome's units.

    `weights`: of all together, `errors` their standard errors. `vary`: the features that have weights of
    each rater; `own`: by how much these differ from those of all, `own_errors`: standard errors of the sum of
    both. `spread`: the standard deviation of raters' weights. `noise`: the variance of the outcome
    around what is told; 1 where it is binary. Errors take noise and spreads for known, these at least as wide
    as is most likely.
    """

    weights: Float[np.ndarray, " features"]
    errors: Float[np.ndarray, " features"]
    vary: Int[np.ndarray, " varying"]
    own: Float[np.ndarray, "raters varying"]
    own_errors: Float[np.ndarray, "raters varying"]
    spread: Float[np.ndarray, " varying"]
    noise: float

    def weights_of(self, rater: Int[np.ndarray, " items"]) -> Float[np.ndarray, "items features"]:
        """The weights that each item's rater goes by; those of all where the rater was never seen."""
        weights = np.tile(self.weights, (len(rater), 1))
        seen = np.flatnonzero((rater >= 0) & (rater < len(self.own)))
        weights[np.ix_(seen, self.vary)] += self.own[rater[seen]]
        return weights

    def tell(self, rated: Rated) -> Float[np.ndarray, " items"]:
        """Log odds, or the value expected."""
        return np.sum(rated.features * self.weights_of(rated.rater), axis=1)


def losses(rated: Rated, told: Float[np.ndarray, " items"]) -> Float[np.ndarray, " items"]:
    """Of each item the log loss in nats, or the squared error where the outcome is not binary."""
    if rated.binary:
        return np.logaddexp(0, told) - rated.outcome * told
    return (rated.outcome - told) ** 2


class Scales(NamedTuple):
    """What the spreads are multiplied by: of how high raters go, and of the weights of readings."""

    level: float = 1.0
    weights: float = 1.0


def fit_raters(rated: Rated, model: RaterModel, scales: Scales) -> Raters:
    """The weights of all and of each rater; the spreads of "alone" stay as wide as they are."""
    scaled, middle, unit = _scaled(rated)
    fitted = _Fit(scaled, model)
    found = fitted.variances()
    result = fitted.result(found if model == "alone" else found.spread_by(scales))
    if model == "weights":
        # What tells held-out items best may be no difference where there still is one: errors allow for it.
        wide = found.spread_by(Scales(max(scales.level, 1.0), max(scales.weights, 1.0)))
        result = replace(result, own_errors=np.sqrt(fitted.uncertainty(wide)[2]))
    by_unit = {
        name: getattr(result, name) * unit for name in ("weights", "errors", "own", "own_errors", "spread")
    }
    by_unit["weights"][0] += middle
    return replace(result, **by_unit, noise=result.noise * unit**2)


def _scaled(rated: Rated) -> tuple[Rated, float, float]:
    """With a real outcome of mean 0 and variance 1, which variances start from; the mean, and the unit."""
    if rated.binary:
        return rated, 0.0, 1.0
    middle, unit = float(rated.outcome.mean()), float(rated.outcome.std()) or 1.0
    return replace(rated, outcome=(rated.outcome - middle) / unit), middle, unit


def best_scales(rated: Rated, *, seed: int = 0) -> Scales:
    """Those that tell held-out items best: first of the level, then with it of the weights.

    Each is 0 unless another is better by twice the standard error of the difference.
    """
    rated, *_ = _scaled(rated)
    groups, together = np.unique(rated.together, return_inverse=True)
    fold = (np.random.default_rng(seed).permutation(len(groups)) % FOLDS)[together]
    folds = []
    for one in np.unique(fold) if len(groups) > 1 else ():
        fitted = _Fit(rated.of(fold != one), "weights")
        folds.append((fold == one, rated.of(fold == one), fitted, fitted.variances()))

    def best(candidates: list[Scales]) -> Scales:
        held_out = np.zeros((len(candidates), len(fold)))
        for rows, outside, fitted, found in folds:
            for number, scales in enumerate(candidates):
                told = fitted.result(found.spread_by(scales)).tell(outside)
                held_out[number, rows] = losses(outside, told)
        chosen = int(held_out.sum(1).argmin())
        gain = np.bincount(together, held_out[0] - held_out[chosen])
        clear = len(gain) > 1 and gain.mean() > 2 * gain.std() / np.sqrt(len(gain))
        return candidates[chosen if clear else 0]

    level = best([Scales(scale, 0.0) for scale in SCALES]).level
    return best([Scales(level, scale) for scale in SCALES])


class _Variances(NamedTuple):
    prior: Float[np.ndarray, " features"]
    """Of the weights of all."""
    between: Float[np.ndarray, " varying"]
    noise: float

    def spread_by(self, scales: Scales) -> _Variances:
        """With the spreads multiplied."""
        by = np.full(len(self.between), scales.weights)
        by[:1] = scales.level
        return self._replace(between=np.clip(self.between * by**2, _NONE, _MOST))


class _Weights(NamedTuple):
    shared: Float[np.ndarray, " features"]
    own: Float[np.ndarray, "raters varying"]


class _Curvature(NamedTuple):
    """Of the negative log posterior."""

    shared: Float[np.ndarray, "features features"]
    own: Float[np.ndarray, "raters varying varying"]
    both: Float[np.ndarray, "raters varying features"]


class _Fit:
    """The most likely weights for some variances; it goes on from where it was."""

    def __init__(self, rated: Rated, model: RaterModel) -> None:
        order = np.argsort(rated.rater, kind="stable")
        rated = rated.of(order)
        self.features, self.outcome, self.binary = rated.features, rated.outcome, rated.binary
        covariates, features = rated.covariates.shape[1], self.features.shape[1]
        self.model, self.kinds = model, np.repeat([0, 1, 2], [1, covariates, features - 1 - covariates])
        varying = {"all": [], "level": [0]}.get(model, [0, *range(1 + covariates, features)])
        self.vary = np.array(varying, int)
        rater = rated.rater if varying else np.full(len(order), -1)
        self.raters = int(rater.max(initial=-1)) + 1
        self.ends = np.searchsorted(rater, np.arange(self.raters + 1))
        self.first = int(self.ends[0])  # those before are of nobody known
        self.rater = rater[self.first :]
        self.varying = np.ascontiguousarray(self.features[self.first :, self.vary])
        self.at = _Weights(np.zeros(features), np.zeros((self.raters, len(self.vary))))

    def variances(self) -> _Variances:
        """Those under which the data are about the most likely."""
        start = _ALONE if self.model == "alone" else 0.5
        found = _Variances(
            np.where(self.kinds == 0, _FLAT, 1.0),
            np.full(len(self.vary), start**2),
            1.0 if self.binary else max(float(self.outcome.var()), _LEAST),
        )
        for _ in range(_ROUNDS):
            self.move(found)
            shared, own, _ = self.uncertainty(found)
            # How many weights the data settle: as far as their variance is below what it was before. One more
            # of size 1 is put to those of all, as a single weight says little about its variance.
            settled, settled_own = 1 - shared / found.prior, np.sum(1 - own / found.between, axis=0)
            prior, between, noise = found.prior.copy(), found.between.copy(), found.noise
            for kind in set(self.kinds) - {0}:
                mine = self.kinds == kind
                prior[mine] = _bounded(1 + np.sum(self.at.shared[mine] ** 2), 1 + np.sum(settled[mine]))
            if self.model != "alone" and len(between):
                squares = np.sum(self.at.own**2, axis=0)
                between[:1] = _bounded(squares[:1], settled_own[:1])
                usual = _bounded(squares[1:].sum(), settled_own[1:].sum())
                between[1:] = _bounded(squares[1:] + _LIKE_ALL * usual, settled_own[1:] + _LIKE_ALL)
            if not self.binary:
                left = self.outcome - self.told(self.at)
                free = len(left) - settled.sum() - settled_own.sum()
                noise = float(_bounded(left @ left, max(free, 1.0)))
            found = _Variances(prior, between, noise)
        return found

    def result(self, found: _Variances) -> Raters:
        """Weights and errors."""
        self.move(found)
        shared, _, sums = self.uncertainty(found)
        return Raters(
            self.at.shared,
            np.sqrt(shared),
            self.vary,
            self.at.own,
            np.sqrt(sums),
            np.sqrt(found.between),
            found.noise,
        )

    def told(self, at: _Weights) -> Float[np.ndarray, " items"]:
        told = self.features @ at.shared
        told[self.first :] += np.sum(self.varying * at.own[self.rater], axis=1)
        return told

    def move(self, found: _Variances) -> None:
        """To the most likely weights, by Newton's method."""
        value = self.value(self.at, found)
        for _ in range(_STEPS):
            curved = self.curvature(found)
            left = (self.outcome - self.expected(self.told(self.at))) / found.noise
            by_shared = self.features.T @ left - self.at.shared / found.prior
            by_own = self.summed(self.varying * left[self.first :, None]) - self.at.own / found.between
            # The raters' own weights are solved for and put in: what is left is of the size of the features.
            inner = np.linalg.solve(curved.own, np.concatenate([curved.both, by_own[:, :, None]], axis=2))
            through, own = inner[:, :, :-1], inner[:, :, -1]
            outer = curved.shared - np.einsum("rvf,rvg->fg", curved.both, through)
            shared = np.linalg.solve(outer, by_shared - np.einsum("rvf,rv->f", curved.both, own))
            own = own - through @ shared
            size, start = 1.0, self.at
            for _ in range(_HALVINGS):
                there = _Weights(start.shared + size * shared, start.own + size * own)
                if (new := self.value(there, found)) >= value:
                    self.at, value = there, new
                    break
                size /= 2
            if by_shared @ shared + np.sum(by_own * own) < _DECREMENT:
                return

    def uncertainty(
        self, found: _Variances
    ) -> tuple[
        Float[np.ndarray, " features"],
        Float[np.ndarray, "raters varying"],
        Float[np.ndarray, "raters varying"],
    ]:
        """The variances of the weights of all, of what is each rater's own, and of the sums of both."""
        curved = self.curvature(found)
        inverse = np.linalg.inv(curved.own)
        through = inverse @ curved.both
        shared = np.linalg.inv(curved.shared - np.einsum("rvf,rvg->fg", curved.both, through))
        with_shared = through @ shared
        own = np.einsum("rvv->rv", inverse) + np.sum(with_shared * through, axis=2)
        along = np.arange(len(self.vary))
        sums = own + shared.diagonal()[self.vary] - 2 * with_shared[:, along, self.vary]
        return shared.diagonal(), own, sums

    def expected(self, told: Float[np.ndarray, " items"]) -> Float[np.ndarray, " items"]:
        return special.expit(told) if self.binary else told

    def value(self, at: _Weights, found: _Variances) -> float:
        """The log posterior, up to a constant."""
        told = self.told(at)
        if self.binary:
            fits = self.outcome @ told - np.logaddexp(0, told).sum()
        else:
            fits = -np.sum((self.outcome - told) ** 2) / 2 / found.noise
        drawn = np.sum(at.shared**2 / found.prior) + np.sum(at.own**2 / found.between)
        return float(fits - drawn / 2)

    def curvature(self, found: _Variances) -> _Curvature:
        if self.binary:
            chance = special.expit(self.told(self.at))
            each = chance * (1 - chance)
        else:
            each = np.full(len(self.outcome), 1 / found.noise)
        weighted = self.features * each[:, None]
        both = np.zeros((self.raters, len(self.vary), self.features.shape[1]))
        for rater, (start, end) in enumerate(zip(self.ends[:-1], self.ends[1:], strict=True)):
            both[rater] = self.varying[start - self.first : end - self.first].T @ weighted[start:end]
        own = both[:, :, self.vary] + np.diag(1 / found.between)
        return _Curvature(self.features.T @ weighted + np.diag(1 / found.prior), own, both)

    def summed(self, rows: Float[np.ndarray, "some varying"]) -> Float[np.ndarray, "raters varying"]:
        """The sum over each rater's items."""
        sums = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])
        ends = self.ends - self.first
        return sums[ends[1:]] - sums[ends[:-1]]


def _bounded(squares: np.ndarray | float, settled: np.ndarray | float) -> np.ndarray:
    """A mean of squares, of so many as the data settle."""
    return np.clip(squares / np.maximum(settled, _LEAST), _LEAST, _MOST)
