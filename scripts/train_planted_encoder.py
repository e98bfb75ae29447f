"""Train the small dual encoder of the planted world and save it as a CLIP checkpoint folder.

    python scripts/train_planted_encoder.py --out src/saywell/data/planted/encoder

Pictures are of random scenes, none of which fits the definition of a planted class; captions are of
the grammar in `saywell.data.planted.captions`. The losses are CLIP's two softmaxes over a batch,
except that every pair of which the caption is true counts as a match, and an attribute classifier
on the picture's embedding, which is thrown away. Takes about twelve minutes on one core.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPProcessor, PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from saywell.data.planted.articles import sentences
from saywell.data.planted.captions import caption, remark
from saywell.data.planted.scenes import ATTRIBUTES, Scene, render
from saywell.data.planted.world import draw_scene, fits_a_class

PIXELS = 64
PATCH = 8
MAX_TOKENS = 64
VOCABULARY = 3000
REMARKS = 0.12  # share of the captions that are remarks on their picture instead


def main() -> None:
    """Train with the options of the command line."""
    parser = argparse.ArgumentParser(description="Train the small dual encoder of the planted world")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=12_000)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)

    started = time.perf_counter()
    tokenizer = make_tokenizer(rng)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": PIXELS}, crop_size={"height": PIXELS, "width": PIXELS}
    )
    model = CLIPModel(make_config(tokenizer))
    scenes, pixels = draw_pictures(options.pictures, rng)
    print(f"{len(scenes)} pictures in {time.perf_counter() - started:.0f} s", flush=True)
    start_by_whitening(model, (pixels[:2000] / 255 - processor.image_mean) / processor.image_std)
    train(model, tokenizer, processor, scenes, pixels, options, rng)
    model.eval()
    # Training left its own padding and truncation in the tokenizer; texts are never cut silently.
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    model.save_pretrained(options.out)
    processor.save_pretrained(options.out)
    CLIPProcessor(processor, tokenizer).save_pretrained(options.out)
    print(f"saved to {options.out} after {time.perf_counter() - started:.0f} s", flush=True)


def make_tokenizer(rng: np.random.Generator) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer, lower case, of captions, remarks and the articles' words."""
    texts = [remark(rng) for _ in range(4000)]
    texts += [caption(draw_scene({}, rng), rng)[0] for _ in range(12_000)]
    # Each word of the articles a few times, so that it becomes a token or two.
    texts += sentences()["text"].to_list() * 4
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["[PAD]", "[BOS]", "[UNK]", "[EOS]"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", 1), ("[EOS]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="[BOS]",
        eos_token="[EOS]",
        unk_token="[UNK]",
        pad_token="[PAD]",
        model_max_length=MAX_TOKENS,
    )


def make_config(tokenizer: PreTrainedTokenizerFast) -> CLIPConfig:
    """Two small towers and a shared space of 64 dimensions."""
    tower = {"hidden_size": 96, "intermediate_size": 384, "num_attention_heads": 4}
    return CLIPConfig(
        text_config={
            **tower,
            "vocab_size": len(tokenizer),
            "num_hidden_layers": 2,
            "max_position_embeddings": MAX_TOKENS,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**tower, "num_hidden_layers": 3, "image_size": PIXELS, "patch_size": PATCH},
        projection_dim=64,
    )


def draw_pictures(number: int, rng: np.random.Generator) -> tuple[list[Scene], np.ndarray]:
    """Random scenes, none of which fits a class, and their pixels [n, 64, 64, 3]."""
    scenes: list[Scene] = []
    while len(scenes) < number:
        scene = draw_scene({}, rng)
        if not fits_a_class(scene):
            scenes.append(scene)
    pixels = np.stack(
        [np.asarray(render(s, rng).resize((PIXELS, PIXELS), Image.Resampling.BICUBIC)) for s in scenes]
    )
    return scenes, pixels


def start_by_whitening(model: CLIPModel, pictures: np.ndarray) -> None:
    """Set the patch embedding to whiten the patches of normalised `pictures` [n, 64, 64, 3].

    Patches are nearly constant, so a random start sees little but their mean colour, and shapes and
    textures take many times longer to learn.
    """
    embeddings = model.vision_model.embeddings
    width, across = embeddings.embed_dim, PIXELS // PATCH
    patches = pictures.reshape(-1, across, PATCH, across, PATCH, 3).transpose(0, 1, 3, 5, 2, 4)
    variance, direction = np.linalg.eigh(np.cov(patches.reshape(-1, 3 * PATCH**2).T))
    filters = (direction / np.sqrt(variance + 0.01))[:, ::-1][:, :width].T.copy()
    with torch.no_grad():
        weight = embeddings.patch_embedding.weight
        weight.copy_(torch.from_numpy(filters).reshape(weight.shape))
        embeddings.position_embedding.weight.normal_(0, 0.4)
        embeddings.class_embedding.normal_(0, 0.5)


def train(
    model: CLIPModel,
    tokenizer: PreTrainedTokenizerFast,
    processor: CLIPImageProcessorPil,
    scenes: list[Scene],
    pixels: np.ndarray,
    options: argparse.Namespace,
    rng: np.random.Generator,
) -> None:
    """Fit `model` by Muon and AdamW with a warm-up and a cosine, printing the loss now and then."""
    values = np.array([[ATTRIBUTES[a].index(v) for a, v in asdict(scene).items()] for scene in scenes])
    sizes = [len(possible) for possible in ATTRIBUTES.values()]
    heads = torch.nn.Linear(model.visual_projection.out_features, sum(sizes))
    hidden = [p for name, p in model.named_parameters() if ".layers." in name and p.ndim == 2]
    taken = {id(p) for p in hidden}
    rest = [p for p in (*model.parameters(), *heads.parameters()) if id(p) not in taken]
    optimizers = [
        torch.optim.Muon(hidden, lr=options.rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=options.rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(
            o, options.rate, total_steps=options.steps, pct_start=0.08, cycle_momentum=False
        )
        for o in optimizers
    ]
    mean = torch.tensor(processor.image_mean)[:, None, None]
    spread = torch.tensor(processor.image_std)[:, None, None]
    started = time.perf_counter()
    for step in range(options.steps):
        chosen = rng.choice(len(scenes), options.batch, replace=False)
        images = torch.from_numpy(pixels[chosen]).permute(0, 3, 1, 2) / 255
        # Mirrored pictures show the same scene.
        images = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)
        texts, true = write_captions(scenes, values, chosen, rng)
        tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        output = model(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            pixel_values=(images - mean) / spread,
        )
        loss = matching_loss(output.logits_per_image, torch.from_numpy(true))
        guesses = heads(output.image_embeds * 8).split(sizes, dim=1)
        answers = torch.from_numpy(values[chosen]).unbind(1)
        named = torch.stack(
            [functional.cross_entropy(g, a) for g, a in zip(guesses, answers, strict=True)]
        ).mean()
        for optimizer in optimizers:
            optimizer.zero_grad()
        (loss + named).backward()
        torch.nn.utils.clip_grad_norm_([*hidden, *rest], 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=float(np.log(50)))
        if step % 100 == 0 or step == options.steps - 1:
            right = [
                f"{(g.argmax(1) == a).float().mean():.2f}" for g, a in zip(guesses, answers, strict=True)
            ]
            print(
                f"{step} loss {loss.item():.3f} attributes {named.item():.3f} {right} "
                f"{time.perf_counter() - started:.0f} s",
                flush=True,
            )


def write_captions(
    scenes: list[Scene], values: np.ndarray, chosen: np.ndarray, rng: np.random.Generator
) -> tuple[list[str], np.ndarray]:
    """Two captions for each chosen scene, and which pictures each is true of [pictures, captions].

    A remark counts as true of its own picture alone, as it would be taken from a web page.
    """
    texts: list[str] = []
    true = np.zeros((len(chosen), 2 * len(chosen)), dtype=bool)
    names = list(ATTRIBUTES)
    for column, row in enumerate(np.tile(np.arange(len(chosen)), 2)):
        if rng.random() < REMARKS:
            texts.append(remark(rng))
            true[row, column] = True
            continue
        text, mentioned = caption(scenes[chosen[row]], rng)
        texts.append(text)
        said = [names.index(name) for name in mentioned]
        shown = values[chosen]
        true[:, column] = (shown[:, said] == shown[row, said]).all(1)
    return texts, true


def matching_loss(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """The mean of both directions' cross-entropy against all true pairs, equally weighted."""
    weight = true.float()
    by_image = -(logits.log_softmax(1) * weight).sum(1) / weight.sum(1).clamp(min=1)
    by_text = -(logits.log_softmax(0) * weight).sum(0) / weight.sum(0).clamp(min=1)
    return (by_image.mean() + by_text.mean()) / 2


if __name__ == "__main__":
    main()
