"""One row of `features.py`: the cache and the loader of EleutherAI's eai-delphi 0.1.3.

    PYTHON features_delphi.py FOLDER MODEL_FOLDER [--repeats N]

Run by `features.py --delphi PYTHON`; needs eai-delphi and what it imports, not saywell. Its cache takes a
function that gives dense codes, so that making them dense is part of its bookkeeping, not of the encoding.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

TOGETHER, STRONGEST = 8, 40


def main() -> None:
    """Print the row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()

    import torch
    from delphi.config import CacheConfig, ConstructorConfig, SamplerConfig  # pyright: ignore
    from delphi.latents.cache import LatentCache  # pyright: ignore[reportMissingImports]
    from delphi.latents.loader import LatentDataset  # pyright: ignore[reportMissingImports]
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(1)
    given = load_file(asked.folder / "given.safetensors")
    tokens, decoder, centre, k = (given[name] for name in ("tokens", "decoder", "centre", "k"))
    tokens, k = tokens.long(), int(k[0])
    model = AutoModel.from_pretrained(asked.model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(asked.model)

    def highest(x):
        return torch.relu((x - centre) @ decoder.T).topk(k, dim=-1, sorted=False)

    def encode(x):
        top = highest(x)
        return torch.zeros(*x.shape[:-1], len(decoder)).scatter_(-1, top.indices, top.values)

    held = []
    hook = model.layers[2].register_forward_hook(lambda module, args, output: held.append(output))

    @torch.no_grad()
    def alone():
        for start in range(0, len(tokens), TOGETHER):
            model(tokens[start : start + TOGETHER])
            found = held.pop()
            highest(found[0] if isinstance(found, tuple) else found)

    alone()
    before, whole, bare, grown = peak(), [], [], 0.0
    out = asked.folder / "delphi"
    nonzeros, stored = 0, 0
    for _ in range(asked.repeats):
        bare.append(seconds(alone))
        hook.remove()
        cache = LatentCache(model, {"layers.2": encode}, batch_size=TOGETHER)

        def collect(cache=cache):
            cache.run(tokens.numel(), tokens)
            cache.save_splits(5, out)

        whole.append(seconds(collect))
        grown = grown or peak() - before
        nonzeros = len(cache.cache.latent_activations["layers.2"])
        stored = sum(path.stat().st_size for path in (out / "layers.2").glob("*.safetensors"))
        cache.save_config(out, CacheConfig(cache_ctx_len=tokens.shape[1]), asked.model)
        del cache
        hook = model.layers[2].register_forward_hook(lambda module, args, output: held.append(output))

    def build(latents):
        dataset = LatentDataset(
            out,
            SamplerConfig(n_examples_train=STRONGEST, n_examples_test=0, n_quantiles=1, train_type="top"),
            ConstructorConfig(example_ctx_len=tokens.shape[1], min_examples=1, n_non_activating=0),
            tokenizer,
            modules=["layers.2"],
            latents={"layers.2": latents},
        )
        return sum(1 for _ in dataset)

    some = torch.arange(0, len(decoder), len(decoder) // 64)
    each = seconds(lambda: build(some)) / len(some)
    single = seconds(lambda: [build(one[None]) for one in some[:8]]) / 8
    print(
        json.dumps(
            {
                "tokens": tokens.numel(),
                "bare": min(bare),
                "whole": min(whole),
                "grown": grown,
                "nonzeros": nonzeros,
                "bytes": stored,
                "each": each,
                "single": single,
            }
        )
    )


def seconds(run) -> float:
    """Of the processor, all threads together."""
    started = time.process_time()
    run()
    return time.process_time() - started


def peak() -> float:
    """Bytes that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


if __name__ == "__main__":
    main()
