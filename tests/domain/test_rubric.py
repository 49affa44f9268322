import re
from pathlib import Path

import pytest

from app.config import DATA
from app.domain.errors import BadInputError
from app.domain.rubric import LONGEST, parse_rubric, read_rubric, shipped_rubrics

GOOD = "---\nname: plain\nversion: 2\ntitle: Plain: and short\nfor: any prompt\n---\n\nSay which is better.\n"
SHIPPED = {
    "coding-maths v1": "fcb13541d45bcd8a815b088c6d35a42203a181ce0347be4e3d3e2cf0fcc1d931",
    "general v1": "2dc51df2be38bd5e46a3661fc2fc9d83ff51fb09eed9be31f47be892924ac427",
    "philosophy-creative v1": "57070fba7ed13096f73c816bb8176f959e53d3f809cb91264800e6de5954ae32",
}
"""Verdicts name a rubric by name and version. Whoever changes a text gives it a new version, and its hash here."""


def test_a_rubric_is_read_with_its_head() -> None:
    rubric = parse_rubric("plain.md", GOOD)
    assert (rubric.name, rubric.version, rubric.label) == ("plain", 2, "plain v2")
    assert (rubric.title, rubric.fits, rubric.text) == ("Plain: and short", "any prompt", "Say which is better.")


def test_the_hash_is_of_the_content_and_not_of_the_ends_of_lines() -> None:
    rubric = parse_rubric("plain.md", GOOD)
    assert parse_rubric("other.md", "\ufeff" + GOOD.replace("\n", "\r\n")).sha256 == rubric.sha256
    assert parse_rubric("plain.md", GOOD.replace("better", "worse")).sha256 != rubric.sha256
    assert parse_rubric("plain.md", GOOD.replace("short", "terse")).sha256 != rubric.sha256


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("Say which is better.", "no head"),
        ("", "no head"),
        ("---\nname: plain\n", "no head"),
        (GOOD.replace("version: 2\n", ""), "does not say its version"),
        (GOOD.replace("any prompt", ""), "does not say its for"),
        (GOOD.replace("version: 2", "version: two"), "versions are 1, 2, 3"),
        (GOOD.replace("version: 2", "version: 0"), "versions are 1, 2, 3"),
        (GOOD.replace("name: plain", "name: My Rubric"), "small letters"),
        (GOOD.replace("name: plain", "name: " + "a" * 61), "small letters"),
        (GOOD.replace("for:", "author: me\nfor:"), "'author: me'"),
        (GOOD.replace("for:", "name: two\nfor:"), "says name twice"),
        (GOOD.replace("Say which is better.", " "), "no text"),
        (GOOD.replace("better", "x" * LONGEST), "at most 20,000"),
        (GOOD.replace("better", "\x00"), "NUL"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_to_write(content: str, says: str) -> None:
    with pytest.raises(BadInputError, match=re.escape(says)) as caught:
        parse_rubric("mine.md", content)
    assert "mine.md" in caught.value.message


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot be read"):
        read_rubric(tmp_path / "missing.md")
    (tmp_path / "binary.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInputError, match="cannot be read"):
        read_rubric(tmp_path / "binary.md")


def test_two_files_of_one_name_and_version_are_refused(tmp_path: Path) -> None:
    for name in ("one.md", "two.md"):
        (tmp_path / name).write_text(GOOD, encoding="utf-8")
    with pytest.raises(BadInputError, match="plain v2"):
        shipped_rubrics(tmp_path)


def test_a_shipped_rubric_is_never_changed_under_its_version() -> None:
    rubrics = shipped_rubrics(DATA / "rubrics")
    assert {rubric.label: rubric.sha256 for rubric in rubrics} == SHIPPED


def test_the_shipped_rubrics_tell_a_judge_what_the_protocol_wants() -> None:
    for rubric in shipped_rubrics(DATA / "rubrics"):
        words = " ".join(rubric.text.split())
        for needed in ("First reason", "Choose **tie**", "**Length.**", "**Place.**", "Do not guess who or what wrote"):
            assert needed in words, f"{rubric.label} does not say {needed}"
        assert max(len(line) for line in rubric.text.splitlines()) <= 130
