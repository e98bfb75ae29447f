"""One row of `features.py`: sae-dashboard's runner over a TransformerLens model and an SAELens dictionary.

    PYTHON features_dashboard.py FOLDER MODEL_FOLDER [--repeats N]

Run by `features.py --dashboard PYTHON`; needs sae-dashboard, not saywell. It stores no codes: for 256
latents at a time (its default) it runs the model over all tokens again and keeps their codes dense.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

TOGETHER, STRONGEST, FEATURES = 8, 40, 256
HOOK = "blocks.2.hook_resid_post"


def main() -> None:
    """Print the row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()

    import torch
    from sae_dashboard.components_config import SequencesConfig  # pyright: ignore
    from sae_dashboard.layout import Column, SaeVisLayoutConfig  # pyright: ignore
    from sae_dashboard.sae_vis_data import SaeVisConfig  # pyright: ignore
    from sae_dashboard.sae_vis_runner import SaeVisRunner  # pyright: ignore
    from safetensors.torch import load_file

    torch.set_num_threads(1)
    given = load_file(asked.folder / "given.safetensors")
    tokens = given["tokens"].long()
    model, sae = _model(asked.model), _dictionary(given)
    layout = SaeVisLayoutConfig.default_feature_centric_layout()
    sequences = SequencesConfig(stack_mode="stack-none", top_acts_group_size=STRONGEST, n_quantiles=0)
    layout = SaeVisLayoutConfig(columns=[layout.columns[0], layout.columns[1], Column(sequences)], height=750)

    @torch.inference_mode()
    def alone():
        for start in range(0, len(tokens), TOGETHER):
            held = {}
            model.run_with_hooks(
                tokens[start : start + TOGETHER],
                stop_at_layer=3,
                fwd_hooks=[(HOOK, lambda found, hook, held=held: held.update(x=found))],
            )
            before = (held["x"] - given["centre"]) @ given["decoder"].T
            before.relu_().topk(int(given["k"][0]), dim=-1, sorted=False)

    def run(features):
        config = SaeVisConfig(
            hook_point=HOOK, features=features, minibatch_size_tokens=TOGETHER, feature_centric_layout=layout
        )
        return SaeVisRunner(config).run(sae, model, tokens)

    alone()
    before, whole, bare, grown = peak(), [], [], 0.0
    for _ in range(asked.repeats):
        bare.append(seconds(alone))
        whole.append(seconds(lambda: run(list(range(FEATURES)))))
        grown = grown or peak() - before
    share = FEATURES / len(given["decoder"])
    print(
        json.dumps(
            {
                "tokens": tokens.numel(),
                "bare": min(bare),
                "whole": min(whole),
                "grown": grown,
                "nonzeros": int(tokens.numel() * int(given["k"][0]) * share),
                "each": min(whole) / FEATURES,
                "single": seconds(lambda: run([0])),
            }
        )
    )


def _model(folder: str):
    """The checkpoint as TransformerLens has it."""
    from sae_lens import HookedSAETransformer  # pyright: ignore
    from transformer_lens import HookedTransformerConfig  # pyright: ignore
    from transformer_lens.pretrained.weight_conversions.llama import convert_llama_weights  # pyright: ignore
    from transformers import AutoModelForCausalLM, AutoTokenizer

    llama = AutoModelForCausalLM.from_pretrained(folder)
    own = llama.config
    config = HookedTransformerConfig(
        n_layers=own.num_hidden_layers,
        d_model=own.hidden_size,
        d_head=own.hidden_size // own.num_attention_heads,
        n_heads=own.num_attention_heads,
        n_key_value_heads=own.num_key_value_heads,
        d_mlp=own.intermediate_size,
        d_vocab=own.vocab_size,
        n_ctx=own.max_position_embeddings,
        act_fn="silu",
        normalization_type="RMS",
        eps=own.rms_norm_eps,
        positional_embedding_type="rotary",
        rotary_adjacent_pairs=False,
        rotary_dim=own.hidden_size // own.num_attention_heads,
        gated_mlp=True,
        final_rms=True,
        original_architecture="LlamaForCausalLM",
        device="cpu",
    )
    model = HookedSAETransformer(config, tokenizer=AutoTokenizer.from_pretrained(folder))
    model.load_state_dict(convert_llama_weights(llama, config), strict=False)
    return model.eval()


def _dictionary(given):
    """The dictionary as SAELens has it."""
    import torch
    from sae_lens import TopKSAE, TopKSAEConfig  # pyright: ignore

    latents, width = given["decoder"].shape
    config = TopKSAEConfig(
        d_in=width, d_sae=latents, k=int(given["k"][0]), rescale_acts_by_decoder_norm=True, device="cpu"
    )
    sae = TopKSAE(config)
    with torch.no_grad():
        sae.W_dec.copy_(given["decoder"])
        sae.W_enc.copy_(given["decoder"].T)
        sae.b_dec.copy_(given["centre"])
        sae.b_enc.zero_()
    return sae


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
