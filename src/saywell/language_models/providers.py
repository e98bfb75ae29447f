"""The providers saywell can ask, how their models are named, and where their keys come from."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from saywell.errors import InputError, SaywellError

EXTRACTIVE = "extractive"
"""Stands where a model's name could and names none: descriptors are taken from the texts."""
SchemaMode = Literal["native", "instruct", "both"]


class ProviderError(SaywellError):
    """The provider takes no request: wrong key, model or address, no credit, out of reach."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One way to reach models that speak the OpenAI chat protocol; "gguf" and "hf" run in this process.

    `schema`: "native" sends the answer's JSON schema as response_format, "instruct" spells it out
    in the prompt, "both" does both (where some of the provider's models ignore response_format
    silently). `free` providers cost nothing by the call. `tokens_field` names the limit on the
    reply's length.
    """

    name: str
    url: str | None
    key_variable: str | None
    key_needed: bool
    schema: SchemaMode
    free: bool = False
    tokens_field: str = "max_tokens"


PROVIDERS: Mapping[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider(
            "openai",
            "https://api.openai.com/v1",
            "OPENAI_API_KEY",
            True,
            "native",
            tokens_field="max_completion_tokens",
        ),
        Provider("anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", True, "instruct"),
        Provider(
            "gemini",
            "https://generativelanguage.googleapis.com/v1beta/openai",
            "GEMINI_API_KEY",
            True,
            "native",
        ),
        Provider("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", True, "both"),
        Provider("ollama", "http://127.0.0.1:11434/v1", "OLLAMA_API_KEY", False, "both", free=True),
        Provider("vllm", "http://127.0.0.1:8000/v1", "VLLM_API_KEY", False, "native", free=True),
        Provider("openai-compatible", None, "SAYWELL_LLM_KEY", False, "both"),
        Provider("gguf", None, None, False, "native", free=True),
        Provider("hf", None, None, False, "instruct", free=True),
    )
}
IN_PROCESS = ("gguf", "hf")
"""Providers that run a model here, one request at a time."""


@dataclass(frozen=True, slots=True)
class Key:
    """A provider's key and where it was found; never in a repr, a log, an error or a table."""

    value: str = field(repr=False)
    source: str


def split_name(name: str) -> tuple[Provider, str]:
    """Provider and model of a name such as "openai:gpt-x". Raises InputError for any other form."""
    prefix, colon, model = name.strip().partition(":")
    if prefix not in PROVIDERS or not colon or not model.strip() or not model.isprintable():
        raise InputError(
            f"{name!r} does not name a language model; write provider:model, where provider is "
            f"one of {', '.join(PROVIDERS)}, or {EXTRACTIVE!r} for none"
        )
    return PROVIDERS[prefix], model.strip()


def base_url(provider: Provider, url: str | None) -> str:
    """The address to send to: the provider's own, or the user's `url` where that is allowed.

    A cloud provider's key must not go to another host, so for these `url` may only name a host of
    the same provider (a regional one); any other server is "openai-compatible". Raises InputError.
    """
    if url is None:
        if provider.url is None:
            raise InputError(
                f"{provider.name}: needs the server's address; give --llm-url http://HOST:PORT/v1"
            )
        return provider.url
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is no port
    except ValueError:
        raise InputError("--llm-url is no address; it must look like https://HOST/v1") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"--llm-url must look like https://HOST/v1, not {_without_secrets(url)!r}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            f"--llm-url {_without_secrets(url)!r} must hold no user, password or query: it is "
            f"written into the ledger. Put the key into the variable {provider.key_variable}"
        )
    if provider.key_needed:
        own = urlsplit(provider.url or "").hostname or ""
        if (parts.hostname != own and not parts.hostname.endswith(f".{own}")) or parts.scheme != "https":
            raise InputError(
                f"--llm-url {url!r} is not a server of {provider.name}, and its key must not go "
                "elsewhere; name the model openai-compatible:MODEL and put that server's key into "
                "SAYWELL_LLM_KEY"
            )
    return url.rstrip("/").removesuffix("/chat/completions")


def config_folder(env: Mapping[str, str] = os.environ) -> Path:
    """The user's settings folder: $XDG_CONFIG_HOME/saywell, else ~/.config/saywell."""
    home = env.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "saywell"


def find_key(provider: Provider, env: Mapping[str, str] = os.environ) -> Key | None:
    """The provider's key from its environment variable, else from keys.toml in the settings folder.

    The file holds lines like OPENAI_API_KEY = "..." and is refused (SaywellError) when others on
    the machine can read it.
    """
    variable = provider.key_variable
    if variable is None:
        return None
    if value := env.get(variable, "").strip():
        return Key(_checked(value, variable, "the environment"), "environment")
    path = config_folder(env) / "keys.toml"
    try:
        # Mode of the opened file, so that it cannot be swapped between check and reading.
        with path.open("rb") as file:
            if os.name == "posix" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise SaywellError(f"{path} can be read by others; run: chmod 600 {path}")
            keys = tomllib.load(file)
    except FileNotFoundError:
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        # The parser's own message may quote the line, and the line may hold a key.
        raise SaywellError(f'{path} is not valid TOML; write lines like {variable} = "..."') from None
    value = keys.get(variable)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise SaywellError(f'{variable} in {path} must be a text in quotes: {variable} = "..."')
    return Key(_checked(value.strip(), variable, str(path)), str(path))


def missing_key(provider: Provider) -> ProviderError:
    """The error for a provider whose key was not found, with the line that mends it."""
    return ProviderError(
        f"{provider.name}: no key found; run: export {provider.key_variable}=YOUR_KEY (or put it "
        f"into {config_folder() / 'keys.toml'})"
    )


def same_model(asked: str, replied: str) -> bool:
    """Whether the name of the model that answered is the asked one or a dated form of it."""
    asked, replied = asked.rpartition("/")[2], replied.rpartition("/")[2]
    return replied.endswith(asked) or replied.startswith(f"{asked}-")


def _checked(value: str, variable: str, source: str) -> str:
    if not value.isascii() or not value.isprintable() or " " in value:
        raise SaywellError(f"{variable} from {source} holds characters that no key has; set it again")
    return value


def _without_secrets(url: str) -> str:
    return urlsplit(url)._replace(query="", fragment="").geturl().rpartition("@")[2][:200]
