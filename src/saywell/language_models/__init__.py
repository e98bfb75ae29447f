"""Every call to a language model goes through this package; see docs/language-models.md."""

from __future__ import annotations

from saywell.language_models.budget import BudgetReached, Limits
from saywell.language_models.client import Client, Retries
from saywell.language_models.dry_run import DryRun, StepPlan
from saywell.language_models.items import Group, ItemReply, ask_groups, ask_items
from saywell.language_models.ledger import CacheMiss, LedgerError
from saywell.language_models.opening import open_language_model
from saywell.language_models.prompts import Prompt, fence, load_prompt
from saywell.language_models.providers import ProviderError
from saywell.language_models.requests import Image, LanguageModel, Message, Reply, Request, Status
from saywell.language_models.scripted import Scripted

__all__ = [
    "BudgetReached",
    "CacheMiss",
    "Client",
    "DryRun",
    "Group",
    "Image",
    "ItemReply",
    "LanguageModel",
    "LedgerError",
    "Limits",
    "Message",
    "Prompt",
    "ProviderError",
    "Reply",
    "Request",
    "Retries",
    "Scripted",
    "Status",
    "StepPlan",
    "ask_groups",
    "ask_items",
    "fence",
    "load_prompt",
    "open_language_model",
]
