"""One row of `dictionary.py`: the dictionary of hypothesaes 2.0.1 or prefscope 0.1.0, on a processor.

    PYTHON dictionary_peers.py METHOD VECTORS.npy HELD_OUT.npy LATENTS K SEED THREADS

Run by `dictionary.py --peer-python`; needs the peers, not saywell. Both are called as their own quick starts
call them, with a tenth of the vectors as the validation set that stops them early.

    hypothesaes       train_sae: TopK, 100 epochs at most
    prefscope         train_sae: signed BatchTopK with a Matryoshka prefix of 8, 200 epochs at most
    prefscope-plain   the same without the prefix, which costs reconstruction
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time

import numpy as np


def main() -> None:
    """Print the row."""
    import torch

    method, vectors, held_out, *numbers = sys.argv[1:]
    latents, k, seed, threads = map(int, numbers)
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    vectors, held_out = np.load(vectors), np.load(held_out)
    order = np.random.default_rng(seed).permutation(len(vectors))
    validation, training = vectors[order[: len(vectors) // 10]], vectors[order[len(vectors) // 10 :]]
    clock = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        if method == "hypothesaes":
            from hypothesaes import train_sae  # pyright: ignore[reportMissingImports]

            clock = time.process_time()
            model = train_sae(training, latents, k, val_embeddings=validation, show_progress=False)
            passes, fitted = None, time.process_time()
            activations = model.get_activations(vectors, show_progress=False)
        else:
            from prefscope.sae.model import encode_in_batches  # pyright: ignore[reportMissingImports]
            from prefscope.sae.train import train_sae  # pyright: ignore[reportMissingImports]

            prefix = dict(matryoshka_prefix=()) if method == "prefscope-plain" else {}
            clock = time.process_time()
            model, _, rows = train_sae(
                training, validation, m_total=latents, k=k, seed=seed, device="cpu", **prefix
            )
            passes, fitted = len(rows), time.process_time()
            activations = encode_in_batches(model, vectors, 16384, torch.device("cpu"))
    encoded = time.process_time()
    model.eval()
    with torch.no_grad():
        decoded, found = model(torch.from_numpy(held_out))
    active = found["activations"].numpy() != 0
    left = np.square(decoded.numpy() - held_out).sum(dtype=np.float64)
    print(
        json.dumps(
            {
                "fit": fitted - clock,
                "encode": encoded - fitted,
                "explained": 1 - left / np.square(held_out - held_out.mean(0)).sum(dtype=np.float64),
                "active": float(active.sum(1).mean()),
                "dead": float((activations == 0).all(0).mean()),
                "bytes": activations.nbytes,
                "passes": passes,
            }
        )
    )


if __name__ == "__main__":
    main()
