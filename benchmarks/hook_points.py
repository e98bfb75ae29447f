"""Places by name against TransformerLens, on tiny random models of four families.

    python benchmarks/hook_points.py --peer /path/to/python/with/transformer_lens --out FOLDER

The peer's Python makes the models and keeps what its hooks hold, with the weights as they are and processed
(norms folded, and of GPT-2 and GPT-NeoX what is written to the stream centred). Here the same models are read
at the same names. Printed: of each model how many names were compared, and the largest difference as a share
of the largest number there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path

IDS = [[5, 9, 3, 30], [7, 7, 21, 4]]
CENTRED = ("gpt2", "neox")
SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ROTARY = {"positional_embedding_type": "rotary", "rotary_dim": 8, "rotary_adjacent_pairs": False, "d_mlp": 24}
GATED = {
    "eps": 1e-6,
    "normalization_type": "RMS",
    "gated_mlp": True,
    "n_key_value_heads": 1,
    "final_rms": True,
}
GEMMA = {
    "act_fn": "gelu_pytorch_tanh",
    "use_normalization_before_and_after": True,
    "attn_scores_soft_cap": 50.0,
    "output_logits_soft_cap": 30.0,
    "attn_scale": 16.0,
    "window_size": 4096,
    "use_local_attn": True,
    "attn_types": ["global", "local"],
}
NAMES = {"gemma2": "Gemma2", "llama": "Llama", "gpt2": "GPT2", "neox": "GPTNeoX"}


def peer(out: Path) -> None:
    """Run by the Python that has transformer_lens."""
    import numpy as np
    import torch
    import transformers
    from transformer_lens import HookedTransformer, HookedTransformerConfig  # pyright: ignore[reportMissingImports]
    from transformer_lens.pretrained import weight_conversions as conversions  # pyright: ignore[reportMissingImports]

    few = SIZES | {"num_key_value_heads": 1}
    small = {"vocab_size": 40, "n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 32}
    cases = {
        "gemma2": (few | {"head_dim": 8}, ROTARY | GATED | GEMMA, conversions.convert_gemma_weights),
        "llama": (few, ROTARY | GATED | {"act_fn": "silu"}, conversions.convert_llama_weights),
        "gpt2": (
            small | {"bos_token_id": 1, "eos_token_id": 2},
            {"d_mlp": 64, "act_fn": "gelu_new", "eps": 1e-5, "normalization_type": "LN"},
            conversions.convert_gpt2_weights,
        ),
        "neox": (
            SIZES | {"rotary_pct": 1.0},
            ROTARY | {"act_fn": "gelu", "eps": 1e-5, "normalization_type": "LN", "parallel_attn_mlp": True},
            conversions.convert_neox_weights,
        ),
    }
    shared = {
        "n_layers": 2,
        "d_model": 16,
        "n_ctx": 32,
        "d_head": 8,
        "n_heads": 2,
        "d_vocab": 40,
        "device": "cpu",
    }
    for name, (sizes, settings, convert) in cases.items():
        torch.manual_seed(0)
        config = getattr(transformers, f"{NAMES[name]}Config")(**sizes)
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
        with torch.no_grad():
            for path, weight in model.named_parameters():
                if weight.ndim == 1:
                    weight += 0.3 * torch.randn_like(weight)
                elif "embed" in path or "wte" in path:
                    weight *= 20
        model.save_pretrained(out / name)
        architecture = {"original_architecture": type(model).__name__}
        hooked = HookedTransformer(HookedTransformerConfig(**shared, **settings, **architecture))
        hooked.load_state_dict(convert(model, hooked.cfg), strict=False)
        ids = torch.tensor(IDS)
        for kind in ("", "-processed"):
            if kind:
                hooked.process_weights_(
                    fold_ln=True, center_writing_weights=name in CENTRED, center_unembed=False
                )
                hooked.setup()
            with torch.no_grad():
                logits, cache = hooked.run_with_cache(ids)
                assert torch.allclose(logits, model(ids).logits, atol=1e-4), name
            np.savez(out / f"{name}{kind}.npz", **{key: value.numpy() for key, value in cache.items()})


def ours(out: Path) -> None:
    """Read the same models at the same names, and say how far apart they are."""
    from types import SimpleNamespace

    import numpy as np
    import torch
    from transformers import AutoModel

    from saywell.units.hook_points import hook_tap
    from saywell.units.hooks import Shown
    from saywell.units.models import LoadedModel
    from saywell.units.places import Places
    from saywell.units.probe import first_tensor

    ids = torch.tensor(IDS)
    shown = Shown(np.arange(len(IDS)), {}, torch.ones(ids.shape, dtype=torch.bool))
    for name in NAMES:
        model = AutoModel.from_pretrained(out / name, attn_implementation="eager").eval()
        loaded = LoadedModel(name, model, SimpleNamespace(pad_token_id=0), 32, "")
        places = Places(loaded)
        for kind in ("", "-processed"):
            kept, apart = np.load(out / f"{name}{kind}.npz"), {}
            for lens in places.table()["transformer_lens"]:
                if lens not in kept:
                    continue
                tap, seen = hook_tap(loaded, places.find(lens + _how(lens, name, kind))), []

                def before(module, args, named, tap=tap, seen=seen):
                    seen.append(tap.view(first_tensor(args, named), shown))

                def after(module, args, output, tap=tap, seen=seen):
                    seen.append(tap.view(first_tensor(output), shown))

                module = model.get_submodule(tap.module)
                if tap.side == "input":
                    hook = module.register_forward_pre_hook(before, with_kwargs=True)
                else:
                    hook = module.register_forward_hook(after)
                with torch.no_grad():
                    model(input_ids=ids)
                hook.remove()
                theirs = torch.from_numpy(kept[lens]).flatten(2)
                apart[lens] = ((theirs - seen[0]).abs().max() / seen[0].abs().max()).item()
            far = sorted({lens.split(".", 2)[-1] for lens, value in apart.items() if value > 1e-5})
            near = max(value for value in apart.values() if value <= 1e-5)
            other = f"; other numbers: {', '.join(far)}" if far else ""
            print(f"{name + kind:<18} {len(apart)} names, {len(apart) - len(far)} within {near:.1e}{other}")


def _how(lens: str, name: str, kind: str) -> str:
    if not kind or name not in CENTRED:
        return ""
    if lens.endswith("normalized"):
        return ":folded"
    return ":centred" if any(word in lens for word in ("resid", "_out", "embed")) else ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--peer", help="Python that has transformer_lens.")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.peer is None:
        peer(options.out)
    else:
        offline = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
        subprocess.run([options.peer, __file__, "--out", str(options.out)], check=True, env=offline)
        ours(options.out)
