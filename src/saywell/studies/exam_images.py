"""The exam with pictures: units over drawn scenes, described in phrases, read by a dual encoder.

1. different scenes at random, one picture each                       draw_scenes, see_scenes
2. units by rules over what the scenes show                           plant_image_units
3. pictures split by scene: written from, chosen by, scored on        parts_of
4. each describer names phrases from describe pictures only           exam_answers: text
5. everything else as in the exam of texts                            sit_exam
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float

from saywell.data.parts import Parts, parts_of
from saywell.data.planted.scenes import Scene, render
from saywell.data.planted_image_units import candidate_phrases, draw_scenes, plant_image_units, scene_ids
from saywell.data.planted_units import PlantedUnit
from saywell.data.splits import assign_parts
from saywell.describers.descriptors.taggers import PhraseTags
from saywell.describers.registry import describers_of, find_describers
from saywell.encoders.checkpoints import PLANTED
from saywell.encoders.dual import DualEncoder, open_dual_encoder
from saywell.errors import InputError
from saywell.progress import Progress, silent
from saywell.readers.cosine import by_nearest
from saywell.resources import Resources
from saywell.studies.exam_describers import STRONGEST, Material, describe_examples, planted_evidence
from saywell.studies.exam_scoring import World
from saywell.studies.exam_sitting import Paper
from saywell.studies.settings import ExamSettings

_BATCH = 64


def image_paper(asked: ExamSettings, encoder: str | DualEncoder | None, progress: Progress) -> Paper:
    """An exam on planted units over so many pictures of the planted world.

    `encoder` describes and reads: the planted world's own (None), or a checkpoint by name or folder.

    Raises InputError for unknown names and for too few pictures to ask about.
    """
    seed = asked.seed
    chosen = find_describers(asked.describer or describers_of("image"), "image")
    scenes = draw_scenes(asked.pictures, seed)
    ids = scene_ids(scenes)
    encoder = encoder or asked.encoder or PLANTED
    name = encoder if isinstance(encoder, str) else encoder.name
    seeing = open_dual_encoder(encoder) if isinstance(encoder, str) else encoder

    def worlds() -> list[World[Material]]:
        vectors, brightness = see_scenes(scenes, seeing, seed, progress)
        units = plant_image_units(
            scenes,
            brightness > np.median(brightness),
            per_kind=asked.per_kind,
            noise_units=asked.noise_units,
            seed=seed,
        )
        if not any(unit.truth for unit in units):
            raise InputError(
                f"no rule holds of enough of the {asked.pictures} pictures to ask about; give more pictures"
            )
        parts = parts_of(pl.DataFrame({"id": ids, "part": assign_parts(ids, seed)}))
        return [_world(ids, vectors, parts, units, seeing, seed)]

    settings = {
        "questions": "planted pictures",
        "describer": [describer.name for describer in chosen],
        "reader": ["dual-encoder"],
        "encoder": name,
    }
    inputs = {"pictures": ids, "encoder": [seeing.fingerprint]}
    return Paper(worlds, chosen, f"{asked.pictures} pictures", settings, inputs)


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
        resources = Resources(dual=encoder, seed=seed)
        resources.keep(examples, vectors[rows])
        evidence = planted_evidence(units, examples, rows, STRONGEST, seed)
        return Material(evidence, resources, PhraseTags(candidate_phrases()))

    return World(parts, units, by_nearest(encoder.encode_texts, vectors), material)
