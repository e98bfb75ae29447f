"""Which providers can be used here, what the others lack, and the line that mends it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass

from saywell.errors import SaywellError
from saywell.language_models.providers import PROVIDERS, Provider, find_key


@dataclass(frozen=True, slots=True)
class ProviderCheck:
    """The state of one provider: whether it can be used, why, and the line that mends it."""

    name: str
    usable: bool
    state: str
    fix: str


def check_providers(env: Mapping[str, str] = os.environ) -> list[ProviderCheck]:
    """Looks for keys, packages and local servers at their usual address; sends no key."""
    return [_check(provider, env) for provider in PROVIDERS.values()]


def _check(provider: Provider, env: Mapping[str, str]) -> ProviderCheck:
    name = provider.name
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
