"""Masks, shapes, errors, batches."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.tiny_model import CHAT_TEMPLATE
from training import chat, data
from training.errors import ChatTemplateError, DataError

TWO_TURNS = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "one?"},
    {"role": "assistant", "content": "yes"},
    {"role": "user", "content": "two?"},
    {"role": "assistant", "content": "no\n"},
]


def write(tmp_path: Path, rows: Iterable[Any]) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return file


def encode(tokenizer: Any, file: Path, *, max_length: int = 4096, assistant_only_loss: bool = True) -> data.Encoded:
    conversations = data.read_conversations(file)
    return data.encode(tokenizer, conversations, max_length=max_length, assistant_only_loss=assistant_only_loss)


def learned_text(tokenizer: Any, row: data.Row) -> str:
    return tokenizer.decode([token for token, learned in zip(row.ids, row.learned, strict=True) if learned])


def test_every_turn_of_the_assistant_is_learned_with_its_end_and_nothing_else(tokenizer: Any, tmp_path: Path) -> None:
    row = encode(tokenizer, write(tmp_path, [{"messages": TWO_TURNS}])).rows[0]
    assert learned_text(tokenizer, row) == "yes<|im_end|>no\n<|im_end|>"
    whole = chat.encode_text(tokenizer, tokenizer.apply_chat_template(TWO_TURNS, tokenize=False))
    assert list(row.ids) == whole[: len(row.ids)]


def test_the_end_token_is_a_label_although_it_is_the_padding_token(tokenizer: Any, tmp_path: Path) -> None:
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    rows = [{"prompt": "a", "completion": "b" * length} for length in (1, 9)]
    batch = data.collate(encode(tokenizer, write(tmp_path, rows)).rows, torch.device("cpu"))
    for labels in batch.labels.tolist():
        assert [label for label in labels if label != data.IGNORED][-1] == tokenizer.eos_token_id
    assert batch.labels.shape == batch.ids.shape


def test_a_prompt_at_generation_time_is_a_prefix_of_the_row_it_was_learned_from(tokenizer: Any, tmp_path: Path) -> None:
    row = encode(tokenizer, write(tmp_path, [{"messages": TWO_TURNS}])).rows[0]
    for turn in (2, 4):
        prompt = chat.encode_prompt(tokenizer, TWO_TURNS[:turn])
        assert list(row.ids[: len(prompt)]) == prompt
        assert not row.learned[len(prompt) - 1]
        assert row.learned[len(prompt)]


def test_all_shapes_are_read_and_may_be_mixed(tokenizer: Any, tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        {"prompt": "q", "completion": "a"},
        {"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]},
        {"instruction": "q", "input": "", "output": "a"},
        {"instruction": "q", "output": "a"},
    ]
    encoded = encode(tokenizer, write(tmp_path, rows)).rows
    assert len({(row.ids, row.learned) for row in encoded}) == 1
    with_input = data.read_conversations(write(tmp_path, [{"instruction": "q", "input": "x", "output": "a"}]))
    assert with_input[0].messages[0]["content"] == "q\n\nx"


def test_plain_text_is_learned_whole_and_ends(tokenizer: Any, tmp_path: Path) -> None:
    row = encode(tokenizer, write(tmp_path, [{"text": "once upon"}])).rows[0]
    assert learned_text(tokenizer, row) == "once upon<|im_end|>"


def test_without_assistant_only_loss_every_token_is_learned(tokenizer: Any, tmp_path: Path) -> None:
    row = encode(tokenizer, write(tmp_path, [{"messages": TWO_TURNS}]), assistant_only_loss=False).rows[0]
    assert all(row.learned)


def test_rows_that_are_too_long_are_skipped_and_named_never_cut(tokenizer: Any, tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": "a" * length} for length in (5, 500, 6, 700)]
    encoded = encode(tokenizer, write(tmp_path, rows), max_length=100)
    assert encoded.skipped_lines == (2, 4)
    assert [row.line for row in encoded.rows] == [1, 3]
    with pytest.raises(DataError, match="every row is longer than max_length = 10"):
        encode(tokenizer, write(tmp_path, rows), max_length=10)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"messages": [', "not valid JSON"),
        ("[1, 2]", "not a JSON object"),
        ({"question": "q"}, "unknown shape"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "needs a role"),
        ({"messages": [{"role": "user", "content": 4}]}, "content of message 1 must be a text"),
        ({"messages": [{"role": "user", "content": "only a question"}]}, "nothing to learn"),
        ({"prompt": "q", "completion": " "}, "nothing to learn"),
        ({"messages": [{"role": "assistant", "content": "hello"}]}, "nothing to answer"),
        ({"text": ""}, "nothing to learn"),
    ],
)
def test_a_bad_row_is_refused_with_file_and_line(tokenizer: Any, tmp_path: Path, row: Any, reason: str) -> None:
    file = write(tmp_path, [{"prompt": "q", "completion": "a"}, "", row])
    with pytest.raises(DataError, match=reason) as caught:
        encode(tokenizer, file)
    assert caught.value.line == 3
    assert caught.value.message.startswith(f"{file}, line 3: ")


def test_an_empty_or_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the file is empty"):
        data.read_conversations(write(tmp_path, ["", " "]))
    with pytest.raises(DataError, match="cannot be read"):
        data.read_conversations(tmp_path / "absent.jsonl")


class Rewriting:
    """The tiny tokenizer with another chat template."""

    def __init__(self, tokenizer: Any, template: str | None) -> None:
        self.original, self.chat_template = tokenizer, template
        self.all_special_tokens = tokenizer.all_special_tokens

    def apply_chat_template(self, messages: Any, **options: Any) -> str:
        return self.original.apply_chat_template(messages, chat_template=self.chat_template, **options)


def test_a_template_that_rewrites_earlier_turns_is_refused(tokenizer: Any) -> None:
    forgetful = CHAT_TEMPLATE.replace(
        "message['content'] +", "(message['content'] if loop.last or message['role'] == 'user' else '') +"
    )
    with pytest.raises(ChatTemplateError, match="turn 3 differently"):
        chat.split(Rewriting(tokenizer, forgetful), TWO_TURNS)


def test_a_missing_or_refusing_template_is_one_clear_sentence(tokenizer: Any) -> None:
    with pytest.raises(ChatTemplateError, match="no chat template"):
        chat.split(Rewriting(tokenizer, None), TWO_TURNS)
    with pytest.raises(ChatTemplateError, match="no system message"):
        chat.split(Rewriting(tokenizer, "{{ raise_exception('no system message') }}"), TWO_TURNS)


@pytest.mark.parametrize("only", [True, False])
def test_the_preview_is_the_text_of_the_tokens_with_what_the_mask_says(
    tokenizer: Any, tmp_path: Path, *, only: bool
) -> None:
    row = encode(tokenizer, write(tmp_path, ["", {"messages": TWO_TURNS}]), assistant_only_loss=only).rows[0]
    shown = data.preview(tokenizer, row)
    assert shown.line == 2
    assert "".join(text for text, _ in shown.pieces) == tokenizer.decode(row.ids)
    learned = [text for text, is_learned in shown.pieces if is_learned]
    assert learned == (["yes<|im_end|>", "no\n<|im_end|>"] if only else [tokenizer.decode(row.ids)])


def test_a_preview_is_short_and_can_be_stored(tokenizer: Any, tmp_path: Path) -> None:
    file = write(tmp_path, [{"prompt": "a\0b", "completion": "c" * 9_000}])
    pieces = data.preview(tokenizer, encode(tokenizer, file, max_length=20_000).rows[0]).pieces
    assert "a\N{REPLACEMENT CHARACTER}b" in pieces[0][0]
    assert [len(text) for text, _ in pieces][1:] == [data.PREVIEW_CHARACTERS]


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=80), size=st.integers(1, 9), seed=st.integers(0, 9))
def test_batches_hold_every_row_once_in_an_order_given_by_the_seed(lengths: list[int], size: int, seed: int) -> None:
    rows = [data.Row(line, (0,) * length, (True,) * length) for line, length in enumerate(lengths)]
    batches = data.make_batches(rows, size, seed, epoch=1)
    assert sorted(row.line for batch in batches for row in batch) == list(range(len(rows)))
    assert all(1 <= len(batch) <= size for batch in batches)
    assert batches == data.make_batches(rows, size, seed, epoch=1)


def test_batches_differ_from_epoch_to_epoch_and_hold_rows_of_similar_length() -> None:
    rows = [data.Row(line, (0,) * (1 + line * 7 % 64), (True,) * (1 + line * 7 % 64)) for line in range(64)]
    first, second = (data.make_batches(rows, 4, 0, epoch) for epoch in (0, 1))
    assert first != second
    spread = [max(len(row.ids) for row in batch) - min(len(row.ids) for row in batch) for batch in first]
    assert max(spread) <= 6
