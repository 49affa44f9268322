"""Rows that are decoded together, each with its own adapter, settings and seed; new ones join while others go on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from training.masked_lora import BASE, MaskedLora
from training.sampling import Sampling, choose, penalise
from training.slots import PromptMemory, Slots

SMALLEST_BATCH = 4
"""With fewer rows matrix products take another path and round differently, so idle rows fill up to this."""


@dataclass(slots=True, eq=False)
class Row:
    """A response in the making."""

    ids: tuple[int, ...]
    """Tokens of the prompt, at least one."""
    adapter: int
    """Index in the stack; ``BASE`` for the bare base."""
    sampling: Sampling
    seed: int
    limit: int
    """Tokens after which the response is cut."""
    tokens: list[int] = field(default_factory=list)
    """Of the response so far, the end token not among them."""
    finish_reason: str = ""
    """"stop" (the model ended it) or "length" (the limit cut it); empty while it goes on."""
    seen: torch.Tensor | None = None

    @property
    def asks(self) -> tuple[int, tuple[int, ...]]:
        """What the model reads before the first token: the same for all replicates."""
        return self.adapter, self.ids

    def afresh(self) -> "Row":
        """The same, with nothing said yet."""
        return Row(self.ids, self.adapter, self.sampling, self.seed, self.limit)


@dataclass(frozen=True, slots=True)
class _Read:
    """A prompt that the model has read with an adapter."""

    asks: tuple[int, tuple[int, ...]]
    memory: PromptMemory
    logits: torch.Tensor
    """[1, vocabulary], of the first token."""


class Decoder:
    """A batch of changing rows on one model. What a row says does not depend on the others."""

    def __init__(self, model: Any, stack: MaskedLora, ends: frozenset[int], *, places: int = SMALLEST_BATCH) -> None:
        self._model, self._stack, self._ends = model, stack, ends
        self._device = model.device
        self._rows: list[Row | None] = [None] * max(SMALLEST_BATCH, places)
        self._slots = Slots(len(self._rows))
        self._read: _Read | None = None  # the last prompt: replicates that follow each other read it once

    @property
    def live(self) -> list[Row]:
        """Rows that are not finished."""
        return [row for row in self._rows if row]

    @torch.inference_mode()
    def start(self, row: Row) -> None:
        """Put what the model read of the prompt into a free place and choose the first token."""
        place = self._free_place()
        if self._read is None or self._read.asks != row.asks:
            self._read = self._read_prompt(row)
        self._slots.put(place, self._read.memory)
        if row.sampling.repetition_penalty != 1:
            row.seen = torch.zeros(self._read.logits.shape[-1], dtype=torch.bool, device=self._device)
            row.seen[list(row.ids)] = True
        self._rows[place] = row
        self._choose(self._read.logits, [row])
        self._free_finished()

    def _read_prompt(self, row: Row) -> _Read:
        """By itself, so that its numbers are its own whoever else is in the batch."""
        memory = PromptMemory()
        self._stack.set_all(row.adapter)
        logits = self._model(
            input_ids=torch.tensor([row.ids], device=self._device),
            position_ids=torch.arange(len(row.ids), device=self._device)[None],
            attention_mask=_causal(len(row.ids), self._device),
            past_key_values=memory,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        return _Read(row.asks, memory, logits)

    @torch.inference_mode()
    def step(self) -> None:
        """One token for every live row; free places compute along and are ignored."""
        positions, mask = self._slots.start_step(self._device)
        inputs = torch.tensor([[row.tokens[-1] if row else 0] for row in self._rows], device=self._device)
        self._stack.set_rows([row.adapter if row else BASE for row in self._rows])
        logits = self._model(
            input_ids=inputs,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=self._slots,
            use_cache=True,
        ).logits[:, -1]
        live = [place for place, row in enumerate(self._rows) if row]
        self._choose(logits[live], self.live)
        self._free_finished()

    def drop(self, row: Row) -> None:
        """Take a row out before its end."""
        if row in self._rows:
            place = self._rows.index(row)
            self._rows[place] = None
            self._slots.free(place)

    def compact(self) -> None:
        """Drop free places, down to the smallest batch; for when nobody waits for them."""
        live = [place for place, row in enumerate(self._rows) if row]
        idle = [place for place, row in enumerate(self._rows) if not row]
        kept = [*live, *idle[: max(0, SMALLEST_BATCH - len(live))]]
        if live and len(kept) < len(self._rows):
            self._slots.keep(kept)
            self._rows = [self._rows[place] for place in kept]

    def _free_place(self) -> int:
        """A free place; there are more where there was none."""
        if all(self._rows):
            more = SMALLEST_BATCH
            self._slots.grow(more)
            self._rows += [None] * more
        return self._rows.index(None)

    def _choose(self, logits: torch.Tensor, rows: Sequence[Row]) -> None:
        """The next token of each row, by its own settings; ``logits`` has shape [rows, vocabulary]."""
        groups: dict[Sampling, list[int]] = {}
        for index, row in enumerate(rows):
            groups.setdefault(row.sampling, []).append(index)
        for sampling, members in groups.items():
            of_group = logits if len(groups) == 1 else logits[members]
            self._choose_alike(of_group, [rows[index] for index in members], sampling)

    def _choose_alike(self, logits: torch.Tensor, rows: Sequence[Row], sampling: Sampling) -> None:
        if sampling.repetition_penalty != 1:
            seen = torch.stack([row.seen for row in rows if row.seen is not None])
            logits = penalise(logits, seen, sampling.repetition_penalty)
        seeds, steps = [row.seed for row in rows], [len(row.tokens) for row in rows]
        for row, token in zip(rows, choose(logits, sampling, seeds, steps).tolist(), strict=True):
            if token in self._ends:
                row.finish_reason = "stop"
                continue
            row.tokens.append(token)
            if row.seen is not None:
                row.seen[token] = True
            if len(row.tokens) >= row.limit:
                row.finish_reason = "length"

    def _free_finished(self) -> None:
        for place, row in enumerate(self._rows):
            if row is not None and row.finish_reason:
                self._rows[place] = None
                self._slots.free(place)


def _causal(length: int, device: torch.device) -> torch.Tensor:
    """Lower triangle [1, 1, length, length], given explicitly so that the model does not ask its cache."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None]
