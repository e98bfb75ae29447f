"""Which providers can be used here, what the others lack, and the line that mends it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from saywell.errors import SaywellError
from saywell.language_models.gguf_caches import CachedModel, cached_models
from saywell.language_models.providers import PROVIDERS, Provider, find_key


@dataclass(frozen=True, slots=True)
class ProviderCheck:
    """The state of one provider: whether it can be used, why, and the line that mends it.

    `models` are those that were found on this machine for it.
    """

    name: str
    usable: bool
    state: str
    fix: str
    models: tuple[CachedModel, ...] = ()


def check_providers(env: Mapping[str, str] = os.environ, home: Path | None = None) -> list[ProviderCheck]:
    """Looks for keys, packages, model files and local servers in their usual places; sends no key."""
    return [_check(provider, env, home) for provider in PROVIDERS.values()]


def _check(provider: Provider, env: Mapping[str, str], home: Path | None) -> ProviderCheck:
    name = provider.name
    if name == "gguf":
        return _check_gguf(env, home)
    if name == "hf":
        missing = [p for p in ("torch", "transformers") if importlib.util.find_spec(p) is None]
        if missing:
            return ProviderCheck(name, False, f"{missing[0]} is not installed", f"pip install {missing[0]}")
        return ProviderCheck(name, True, "runs in process", "")
    try:
        key = find_key(provider, env)
    except SaywellError as error:
        return ProviderCheck(name, False, str(error), "")
    if provider.key_needed:
        if key is None:
            return ProviderCheck(name, False, "no key", f"export {provider.key_variable}=YOUR_KEY")
        return ProviderCheck(name, True, f"key from {key.source}", "")
    if provider.url is None:
        with_key = f", key from {key.source}" if key else ""
        return ProviderCheck(name, True, f"any server, by --llm-url{with_key}", "")
    if _answers(provider.url):
        return ProviderCheck(name, True, f"answers at {provider.url}", "")
    start = "ollama serve" if name == "ollama" else "vllm serve MODEL"
    return ProviderCheck(name, False, f"no answer at {provider.url}", start)


def _check_gguf(env: Mapping[str, str], home: Path | None) -> ProviderCheck:
    seen = cached_models(env, home)
    models = tuple(seen.models)
    states = [
        f"{len(models)} files with a chat template" if len(models) != 1 else "1 file with a chat template"
    ]
    if seen.others:
        states.append(f"{seen.others} without, or unreadable")
    if not seen.whole:
        states.append("not all folders were looked through")
    if importlib.util.find_spec("xllamacpp") is None:
        return ProviderCheck(
            "gguf", False, "xllamacpp is not installed", "pip install 'saywell[local]'", models
        )
    return ProviderCheck(
        "gguf", True, f"runs in process; {', '.join(states)} in the usual places", "", models
    )


def _answers(url: str) -> bool:
    import httpx2

    try:
        with (
            httpx2.Client(trust_env=False, timeout=1.0, follow_redirects=False) as client,
            client.stream("GET", f"{url}/models") as response,  # its body may have no end
        ):
            return response.status_code == 200
    except httpx2.HTTPError:
        return False
