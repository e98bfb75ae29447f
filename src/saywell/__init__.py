"""Natural-language descriptions of what is in data and in models, with evidence that they hold.

import saywell
study = saywell.describe_neurons("reviews.csv", "minilm", out="study")
study.best(10)
study.unit("layer.3/42")
study.search("refund")
study.tidy()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saywell.data.texts import load_texts
    from saywell.errors import SaywellError
    from saywell.features import DescriptionFeatures
    from saywell.language_models import open_language_model
    from saywell.report.card import Unit
    from saywell.store.study import Study
    from saywell.studies.check import check_descriptions, check_features
    from saywell.studies.classes import describe_classes
    from saywell.studies.features import describe_features
    from saywell.studies.hypotheses import find_hypotheses
    from saywell.studies.match import match_studies
    from saywell.studies.neurons import describe_neurons
    from saywell.studies.units import describe_units

__version__ = "0.1.0"
__all__ = [
    "DescriptionFeatures",
    "SaywellError",
    "Study",
    "Unit",
    "check_descriptions",
    "check_features",
    "describe_classes",
    "describe_features",
    "describe_neurons",
    "describe_units",
    "find_hypotheses",
    "load_texts",
    "match_studies",
    "open_language_model",
]

# Loaded on first use: importing torch takes seconds, and `saywell --help` should not.
_HOMES = {
    "DescriptionFeatures": "saywell.features",
    "SaywellError": "saywell.errors",
    "Study": "saywell.store.study",
    "Unit": "saywell.report.card",
    "check_descriptions": "saywell.studies.check",
    "check_features": "saywell.studies.check",
    "describe_classes": "saywell.studies.classes",
    "describe_features": "saywell.studies.features",
    "describe_neurons": "saywell.studies.neurons",
    "describe_units": "saywell.studies.units",
    "find_hypotheses": "saywell.studies.hypotheses",
    "load_texts": "saywell.data.texts",
    "match_studies": "saywell.studies.match",
    "open_language_model": "saywell.language_models",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'saywell' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
