"""Responses from one loaded base: the base and all adapters answer in the same batch."""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch

from training import base, chat
from training.errors import Cancelled, ChatTemplateError, PromptError
from training.fingerprint import fingerprint_adapter
from training.lora import read_adapter
from training.masked_lora import BASE, MaskedLora
from training.sampling import Sampling, choose, penalise
from training.slots import BUCKET, PromptMemory, Slots

SMALLEST_BATCH = 4
"""With fewer rows matrix products take another path and round differently, so idle rows fill up to this."""


@dataclass(frozen=True, slots=True)
class Request:
    """One response that is wanted."""

    key: str
    """Comes back with the response; means nothing here."""
    adapter: str | None
    """Name of an adapter of the engine; None = the bare base."""
    messages: tuple[Mapping[str, str], ...]
    """The conversation so far, ending with the user."""
    seed: int
    """Keys the sampling noise."""


@dataclass(frozen=True, slots=True)
class Generated:
    """One response."""

    key: str
    text: str
    """Without special tokens."""
    token_count: int
    """Tokens of the response; the end token does not count."""
    finish_reason: str
    """"stop" (the model ended it) or "length" (max_new_tokens or the context cut it)."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request whose turn has not come."""

    request: Request
    adapter: int
    ids: tuple[int, ...]

    @property
    def asks(self) -> tuple[int, tuple[int, ...]]:
        """What the model reads before the first token: the same for all replicates."""
        return self.adapter, self.ids


@dataclass(frozen=True, slots=True)
class _Read:
    """A prompt that an adapter has read."""

    asks: tuple[int, tuple[int, ...]]
    memory: PromptMemory
    logits: torch.Tensor
    """[1, vocabulary] of the first token."""


@dataclass(slots=True)
class _Row:
    """A response in the making."""

    request: Request
    adapter: int
    limit: int
    tokens: list[int] = field(default_factory=list)
    seen: torch.Tensor | None = None


class LocalEngine:
    """A base model and adapters on this machine.

    Raises:
        BaseModelError, AdapterError: something cannot be loaded or does not fit.
    """

    def __init__(
        self, base_folder: Path, adapters: Mapping[str, Path], *, device: str = "auto", dtype: str = "auto"
    ) -> None:
        self._device = base.pick_device(device)
        number_format = base.pick_dtype(self._device, dtype)
        self._model, self._tokenizer = base.load_base(base_folder, self._device, number_format)
        self._ends = frozenset(base.end_tokens(self._model, self._tokenizer))
        self._stack = MaskedLora(self._model, {name: read_adapter(path) for name, path in adapters.items()})
        self._context = context_of(self._model.config)
        facts = {
            "engine": "local",
            "device": self._device.type,
            "dtype": str(number_format).removeprefix("torch."),
            "torch": torch.__version__,
            "transformers": version("transformers"),
            "bucket": BUCKET,
            "base": asdict(base.hash_base(base_folder)),
            "adapters": {name: fingerprint_adapter(path) for name, path in sorted(adapters.items())},
        }
        self.facts: Mapping[str, object] = facts
        """What the numbers depend on, for people."""
        self.fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        """The same as one hash: equal fingerprints promise equal responses on equal hardware."""

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        *,
        batch_size: int,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Generated]:
        """Yield responses as they finish; a finished row makes room for the next request.

        A response depends on its own request, the sampling settings and this engine, not on ``batch_size``,
        the other requests or their order.

        Raises:
            PromptError: a prompt that does not fit the context or the chat template, before anything is
                generated; names the key.
            AdapterError: a request names an adapter that this engine does not have.
            Cancelled: ``should_stop`` said so between two tokens; what was yielded is kept.
        """
        waiting = deque(_replicates_together(
            [_Waiting(one, self._stack.index(one.adapter), self._encode(one)) for one in requests]
        ))  # fmt: skip
        read: _Read | None = None
        count = max(SMALLEST_BATCH, min(batch_size, len(waiting)))
        slots = Slots(count)
        rows: list[_Row | None] = [None] * count
        while waiting or any(rows):
            while waiting and (free := _free_place(rows, batch_size)) is not None:
                _check(should_stop)
                wanted = waiting.popleft()
                if read is None or read.asks != wanted.asks:
                    read = self._read(wanted)
                rows[free] = self._start(wanted, read, sampling, slots, free)
                yield from self._harvest(rows, slots)
            if any(rows):
                _check(should_stop)
                self._step(rows, slots, sampling)
                yield from self._harvest(rows, slots)
            if not waiting:
                rows = _compact(rows, slots)

    def _encode(self, request: Request) -> tuple[int, ...]:
        try:
            ids = chat.encode_prompt(self._tokenizer, request.messages)
        except ChatTemplateError as error:
            raise PromptError(request.key, error.message) from error
        if len(ids) >= self._context:
            raise PromptError(
                request.key, f"the prompt has {len(ids)} tokens and the model's context holds {self._context}"
            )
        return tuple(ids)

    @torch.inference_mode()
    def _read(self, wanted: _Waiting) -> _Read:
        """Read a prompt, by itself, so that its numbers are its own whoever else is in the batch."""
        memory = PromptMemory()
        inputs = torch.tensor([wanted.ids], device=self._device)
        self._stack.set_rows([wanted.adapter])
        logits = self._model(
            input_ids=inputs,
            position_ids=torch.arange(len(wanted.ids), device=self._device)[None],
            attention_mask=_causal(len(wanted.ids), self._device),
            past_key_values=memory,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        return _Read(wanted.asks, memory, logits)

    @torch.inference_mode()
    def _start(self, wanted: _Waiting, read: _Read, sampling: Sampling, slots: Slots, place: int) -> _Row:
        """Put what was read into a slot and choose the first token."""
        row = _Row(wanted.request, wanted.adapter, min(sampling.max_new_tokens, self._context - len(wanted.ids)))
        slots.put(place, read.memory)
        if sampling.repetition_penalty != 1:
            row.seen = torch.zeros(read.logits.shape[-1], dtype=torch.bool, device=self._device)
            row.seen[list(wanted.ids)] = True
        self._choose(read.logits, [row], sampling)
        return row

    @torch.inference_mode()
    def _step(self, rows: Sequence[_Row | None], slots: Slots, sampling: Sampling) -> None:
        """One token for every row; free places compute along and are ignored."""
        positions, mask = slots.start_step(self._device)
        inputs = torch.tensor([[row.tokens[-1] if row else 0] for row in rows], device=self._device)
        self._stack.set_rows([row.adapter if row else BASE for row in rows])
        logits = self._model(
            input_ids=inputs,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=slots,
            use_cache=True,
        ).logits[:, -1]
        live = [place for place, row in enumerate(rows) if row]
        self._choose(logits[live], [row for row in rows if row], sampling)

    def _choose(self, logits: torch.Tensor, rows: Sequence[_Row], sampling: Sampling) -> None:
        if sampling.repetition_penalty != 1:
            seen = torch.stack([row.seen for row in rows if row.seen is not None])
            logits = penalise(logits, seen, sampling.repetition_penalty)
        seeds = [row.request.seed for row in rows]
        steps = [len(row.tokens) for row in rows]
        for row, token in zip(rows, choose(logits, sampling, seeds, steps).tolist(), strict=True):
            row.tokens.append(token)
            if row.seen is not None:
                row.seen[token] = True

    def _harvest(self, rows: list[_Row | None], slots: Slots) -> Iterator[Generated]:
        """Hand out what is finished and free its place."""
        for place, row in enumerate(rows):
            if row is not None and (done := self._finished(row)) is not None:
                yield done
                rows[place] = None
                slots.free(place)

    def _finished(self, row: _Row) -> Generated | None:
        stopped = row.tokens[-1] in self._ends
        if not stopped and len(row.tokens) < row.limit:
            return None
        tokens = row.tokens[:-1] if stopped else row.tokens
        text = self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Generated(row.request.key, text, len(tokens), "stop" if stopped else "length")


def _replicates_together(waiting: Sequence[_Waiting]) -> list[_Waiting]:
    """In the order of their first, so that a prompt is read once and only one need be kept."""
    groups: dict[tuple[int, tuple[int, ...]], list[_Waiting]] = {}
    for one in waiting:
        groups.setdefault(one.asks, []).append(one)
    return [one for group in groups.values() for one in group]


def _free_place(rows: Sequence[_Row | None], batch_size: int) -> int | None:
    return next((place for place, row in enumerate(rows[:batch_size]) if row is None), None)


def _compact(rows: list[_Row | None], slots: Slots) -> list[_Row | None]:
    """Drop finished rows once nobody is waiting for their places, down to the smallest batch."""
    live = [place for place, row in enumerate(rows) if row]
    idle = [place for place, row in enumerate(rows) if not row]
    kept = [*live, *idle[: max(0, SMALLEST_BATCH - len(live))]]
    if not live or len(kept) == len(rows):
        return rows
    slots.keep(kept)
    return [rows[place] for place in kept]


def context_of(config: object) -> int:
    """Tokens that prompt and response may have together; a sliding window is not slid over."""
    context = int(getattr(config, "max_position_embeddings", 2048))
    window = getattr(config, "sliding_window", None)
    slides = "sliding_attention" in (getattr(config, "layer_types", None) or ["sliding_attention"])
    return min(context, window) if window and slides else context


def _causal(length: int, device: torch.device) -> torch.Tensor:
    """Lower triangle [1, 1, length, length], given explicitly so that the model does not ask its cache."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None]


def _check(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise Cancelled("generation was cancelled; the responses that were finished are kept")
