"""Whose surprise a study measures: the causal language model of the reader `surprisal`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from saywell.encoders.causal import CausalModel, causal_model, load_head
from saywell.errors import InputError
from saywell.readers.reader import Reader
from saywell.readers.surprisal import SURPRISAL
from saywell.resources import Resources
from saywell.studies.settings import CausalSettings
from saywell.units.models import LoadedModel


@dataclass(frozen=True)
class Surprised:
    """What a study keeps of the model; nothing where no reader asks for one."""

    config: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()
    """The reader, where its model is the one under study: then it can support a description, not decide."""


def surprised_by(
    asked: CausalSettings, readers: Sequence[Reader], resources: Resources, studied: LoadedModel | None = None
) -> Surprised:
    """Give `resources` the causal model that is named, or else the one under study.

    Raises InputError where there is none, or where it is not causal.
    """
    if all(reader.name != SURPRISAL for reader in readers):
        return Surprised()
    if asked.surprisal_model is not None:
        resources.causal = asked.surprisal_model
    elif studied is not None:
        resources.causal = lambda: causal_form(studied)
    model = resources.need_causal(f"the reader {SURPRISAL!r}")
    same = studied is not None and model.name == studied.name
    return Surprised(
        {"surprisal_model": model.name},
        {"surprisal_model": model.fingerprint},
        frozenset([SURPRISAL]) if same else frozenset(),
    )


def causal_form(studied: LoadedModel) -> CausalModel:
    """The model under study with what predicts tokens, which studies of its inside leave off.

    Raises InputError where it is not causal.
    """
    try:
        return causal_model(studied.model, studied.tokenizer, studied.name)
    except InputError as error:
        problem = error
    if studied.name != type(studied.model).__name__:  # it was loaded by its name
        try:
            return load_head(studied.model, studied.name)
        except InputError as error:
            problem = error
    raise InputError(
        f"the reader {SURPRISAL!r} cannot ask the model under study ({problem}); name a causal language"
        " model: --surprisal-model MODEL (surprisal_model=...)"
    )
