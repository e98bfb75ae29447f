"""A chat checkpoint that runs in this process through transformers (hf:PATH, hf:FILE.gguf or hf:ORG/NAME)."""

from __future__ import annotations

import asyncio
import copy
import importlib.util
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from saywell.encoders.checkpoints import local_checkpoint
from saywell.encoders.fingerprints import checkpoint_fingerprint
from saywell.errors import InputError, MissingPackage
from saywell.language_models import grammar
from saywell.language_models.backend import Sent, Told, Trouble, untold
from saywell.language_models.choices import by_tokens, likeliest
from saywell.language_models.gguf_file import GgufFile
from saywell.language_models.prices import FREE
from saywell.language_models.requests import Message, Request
from saywell.language_models.structured import tight_schema, with_instructions
from saywell.progress import quiet_loading


class LocalBackend:
    """A transformers causal language model with a chat template; text only, one request at a time.

    One at a time, because batching changes floating-point sums and with them now and then a greedy
    reply: the same request must get the same reply whatever runs beside it. The answer's form is spelled
    out in the prompt and, with the package llguidance, is the grammar of the reply. Sampling (temperature
    above 0) draws from a generator seeded with the request's seed, or 0.
    """

    def __init__(self, checkpoint: str, *, device: str | None = None) -> None:
        self.name = f"hf:{checkpoint}"
        self.price = FREE
        self.gives_probabilities = True
        self._checkpoint = checkpoint
        self._device = device
        self._loaded: tuple[Any, Any] | None = None
        self._vocabulary: tuple[Any] | None = None
        # torch calls block, so they run beside the loop, in one thread to keep them in order.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saywell-hf")
        self._place: dict[str, str] = {"pretrained_model_name_or_path": checkpoint}
        path = Path(checkpoint)
        if path.suffix.lower() == ".gguf":
            for package in ("gguf", "accelerate"):
                if importlib.util.find_spec(package) is None:
                    raise MissingPackage(package, "local", "hf:FILE.gguf")
            model = GgufFile.read(path).fingerprint()
            self._place = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
        else:  # a name on the hub stands for itself
            folder = local_checkpoint(checkpoint)
            model = checkpoint if folder is None else checkpoint_fingerprint(Path(folder))
        self.identity = {"provider": "hf", "url": "", "model": model}
        if grammar.is_installed():
            self.identity["grammar"] = grammar.NAME

    async def send(self, request: Request, without: tuple[str, ...] = (), told: Told = untold) -> Sent:
        """The model's reply.

        Raises InputError for images and for checkpoints that cannot chat, Trouble for a question
        that is longer than the model reads.
        """
        loop = asyncio.get_running_loop()
        given_up = threading.Event()

        def tell(tokens: int) -> None:
            loop.call_soon_threadsafe(told, tokens)

        try:
            return await loop.run_in_executor(self._thread, self._generate, request, tell, given_up)
        finally:
            given_up.set()  # the model stops at its next token

    async def close(self) -> None:
        """Frees the model."""
        self._thread.shutdown(wait=True)
        self._loaded = None

    def _generate(self, request: Request, tell: Told, given_up: threading.Event) -> Sent:
        import torch
        from transformers import GenerationConfig

        if any(message.images for message in request.messages):
            raise InputError(f"{self.name} reads text only; use a provider's model for images")
        model, tokenizer = self._loaded = self._loaded or self._load()
        messages = request.messages
        if request.answer is not None:
            messages = with_instructions(messages, request.answer)
        ids = self._tokens(tokenizer, messages).to(model.device)
        context = getattr(model.config, "max_position_embeddings", None) or 1 << 30
        if ids.shape[1] >= context:
            raise Trouble(
                f"the question has {ids.shape[1]} tokens; {self.name} reads {context}",
                "reject",
                too_long=True,
            )
        if request.choices is not None:
            return self._choose(request.choices, model, tokenizer, ids)
        most = min(request.max_tokens, context - ids.shape[1])
        config = GenerationConfig(
            max_new_tokens=most,
            do_sample=request.temperature > 0,
            temperature=request.temperature if request.temperature > 0 else None,
            top_k=0 if request.temperature > 0 else None,
            pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id or 0,
            eos_token_id=model.generation_config.eos_token_id or tokenizer.eos_token_id,
        )
        devices = [model.device] if model.device.type == "cuda" else []
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(request.seed or 0)
            output = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                generation_config=config,
                logits_processor=self._held(request, model, tokenizer, start=ids.shape[1]),
                stopping_criteria=[_watched(tell, given_up, start=ids.shape[1])],
            )
        new = output[0, ids.shape[1] :]
        ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
        ended = len(new) > 0 and int(new[-1]) in ends
        text = tokenizer.decode(new, skip_special_tokens=True)
        return Sent(
            text=text,
            finish="stop" if ended or len(new) < most else "length",
            model=self.name,
            input_tokens=int(ids.shape[1]),
            output_tokens=len(new),
        )

    def _held(self, request: Request, model: Any, tokenizer: Any, start: int) -> list[grammar.Held]:
        """What keeps the reply to the form of its answer, where there is any."""
        if request.answer is None or "grammar" not in self.identity:
            return []
        if self._vocabulary is None:
            self._vocabulary = (grammar.vocabulary(tokenizer, model.config.vocab_size),)
        (known,) = self._vocabulary
        return [] if known is None else [grammar.Held(known, tight_schema(request.answer), start)]

    def _tokens(self, tokenizer: Any, messages: tuple[Message, ...]) -> Any:
        """The messages in the chat template; what the system says begins the first turn where it may not."""
        turns = [{"role": message.role, "content": message.text} for message in messages]
        told = [turn["content"] for turn in turns if turn["role"] == "system"]
        asked = [turn for turn in turns if turn["role"] != "system"]
        folded = [{**turn, "content": "\n\n".join([*told, turn["content"]])} for turn in asked[:1]] + asked[
            1:
        ]
        refusals: list[TemplateError] = []
        for form in (turns, folded) if told else (turns,):
            try:
                encoded = tokenizer.apply_chat_template(
                    form, add_generation_prompt=True, return_tensors="pt", return_dict=True
                )
                return encoded["input_ids"]
            except TemplateError as refusal:  # what a template does with raise_exception, too
                refusals.append(refusal)
        raise InputError(
            f"the chat template of {self.name} cannot be used here: {str(refusals[0])[:300]}"
        ) from refusals[0]

    def _choose(self, choices: Sequence[str], model: Any, tokenizer: Any, ids: Any) -> Sent:
        """The probabilities of the choices, or what the reply begins with where it is none of them."""
        import torch

        with torch.no_grad():
            question = model(ids, use_cache=True)
        # Its memory, under the name of the newer or of the older versions of transformers; some have none.
        name = next((name for name in ("cache", "past_key_values") if name in question), None)

        @cache
        def following(said: tuple[int, ...]) -> Any:
            rest = ids.new_tensor([said])
            with torch.no_grad():
                if not said:
                    logits = question.logits[0, -1]
                elif name is None:
                    logits = model(torch.cat([ids, rest], 1)).logits[0, -1]
                else:  # so that the question is read once
                    logits = model(rest, **{name: copy.deepcopy(question[name])}).logits[0, -1]
            return torch.softmax(logits.double(), -1).cpu().numpy()

        told = by_tokens(choices, lambda text: tokenizer.encode(text, add_special_tokens=False), following)
        text = likeliest(told) if told else tokenizer.decode([int(following(()).argmax())])
        return Sent(text, "stop", None, self.name, int(ids.shape[1]), 1, probabilities=told)

    def _load(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        device = self._device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            # No code of the checkpoint's own, and no pickles, which are code.
            tokenizer = AutoTokenizer.from_pretrained(**self._place, trust_remote_code=False)
            with quiet_loading():
                model = AutoModelForCausalLM.from_pretrained(
                    **self._place, dtype="auto", trust_remote_code=False, use_safetensors=True
                )
        except Exception as error:  # readers of files raise whatever they meet
            raise InputError(
                f"{self.name} cannot be loaded ({str(error).splitlines()[0][:300]}); give a folder with a "
                "transformers chat checkpoint, a GGUF file, or a name on the Hugging Face hub"
            ) from error
        if not tokenizer.chat_template:
            raise InputError(f"{self.name} has no chat template; use an instruct or chat checkpoint")
        return model.to(device).eval(), tokenizer  # pyright: ignore


def _watched(tell: Told, given_up: threading.Event, start: int) -> Callable[..., Any]:
    """Tells how many tokens there are, and stops where nobody waits for more."""
    import torch

    def watch(ids: torch.Tensor, scores: Any, **more: Any) -> torch.Tensor:
        tell(ids.shape[1] - start)
        return torch.full((ids.shape[0],), given_up.is_set(), dtype=torch.bool, device=ids.device)

    return watch
