"""Print docs/options.md: the options of every question, from their records of settings.

python scripts/options.py > docs/options.md
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import get_annotations

from saywell.cli.command import options_of
from saywell.studies import settings
from saywell.studies.settings import Settings

HEAD = """# Options

The options of `saywell neurons`, `classes`, `units`, `hypotheses` and `exam`, and of the functions behind
them.
`--llm-units 5` on the command line is `llm_units=5` in Python:

    saywell.describe_neurons("reviews.csv", "minilm", out="study", llm_units=5)

Together they are a record, `settings=NeuronSettings(llm_units=5)` from `saywell.studies.settings`. An option
that there is not is an error that names the nearest one, a value that cannot be is one that says what can.

A study keeps its record in `study.json`, under `config`, and a stopped run goes on only with the same. What
is marked \\* is not in it, because it changes no result, or because what came of it is kept instead.

Beside them, `--out` names the study's folder, `--dry-run` checks everything and says what a language model
would be asked, and `--json` prints for programs. This page is printed by `scripts/options.py`.
"""
PARTS = {
    "NeuronSettings": "Neurons: `saywell neurons`, `describe_neurons`",
    "ClassSettings": "Classes: `saywell classes`, `describe_classes`",
    "FeatureSettings": "Features of a dictionary: `saywell features`, `describe_features`",
    "UnitSettings": "Units of your own: `saywell units`, `describe_units`",
    "HypothesisSettings": "Hypotheses: `saywell hypotheses`, `find_hypotheses`",
    "ExampleSettings": "Features and units: the examples, and who describes",
    "DualSettings": "Classes, features and units: what sees pictures",
    "ClaimSettings": "Neurons, features and units: how claims are put",
    "CausalSettings": "Neurons, features, units and exams: the reader `surprisal`",
    "CheckSettings": "Checks: `saywell check`, `check_descriptions`",
    "ExamSettings": "Exams: `saywell exam`, `run_exam`",
    "StudySettings": "All of them",
    "LlmSettings": "All of them: the language model",
}


def rows(record: type[Settings]) -> Iterator[str]:
    """A line of a Markdown table for each of the record's own fields."""
    for parameter in options_of(record):
        if parameter.name not in get_annotations(record):
            continue
        option = parameter.annotation.__metadata__[0]
        default = parameter.default
        name = f"--{parameter.name.replace('_', '-')}"
        value = option.metavar or ("" if default is False else f"/ --no-{name[2:]}")
        shown = "" if default is None or isinstance(default, bool) else f"`{default}`"
        free = " \\*" if record.model_fields[parameter.name].exclude else ""
        usage = f"{name} {value}".strip().replace("|", "\\|")
        yield f"| `{usage}`{free} | {shown} | {option.help} |"


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, title in PARTS.items():
        record = getattr(settings, name)
        parts.append(f"\n## {title}\n\n| option | default | |\n|---|---|---|")
        parts.append("\n".join(rows(record)))
    return "\n".join(parts).replace("\n\n\n", "\n\n") + "\n"


if __name__ == "__main__":
    print(page(), end="")
