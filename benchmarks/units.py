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
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float
from scipy.special import logsumexp
from scipy.stats import rankdata

from saywell import describe_units
from saywell.data.captioned import load_captioned
from saywell.data.texts import load_texts
from saywell.description import Description
from saywell.encoders.joined import join_encoders
from saywell.encoders.sentence import encoder_fingerprint, open_sentence_encoder
from saywell.encoders.vision import open_vision_encoder
from saywell.readers.registry import find_reader
from saywell.resources import Resources
from saywell.scorers.intervals import share_interval
from saywell.store.files import read_array
from saywell.store.study import Study
from saywell.units.directions import Directions
from saywell.units.models import load_model
from saywell.units.responses import open_responses

MODULE, AGREES, WORDS_OF = "encoder.layer.3", 0.7, "Broden labels"
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
    kept = scores.filter(describer=describer, reader=reader, verifies=True)
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


def directions(data: Path, out: Path, options: argparse.Namespace, encoder: Remembering) -> None:
    """Part `directions`."""
    sets = pl.read_parquet(data / "concept_sets.parquet")
    table = sets.unique("text", maintain_order=True).select("text")
    texts = load_texts(table, limit=options.limit)
    model = load_model("minilm")
    width = int(model.model.config.hidden_size)  # type: ignore[union-attr]
    every = Directions.of(model, MODULE, np.eye(width), pool="mean")
    shutil.rmtree(out / "states", ignore_errors=True)
    states = every.collect(texts, out / "states", Resources()).read(np.arange(len(texts)), np.arange(width))
    place = {text: row for row, text in enumerate(texts.texts)}
    sets = sets.filter(pl.col("text").is_in(texts.texts))
    vectors, labelled = {}, {}
    for (concept,), own in sets.group_by("concept", maintain_order=True):
        rows = np.array([place[text] for text in own["text"]])
        holds, seen = own["label"].to_numpy(), np.isin(rows, texts.parts.describe.rows)
        if (holds & seen).sum() >= 5 and (~holds & seen).sum() >= 5:
            vectors[concept] = states[rows[holds & seen]].mean(0) - states[rows[~holds & seen]].mean(0)
            labelled[concept] = rows, holds
    print(f"### directions at {MODULE}: {len(vectors)} concepts over {len(texts)} texts\n")
    study = describe_units(
        table,
        model="minilm",
        module=MODULE,
        directions=vectors,
        pool="mean",
        out=out / "directions",
        encoder=encoder,
        limit=options.limit,
        describer=DESCRIBERS[:3],
    )
    report(study, dict.fromkeys(vectors, "concepts"))
    gold = dict(sets.select("concept", "description").unique().iter_rows())
    chosen = study.descriptions.filter(pl.col("selected"), pl.col("text") != "")
    status = dict(study.scores.filter(reader="lexical").select("description", "status").iter_rows())
    resources = Resources(encoder)
    lexical, nearness = (find_reader(name, "text").open(texts, resources) for name in ("lexical", READERS[0]))
    print("| the gold phrase | description | verified | AUROC by words | by encoder | of the gold phrase |")
    print("|---|---|---|---|---|---|")
    agree = []
    for concept, own, said in chosen.select("unit", "id", "text").iter_rows():
        rows, holds = labelled[concept]
        kept = np.isin(rows, texts.parts.score.rows)
        rows, holds = rows[kept], holds[kept]
        if not 0 < holds.sum() < len(holds):
            continue
        ours, theirs = Description(concept, said), Description(concept, gold[concept])
        asked = ((lexical, ours), (nearness, ours), (nearness, theirs))
        values = [auroc(read([text], rows)[0], holds) for read, text in asked]
        agree.append((status[own] == "verified", max(values[:2]) >= AGREES))
        shown = " | ".join(f"{value:.2f}" for value in values)
        print(f"| {gold[concept]} | {said} | {status[own]} | {shown} |")
    verified = sum(ok for ok, _ in agree)
    both = sum(ok and same for ok, same in agree)
    print(f"\n{len(agree)} described, {verified} verified; of these {both} tell the concept's own examples")
    print(f"from the others on held-out texts (AUROC of {AGREES} or more by either reader).\n", flush=True)


def auroc(scores: np.ndarray, holds: np.ndarray) -> float:
    """Chance that an example of which it holds has the higher score."""
    ranks = rankdata(scores)
    yes, no = int(holds.sum()), int((~holds).sum())
    return float((ranks[holds].sum() - yes * (yes + 1) / 2) / (yes * no))


def images(data: Path, out: Path, options: argparse.Namespace, encoder: Remembering) -> None:
    """Part `images`. The join has seen the pictures of every second class, with their names."""
    pictures = pl.read_parquet(data / "images" / "imagenet1k_one_each.parquet").sort("label")
    words = pl.read_parquet(data / "published_descriptions" / "concept_words.parquet")
    model = str(options.models / "mobilenet-v2-imagenet")
    names = pictures["label_name"].to_list()
    vocabulary = list(dict.fromkeys([*names, *words.filter(pl.col("list") == WORDS_OF)["word"]]))
    seen = load_captioned(
        pictures.filter(pl.col("label") % 2 == 0).select("image", "label_name").to_dicts(),
        label="label_name",
        caption="a photo of a {}",
    )
    joined = join_encoders(open_vision_encoder(model), encoder, seen.pictures, seen.captions)
    for what in ("outputs", "channels"):
        study = describe_units(
            pictures.select("image"),
            model=model,
            module=what,
            pool="mean" if what == "channels" else "max",
            vocabulary=vocabulary,
            encoder=joined,
            out=out / f"images-{what}",
            describer=DESCRIBERS[:2] + DESCRIBERS[3:],
            control=what == "outputs",
        )
        print(f"### images: {what}, {len(vocabulary)} phrases\n")
        report(study, dict.fromkeys(study.units["id"], what))
        if what == "outputs":
            in_five(study, names, vocabulary, joined.encode_texts(vocabulary))


def in_five(study: Study, names: Sequence[str], vocabulary: Sequence[str], said: np.ndarray) -> None:
    """How often the true class is among the first five words, beside CLIP-Dissect's soft WPMI."""
    describe = np.flatnonzero((study.examples["part"] == "describe").to_numpy())
    shown = read_array(study.file("arrays/embeddings.safetensors"), "examples")[describe]
    number = study.units["index"].to_numpy()
    responses = open_responses(study.arrays("activations"), study.examples.height)
    values = responses.read(describe, study.units["place"].to_numpy().astype(np.int64))
    text = dict(study.table("descriptors").select("id", "text").iter_rows())
    lists = {}
    for (describer,), own in study.descriptions.group_by("describer", maintain_order=True):
        given = {
            unit: [text[d] for d in ids[:5]] for unit, ids in own.select("unit", "descriptors").iter_rows()
        }
        lists[describer] = [given[unit] for unit in study.units["id"]]
    found = soft_wpmi(shown @ said.T, values)
    lists["soft WPMI"] = [[vocabulary[n] for n in row] for row in np.argsort(-found, axis=1)[:, :5]]
    lists["soft WPMI, one word"] = [five[:1] for five in lists["soft WPMI"]]
    print("| rule | classes whose picture the join has seen | other classes |\n|---|---|---|")
    for rule, five in lists.items():
        hits = np.array([names[n] in own for n, own in zip(number, five, strict=True)])
        halves = (hits[number % 2 == odd] for odd in (0, 1))
        print(f"| {rule} | {' | '.join(share(int(half.sum()), len(half)) for half in halves)} |", flush=True)


def soft_wpmi(
    near: Float[np.ndarray, "images words"],
    values: Float[np.ndarray, "images units"],
    *,
    top: int = 100,
    sharp: float = 10.0,
    weight: float = 1.0,
) -> Float[np.ndarray, "units words"]:
    """Oikarinen and Weng 2023, equation 4, with the constants of their code (`similarity.py`)."""
    chances = np.exp(sharp * (near - near.max(1, keepdims=True)))
    chances /= chances.sum(1, keepdims=True)
    belongs = np.linspace(0.998, 0.97, top)[:, None]
    strongest = np.argsort(-values, axis=0, kind="stable")[:top]
    given = np.stack([np.log(1 + belongs * (chances[rows] - 1) + 1e-7).sum(0) for rows in strongest.T])
    return given - weight * (logsumexp(given, axis=0) - np.log(len(given)))


PARTS = {
    "columns": columns,
    "matrix": matrix,
    "directions": directions,
    "function": function,
    "images": images,
}


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
