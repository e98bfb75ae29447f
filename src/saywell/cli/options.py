"""Options that several commands have, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Concurrency = Annotated[int, typer.Option(help="LLM requests under way at once.")]
PlanOnly = Annotated[bool, typer.Option("--dry-run", help="Print LLM calls, tokens and cost; send nothing.")]
LlmDeadline = Annotated[float, typer.Option(help="Most seconds to wait while the LLM answers nothing.")]
LlmEffort = Annotated[str | None, typer.Option(help="How long an LLM that reasons may do so: none, low, ...")]
LlmReplyTokens = Annotated[
    int, typer.Option(help="Most tokens of one reply, when a smaller limit cut it off.")
]
LlmUrl = Annotated[str | None, typer.Option(help="Base URL of the LLM's endpoint.")]
MaxCalls = Annotated[int | None, typer.Option(help="Stop before more LLM calls.")]
MaxTokens = Annotated[int | None, typer.Option(help="Stop before more tokens.")]
MaxUsd = Annotated[float | None, typer.Option(help="Stop before spending more.")]
Prompts = Annotated[Path | None, typer.Option(help="Folder with prompts of your own.")]
Replay = Annotated[bool, typer.Option("--replay", help="Use stored LLM replies only; fail on a missing one.")]
Out = Annotated[Path, typer.Option(help="Study folder to write.")]
StudyFolder = Annotated[Path, typer.Argument(help="Study folder.")]
