"""From messages to tokens, the same way for training and for generation.

A conversation is cut into segments at the borders of the assistant's turns, and every segment is tokenised
on its own. A prompt at generation time is therefore, token by token, a prefix of the row it was trained on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from training.errors import ChatTemplateError

Message = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the rendered conversation; ``learned`` if the assistant wrote it, end of turn included."""

    text: str
    learned: bool


def render(tokenizer: Any, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
    """The messages as one text in the base model's chat template.

    Raises:
        ChatTemplateError: no template, or one that refuses these messages.
    """
    if not tokenizer.chat_template:
        raise ChatTemplateError("the base model has no chat template; choose an instruction-tuned one")
    try:
        return tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
        )
    except (jinja2.TemplateError, TypeError, ValueError) as error:
        raise ChatTemplateError(f"the chat template refuses these messages: {error}") from error


def split(tokenizer: Any, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> list[Segment]:
    """Cut the rendered conversation at the assistant's turns.

    The end-of-turn token belongs to the turn (the model must learn to stop), a line break behind it does not.
    What follows the last learned segment is dropped unless ``add_generation_prompt`` asks for it.

    Raises:
        ChatTemplateError: the template renders an earlier turn differently once later ones follow.
    """
    whole = render(tokenizer, messages, add_generation_prompt=add_generation_prompt)
    segments: list[Segment] = []
    position = 0
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = render(tokenizer, messages[:index], add_generation_prompt=True)
        through = render(tokenizer, messages[: index + 1], add_generation_prompt=False)
        if not (whole.startswith(through) and through.startswith(before) and len(before) >= position):
            raise ChatTemplateError(
                f"the chat template writes turn {index + 1} differently once other turns follow, so that "
                "what the model learns is not what it is asked later"
            )
        turn = through[len(before) :]
        learned = turn[: _end_of_turn(tokenizer, turn)]
        segments += [Segment(whole[position : len(before)], learned=False), Segment(learned, learned=True)]
        position = len(before) + len(learned)
    if add_generation_prompt:
        segments.append(Segment(whole[position:], learned=False))
    return [segment for segment in segments if segment.text]


def encode_prompt(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Token ids of the conversation so far, ready for the assistant's turn. Only the template adds BOS."""
    segments = split(tokenizer, messages, add_generation_prompt=True)
    return [token for segment in segments for token in encode_text(tokenizer, segment.text)]


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text, special tokens recognised and none added."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def end_of_turn_token(tokenizer: Any) -> int | None:
    """The special token with which the chat template closes an assistant's turn, if there is one."""
    segments = split(tokenizer, [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    last = encode_text(tokenizer, segments[-1].text)[-1]
    return last if last in tokenizer.all_special_ids else None


def _end_of_turn(tokenizer: Any, turn: str) -> int:
    """Length of ``turn`` up to and with its last special token; all of it where it has none."""
    ends = [turn.rfind(token) + len(token) for token in tokenizer.all_special_tokens if token in turn]
    return max(ends, default=len(turn))
