"""What methods of making a dictionary cost and find, beside sae_lens 6.54 and dictionary_learning 0.1.

    .venv/bin/python benchmarks/feature_methods.py [--peer-python PYTHON] [--only stories,planted]

Vectors to train on, and others to measure on: tokens at `model.layers.2` of stories260k (width 64) and at
`encoder.layer.3` of MiniLM (384) over Amazon sentences; of the planted model of superposed features
(`planted`), and of `sae_lens.synthetic` (`synthetic`, with the peers alone). `explained`: share of the
variance of unseen vectors. `active`: latents a vector, k being asked for. `dead`: share of latents that no
unseen vector fires. `found`: share of true features with a direction of cosine 0.9 or more; `mcc`, `f1`:
see `units/planted/superposed.py`. `seconds` are of the processor, one thread, a process for each row. Peers
train with as many steps of as many vectors, at their own rate and at five times it (`x1`, `x5`); `times`:
their seconds by ours for the same method.

`--studies FOLDER` adds the share of latents with a verified description, from the studies FOLDER/DATA/METHOD.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "shared"
SIZES = {"stories": (1024, 16), "minilm": (1024, 16), "planted": (256, 3), "synthetic": (512, 4)}
OURS = ("topk", "batchtopk", "matryoshka", "jumprelu", "pca", "ica")
PEERS = (
    *(f"dictionary_learning:{method}" for method in ("topk", "batchtopk", "matryoshka", "jumprelu")),
    *(f"sae_lens:{method}" for method in ("topk", "batchtopk", "matryoshka")),
)
BATCH, PASSES = 128, 12


def harvested(model: str, at: str, texts: list[str], path: Path, most: int) -> np.ndarray:
    """Vectors of texts at a place."""
    import polars as pl

    from saywell.data.texts import load_texts
    from saywell.progress import silent
    from saywell.units.dictionaries.harvest import harvest
    from saywell.units.hook_points import feed_of, find_hook, hook_tap
    from saywell.units.models import load_model

    loaded = load_model(model, device="cpu")
    examples = load_texts(pl.DataFrame({"text": texts}))
    tap, feed = hook_tap(loaded, find_hook(loaded, at)), feed_of(loaded, examples)
    rows = np.arange(len(examples))
    return harvest(loaded.model, tap, feed, rows, path, most=most, seed=0, progress=silent)


def planted_vectors(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, true features of each, directions."""
    import torch

    from saywell.units.planted.superposed import sentences, superposed, truth
    from saywell.units.tokens import tokenize

    world = superposed()
    tokens = tokenize(world.loaded.tokenizer, sentences(count // 6, 0), max_tokens=64)
    true = truth(world, tokens)
    with torch.inference_mode():
        texts = zip(tokens.starts[:-1], tokens.starts[1:], strict=True)
        ids = [torch.from_numpy(tokens.ids[a:b].astype(np.int64))[None] for a, b in texts]
        vectors = [world.loaded.model(one, torch.ones_like(one))[0].numpy() for one in ids]
    return np.concatenate(vectors), true.toarray(), world.directions


def prepare(data: str, folder: Path, options: argparse.Namespace) -> None:
    """Files: train.npy, test.npy, and of known features true.npy (of test) and directions.npy."""
    count = options.vectors
    if data == "synthetic":
        _ask(options.peer_python, "world", folder, 0)
        vectors, true = np.load(folder / "vectors.npy"), np.load(folder / "true.npy")
        directions = np.load(folder / "directions.npy")
    elif data == "planted":
        vectors, true, directions = planted_vectors(count)
    else:
        import polars as pl

        texts = pl.read_parquet(options.texts)["text"].to_list()[: count // 8]
        model, at = (
            (str(options.models / "stories260k"), "model.layers.2")
            if data == "stories"
            else ("minilm", "encoder.layer.3")
        )
        vectors = np.array(harvested(model, at, texts, folder / "all.npy", 5 * count // 4))
        true = directions = None
    order = np.random.default_rng(0).permutation(len(vectors))
    unseen, seen = np.split(order, [len(order) // 5])
    np.save(folder / "train.npy", vectors[seen].astype(np.float32))
    np.save(folder / "test.npy", vectors[unseen].astype(np.float32))
    if true is not None and directions is not None:
        np.save(folder / "true.npy", true[unseen])
        np.save(folder / "directions.npy", directions)


def ours(method: str, folder: str, latents: str, k: str) -> None:
    """Print a row of saywell."""
    import torch
    from threadpoolctl import threadpool_limits

    from saywell.units.dictionaries.train import Method, train

    torch.set_num_threads(1)
    vectors = np.load(Path(folder) / "train.npy")
    with threadpool_limits(1):
        if method in ("pca", "ica"):  # both ways, so twice as many as dimensions are all there are
            latents = str(min(int(latents), 2 * vectors.shape[1]))
        started = time.process_time()
        dictionary = train(Method(method, int(latents), int(k)), vectors, seed=0)
        seconds = time.process_time() - started
    print(json.dumps({"seconds": seconds} | measured(dictionary, Path(folder))))


def measured(dictionary, folder: Path) -> dict:
    """Figures of a dictionary on unseen vectors."""
    import scipy.sparse as sp
    import torch

    from saywell.units.dictionaries.fit import measure
    from saywell.units.planted.superposed import f1_of_firing, recovery

    unseen = torch.from_numpy(np.load(folder / "test.npy"))
    with torch.inference_mode():
        fit = measure(dictionary, unseen.split(4096))
        row = {"explained": fit.explained, "active": fit.active, "dead": fit.dead / dictionary.latents}
        if (folder / "directions.npy").is_file():
            decoder = dictionary.decoder.numpy()
            found = recovery(decoder, np.load(folder / "directions.npy"))
            codes = dictionary.encode(unseen)
            shape = len(unseen), dictionary.latents
            fires = sp.csr_matrix((codes.values, (codes.rows, codes.latents)), shape=shape)
            f1 = f1_of_firing(fires, sp.csr_matrix(np.load(folder / "true.npy")), found.latents)
            row |= {"found": found.share, "mcc": found.mcc, "f1": float(np.nanmean(f1))}
            np.save(folder / "decoder.npy", decoder)
    return row


def theirs(peer_python: Path, package: str, method: str, folder: Path, data: str, times: int) -> dict:
    """A row of a peer."""
    import torch

    from saywell.units.dictionaries import rules
    from saywell.units.dictionaries.dictionary import Dictionary

    latents, k = SIZES[data]
    steps = PASSES * -(-len(np.load(folder / "train.npy", mmap_mode="r")) // BATCH)
    out = folder / "peer.npz"
    row = _ask(peer_python, "train", package, method, folder / "train.npy", out, latents, k, steps, 0, times)
    held: dict[str, Any] = {
        name: torch.from_numpy(array.astype(np.float32)) for name, array in np.load(out).items()
    }
    thresholds = held.pop("thresholds")
    rule = rules.JumpReLU(thresholds) if len(thresholds) else rules.TopK(k)
    return row | measured(Dictionary(**held, rule=rule), folder)


def verified_share(study: Path) -> float:
    """Of latents with a description, those of whom it is verified, in a study folder."""
    import saywell

    verdicts = saywell.load(study).verdicts
    return float((verdicts["status"] == "verified").mean())  # pyright: ignore[reportArgumentType]


def _ask(peer_python: Path, *words: object) -> dict:
    command = [str(peer_python), str(HERE / "feature_methods_peers.py"), *map(str, words)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return json.loads(said.stdout.splitlines()[-1])


def main() -> None:
    """Print a table for each data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=Path, default=SHARED / "data" / "amazon_sentences.parquet")
    parser.add_argument("--models", type=Path, default=SHARED / "models")
    parser.add_argument("--vectors", type=int, default=40_000)
    parser.add_argument("--only", default=",".join(SIZES))
    parser.add_argument("--peer-python", type=Path)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--times", default="1,5", help="rates of peers, in those that they have")
    parser.add_argument("--studies", type=Path)
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return ours(*options.worker)
    heads = ("seconds", "times", "explained", "active", "dead", "found", "mcc", "f1", "verified")
    for data in options.only.split(","):
        if data == "synthetic" and options.peer_python is None:
            continue
        latents, k = SIZES[data]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare(data, folder, options)
            shape = np.load(folder / "train.npy", mmap_mode="r").shape
            print(f"\n{data}: {shape[0]:,} vectors of {shape[1]}, {latents} latents, k={k}")
            print(f"{'':<34}" + "".join(f"{head:>10}" for head in heads), flush=True)
            base = {}
            for method in OURS:
                command = [sys.executable, __file__, "--worker", method, str(folder), str(latents), str(k)]
                said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                row = json.loads(said.splitlines()[-1])
                base[method] = row["seconds"]
                study = options.studies and options.studies / data / method
                if study and (study / "study.json").is_file():
                    row["verified"] = verified_share(study)
                show(f"saywell {method}", row, heads)
            for peer in options.peers.split(",") if options.peer_python else ():
                package, method = peer.split(":")
                for times in map(int, options.times.split(",")):
                    assert options.peer_python is not None  # see above
                    row = theirs(options.peer_python, package, method, folder, data, times)
                    row["times"] = row["seconds"] / base[method]
                    show(f"{package} {method} x{times}", row, heads)
            if data in ("planted", "synthetic") and options.peer_python:
                same = _ask(options.peer_python, "mcc", folder / "decoder.npy", folder / "directions.npy")
                print(f"mcc of the last row by sae_lens: {same['mcc']:.6f}; by saywell: {row['mcc']:.6f}")


def show(name: str, row: dict, heads: tuple[str, ...]) -> None:
    """Print a row."""
    cells = [f"{row[head]:>10.3f}" if head in row else f"{'':>10}" for head in heads]
    print(f"{name:<34}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
