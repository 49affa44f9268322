"""Responses from one loaded base: the base and all adapters answer in the same batch."""

import gc
import hashlib
import json
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from training import base, chat, memory
from training.decoder import SMALLEST_BATCH, Decoder, Row
from training.errors import Cancelled, ChatTemplateError, MemoryExhaustedError, PromptError
from training.fingerprint import fingerprint_adapter
from training.frozen import lay_out
from training.lanes import share_out, side_by_side
from training.lora import read_adapter
from training.masked_lora import MaskedLora
from training.sampling import Sampling
from training.slots import BUCKET


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
        laid_out = lay_out(self._model)
        self._context = context_of(self._model.config)
        facts = {
            "engine": "local",
            "device": self._device.type,
            "dtype": str(number_format).removeprefix("torch."),
            "torch": torch.__version__,
            "transformers": version("transformers"),
            "bucket": BUCKET,
            "laid_out": bool(laid_out),
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
        say: Callable[[str], None] = lambda _: None,
    ) -> Iterator[Generated]:
        """Yield responses as they finish; a finished row makes room for the next request.

        A response depends on its own request, the sampling settings and this engine, not on ``batch_size``,
        the other requests or their order. Where memory runs out, the rows in hand begin again, half as many at a
        time, and ``say`` is told.

        Raises:
            PromptError: a prompt that does not fit the context or the chat template, before anything is
                generated; names the key.
            AdapterError: a request names an adapter that this engine does not have.
            Cancelled: ``should_stop`` said so after a token; what was yielded is kept.
            MemoryExhaustedError: not even the smallest batch fits; what was yielded is kept.
        """
        waiting = {self.row(request, sampling): request for request in requests}
        rows = min(batch_size, len(waiting))
        while waiting:
            try:
                with closing(self._in_lanes(waiting, rows)) as answered:
                    for one in answered:
                        if one is not None:
                            yield self._generated(waiting.pop(one), one)
                        elif should_stop():
                            raise Cancelled("generation was cancelled; the responses that were finished are kept")
            except RuntimeError as error:
                if not memory.ran_out(error):
                    raise
            if waiting:
                rows = self._fewer(rows, say)
                waiting = {row.afresh(): request for row, request in waiting.items()}

    def _in_lanes(self, waiting: Iterable[Row], rows: int) -> Generator[Row | None, None, None]:
        lanes = share_out(rows, self._device)
        line = deque(_in_groups(waiting, lanes.rows))
        working = [self._lane(line, lanes.rows) for _ in range(lanes.count)]
        return working[0] if lanes.count == 1 else side_by_side(working, lanes.threads)

    def _fewer(self, rows: int, say: Callable[[str], None]) -> int:
        """How many to try when memory ran out with so many."""
        self.give_back()
        if rows <= SMALLEST_BATCH:
            raise MemoryExhaustedError(
                f"memory ran out with {SMALLEST_BATCH} responses at a time, which are the fewest; what was written is "
                "kept: allow fewer new tokens, take shorter prompts or a smaller base, or generate on the CPU"
            )
        fewer = -(-rows // 2)
        say(f"Memory ran out with {rows} responses at a time; going on with {fewer}")
        return fewer

    def _lane(self, line: deque[list[Row]], places: int) -> Generator[Row | None, None, None]:
        """Answer who stands in line, up to so many at a time; ``None`` after each prompt read and each step."""
        decoder = self.decoder(places)
        mine: deque[Row] = deque()
        running: list[Row] = []
        while True:
            while len(running) < places and (mine or _take(line, mine)):
                row = mine.popleft()
                decoder.start(row)
                running.append(row)
                yield from _harvest(running)
                yield None
            if not running:
                return
            decoder.step()
            yield from _harvest(running)
            yield None
            if not (mine or line):
                decoder.compact()

    def give_back(self) -> None:
        """Let go of what a batch used that memory did not suffice for."""
        gc.collect()  # an error that came from a thread holds on to its tensors in a circle
        memory.give_back(self._device)

    def decoder(self, places: int = 0) -> Decoder:
        """A batch on this engine, at first with so many places."""
        return Decoder(self._model, self._stack, self._ends, places=places)

    def row(self, request: Request, sampling: Sampling) -> Row:
        """A conversation, ready to be decoded.

        Raises:
            PromptError: it does not fit the context or the chat template.
            AdapterError: it names an adapter that this engine does not have.
        """
        index = self._stack.index(request.adapter)
        try:
            ids = chat.encode_prompt(self._tokenizer, request.messages)
        except ChatTemplateError as error:
            raise PromptError(request.key, error.message) from error
        return self._row(request.key, ids, index, sampling, request.seed)

    def text_row(self, key: str, prompt: str, adapter: str | None, sampling: Sampling, seed: int) -> Row:
        """A plain text that is to be continued, without any chat template.

        Raises:
            PromptError: it is empty or does not fit the context; names the key.
            AdapterError: there is no such adapter.
        """
        ids = list(self._tokenizer(prompt)["input_ids"])
        if not ids:
            raise PromptError(key, "the prompt is empty")
        return self._row(key, ids, self._stack.index(adapter), sampling, seed)

    def text_of(self, tokens: Sequence[int]) -> str:
        """What tokens of a response say, without special ones."""
        return self._tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _row(self, key: str, ids: Sequence[int], adapter: int, sampling: Sampling, seed: int) -> Row:
        if len(ids) >= self._context:
            raise PromptError(key, f"the prompt has {len(ids)} tokens and the model's context holds {self._context}")
        return Row(tuple(ids), adapter, sampling, seed, limit=min(sampling.max_new_tokens, self._context - len(ids)))

    def _generated(self, request: Request, row: Row) -> Generated:
        return Generated(request.key, self.text_of(row.tokens), len(row.tokens), row.finish_reason)


def _in_groups(waiting: Iterable[Row], size: int) -> list[list[Row]]:
    """Replicates together, so that a prompt is read once, up to so many; else in the order they were given.

    Short prompts come first, since attention looks as far back as the longest row of a batch.
    """
    groups: dict[tuple[int, tuple[int, ...]], list[Row]] = {}
    for row in waiting:
        groups.setdefault(row.asks, []).append(row)
    by_length = sorted(groups.values(), key=lambda group: len(group[0].ids))
    return [group[start : start + size] for group in by_length for start in range(0, len(group), size)]


def _take(line: deque[list[Row]], mine: deque[Row]) -> bool:
    """Move the first group of the line over, if there is one; other lanes may take at the same time."""
    with suppress(IndexError):
        mine.extend(line.popleft())
    return bool(mine)


def _harvest(running: list[Row]) -> Iterator[Row]:
    """Take out what is finished."""
    finished = [row for row in running if row.finish_reason]
    running[:] = [row for row in running if not row.finish_reason]
    yield from finished


def context_of(config: object) -> int:
    """Tokens that prompt and response may have together; a sliding window is not slid over.

    LongRoPE turns all rows of a batch by other angles once one of them is longer than its first training, so no row is.
    """
    context = int(getattr(config, "max_position_embeddings", 2048))
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":
        context = min(context, int(rope.get("original_max_position_embeddings") or context))
    window = getattr(config, "sliding_window", None)
    slides = "sliding_attention" in (getattr(config, "layer_types", None) or ["sliding_attention"])
    return min(context, window) if window and slides else context
