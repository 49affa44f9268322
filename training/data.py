"""Training data: JSONL rows of four shapes, encoded to tokens with a mask of what is learned, and batched.

Shapes: ``messages`` (chat), ``prompt``/``completion``, ``instruction``/``input``/``output`` (alpaca) and
plain ``text``. They may be mixed in one file.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training import chat
from training.errors import ChatTemplateError, DataError
from training.events import PreviewRow

ROLES = ("system", "user", "assistant")
IGNORED = -100
"""Label of a token that is not learned."""
PREVIEW_CHARACTERS = 2_000
"""Of one piece of a row that is shown."""
WIDTH_STEP = 32
"""Tokens by which rows are padded."""
BUCKET_BATCHES = 16
"""Rows are sorted by length within groups of this many batches."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One row of a data file: messages, or a plain text where ``messages`` is empty."""

    file: Path
    line: int
    messages: tuple[Mapping[str, str], ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One encoded row: token ids, and for each whether it is learned."""

    line: int
    ids: tuple[int, ...]
    learned: tuple[bool, ...]
    source: str = ""
    """Name of its dataset where a run learns from several."""

    @property
    def label_count(self) -> int:
        """Learned tokens; the first token of a row is never predicted, so it never counts."""
        return sum(self.learned[1:])


@dataclass(frozen=True, slots=True)
class Encoded:
    """The rows of a file that fit, and the lines that were skipped because they did not."""

    rows: tuple[Row, ...]
    skipped_lines: tuple[int, ...]

    @property
    def token_count(self) -> int:
        """Tokens in all rows."""
        return sum(len(row.ids) for row in self.rows)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows padded on the right. ``ids`` and ``labels`` have shape [rows, longest row]."""

    ids: torch.Tensor
    labels: torch.Tensor
    lines: tuple[int, ...]


def read_conversations(file: Path) -> list[Conversation]:
    """Read a JSONL file; blank lines are passed over.

    Raises:
        DataError: the file is missing or empty, or a line is not JSON or of no known shape; names the line.
    """
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(file, 0, f"the file cannot be read ({error})") from error
    conversations = [_conversation(file, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not conversations:
        raise DataError(file, 0, "the file is empty; it needs at least one row")
    return conversations


def encode(
    tokenizer: Any, conversations: Sequence[Conversation], *, max_length: int, assistant_only_loss: bool
) -> Encoded:
    """Tokenise with the base model's chat template; rows longer than ``max_length`` tokens are skipped.

    Raises:
        DataError: a row with nothing to learn from, one the chat template refuses, or nothing but rows that
            are too long; names the line.
    """
    rows: list[Row] = []
    skipped: list[int] = []
    for conversation in conversations:
        row = _encode_one(tokenizer, conversation, assistant_only_loss=assistant_only_loss)
        if not row.label_count:
            raise DataError(conversation.file, conversation.line, "there is nothing to learn in this row")
        if len(row.ids) > max_length:
            skipped.append(row.line)
        else:
            rows.append(row)
    if not rows:
        file = conversations[0].file
        raise DataError(file, 0, f"every row is longer than max_length = {max_length} tokens")
    return Encoded(tuple(rows), tuple(skipped))


def preview(tokenizer: Any, row: Row) -> PreviewRow:
    """A row made into text again, piece by piece: what is read back is what the mask says, not what was meant."""
    pieces: list[tuple[str, bool]] = []
    for learned, group in itertools.groupby(zip(row.ids, row.learned, strict=True), key=lambda one: one[1]):
        text = tokenizer.decode([token for token, _ in group], clean_up_tokenization_spaces=False)
        pieces.append((text.replace("\0", "\N{REPLACEMENT CHARACTER}")[:PREVIEW_CHARACTERS], learned))
    return PreviewRow(row.line, tuple(pieces), row.source)


def make_batches(rows: Sequence[Row], batch_size: int, seed: int, epoch: int) -> list[list[Row]]:
    """All rows once, in batches of similar length, in an order given by (seed, epoch)."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    order = torch.randperm(len(rows), generator=generator).tolist()
    batches: list[list[Row]] = []
    group = batch_size * BUCKET_BATCHES
    for start in range(0, len(order), group):
        bucket = sorted((rows[index] for index in order[start : start + group]), key=lambda row: len(row.ids))
        batches += [bucket[first : first + batch_size] for first in range(0, len(bucket), batch_size)]
    return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]


def width_of(rows: Sequence[Row]) -> int:
    """Tokens that each of these rows has once they are padded."""
    return -(-max(len(row.ids) for row in rows) // WIDTH_STEP) * WIDTH_STEP


def collate(rows: Sequence[Row], device: torch.device) -> Batch:
    """Pad rows on the right with token 0.

    Causal attention never looks at what follows, so neither an attention mask nor a padding token is needed;
    labels come from the mask alone, so a padding token that equals the end token cannot hide it. Widths are
    multiples of ``WIDTH_STEP``: kernels and memory are made for each shape anew, and few shapes are found again.
    """
    width = width_of(rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full_like(ids, IGNORED)
    for index, row in enumerate(rows):
        tokens = torch.tensor(row.ids)
        ids[index, : len(row.ids)] = tokens
        learned = torch.tensor(row.learned)
        learned[0] = False
        labels[index, : len(row.ids)] = torch.where(learned, tokens, IGNORED)
    return Batch(ids.to(device), labels.to(device), tuple(row.line for row in rows))


def _encode_one(tokenizer: Any, conversation: Conversation, *, assistant_only_loss: bool) -> Row:
    if conversation.messages:
        try:
            segments = chat.split(tokenizer, conversation.messages)
        except ChatTemplateError as error:
            raise DataError(conversation.file, conversation.line, error.message) from error
    else:
        segments = [chat.Segment(conversation.text, learned=True)]
    ids: list[int] = []
    learned: list[bool] = []
    for segment in segments:
        tokens = chat.encode_text(tokenizer, segment.text)
        ids += tokens
        learned += [segment.learned or not assistant_only_loss] * len(tokens)
    if not conversation.messages and tokenizer.eos_token_id is not None:
        ids.append(tokenizer.eos_token_id)
        learned.append(True)
    return Row(conversation.line, tuple(ids), tuple(learned))


def _conversation(file: Path, line: int, content: str) -> Conversation:
    try:
        row = json.loads(content)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(file, line, f"not valid JSON ({error})") from error
    if not isinstance(row, dict):
        raise DataError(file, line, "not a JSON object")
    try:
        if "messages" in row:
            return Conversation(file, line, _messages(row["messages"]))
        if "prompt" in row and "completion" in row:
            turns = [*_turns(row["prompt"], "user"), *_turns(row["completion"], "assistant")]
            return Conversation(file, line, _messages(turns))
        if "instruction" in row and "output" in row:
            parts = [_text(row["instruction"], "instruction"), _text(row.get("input") or "", "input")]
            question = "\n\n".join(part for part in parts if part)
            answer = _text(row["output"], "output")
            return Conversation(file, line, _messages([*_turns(question, "user"), *_turns(answer, "assistant")]))
        if "text" in row:
            return Conversation(file, line, (), _text(row["text"], "text"))
    except ValueError as error:
        raise DataError(file, line, str(error)) from error
    shapes = "messages, prompt + completion, instruction + output, or text"
    raise DataError(file, line, f"unknown shape; a row has {shapes}")


def _turns(value: Any, role: str) -> list[Any]:
    """A prompt or completion: already a list of messages, or one text spoken by ``role``."""
    return value if isinstance(value, list) else [{"role": role, "content": value}]


def _messages(value: Any) -> tuple[Mapping[str, str], ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("messages must be a list of at least one message")
    messages = []
    for number, message in enumerate(value, 1):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise ValueError(f"message {number} needs a role, one of {', '.join(ROLES)}")
        content = _text(message.get("content"), f"the content of message {number}")
        messages.append({"role": message["role"], "content": content})
    if all(not message["content"].strip() for message in messages if message["role"] == "assistant"):
        raise ValueError("there is nothing to learn in this row: the assistant says nothing")
    if messages[0]["role"] == "assistant":
        raise ValueError("the first message is the assistant's; it has nothing to answer")
    return tuple(messages)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} must be a text")  # noqa: TRY004 - a bad value of a file, not of our code
    return value
