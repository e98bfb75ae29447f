"""The exam with pictures: units over drawn scenes, described in phrases, read by a dual encoder.

1. different scenes at random, one picture each                       draw_scenes, see_scenes
2. units by rules over what the scenes show                           plant_image_units
3. pictures split by scene: written from, chosen by, scored on        parts_of
4. each describer names phrases from describe pictures only           PICTURE_DESCRIBERS
5. everything else as in the exam of texts                            sit_exam
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float

from saywell.data.parts import Parts, parts_of
from saywell.data.planted.scenes import Scene, render
from saywell.data.planted_image_units import candidate_phrases, draw_scenes, plant_image_units, scene_ids
from saywell.data.planted_units import NOISE_UNITS, PER_KIND, PlantedUnit
from saywell.data.splits import assign_split, check_seed
from saywell.describers.associations import MIN_HITS, enrichment_p, stands_out
from saywell.encoders.checkpoints import PLANTED
from saywell.encoders.dual import DualEncoder, open_dual_encoder
from saywell.errors import InputError
from saywell.progress import Progress, automatic, silent
from saywell.readers.cosine import by_nearest
from saywell.studies.exam_describers import MOST_NAMED, STRONGEST, Answers, Behaviour, no_description
from saywell.studies.exam_scoring import World
from saywell.studies.exam_sitting import Exam, check_names, kept_exam, sit_exam

PICTURES = 2400
"""Enough for most pairs of a shape and a colour to be asked about."""
LEVEL = 0.05
HOLDS_FROM = 1.0
"""Nearness from which a phrase counts as holding of a picture."""
_BATCH = 64


def run_image_exam(
    *,
    pictures: int = PICTURES,
    describers: Sequence[str] | None = None,
    encoder: str | DualEncoder | None = None,
    per_kind: int = PER_KIND,
    noise_units: int = NOISE_UNITS,
    out: Path | None = None,
    seed: int = 0,
    command: Sequence[str] = (),
    progress: Progress = automatic,
    clock: Callable[[], float] = time.perf_counter,
) -> Exam:
    """Examine describers on planted units over so many pictures of the planted world.

    `encoder` describes and reads: the planted world's own (None), or a checkpoint by name or folder.
    `describers` are names from `PICTURE_DESCRIBERS`, by default all. With `out` the tables are stored
    as a study.

    Raises InputError for unknown names and for too few pictures to ask about.
    """
    chosen = check_names(describers or PICTURE_DESCRIBERS, PICTURE_DESCRIBERS)
    check_seed(seed)
    scenes = draw_scenes(pictures, seed)
    ids = scene_ids(scenes)
    encoder = encoder or PLANTED
    name = encoder if isinstance(encoder, str) else encoder.name
    if isinstance(encoder, str):
        encoder = open_dual_encoder(encoder)

    def make() -> Exam:
        vectors, brightness = see_scenes(scenes, encoder, seed, progress)
        units = plant_image_units(
            scenes, brightness > np.median(brightness), per_kind=per_kind, noise_units=noise_units, seed=seed
        )
        if not any(unit.truth for unit in units):
            raise InputError(
                f"no rule holds of enough of the {pictures} pictures to ask about; give more pictures"
            )
        parts = parts_of(pl.DataFrame({"id": ids, "split": assign_split(ids, seed)}))
        world = _world(ids, vectors, parts, units, encoder, seed)
        sitting = {describer: PICTURE_DESCRIBERS[describer] for describer in chosen}
        return sit_exam([world], sitting, seed, progress, clock)

    settings = {
        "questions": "planted pictures",
        "describers": chosen,
        "reader": "dual-encoder",
        "encoder": name,
        "seed": seed,
        "pictures": pictures,
        "per_kind": per_kind,
        "noise_units": noise_units,
    }
    inputs = {"pictures": ids, "encoder": [encoder.fingerprint]}
    return kept_exam(make, out, inputs=inputs, settings=settings, command=command)


def see_scenes(
    scenes: Sequence[Scene], encoder: DualEncoder, seed: int, progress: Progress = silent
) -> tuple[Float[np.ndarray, "scenes dim"], Float[np.ndarray, " scenes"]]:
    """The unit vector and the mean brightness (0 to 255) of a picture of each scene.

    A picture depends on its scene, its place and the seed.
    """
    vectors, brightness = [], []
    with progress("pictures", len(scenes)) as advance:
        for start in range(0, len(scenes), _BATCH):
            drawn = [
                render(scene, np.random.default_rng([seed, start + n]))
                for n, scene in enumerate(scenes[start : start + _BATCH])
            ]
            vectors.append(encoder.encode_images(drawn))
            brightness += [float(np.asarray(picture.convert("L")).mean()) for picture in drawn]
            advance(len(drawn))
    return np.concatenate(vectors), np.array(brightness)


def _world(
    ids: list[str],
    vectors: np.ndarray,
    parts: Parts,
    units: list[PlantedUnit],
    encoder: DualEncoder,
    seed: int,
) -> World[PictureMaterial]:
    rows = parts.describe.rows
    phrases = candidate_phrases()
    cosines = vectors[rows] @ encoder.encode_texts(phrases).T

    def material() -> PictureMaterial:
        return PictureMaterial(
            ids=[ids[int(row)] for row in rows],
            responses=np.array([unit.response[rows] for unit in units]),
            fires=np.array([unit.fires[rows] for unit in units]),
            most_exemplars=STRONGEST,
            seed=seed,
            phrases=phrases,
            cosines=cosines.astype(np.float64),
        )

    return World(parts, units, by_nearest(encoder.encode_texts, vectors), material)


@dataclass(frozen=True)
class PictureMaterial(Behaviour):
    """All that a describer of pictures may see: how near each phrase is to each describe picture."""

    phrases: Sequence[str]
    cosines: Float[np.ndarray, "pictures phrases"]

    @property
    def nearness(self) -> Float[np.ndarray, "pictures phrases"]:
        """The cosine in standard deviations from the phrase's mean: some are near to everything."""
        # Smaller than what single precision resolves is no spread.
        spread = np.maximum(self.cosines.std(0), 1e-6)
        return (self.cosines - self.cosines.mean(0)) / spread


def dissect(material: PictureMaterial) -> Answers:
    """The phrase that is nearer to the exemplars than to pictures that leave the unit cold.

    Of the differences of mean nearness the largest. It always names one: whether it is true is left
    to the exam. Like CLIP-Dissect (Oikarinen and Weng 2023) in what it looks at, not in its measure
    of similarity.
    """
    nearness = material.nearness
    texts = []
    for chosen, fires in zip(material.exemplars, material.fires, strict=True):
        if chosen.any() and not fires.all():
            gain = nearness[chosen].mean(0) - nearness[~fires].mean(0)
            texts.append(material.phrases[int(gain.argmax())])
        else:
            texts.append("")
    return Answers(texts)


def enrichment(material: PictureMaterial) -> Answers:
    """Phrases that hold of exemplars more often than chance, up to three; silence where none does.

    A phrase holds of the pictures that it is nearer to than to most, by a standard deviation. The
    most significant comes first (hypergeometric tail, Bonferroni over phrases at 5 %), the next is
    the most significant among the pictures of which no earlier one holds, and so says something else.
    """
    holds = material.nearness >= HOLDS_FROM
    texts = []
    for chosen, fires in zip(material.exemplars, material.fires, strict=True):
        named: list[str] = []
        left = chosen | ~fires
        while len(named) < MOST_NAMED:
            hits, carrying = holds[left & chosen].sum(0), holds[left].sum(0)
            drawn, population = int((left & chosen).sum()), int(left.sum())
            p = enrichment_p(hits[None], np.array([drawn]), carrying, population)[0]
            if not drawn:
                break
            p[~stands_out(hits / drawn, carrying / population) | (hits < MIN_HITS)] = 1.0
            best = int(p.argmin())
            if p[best] * len(p) > LEVEL:
                break
            named.append(material.phrases[best])
            left &= ~holds[:, best]
        texts.append(", ".join(named))
    return Answers(texts)


def random_phrase(material: PictureMaterial) -> Answers:
    """Control: any of the phrases, for every unit."""
    rng = np.random.default_rng(material.seed)
    drawn = rng.integers(len(material.phrases), size=len(material.fires))
    return Answers([material.phrases[int(n)] for n in drawn])


PICTURE_DESCRIBERS: Mapping[str, Callable[[PictureMaterial], Answers]] = {
    "dissect": dissect,
    "enrichment": enrichment,
    "random-phrase": random_phrase,
    "none": no_description,
}
