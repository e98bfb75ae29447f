"""The exam with pictures: units over drawn scenes, described in phrases, read by a dual encoder.

1. different scenes at random, one picture each                       draw_scenes, see_scenes
2. units by rules over what the scenes show                           plant_image_units
3. pictures split by scene: written from, chosen by, scored on        parts_of
4. each describer names phrases from describe pictures only           exam_answers: text
5. everything else as in the exam of texts                            sit_exam
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float

from saywell.data.parts import Parts, parts_of
from saywell.data.planted.scenes import Scene, render
from saywell.data.planted_image_units import candidate_phrases, draw_scenes, plant_image_units, scene_ids
from saywell.data.planted_units import NOISE_UNITS, PER_KIND, PlantedUnit
from saywell.data.splits import assign_parts, check_seed
from saywell.describers.descriptors.taggers import PhraseTags
from saywell.describers.registry import describers_of, find_describers
from saywell.encoders.checkpoints import PLANTED
from saywell.encoders.dual import DualEncoder, open_dual_encoder
from saywell.errors import InputError
from saywell.progress import Progress, automatic, silent
from saywell.readers.cosine import by_nearest
from saywell.resources import Resources
from saywell.studies.exam_describers import STRONGEST, Material, Planted, describe_examples, planted_evidence
from saywell.studies.exam_scoring import World
from saywell.studies.exam_sitting import Exam, kept_exam, sit_exam

PICTURES = 2400
"""Enough for most pairs of a shape and a colour to be asked about."""
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
    `describers` are names from the registry, by default all that see pictures. With `out` the tables are
    stored as a study.

    Raises InputError for unknown names and for too few pictures to ask about.
    """
    chosen = find_describers(describers or describers_of("image"), "image")
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
        parts = parts_of(pl.DataFrame({"id": ids, "part": assign_parts(ids, seed)}))
        world = _world(ids, vectors, parts, units, encoder, seed)
        return sit_exam([world], chosen, seed, progress, clock)

    settings = {
        "questions": "planted pictures",
        "describers": [describer.name for describer in chosen],
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
) -> World[Material]:
    rows = parts.describe.rows

    def material() -> Material:
        examples = describe_examples(pl.DataFrame({"id": [ids[int(row)] for row in rows]}), "image")
        planted = Planted(
            pl.DataFrame({"id": [unit.id for unit in units]}),
            np.array([unit.response[rows] for unit in units]),
            np.array([unit.fires[rows] for unit in units]),
        )
        resources = Resources(dual=encoder, seed=seed)
        resources.keep(examples, vectors[rows])
        evidence = planted_evidence(planted, examples, STRONGEST, seed)
        return Material(evidence, resources, PhraseTags(candidate_phrases()))

    return World(parts, units, by_nearest(encoder.encode_texts, vectors), material)
