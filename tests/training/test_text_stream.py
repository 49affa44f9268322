"""Pieces of a growing text: put together they are the text, and none holds what may still change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.text_stream import TextStream


def bytes_as_text(tokens: "list[int] | tuple[int, ...]") -> str:
    """A tokenizer of bytes."""
    return bytes(tokens).decode(errors="replace")


def pieces(text: str, stops: tuple[str, ...], *, step: int = 1) -> tuple[list[str], bool]:
    content = text.encode()
    stream = TextStream(bytes_as_text, stops)
    told = []
    for end in range(step, len(content) + step, step):
        told.append(stream.push(tuple(content[:end]), last=end >= len(content)))
        if stream.stopped:
            break
    return told, stream.stopped


def test_a_letter_comes_when_it_is_whole() -> None:
    assert pieces("aé🧀", ()) == (["a", "", "é", "", "", "", "🧀"], False)


def test_a_stop_string_is_never_told_nor_its_beginning() -> None:
    assert pieces("one\n\ntwo", ("\n\n",)) == (["o", "n", "e", "", ""], True)
    assert pieces("one\ntwo", ("\n\n",))[0] == ["o", "n", "e", "", "\nt", "w", "o"]
    assert pieces("aab!", ("ab",)) == (["", "a", ""], True)


def test_the_first_of_several_stop_strings_counts() -> None:
    assert "".join(pieces("a STOP b END", ("END", "STOP"), step=30)[0]) == "a "


def test_bytes_that_never_become_a_letter_are_told_at_the_end() -> None:
    stream = TextStream(bytes_as_text)
    assert stream.push([0x61, 0xC3]) == "a"
    assert stream.push([0x61, 0xC3], last=True) == "\ufffd"


@given(text=st.text(max_size=40), stops=st.lists(st.text(min_size=1, max_size=3), max_size=3), step=st.integers(1, 5))
def test_the_pieces_are_the_text_up_to_the_first_stop_string(text: str, stops: list[str], step: int) -> None:
    told, stopped = pieces(text, tuple(stops), step=step)
    ends = [text.find(stop) for stop in stops if stop in text]
    if stopped:
        assert ends
        # Of two that overlap, the one that is whole first ends the text.
        assert any("".join(told) + stop == text[: len("".join(told)) + len(stop)] for stop in stops)
    else:
        assert not ends
        assert "".join(told) == text


@pytest.mark.parametrize("step", [1, 2, 7])
def test_how_many_tokens_come_at_once_changes_nothing(step: int) -> None:
    assert "".join(pieces("🧀 and brie, END", ("END",), step=step)[0]) == "🧀 and brie, "
