"""Guards on the suites and conversations that ship: form, sizes, and no leak from training into a suite."""

import functools
import itertools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import pytest

DATA = Path(__file__).parents[2] / "data"
# Suite name -> (prompts, in-domain prompts, categories), as data/suites/README.md promises.
SUITES = {
    "brie-in-domain": (13, 13, 6),
    "brie-out-of-domain": (15, 0, 5),
    "brie-comprehensive": (57, 28, 12),
}
SPLITS = {"train": 240, "val": 30}  # fewest conversations
VOICE = {
    "phenomenology", "heidegger", "derrida", "ethics", "brainstorming", "poetry", "storytelling", "reflection",
}  # fmt: skip
KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
SHARED_RUN = 8  # words in a row that two texts may not have in common
# Frequent words say nothing about a subject, so two prompts that share only these are not alike.
COMMON = frozenset(
    """
    a about all am an and are as at be but by can did do does for from give had has have he her his how i if in into
    is it its me my no not of on one or our out say she so tell than that the their then there they this to up us was
    we what when where which who why will with would write you your
    """.split()  # noqa: SIM905 - one word a line would fill a screen
)

Json: TypeAlias = dict[str, Any]
T = TypeVar("T")


@functools.cache
def rows_of(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def suite_rows(name: str) -> list[Json]:
    return rows_of(DATA / "suites" / f"{name}.jsonl")[1:]


def conversations(split: str) -> list[Json]:
    return rows_of(DATA / "sft" / f"brie.{split}.jsonl")


def turns(row: Json, role: str) -> list[str]:
    messages = row.get("messages", [{"role": "user", "content": row.get("prompt")}])
    return [message["content"] for message in messages if message["role"] == role]


def all_conversations() -> list[Json]:
    return [row for split in SPLITS for row in conversations(split)]


def all_prompts() -> dict[str, str]:
    """Every suite prompt by "suite/key"; of a conversation, what the user says."""
    return {f"{name}/{row['key']}": " ".join(turns(row, "user")) for name in SUITES for row in suite_rows(name)}


@functools.cache
def words(text: str) -> tuple[str, ...]:
    return tuple(WORD.findall(text.lower()))


@functools.cache
def shingles(text: str, size: int) -> frozenset[tuple[str, ...]]:
    """Return all runs of ``size`` words; a shorter text is one run of what it has."""
    found = words(text)
    return frozenset(found[i : i + size] for i in range(max(1, len(found) - size + 1)))


def jaccard(left: frozenset[T], right: frozenset[T]) -> float:
    return len(left & right) / len(left | right)


@functools.cache
def subject(text: str) -> frozenset[str]:
    return frozenset(words(text)) - COMMON


def near_duplicate(left: str, right: str) -> bool:
    """Whether two prompts ask nearly the same: the same phrases, or the same subject in other phrases.

    Among the shipped prompts the highest values are 0 for five-word runs and 0.17 for subjects.
    """
    same_phrases = jaccard(shingles(left, 5), shingles(right, 5)) > 0.1
    return same_phrases or jaccard(subject(left), subject(right)) > 0.35


@pytest.mark.parametrize(
    "path", sorted((DATA / "suites").glob("*.jsonl")) + sorted((DATA / "sft").glob("*.jsonl")), ids=lambda p: p.name
)
def test_files_are_clean_jsonl(path: Path) -> None:
    text = path.read_bytes().decode("utf-8")
    assert text.endswith("\n")
    assert "\r" not in text
    for number, line in enumerate(text[:-1].split("\n"), start=1):
        assert isinstance(json.loads(line), dict), f"line {number}"
        assert line == line.strip(), f"line {number}"


@pytest.mark.parametrize("name", SUITES)
def test_suite_header_describes_the_suite(name: str) -> None:
    header = rows_of(DATA / "suites" / f"{name}.jsonl")[0]
    assert set(header) == {"suite", "title", "description"}
    assert header["suite"] == name
    assert str(header["title"]).strip()
    assert str(header["description"]).endswith(".")


@pytest.mark.parametrize("name", SUITES)
def test_suite_has_the_promised_prompts(name: str) -> None:
    rows = suite_rows(name)
    prompts, in_domain, categories = SUITES[name]
    assert len(rows) == prompts
    assert sum(row["domain"] == "in_domain" for row in rows) == in_domain
    assert len({row["category"] for row in rows}) == categories


@pytest.mark.parametrize("name", SUITES)
def test_suite_rows_have_the_documented_form(name: str) -> None:
    rows = suite_rows(name)
    for row in rows:
        key = str(row["key"])
        assert set(row) in ({"key", "category", "domain", "prompt"}, {"key", "category", "domain", "messages"}), key
        assert KEBAB.fullmatch(key)
        assert SNAKE.fullmatch(str(row["category"])), key
        assert row["domain"] in {"in_domain", "out_of_domain"}, key
        assert all(text and text == text.strip() for text in turns(row, "user")), key
        assert 8 <= len(words(" ".join(turns(row, "user")))) <= 90, key
    assert len({row["key"] for row in rows}) == len(rows)


def test_a_category_lies_in_one_domain() -> None:
    seen = {(row["category"], row["domain"]) for name in SUITES for row in suite_rows(name)}
    assert len(seen) == len({category for category, _ in seen})


def test_conversations_in_suites_end_with_the_user() -> None:
    rows = [row for name in SUITES for row in suite_rows(name) if "messages" in row]
    assert rows
    for row in rows:
        roles = [message["role"] for message in row["messages"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"], row["key"]


@pytest.mark.parametrize("split", SPLITS)
def test_conversations_have_the_documented_form(split: str) -> None:
    rows = conversations(split)
    assert len(rows) >= SPLITS[split]
    for row in rows:
        identity = str(row["id"])
        assert set(row) == {"id", "category", "messages"}, identity
        assert KEBAB.fullmatch(identity)
        messages = list(row["messages"])
        if messages[0]["role"] == "system":
            messages = messages[1:]
        assert messages, identity
        assert [m["role"] for m in messages] == ["user", "assistant"] * (len(messages) // 2), identity
        assert all(set(m) == {"role", "content"} for m in row["messages"]), identity
        assert all(m["content"] and m["content"] == m["content"].strip() for m in row["messages"]), identity
        assert not re.search(r"[ \t]\n", "\n".join(m["content"] for m in row["messages"])), identity


@pytest.mark.parametrize("split", SPLITS)
def test_every_category_of_the_voice_occurs(split: str) -> None:
    assert {row["category"] for row in conversations(split)} == VOICE


def test_conversation_ids_are_unique() -> None:
    assert max(Counter(row["id"] for row in all_conversations()).values()) == 1


def test_about_one_conversation_in_five_has_several_turns() -> None:
    rows = conversations("train")
    share = sum(len(turns(row, "user")) > 1 for row in rows) / len(rows)
    assert 0.15 <= share <= 0.3


def test_assistant_turns_keep_to_their_length() -> None:
    for row in all_conversations():
        shortest, longest = (20, 200) if row["category"] == "poetry" else (100, 350)
        for text in turns(row, "assistant"):
            assert shortest <= len(words(text)) <= longest, (row["id"], len(words(text)))


def test_no_two_assistant_texts_open_alike() -> None:
    openings: dict[tuple[str, ...], object] = {}
    for row in all_conversations():
        for text in turns(row, "assistant"):
            opening = words(text)[:3]
            assert opening not in openings, (openings[opening], row["id"])
            openings[opening] = row["id"]


def test_no_first_word_opens_more_than_a_tenth_of_the_assistant_texts() -> None:
    first = Counter(words(text)[0] for row in all_conversations() for text in turns(row, "assistant"))
    word, count = first.most_common(1)[0]
    assert count <= first.total() / 10, word


def test_no_two_assistant_texts_share_a_run_of_words() -> None:
    origin: dict[tuple[str, ...], tuple[object, int]] = {}
    for row in all_conversations():
        for number, text in enumerate(turns(row, "assistant")):
            for run in shingles(text, SHARED_RUN):
                first = origin.setdefault(run, (row["id"], number))
                assert first == (row["id"], number), (first, row["id"], " ".join(run))


def test_no_two_suite_prompts_are_near_duplicates() -> None:
    for (left, left_text), (right, right_text) in itertools.combinations(all_prompts().items(), 2):
        assert not near_duplicate(left_text, right_text), (left, right)


def test_no_two_conversations_ask_nearly_the_same() -> None:
    asked = [(row["id"], turns(row, "user")[0]) for row in all_conversations()]
    for (left, left_text), (right, right_text) in itertools.combinations(asked, 2):
        assert not near_duplicate(left_text, right_text), (left, right)


def test_no_suite_prompt_is_asked_in_training_or_validation() -> None:
    prompts = all_prompts()
    for row in all_conversations():
        for asked in turns(row, "user"):
            for key, prompt in prompts.items():
                assert not near_duplicate(asked, prompt), (row["id"], key)


def test_no_run_of_words_of_a_suite_occurs_in_training_or_validation() -> None:
    origin = {
        run: f"{name}/{row['key']}"
        for name in SUITES
        for row in suite_rows(name)
        for role in ("user", "assistant")
        for text in turns(row, role)
        for run in shingles(text, SHARED_RUN)
    }
    for row in all_conversations():
        for role in ("system", "user", "assistant"):
            for text in turns(row, role):
                shared = shingles(text, SHARED_RUN) & origin.keys()
                assert not shared, (row["id"], sorted(origin[run] for run in shared))


def test_the_card_counts_what_is_in_the_files() -> None:
    card = (DATA / "sft" / "brie.card.md").read_text(encoding="utf-8")
    for category in sorted(VOICE):
        counts = [sum(row["category"] == category for row in conversations(split)) for split in SPLITS]
        assert f"| {category} | {counts[0]} | {counts[1]} |" in card, category
    assert f"| total | {len(conversations('train'))} | {len(conversations('val'))} |" in card


@pytest.mark.parametrize(
    "copy",
    [
        # One word changed; framed by another sentence; reworded with the same subject.
        "Prove that the sum of two odd numbers must always be even, so that a twelve-year-old can follow it.",
        "I have a small question for you. Prove that the sum of two odd numbers is always even. Thank you.",
        "Write a proof that a twelve-year-old can follow: always, two odd numbers have an even sum.",
    ],
)
def test_the_guard_recognises_a_disguised_copy(copy: str) -> None:
    prompt = all_prompts()["brie-out-of-domain/odd-plus-odd"]
    assert near_duplicate(copy, prompt)


def test_the_guard_lets_a_neighbouring_subject_pass() -> None:
    prompt = all_prompts()["brie-out-of-domain/odd-plus-odd"]
    assert not near_duplicate("Show that the product of three consecutive numbers is divisible by six.", prompt)
