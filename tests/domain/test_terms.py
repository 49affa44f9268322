"""The glossary of the README and the enums of ``app.domain.terms`` use the same words."""

import inspect
import re
from enum import StrEnum
from pathlib import Path

import pytest

from app.domain import terms

README = Path(__file__).parents[2] / "README.md"

# The row of the glossary that must name every value of the enum.
ROW_OF = {
    terms.Domain: "prompt",
    terms.CheckpointKind: "checkpoint",
    terms.RunKind: "run",
    terms.Design: "eval batch",
    terms.PackageKind: "package",
    terms.NumberFormat: "package",
    terms.PairKind: "pair",
    terms.VoterKind: "voter",
    terms.Side: "side",
    terms.Choice: "choice",
    terms.Order: "order",
    terms.Outcome: "outcome",
}

# States and kinds that a reader meets on the page that shows them, not in the glossary.
TOLD_ELSEWHERE = {
    terms.Axis,
    terms.BallotState,
    terms.BaseModelSource,
    terms.BaseModelState,
    terms.BatchState,
    terms.CallState,
    terms.Confidence,
    terms.FinishReason,
    terms.IntakeState,
    terms.JobKind,
    terms.JobState,
    terms.JudgingState,
    terms.Keep,
    terms.LineKind,
    terms.ProviderKind,
    terms.Queue,
    terms.ReasonTag,
    terms.Reveal,
    terms.Role,
    terms.Settled,
    terms.Split,
    terms.StopReason,
    terms.SwapMode,
    terms.TokenScope,
    terms.Trouble,
    terms.UnparsedReason,
}


def all_enums() -> list[type[StrEnum]]:
    members = inspect.getmembers(terms, inspect.isclass)
    return [member for _, member in members if issubclass(member, StrEnum) and member is not StrEnum]


def glossary() -> dict[str, str]:
    """The meaning of each word; the rows of the first table under the heading, one entry a word."""
    lines = README.read_text(encoding="utf-8").splitlines()
    assert "## Glossary" in lines, "README.md has no heading '## Glossary'"
    meanings: dict[str, str] = {}
    for line in lines[lines.index("## Glossary") + 1 :]:
        if line.startswith("## "):
            break
        if not line.startswith("|"):
            continue
        words, meaning, *_ = (cell.strip() for cell in line.strip().strip("|").split("|"))
        for word in words.replace("/", ",").split(","):
            meanings[word.strip(" *`").lower()] = meaning
    return meanings


def spoken(text: str) -> str:
    """Values as a sentence may write them: `round_robin` or "round robin"."""
    return text.replace("_", " ").replace("`", " ").lower()


@pytest.mark.parametrize("enum", ROW_OF, ids=lambda enum: enum.__name__)
def test_the_glossary_names_every_value(enum: type[StrEnum]) -> None:
    meanings = glossary()
    word = ROW_OF[enum]
    assert word in meanings, f"the glossary has no row for {word!r}"
    meaning = spoken(meanings[word])
    missing = [value for value in enum if not re.search(rf"\b{re.escape(spoken(value))}\b", meaning)]
    assert not missing, f"the row {word!r} of the glossary does not name {missing}"


def test_every_enum_is_either_in_the_glossary_or_told_elsewhere() -> None:
    assert set(ROW_OF) | TOLD_ELSEWHERE == set(all_enums())
    assert not set(ROW_OF) & TOLD_ELSEWHERE


@pytest.mark.parametrize("enum", all_enums(), ids=lambda enum: enum.__name__)
def test_values_are_the_names_in_lower_case(enum: type[StrEnum]) -> None:
    assert [value.value for value in enum] == [value.name.lower() for value in enum]
    assert enum.__doc__ != StrEnum.__doc__
