"""What a dictionary costs and what it keeps, beside hypothesaes 2.0.1 and prefscope 0.1.0.

    .venv/bin/python benchmarks/dictionary.py [--peer-python PYTHON] [--texts FILE] [--k 8,16,32]

Sentence vectors of MiniLM: 20,000 to fit 1,024 latents on, 5,000 that nobody sees before the end. Every row
is a process of its own with one thread, and the methods take turns; seconds are of the processor, median of
the repeats, so that what else a machine does counts little. `explained`: share of the variance of
the 5,000 that is kept. `active`: latents a vector. `dead`: latents that none of the 20,000 fires. `MB`:
activations of the 20,000 in memory. Without --peer-python (an interpreter of an environment with both
peers) saywell's rows alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
DEFAULT_TEXTS = HERE.parent.parent / "shared" / "data" / "amazon_sentences.parquet"
LATENTS = 1024
PEERS = ("hypothesaes", "prefscope", "prefscope-plain")


def encoded(texts: Path, folder: Path, kept: Path | None) -> tuple[Path, Path]:
    """Files of vectors, to fit on and held out; `kept` has all of them, or will."""
    import polars as pl

    from saywell.encoders.sentence import encode_in_chunks, open_sentence_encoder

    if kept is not None and kept.is_file():
        vectors = np.load(kept)
    else:
        table = pl.read_parquet(texts)
        vectors = encode_in_chunks(open_sentence_encoder("minilm"), table["text"].to_list())
        if kept is not None:
            np.save(kept, vectors)
    order = np.random.default_rng(0).permutation(len(vectors))[:25_000]
    files = folder / "fit.npy", folder / "held_out.npy"
    for file, rows in zip(files, (order[:20_000], order[20_000:]), strict=True):
        np.save(file, vectors[rows])
    return files


def ours(method: str, vectors: str, held_out: str, *numbers: str) -> None:
    """Print a row of saywell."""
    import torch
    from threadpoolctl import threadpool_limits

    from saywell.units.dictionaries.fit import measure
    from saywell.units.dictionaries.topk import exact_codes
    from saywell.units.dictionaries.train import Method, train

    latents, k, seed, threads = map(int, numbers)
    some, unseen = np.load(vectors), np.load(held_out)
    with threadpool_limits(threads):
        started = time.process_time()
        name = "abstopk" if method.endswith("signed") else "topk"
        dictionary = train(Method(name, latents, k), some, seed=seed)
        fitted = time.process_time()
        activations = exact_codes(dictionary, some)
        done = time.process_time()
    kept = activations.data.nbytes + activations.indices.nbytes + activations.indptr.nbytes
    unseen_fit = measure(dictionary, [torch.from_numpy(unseen)])
    row = {
        "fit": fitted - started,
        "encode": done - fitted,
        "explained": unseen_fit.explained,
        "active": unseen_fit.active,
        "dead": float(1 - (np.bincount(activations.indices, minlength=latents) > 0).mean()),
        "bytes": kept,
    }
    print(json.dumps(row))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=Path, default=DEFAULT_TEXTS)
    parser.add_argument("--vectors", type=Path, help="a .npy file where the vectors are kept")
    parser.add_argument("--peer-python", type=Path)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--k", default="8,16,32")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return ours(*options.worker)
    methods = ["saywell", "saywell-signed", *(options.peers.split(",") if options.peer_python else ())]
    with tempfile.TemporaryDirectory() as folder:
        files = encoded(options.texts, Path(folder), options.vectors)
        for k in options.k.split(","):
            rows: dict[str, list[dict]] = {method: [] for method in methods}
            for repeat in range(options.repeats):
                for method in methods:
                    own = method.startswith("saywell")
                    start = (
                        [sys.executable, __file__, "--worker"]
                        if own
                        else [str(options.peer_python), str(HERE / "dictionary_peers.py")]
                    )
                    asked = [method, *map(str, files), LATENTS, k, repeat, options.threads]
                    said = subprocess.run(
                        [*start, *map(str, asked)], check=True, stdout=subprocess.PIPE, text=True
                    ).stdout
                    rows[method].append(json.loads(said.splitlines()[-1]))
                    print(method, k, rows[method][-1], file=sys.stderr, flush=True)
            show(k, rows)


def show(k: str, rows: dict[str, list[dict]]) -> None:
    """Print a table of medians, with how many times as long as saywell each takes."""

    def median(method: str, what: str) -> float:
        return statistics.median(row[what] for row in rows[method])

    def whole(method: str) -> float:
        return statistics.median(row["fit"] + row["encode"] for row in rows[method])

    heads = ("fit s", "encode s", "times", "explained", "active", "dead", "MB")
    print(f"\nk={k}\n{'':<18}" + "".join(f"{head:>10}" for head in heads))
    for method in rows:
        own = "saywell-signed" if method.startswith("prefscope") else "saywell"
        print(
            f"{method:<18}{median(method, 'fit'):>10.1f}{median(method, 'encode'):>10.2f}"
            f"{whole(method) / whole(own):>10.1f}{median(method, 'explained'):>10.4f}"
            f"{median(method, 'active'):>10.2f}{median(method, 'dead'):>10.1%}"
            f"{median(method, 'bytes') / 1e6:>10.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
