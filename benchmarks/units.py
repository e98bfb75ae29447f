"""Units of one's own: are those that mean something described truly, and is nothing said of noise?

    python benchmarks/units.py --data ../shared/data --models ../shared/models --out FOLDER [--only PART]

columns     stars of restaurant reviews, and the coarse labels of questions, as columns of the table
matrix      over the questions 30 columns that mean something (15 fine labels, 15 words; 1 where true, with
            noise of 0.3) and 30 of random numbers, for each of two seeds
directions  a difference of means for each of 33 concepts, at a layer of MiniLM; whether the description
            decides as the gold phrase does, by a reader that is no part of MiniLM
function    two Python functions of a text, and one that is a hash of it
images      the outputs and the channels of MobileNet-v2 over a picture of each ImageNet class

Verified is by the first reader, as in the study; the other readers stand beside. Of texts that are in
several parts of this script the vectors are made once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl

from saywell import describe_units
from saywell.encoders.sentence import encoder_fingerprint, open_sentence_encoder
from saywell.scorers.intervals import share_interval
from saywell.store.study import Study

FINE, WORDS, NOISE, SEEDS = 15, 15, 30, (0, 1)
PLANTED = (
    "city country president film river war book team animal computer american water company game island"
    " name year world man woman state people long first"
).split()
DESCRIBERS = ["enrichment", "covering", "extractive", "dissect"]
READERS = ["sentence-encoder", "lexical", "tags"]


class Remembering:
    """A sentence encoder that makes each text's vector once."""

    def __init__(self, name: str) -> None:
        self.encoder, self.name, self.known = open_sentence_encoder(name), name, {}
        self.fingerprint = encoder_fingerprint(self.encoder)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, one row a text."""
        new = list(dict.fromkeys(text for text in texts if text not in self.known))
        if new:
            self.known.update(zip(new, self.encoder(new), strict=True))
        return np.stack([self.known[text] for text in texts])


def table(study: Study, groups: Mapping[str, str]) -> str:
    """For each describer and group of units: described, and verified by each reader."""
    scores, said = study.scores, study.descriptions.filter(pl.col("text") != "")
    readers = scores["reader"].unique(maintain_order=True).to_list()
    lines = [
        f"| describer | units | described | {' | '.join(f'verified by {name}' for name in readers)} |",
        f"|---|---|---|{'---|' * len(readers)}",
    ]
    for describer in study.descriptions["describer"].unique(maintain_order=True):
        for group in dict.fromkeys(groups.values()):
            own = [unit for unit, its in groups.items() if its == group]
            count = said.filter(pl.col("unit").is_in(own), describer=describer).height
            cells = [share(len(held(scores, own, describer, reader)), len(own)) for reader in readers]
            lines.append(f"| {describer} | {len(own)} {group} | {count} | {' | '.join(cells)} |")
    return "\n".join(lines)


def held(scores: pl.DataFrame, units: Iterable[str], describer: str, reader: str) -> list[str]:
    """Units whose description by that describer is verified by that reader."""
    kept = scores.filter(describer=describer, reader=reader, status="verified")
    return kept.filter(pl.col("unit").is_in(list(units)))["unit"].to_list()


def share(count: int, of: int) -> str:
    """A count with the 95 % interval of its share."""
    found = share_interval(np.arange(of) < count)
    return f"{count} ({found.low:.0%} to {found.high:.0%})"


def sentences(study: Study, most: int = 40) -> str:
    """Units, their chosen description, whether it holds, and the strongest two examples."""
    chosen = study.descriptions.filter(pl.col("selected"), pl.col("text") != "")
    first = study.scores["reader"][0]
    status = dict(study.scores.filter(reader=first).select("description", "status").iter_rows())
    texts = dict(
        study.examples.select("id", "text" if "text" in study.examples.columns else "name").iter_rows()
    )
    lines = []
    for unit, own, text in chosen.select("unit", "id", "text").head(most).iter_rows():
        strong = study.exemplars.filter(unit=unit, part="describe").sort("rank")["example"].head(2)
        shown = " / ".join(str(texts[example])[:90] for example in strong)
        lines.append(f"    {unit}: {text}  [{status[own]}]\n        {shown}")
    return "\n".join(lines)


def report(study: Study, groups: Mapping[str, str]) -> None:
    control = study.table("control_scores") if "control_scores" in study.manifest.tables else None
    print(table(study, groups), flush=True)
    if control is not None:
        wrong = control.filter(status="verified").height
        print(f"\nshuffled: {control.height} described, {wrong} verified")
    print(f"\n{sentences(study)}\n", flush=True)


def columns(data: Path, out: Path, options: argparse.Namespace, encoder: Remembering) -> None:
    """Part `columns`."""
    for name, column in (("yelp", "stars"), ("trec", "coarse")):
        texts = pl.read_parquet(data / f"{name}.parquet")
        print(f"### {name}: {column}\n")
        study = describe_units(
            texts, column=column, out=out / name, encoder=encoder, limit=options.limit, describer=DESCRIBERS
        )
        report(study, dict.fromkeys(study.units["id"], "units"))


def matrix(data: Path, out: Path, options: argparse.Namespace, encoder: Remembering) -> None:
    """Part `matrix`."""
    texts = pl.read_parquet(data / "trec.parquet")
    lower = texts["text"].str.to_lowercase()
    labels = texts["fine"].value_counts().sort(["count", "fine"], descending=[True, False])["fine"].head(FINE)
    truth = {f"label {name}": (texts["fine"] == name).to_numpy() for name in labels}
    said = {word: lower.str.contains(rf"\b{word}\b").to_numpy() for word in PLANTED}
    often = sorted(said, key=lambda word: (-said[word].sum(), word))[:WORDS]
    truth |= {f"word {word}": said[word] for word in often}
    for seed in SEEDS:
        draw = np.random.default_rng(seed)
        true = np.stack(list(truth.values()), 1) + draw.normal(0, 0.3, (texts.height, len(truth)))
        values = np.concatenate([true, draw.normal(size=(texts.height, NOISE))], axis=1)
        names = [*truth, *(f"noise {number}" for number in range(NOISE))]
        print(f"### matrix, seed {seed}\n")
        study = describe_units(
            texts.select("text"),
            values,
            names=names,
            out=out / f"matrix-{seed}",
            encoder=encoder,
            limit=options.limit,
            seed=seed,
            describer=DESCRIBERS,
        )
        report(study, {name: "noise" if name.startswith("noise") else "true" for name in names})


def function(data: Path, out: Path, options: argparse.Namespace, encoder: Remembering) -> None:
    """Part `function`."""
    texts = pl.read_parquet(data / "trec.parquet").select("text")
    functions: dict[str, Callable[[str], float]] = {
        "asks for a number": lambda text: float(
            text.lower().startswith(("how many", "how much", "how long"))
        ),
        "letters": len,
        "hash": lambda text: float(int(blake2b(text.encode(), digest_size=4).hexdigest(), 16) / 2**32),
    }
    print("### function\n")
    study = describe_units(
        texts, functions, out=out / "function", encoder=encoder, limit=options.limit, describer=DESCRIBERS
    )
    report(study, dict(zip(functions, ("true", "true", "noise"), strict=True)))


PARTS = {"columns": columns, "matrix": matrix, "function": function}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="that many examples of each set, chosen by content")
    parser.add_argument("--only", choices=PARTS, action="append")
    options = parser.parse_args()
    encoder = Remembering("minilm")
    for name in options.only or PARTS:
        PARTS[name](options.data, options.out, options, encoder)


if __name__ == "__main__":
    main()
