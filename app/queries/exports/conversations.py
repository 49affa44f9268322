"""Prompts and responses as other tools hold them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.queries.exports.pairs import Side, ToldPair


def instruction(pair: ToldPair) -> str:
    """The prompt as one text: the only turn, or all turns with who speaks."""
    if len(pair.messages) == 1:
        return str(pair.messages[0]["content"])
    return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in pair.messages)


def conversation(pair: ToldPair, side: Side) -> list[dict[str, Any]]:
    """The prompt with this response as its last turn."""
    return [*plain(pair.messages), {"role": "assistant", "content": side.text}]


def plain(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Turns with role and content in this order, however a database keeps the keys of JSON."""
    return [{"role": turn["role"], "content": turn["content"]} for turn in messages]


def as_file(name: str) -> str:
    """The name of a checkpoint as the name of a file: ``brie-v2/epoch-2`` becomes ``brie-v2--epoch-2``."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name.replace("/", "--")).lstrip(".")
