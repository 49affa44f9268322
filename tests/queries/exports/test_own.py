"""What is exported and imported elsewhere is exported there as the same file."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from app.db import Database, migrate
from app.domain.errors import ConflictError
from app.domain.names import CONTROLS
from app.models import Pair
from app.services import eval_batches
from tests.factories import NOW
from tests.fixtures import database
from tests.imported import exported, gathered, mismatches, store
from tests.story import tell

__all__ = ["database"]

NAMES = ("x", "y", "z")
TEXTS = st.text(max_size=12).map(lambda text: text.replace("\0", ""))
WHEN = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (bounds are naive)


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.split("\n")[:-1]]


def test_a_study_of_this_arena_comes_back_byte_for_byte(
    database: Database, tmp_path: Path, sqlite_template: Path
) -> None:
    with database.session_scope() as session:
        story = tell(session, tmp_path)
        batch_id = story.batch.id
    with pytest.raises(ConflictError, match="who wrote what"):
        exported(database, batch_id)
    with database.session_scope() as session:
        eval_batches.close(session, session.get_one(type(story.batch), batch_id), now=story.later())
    first = exported(database, batch_id)
    path = tmp_path / "study.jsonl"
    path.write_text(first, encoding="utf-8", newline="")
    empty = tmp_path / "empty.db"
    empty.write_bytes(sqlite_template.read_bytes())
    other = Database.at(f"sqlite:///{empty}")
    again = store(other, gathered("arena", path), "study", now=NOW + timedelta(days=9))
    assert exported(other, again) == first
    assert mismatches(other, again) == []
    other.engine.dispose()
    told = _lines(first)
    kinds = {line["type"] for line in told}
    assert kinds == {"batch", "checkpoint", "prompt", "response", "pair", "verdict"}
    with database.session_scope(write=False) as session:
        main = [pair for pair in session.scalars(select(Pair)) if pair.kind.value == "main"]
    assert sum(line["type"] == "pair" for line in told) == len(main)
    assert not any(name in first for name in CONTROLS)


@st.composite
def _verdicts(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Lines of an own file: any pairs of three checkpoints, judged by anybody in any order."""
    lines: list[dict[str, Any]] = [
        {"type": "batch", "format": "brie-arena/1", "design": "round_robin"},
        *({"type": "checkpoint", "name": name} for name in NAMES),
    ]
    for key in draw(st.lists(st.sampled_from("pqr"), min_size=1, unique=True)):
        messages = [{"role": "user", "content": draw(TEXTS)}] if draw(st.booleans()) else []
        domain = draw(st.sampled_from(["in_domain", "out_of_domain"]))
        lines.append({"type": "prompt", "key": key, "category": "c", "domain": domain, "messages": messages})
        lines += [
            {"type": "response", "prompt": key, "replicate": 0, "checkpoint": name, "text": draw(TEXTS)}
            for name in draw(st.sets(st.sampled_from(NAMES)))
        ]
        for a, b in draw(st.lists(st.permutations(NAMES).map(lambda three: three[:2]), max_size=5)):
            place = {"prompt": key, "replicate": draw(st.integers(0, 2)), "a": a, "b": b}
            kind = draw(st.sampled_from(["rater", "judge"]))
            choices = ["a", "b", "tie", "both_bad", *([None] if kind == "judge" else [])]
            said: dict[str, Any] = {"choice": draw(st.sampled_from(choices)), "order_known": draw(st.booleans())}
            if kind == "judge" and said["choice"] in ("a", "b") and draw(st.booleans()):
                above = draw(st.floats(0.5, 1, exclude_min=True))
                said["score"] = above if said["choice"] == "b" else 1 - above
            said |= draw(
                st.fixed_dictionaries(
                    {}, optional={"said": TEXTS, "seconds": st.floats(0, 1e6), "cast_at": WHEN.map(datetime.isoformat)}
                )
            )
            lines.append({"type": "verdict", **place, "voter": draw(st.sampled_from(["v", "w"])), "kind": kind, **said})
    return lines


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=_verdicts())
def test_whatever_can_be_imported_comes_back_the_same(lines: list[dict[str, Any]], tmp_path_factory: Any) -> None:
    if not any(line["type"] == "verdict" for line in lines):
        return
    folder = tmp_path_factory.mktemp("round")
    path = folder / "given.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    files, bad = [], []
    for number in range(2):
        url = f"sqlite:///{folder / str(number)}.db"
        migrate(url)
        opened = Database.at(url)
        batch_id = store(opened, gathered("arena", path), "round", now=NOW + timedelta(days=number))
        files.append(exported(opened, batch_id))
        bad += mismatches(opened, batch_id)
        opened.engine.dispose()
        path = folder / f"exported-{number}.jsonl"
        path.write_text(files[-1], encoding="utf-8", newline="")
    assert files[1] == files[0]
    assert bad == []
