"""Tiny causal language models with random weights, whose tokens are letters."""

from __future__ import annotations

import torch

CONTEXT = 128


def letter_tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({c: i for i, c in enumerate([*alphabet, "<s>"])}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="<s>")


def tiny(kind, tokenizer):
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    size = {"vocab_size": len(tokenizer), "bos_token_id": 256, "eos_token_id": 256}
    if kind == "gpt2":
        config = GPT2Config(
            n_embd=16, n_layer=2, n_head=2, n_positions=CONTEXT, initializer_range=0.5, **size
        )
        return GPT2LMHeadModel(config).eval()
    config = LlamaConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.5,
        **size,
    )
    return LlamaForCausalLM(config).eval()
