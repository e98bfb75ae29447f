"""Are the descriptions of latents true where the features of a model are known?

    python benchmarks/feature_planted.py [--seeds 3] [--texts 3000] [--methods batchtopk:256:3,topk:256:3,...]

A model of 144 features in 48 dimensions (`saywell.units.planted.superposed`): words, kinds of words,
contexts. A dictionary is trained on its hidden vectors and described by the whole study, which sees texts
alone. Then, on texts of another seed: `found`, the share of true features with a direction of cosine 0.9
or more; `verified`, the share of the units tried with a verified description, beside the controls; of
verified descriptions the share whose words are those of one true feature (`named`: F1 of words 0.8 or
more), and of those that tell where their latent fires no better than pointing at every word does
(`false`), with 95 % intervals over all seeds.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch

from saywell.claims.execute import Executor
from saywell.claims.fired import words_at
from saywell.claims.ground import Ground
from saywell.claims.language import parse
from saywell.data.texts import load_texts
from saywell.progress import silent
from saywell.resources import Resources
from saywell.scorers.intervals import wilson_interval
from saywell.store.study import Study, deciding_rows
from saywell.studies.features import describe_features
from saywell.units.dictionaries.dictionary import Dictionary
from saywell.units.planted.superposed import World, recovery, sentences, superposed, truth
from saywell.units.tokens import tokenize

NAMED = 0.8


def main() -> None:
    """A line for each method."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--texts", type=int, default=3000)
    asked.add_argument("--methods", default="batchtopk:256:3,topk:256:3,pca:96:1,neurons:96:1")
    given = asked.parse_args()
    print("| method | found | verified | turned | shuffled | named | false |\n|---|---|---|---|---|---|---|")
    for method in given.methods.split(","):
        rows = [run(method, seed, given.texts) for seed in range(given.seeds)]
        total = {name: sum(row[name] for row in rows) for name in rows[0]}
        cells = [
            share(total["found"], total["features"]),
            share(total["verified"], total["tried"]),
            *(share(total[f"{name} verified"], total[f"{name} tried"]) for name in ("turned", "shuffled")),
            *(share(total[name], total["verified"]) for name in ("named", "false")),
        ]
        print(f"| `{method}` | {' | '.join(cells)} |", flush=True)


def share(hits: float, n: float) -> str:
    """With its interval."""
    found = wilson_interval(round(hits), round(n))
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f}) of {n:.0f}"


def run(method: str, seed: int, count: int) -> dict[str, float]:
    """Counts of one study."""
    world = superposed(seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        study = describe_features(
            pl.DataFrame({"text": sentences(count, seed)}),
            model=world.loaded.model,
            tokenizer=world.loaded.tokenizer,
            at="hidden",
            train=method,
            out=Path(folder) / "study",
            reader=["claims"],
            context=None,
            output_units=0,
            seed=seed,
            progress=silent,
        )
        return counted(study, world, sentences(count, seed + 1000))


def counted(study: Study, world: World, texts: list[str]) -> dict[str, float]:
    """What came of it, on texts that the study has not seen."""
    dictionary = Dictionary.load(study.file("arrays/dictionary/dictionary.safetensors"))
    found = recovery(dictionary.decoder.numpy(), world.directions)
    figure = next(metric for metric in study.headline() if metric.name == "verified")
    result: dict[str, float] = {
        "found": float((found.nearest >= 0.9).sum()),
        "features": len(found.nearest),
        "verified": round((figure.value or 0) * figure.n),
        "tried": figure.n,
    }
    for name, (called, value) in zip(("turned", "shuffled"), figure.controls.items(), strict=True):
        n = figure.controls_n[called]
        result |= {f"{name} verified": round((value or 0) * n), f"{name} tried": n}
    examples = load_texts(pl.DataFrame({"text": texts}), near=None)
    ground = Ground(examples, Resources())
    fires, true = on_words(world, dictionary, ground)
    verified = deciding_rows(study.scores).filter(status="verified")
    said = study.table("descriptions").join(verified, left_on="id", right_on="description", how="semi")
    execute = Executor(ground)
    named = false = 0
    for unit, claim in said.select("unit", "claim").iter_rows():
        mask = execute(parse(claim)).tokens
        mask = np.zeros(len(ground.corpus), dtype=bool) if mask is None else mask
        own = np.asarray(fires[:, [int(unit.rpartition("/")[2])]].todense()).ravel()
        named += bool((f1(mask, true.toarray().T) >= NAMED).any())
        false += bool(f1(mask, own[None])[0] <= f1(np.ones_like(mask), own[None])[0])
    return result | {"named": named, "false": false}


def f1(mask: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of a mask of words with each of several."""
    return 2 * (others & mask).sum(1) / np.maximum(1, others.sum(1) + mask.sum())


def on_words(world: World, dictionary: Dictionary, ground: Ground) -> tuple[Any, Any]:
    """Which latents fire at each word of texts, and which features it has: words x latents, x features."""
    texts = ground.examples.texts
    tokens = tokenize(world.loaded.tokenizer, texts, max_tokens=world.loaded.max_tokens)
    has = truth(world, tokens)
    text = np.repeat(np.arange(len(texts)), tokens.lengths)
    at = np.where(tokens.content, words_at(ground.corpus, text, tokens.spans.astype(np.int64)), -1)
    rows, latents = [], []
    with torch.inference_mode():
        for number in range(len(texts)):
            here = slice(int(tokens.starts[number]), int(tokens.starts[number + 1]))
            ids = torch.from_numpy(tokens.ids[here].astype(np.int64))[None]
            codes = dictionary.encode(world.loaded.model(ids, torch.ones_like(ids))[0])
            rows.append(codes.rows.numpy() + here.start)
            latents.append(codes.latents.numpy())
    words, who = at[np.concatenate(rows)], np.concatenate(latents)
    there = words >= 0
    size = len(ground.corpus)
    fires = sp.csc_matrix(
        (np.ones(int(there.sum()), dtype=bool), (words[there], who[there])), shape=(size, dictionary.latents)
    )
    every = sp.coo_matrix(has)
    place, feature = at[every.row], every.col
    known = place >= 0
    true = sp.csc_matrix(
        (np.ones(int(known.sum()), dtype=bool), (place[known], feature[known])), shape=(size, has.shape[1])
    )
    return fires, true


if __name__ == "__main__":
    main()
