"""What `feature_methods.py` asks of sae_lens 6.54 and dictionary_learning 0.1, in an environment of theirs.

    PYTHON feature_methods_peers.py train PACKAGE METHOD VECTORS.npy OUT.npz LATENTS K STEPS SEED TIMES
    PYTHON feature_methods_peers.py world FOLDER SEED
    PYTHON feature_methods_peers.py mcc DECODER.npy DIRECTIONS.npy

`train`: vectors centred and of mean square length 1 as both recommend, batches of 128 in a new order each
pass, TIMES the rate that the package has. `world`: vectors of a `sae_lens.synthetic` model and what is true
of it.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path

import numpy as np

BATCH = 128


def batches(vectors: np.ndarray, steps: int, seed: int):
    """So many batches."""
    import torch

    random, order, at = np.random.default_rng(seed), np.zeros(0, dtype=int), 0
    for _ in range(steps):
        if at + BATCH > len(order):
            order, at = random.permutation(len(vectors)), 0
        yield torch.from_numpy(vectors[order[at : at + BATCH]])
        at += BATCH


def train(package: str, method: str, file: str, out: str, *numbers: str) -> dict:
    """Seconds of the processor; encoder, bias, decoder, centre and thresholds or k in a file."""
    import torch

    latents, k, steps, seed, times = map(int, numbers)
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    vectors = np.load(file).astype(np.float32)
    mean = vectors.mean(0)
    size = float(np.sqrt(np.square(vectors - mean).sum(1).mean()))
    scaled = (vectors - mean) / size
    run = _dictionary_learning if package == "dictionary_learning" else _sae_lens
    importlib.import_module("dictionary_learning" if run is _dictionary_learning else "sae_lens")
    started = time.process_time()
    encoder, bias, decoder, centre, thresholds = run(method, scaled, latents, k, steps, seed, times)
    seconds = time.process_time() - started
    np.savez(
        out,
        encoder=encoder,
        bias=bias * size,
        decoder=decoder,
        centre=centre * size + mean,
        thresholds=np.zeros(0) if thresholds is None else np.full(latents, thresholds) * size,
    )
    return {"seconds": seconds}


def _dictionary_learning(
    method: str, vectors: np.ndarray, latents: int, k: int, steps: int, seed: int, times: int
):
    import torch
    from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer  # pyright: ignore[reportMissingImports]
    from dictionary_learning.trainers.jumprelu import JumpReluTrainer  # pyright: ignore[reportMissingImports]
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer  # pyright: ignore[reportMissingImports]
    from dictionary_learning.trainers.top_k import TopKTrainer  # pyright: ignore[reportMissingImports]

    width = vectors.shape[1]
    # Their warm-ups are of a thousand steps or more, of trainings much longer than these.
    own = {"steps": steps, "activation_dim": width, "dict_size": latents, "seed": seed}
    own |= {
        "layer": 0,
        "lm_name": "",
        "lr": times * (7e-5 if method == "jumprelu" else 2e-4 / (latents / 2**14) ** 0.5),
    }
    own |= {"device": "cpu", "warmup_steps": steps // 20, "decay_start": int(0.8 * steps)}
    if method == "jumprelu":
        trainer = JumpReluTrainer(**own, target_l0=k, sparsity_warmup_steps=steps // 10)
    else:
        own |= {"k": k, "threshold_start_step": steps // 2}
        if method == "topk":
            trainer = TopKTrainer(**own)
        elif method == "batchtopk":
            trainer = BatchTopKTrainer(**own)
        else:
            shares = [1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2]
            trainer = MatryoshkaBatchTopKTrainer(**own, group_fractions=shares)
    trainer.dead_feature_threshold = 25_000  # of ten million, which these trainings do not reach
    for step, x in enumerate(batches(vectors, steps, seed)):
        trainer.update(step, x)
    ae = trainer.ae
    with torch.no_grad():
        if method in ("topk", "batchtopk"):
            found = ae.encoder.weight, ae.encoder.bias, ae.decoder.weight.T, ae.b_dec
        else:
            found = ae.W_enc.T, ae.b_enc, ae.W_dec, ae.b_dec
        encoder, bias, decoder, centre = (tensor.numpy().copy() for tensor in found)
    if method == "topk":
        return encoder, bias, decoder, centre, None
    if method == "jumprelu":  # it does not take its centre off
        bias = bias + encoder @ centre
    return encoder, bias, decoder, centre, ae.threshold.detach().numpy()


def _sae_lens(method: str, vectors: np.ndarray, latents: int, k: int, steps: int, seed: int, times: int):
    from sae_lens.config import LoggingConfig, SAETrainerConfig  # pyright: ignore[reportMissingImports]
    from sae_lens.saes import batchtopk_sae, matryoshka_batchtopk_sae, topk_sae  # pyright: ignore[reportMissingImports]
    from sae_lens.training.sae_trainer import SAETrainer  # pyright: ignore[reportMissingImports]

    own = {"d_in": vectors.shape[1], "d_sae": latents, "k": k, "device": "cpu"}
    if method == "topk":
        sae = topk_sae.TopKTrainingSAE(topk_sae.TopKTrainingSAEConfig(**own))
    elif method == "batchtopk":
        sae = batchtopk_sae.BatchTopKTrainingSAE(batchtopk_sae.BatchTopKTrainingSAEConfig(**own))
    else:
        module = matryoshka_batchtopk_sae
        widths = [latents // 16, latents // 8, latents // 4, latents // 2, latents]
        config = module.MatryoshkaBatchTopKTrainingSAEConfig(**own, matryoshka_widths=widths)
        sae = module.MatryoshkaBatchTopKTrainingSAE(config)
    config = SAETrainerConfig(
        n_checkpoints=0,
        checkpoint_path=None,
        save_final_checkpoint=False,
        total_training_samples=steps * BATCH,
        device="cpu",
        autocast=False,
        lr=3e-4 * times,
        lr_end=3e-4 * times,
        lr_scheduler_name="constant",
        lr_warm_up_steps=steps // 20,
        adam_beta1=0.9,
        adam_beta2=0.999,
        lr_decay_steps=steps // 5,
        n_restart_cycles=1,
        train_batch_size_samples=BATCH,
        dead_feature_window=200,
        feature_sampling_window=2000,
        logger=LoggingConfig(log_to_wandb=False, eval_every_n_wandb_logs=2**31 - 1),
        n_batches_for_norm_estimate=10,
    )
    SAETrainer(cfg=config, sae=sae, data_provider=batches(vectors, steps + 20, seed)).fit()
    found = sae.W_enc.T, sae.b_enc, sae.W_dec, sae.b_dec
    encoder, bias, decoder, centre = (tensor.detach().numpy().copy() for tensor in found)
    lengths = np.linalg.norm(decoder, axis=1)
    # What is compared with others is an activation times the length of its direction.
    encoder, bias, decoder = encoder * lengths[:, None], bias * lengths, decoder / lengths[:, None]
    return encoder, bias, decoder, centre, None if method == "topk" else float(sae.topk_threshold)


def world(folder: str, seed: str) -> dict:
    """Files of vectors, true activations and directions, from the package's own model."""
    import torch
    from sae_lens.synthetic import SyntheticModel, SyntheticModelConfig  # pyright: ignore[reportMissingImports]

    model = SyntheticModel(SyntheticModelConfig(num_features=256, hidden_dim=64, seed=int(seed)))
    torch.manual_seed(int(seed))
    with torch.no_grad():
        true = model.activation_generator.sample(40_000)
        vectors = model.feature_dict(true)
    np.save(Path(folder) / "vectors.npy", vectors.numpy())
    np.save(Path(folder) / "true.npy", true.numpy())
    np.save(Path(folder) / "directions.npy", model.feature_dict.feature_vectors.detach().numpy())
    return {"active": float((true > 0).sum(1).float().mean())}


def mcc(decoder: str, directions: str) -> dict:
    """By their formula."""
    import torch
    from sae_lens.synthetic import mean_correlation_coefficient  # pyright: ignore[reportMissingImports]

    found, true = (torch.from_numpy(np.load(file)) for file in (decoder, directions))
    return {"mcc": mean_correlation_coefficient(found, true)}


if __name__ == "__main__":
    print(json.dumps({"train": train, "world": world, "mcc": mcc}[sys.argv[1]](*sys.argv[2:])))
