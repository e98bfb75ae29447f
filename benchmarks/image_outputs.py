"""Are a classifier's outputs, whose true names are known, described by those names?

    python benchmarks/image_outputs.py MODEL IMAGES.parquet WORDS.parquet --out FOLDER --other A.parquet ...
    python benchmarks/image_outputs.py MODEL IMAGES.parquet WORDS.parquet --out FOLDER --channels

IMAGES has one picture or more of each class, with the classifier's name of it in --label and a list of names
with commas between them in --synonyms; WORDS columns `list` and `word`. Prints the share of outputs with
their true name among the first five words, by describers of saywell and by the rule of CLIP-Dissect
(Oikarinen and Weng 2023, arXiv 2204.10965) on the same vectors. With --channels, prints instead how
many of the last channels have a verified description, beside the same model with random weights.

Pictures and words meet in one space by a linear map from the model's features to a sentence encoder
(`saywell.encoders.joined`). What that is fitted on decides what the figures mean:

other data      the pictures and names of --other: no class of IMAGES
other classes   pictures and names of nine tenths of the classes; outputs are described by the map that
                saw neither picture nor name of their class, nor of the other classes of its tenth
same classes    all of them: the name of each output was told. A ceiling, not a result.

Outputs have too few positives each to be described and scored apart, so describers see every picture and
there is no score part: the true names are the test.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from scipy.special import log_softmax, logsumexp

from classes_real import KeptVision
from saywell.data.captioned import load_captioned
from saywell.data.examples import Examples
from saywell.data.images import load_images
from saywell.data.parts import DESCRIBE
from saywell.data.splits import hash_numbers
from saywell.data.tags import Tags
from saywell.describers.describer import Evidence
from saywell.describers.descriptors.nearness import holding
from saywell.describers.dissect import Dissect
from saywell.describers.enrichment import Enrichment
from saywell.describers.phrases import singular
from saywell.encoders.joined import JoinedEncoder, LinearMap, fit_map
from saywell.encoders.sentence import encode_in_chunks, open_sentence_encoder
from saywell.encoders.vision import open_vision_encoder
from saywell.resources import Resources
from saywell.scorers.intervals import share_interval
from saywell.store.files import read_array, write_arrays
from saywell.studies.units import describe_units
from saywell.units.activations import Activations
from saywell.units.exemplars import CONTRASTS, exemplar_table
from saywell.units.firing import TopShare
from saywell.units.models import load_vision_model
from saywell.units.responses import open_responses
from saywell.units.statistics import unit_table
from saywell.units.vision import Vision

FOLDS, NAMED = 10, 5
LISTS = ("ImageNet classes", "20k common words", "Broden labels", "Places365 categories")
METHODS = ("dissect, 1", "dissect, 5", "dissect, 20", "enrichment, 20", "softWPMI, 5", "softWPMI, 100")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("images", type=Path)
    parser.add_argument("words", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--other", type=Path, nargs="*", default=[])
    parser.add_argument("--label", default="label_name")
    parser.add_argument("--synonyms", default="synonyms")
    parser.add_argument("--channels", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    world = World(arguments)
    channels(world, arguments) if arguments.channels else outputs(world, arguments)


class World:
    """Pictures with their features, and words with their vectors; both are kept in a folder."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.folder, self.label = arguments.out, arguments.label
        given = pl.read_parquet(arguments.images)
        # Two classes whose names differ in case only are refused as labels; the pictures need none.
        self.examples = load_images(given.select("image"), label=None, near=None)
        self.rows = given.drop("image")[self.examples.table["row"].to_list()]
        self.names: list[str] = self.rows[arguments.label].to_list()
        self.vision = KeptVision(open_vision_encoder(arguments.model), self.folder / "features.sqlite")
        self.sentence = open_sentence_encoder("minilm")
        shown = dict(self.examples.pictures())
        self.features = self.vision([shown[id] for id in self.examples.ids])
        table = pl.read_parquet(arguments.words)
        self.lists = {
            name: list(dict.fromkeys(first_name(word) for word in table.filter(list=name)["word"]))
            for name in LISTS
        }
        self._vectors = self._read(
            sorted({w for words in self.lists.values() for w in words} | {*self.names})
        )

    def said(self, words: Sequence[str]) -> Float[np.ndarray, "words dim"]:
        """The vectors of words, from memory."""
        return np.stack([self._vectors[word] for word in words])

    def _read(self, words: list[str]) -> dict[str, np.ndarray]:
        path = self.folder / "words.safetensors"
        if not path.exists():
            import torch

            write_arrays(path, {"words": torch.from_numpy(encode_in_chunks(self.sentence, words))})
        return dict(zip(words, read_array(path, "words"), strict=True))


def first_name(word: str) -> str:
    """Of the names of one thing the first."""
    return word.split(",")[0].strip()


# ---- outputs


def outputs(world: World, arguments: argparse.Namespace) -> None:
    """The table of shares."""
    examples = replace(world.examples, table=world.examples.table.with_columns(part=pl.lit(DESCRIBE)))
    source = Vision.of(load_vision_model(arguments.model, device="cpu"), "outputs")
    folder = world.folder / "outputs"
    folder.mkdir(exist_ok=True)
    source.collect(examples, folder, Resources())
    responses = open_responses(folder, len(examples))
    names = source.units()["name"].to_list()
    synonyms = dict(zip(world.names, world.rows[arguments.synonyms], strict=True))
    fold_of = hash_numbers(names, 0, "image outputs") % FOLDS
    unseen = np.array([fold_of[names.index(name)] for name in world.names])
    everything = np.arange(len(names))
    shared = Counted(examples, responses, source)
    maps: list[tuple[str, list[tuple[LinearMap, np.ndarray]]]] = []
    if arguments.other:
        maps.append(("other data", [(other_map(world, arguments), everything)]))
    tenths = [(joined(world, unseen != fold), np.flatnonzero(fold_of == fold)) for fold in range(FOLDS)]
    maps.append(("other classes", tenths))
    maps.append(("same classes", [(joined(world, unseen >= 0), everything)]))
    everywhere = list(dict.fromkeys(word for words in world.lists.values() for word in words))
    print("| map fitted on | words | describer, pictures | first | exact | synonym | head |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for called, fitted in maps:
        for title, words in (("class names", world.lists[LISTS[0]]), ("all lists", everywhere)):
            said = world.said(words)
            for method in METHODS:
                named: dict[int, list[str]] = {}
                for mapping, units in fitted:
                    seen = mapping.map_images(world.features)
                    named |= shared.named(method, units, seen, mapping.map_texts(said), words)
                cells = [
                    shown([test(named[int(k)], names[int(k)], synonyms) for k in everything])
                    for test in TESTS
                ]
                print(f"| {called} | {title}, {len(words)} | {method} | {' | '.join(cells)} |", flush=True)


def joined(world: World, rows: np.ndarray) -> LinearMap:
    """The map learned from some of the pictures and their names."""
    some = [name for name, kept in zip(world.names, rows, strict=True) if kept]
    return fit_map(world.features[rows], world.said(some), some)


def other_map(world: World, arguments: argparse.Namespace) -> LinearMap:
    """The map learned from other sets."""
    found = [load_captioned(file, label=world.label) for file in arguments.other]
    captions = [caption for one in found for caption in one.captions]
    pictures = [picture for one in found for picture in one.pictures]
    return fit_map(world.vision(pictures), world.sentence(captions), captions)


class Counted:
    """Outputs of all pictures, and what each describer names of some of them."""

    def __init__(self, examples: Examples, responses, source: Vision) -> None:
        self.examples, self.responses, self.source = examples, responses, source
        everyone = Activations(responses, self._units(0.05), TopShare(0.05))
        self.values = everyone.of(source.units()["id"].to_list(), np.arange(len(examples)))

    def named(
        self,
        method: str,
        units: Int[np.ndarray, " units"],
        seen: np.ndarray,
        said: np.ndarray,
        words: list[str],
    ) -> dict[int, list[str]]:
        """Up to five words of each of these outputs, best first."""
        name, number = method.split(", ")
        if name == "softWPMI":
            found = soft_wpmi(seen @ said.T, self.values[units], int(number))
            best = np.argsort(-found, axis=1, kind="stable")[:, :NAMED]
            return {int(unit): [words[k] for k in own] for unit, own in zip(units, best, strict=True)}
        evidence = self._evidence(units, int(number), seen, said, words)
        describer = Dissect(most=NAMED) if name == "dissect" else Enrichment()
        resources = Resources(dual=Table(words, said))  # type: ignore[arg-type]
        resources.keep(self.examples, seen)
        told = describer.describe(evidence, resources, None)  # type: ignore[arg-type]
        return {int(unit): list(own.parts) for unit, own in zip(units, told, strict=True)}

    def _units(self, share: float) -> pl.DataFrame:
        describe = self.examples.parts.describe
        return unit_table(self.source.units(), self.responses, TopShare(share), describe)

    def _evidence(
        self, units: np.ndarray, number: int, seen: np.ndarray, said: np.ndarray, words: list[str]
    ) -> Evidence:
        firing = TopShare(number / len(self.examples))
        describe = self.examples.parts.describe
        ids = self.source.units()["id"].gather(units).to_list()
        activations = Activations(self.responses, self._units(firing.share), firing).only(ids)
        near = holding(seen, said, describe.rows)
        known = np.ones(len(self.examples), dtype=bool)
        tags = Tags((near > 0).astype(np.float32), known, tuple(words), tuple(words))
        exemplars = exemplar_table(activations, self.examples.ids, {DESCRIBE: describe}, number)
        examples = self.examples.with_tags(tags).only(describe)
        return Evidence(
            activations.units, examples, activations.within(describe), exemplars, CONTRASTS.empty(), 0
        )


class Table:
    """A dual encoder that knows some words."""

    name, max_tokens, fingerprint = "table", 1 << 30, "table"

    def __init__(self, words: Sequence[str], vectors: np.ndarray) -> None:
        self._place = {word: row for row, word in enumerate(words)}
        self._vectors, self.dim = vectors, vectors.shape[1]

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """From memory."""
        return self._vectors[[self._place[text] for text in texts]]


def soft_wpmi(
    near: Float[np.ndarray, "examples words"],
    values: Float[np.ndarray, "units examples"],
    strongest: int,
    *,
    sharpness: float = 10.0,
    first: float = 0.998,
    last: float = 0.97,
) -> Float[np.ndarray, "units words"]:
    """Soft weighted pointwise mutual information of units and words (equation 5 of the paper), lambda 1.

    log E[p(word | B)] - log p(word), where an example of falling rank is in the unit's set B with a
    probability that falls from `first` to `last`, p(word | example) is the softmax of the cosines times
    `sharpness`, and p(word) the mean over units. The numbers are those of the authors' code.
    """
    told = np.exp(log_softmax(sharpness * near.astype(np.float64), axis=1)).astype(np.float32)
    inside = (first - np.arange(strongest) / strongest * (first - last)).astype(np.float32)[:, None]
    order = np.argsort(-values, axis=1, kind="stable")[:, :strongest]
    found = np.stack([np.log(1 + inside * (told[own] - 1) + 1e-7).sum(0) for own in order])
    return found - (logsumexp(found, axis=0) - np.log(len(found)))


# ---- what counts as the true name


def plain(phrase: str) -> str:
    """In lower case, words in the singular."""
    return " ".join(singular(word) for word in phrase.lower().replace("-", " ").split())


def exact(said: str, name: str, synonyms: dict[str, str]) -> bool:
    """The classifier's own name, whatever its case."""
    return said.lower() == name.lower()


def synonym(said: str, name: str, synonyms: dict[str, str]) -> bool:
    """That or another name that the data set has for the class, whatever case and number."""
    return plain(said) in {plain(name), *(plain(one) for one in synonyms.get(name, "").split(","))}


def head(said: str, name: str, synonyms: dict[str, str]) -> bool:
    """Any of these, or their last word: "shark" of a tiger shark."""
    own = [plain(name), *(plain(one) for one in synonyms.get(name, "").split(","))]
    return plain(said) in {*own, *(one.split()[-1] for one in own if one)}


def among(test: Callable[..., bool], first: int = NAMED) -> Callable[..., bool]:
    """Whether it is passed by one of the first words."""
    return lambda said, name, synonyms: any(test(word, name, synonyms) for word in said[:first])


TESTS = (among(exact, 1), among(exact), among(synonym), among(head))


def shown(passed: Sequence[bool]) -> str:
    """The share with its Clopper-Pearson interval."""
    found = share_interval(np.array(passed, dtype=float))
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


# ---- channels


def channels(world: World, arguments: argparse.Namespace) -> None:
    """How many are verified, by describer, beside the control."""
    describe = world.examples.parts.describe.rows
    rows = np.zeros(len(world.examples), dtype=bool)
    rows[describe] = True
    encoder = JoinedEncoder(world.vision, world.sentence, joined(world, rows))  # type: ignore[arg-type]
    words = [word for name in LISTS if name != "20k common words" for word in world.lists[name]]
    print(f"map fitted on {len(describe)} describe pictures and their names; {len(set(words))} words")
    study = describe_units(
        pl.read_parquet(arguments.images).select("image"),
        model=arguments.model,
        module="channels",
        pool="mean",
        vocabulary=words,
        encoder=encoder,
        describer=["dissect", "enrichment"],
        reader=["dual-encoder"],
        device="cpu",
        out=world.folder / "channels",
    )
    for metric in study.headline():
        beside = ", ".join(f"{name} {value:.3f}" for name, value in metric.controls.items())
        interval = f"{metric.value:.3f} ({metric.ci_low:.3f} to {metric.ci_high:.3f})"
        print(f"{metric.name}: {interval}, n {metric.n}; {beside or 'no control'}")


if __name__ == "__main__":
    main()
