"""The finished report: what its files hold, that every figure is one of the report's, and that nothing is fetched."""

import hashlib
import html
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import update
from sqlalchemy.orm import Session

from app.domain.errors import ConflictError, NotFoundError
from app.domain.terms import Choice, Reveal
from app.models import Checkpoint, EvalBatch, Verdict
from app.queries.frozen_report import FrozenReport, canonical, frozen_report
from app.queries.report import report
from app.services import eval_batches
from app.web.filters import UNKNOWN, count, percent, span
from app.web.markdown import render
from app.web.markdown_text import escaped
from app.web.report_document import document_of, points
from app.web.report_files import html_of, json_of, markdown_of
from tests.factories import NOW, RULES, Study, make_rater, make_study, vote_blind
from tests.fixtures import database, on_sqlite, session
from tests.saying import judge_called, longer, say, with_marker

__all__ = ["database", "session"]
TO = "\N{EN DASH}"
HOSTILE = "<script>alert('A')</script> | `b` [c](http://d)"


def for_the_challenger(ballot: Any) -> Choice:
    return Choice.A if ballot.text_a.startswith("Member 1") else Choice.B


def closed(session: Session, folder: Path, *, name: str = "", **plan: Any) -> FrozenReport:
    """A study with every check, people and judges, two challengers; closed and reported."""
    given = {"prompts": 12, "challengers": 2, "votes_per_pair": 2}
    given |= {"gold_pairs": 2, "placebo_pairs": 6, "canary_pairs": 2}
    study = make_study(session, folder, allow_repeats=True, **given | plan)
    if name:
        session.execute(update(Checkpoint).where(Checkpoint.id == study.adapters[0].id).values(name=name))
    rng = random.Random(4)  # noqa: S311
    vote_blind(session, study.batch, make_rater(session, "ann"), for_the_challenger, rng=rng)
    vote_blind(session, study.batch, make_rater(session, "bob"), lambda _: rng.choice(list(Choice)), rng=rng)
    say(session, study.batch, judge_called(session, "one"), with_marker("Member 1"))
    say(session, study.batch, judge_called(session, "wordy"), longer)
    eval_batches.close(session, study.batch, now=NOW)
    session.commit()
    session.expunge_all()
    return frozen_report(session, study.batch.id, RULES.secret)


@pytest.fixture
def found(session: Session, tmp_path: Path) -> FrozenReport:
    return closed(session, tmp_path)


def numbers(told: Any) -> Iterator[float]:
    """Every number of the report's JSON, and the lengths that its ranges and shares are made from."""
    if isinstance(told, dict | list):
        for part in told.values() if isinstance(told, dict) else told:
            yield from numbers(part)
    elif isinstance(told, int | float) and not isinstance(told, bool):
        yield told


def cells(page: str) -> list[str]:
    """The figures of all tables."""
    return [html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", page, re.DOTALL)]


def test_every_figure_of_every_table_is_one_of_the_report(found: FrozenReport) -> None:
    told = list(numbers(found.told))
    known = {count(number) for number in told if number == int(number)} | {percent(n) for n in told if 0 <= n <= 1}
    known |= {f"{number:.{digits}f}" for number in told for digits in (2, 3)} | {UNKNOWN, "too few", "no votes"}
    known |= {f"under {0.001}"} | {points(n) for n in told if -1 <= n <= 1}
    shown = cells(html_of(found))
    assert len(shown) > 100
    for cell in shown:
        parts = cell.split(" to ") if " to " in cell else cell.split(TO) if cell != UNKNOWN else [cell]
        assert all(part in known for part in parts), cell


def test_the_tables_say_what_the_report_says(found: FrozenReport) -> None:
    page = html_of(found)
    for matchup in found.told["matchups"]:
        assert html.escape(matchup["fixed_sentence"], quote=False) in page
        for told in (matchup["raters"]["all"], *matchup["raters"]["domains"].values(), matchup["combined"]["all"]):
            row = [TO.join(str(told[name]) for name in ("wins", "losses", "ties")), str(told["prompts"])]
            row.append(percent(told["win_rate"]) if told["fixed"] else UNKNOWN)
            row.append(span(*told["fixed"]) if told["fixed"] else "too few")
            assert row in [cells(page)[at : at + 4] for at in range(len(cells(page)))]


def test_many_comparisons_stand_first_as_one_line_each(session: Session, tmp_path: Path) -> None:
    plain = {"challengers": 7, "gold_pairs": 0, "placebo_pairs": 0, "canary_pairs": 0}
    found = closed(session, tmp_path, prompts=5, **plain)
    document = document_of(found)
    matchups = found.told["matchups"]
    assert len(document.lead) == 1
    assert "7 challengers" in document.lead[0]
    assert "brie-v2/epoch-2 and 5 more against tiny" in document.about
    (table,) = document.sections[0].blocks
    assert [row[0] for row in table.groups[0]] == [f"{one['challenger']} against tiny" for one in matchups]
    for row, one in zip(table.groups[0], matchups, strict=True):
        told = one["raters"]["all"]
        assert row[1] == TO.join(str(told[name]) for name in ("wins", "losses", "ties"))
        assert row[-1] == (span(*told["fixed"]) if told["fixed"] else "too few")


def test_the_ranges_are_the_fixed_ones(found: FrozenReport) -> None:
    for matchup in found.told["matchups"]:
        cell = matchup["raters"]["all"]
        assert cell["fixed"] != cell["live"]
        low, high = (percent(end) for end in cell["fixed"])
        assert f"from {low} to {high}" in matchup["fixed_sentence"]
        assert matchup["fixed_sentence"] in markdown_of(found).replace("\\", "")
        assert matchup["sentence"] not in markdown_of(found).replace("\\", "")


def test_the_file_stands_alone(found: FrozenReport) -> None:
    page = html_of(found)
    assert not re.search(r"(?:src|href|action|srcset)=|url\(|@import|https?://", page)
    assert re.findall(r"<script[^>]*>", page) == ['<script type="application/json" id="report-json">']
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_its_numbers_are_in_it_and_its_hash_is_theirs(found: FrozenReport) -> None:
    held = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', html_of(found), re.DOTALL)
    assert held is not None
    told = json.loads(held[1])
    assert told == json.loads(json_of(found))
    digest = hashlib.sha256(canonical(told).encode()).hexdigest()
    assert digest == found.sha256 == hashlib.sha256(json_of(found).encode()).hexdigest()
    assert digest in html_of(found)
    assert digest in markdown_of(found)


def test_it_says_what_it_was_made_from(session: Session, found: FrozenReport) -> None:
    page, known = markdown_of(found), found.told["provenance"]
    assert [one["name"] for one in known["checkpoints"]] == ["tiny", "brie-v1/epoch-2", "brie-v2/epoch-2"]
    hashes = [known["suite"]["sha256"]]
    for one in known["checkpoints"]:
        assert one["engines"] == ["no engine: written by a test"]
        hashes += [one["fingerprint"], *one["base_hashes"], *one["template_hashes"]]
        hashes += [one["dataset"]["sha256"], one["dataset"]["validation_sha256"]] if one["dataset"] else []
    assert len(hashes) == 14
    assert all(len(one) == 64 and one in page for one in hashes)
    for said in ("suite v1, 12 prompts", "temperature 0.7", "Software: brie-arena", "Too few. Below 5 prompts"):
        assert said in page.replace("\\", "").replace("**", "")


def test_it_says_whether_it_was_verified(session: Session, found: FrozenReport) -> None:
    assert found.verified is not None
    assert found.verified.holds
    assert "Verified. When this report was written" in markdown_of(found)
    session.execute(update(Verdict).values(reason="something else"))
    session.flush()
    batch = session.get_one(EvalBatch, uuid_of(found))
    again = frozen_report(session, batch.id, RULES.secret)
    assert again.sha256 == found.sha256, "no published number changed"
    assert "Not verified: " in markdown_of(again)
    assert "a seal that fits its ballot and what was said" in html.unescape(html_of(again))


def uuid_of(found: FrozenReport) -> UUID:
    return UUID(found.told["batch"]["id"])


def test_the_same_data_gives_the_same_bytes(session: Session, found: FrozenReport) -> None:
    session.expunge_all()
    again = frozen_report(session, uuid_of(found), RULES.secret)
    assert (html_of(again), markdown_of(again), json_of(again)) == (html_of(found), markdown_of(found), json_of(found))


@on_sqlite
def test_names_are_shown_as_they_are_and_never_obeyed(session: Session, tmp_path: Path) -> None:
    found = closed(session, tmp_path, name=HOSTILE)
    page = html_of(found)
    assert "<script>alert" not in page
    assert html.escape(HOSTILE, quote=False).replace("'", "&#39;") in page
    written = markdown_of(found)
    assert escaped(HOSTILE) in written
    assert not re.search(r"(?<!\\)(?:<script|`b`|\]\()", written)


@pytest.mark.parametrize("text", ["a|b", "**a**", "<b>", "# a", "[a](b)", "a\nb", "`a`", "~~a~~", "&amp;"])
def test_markdown_shows_every_sign_as_it_stands(text: str) -> None:
    shown = html.unescape(re.sub(r"<[^>]+>", "", str(render(escaped(text))))).strip()
    assert shown == " ".join(text.split())


@on_sqlite
def test_an_open_eval_batch_has_no_report_yet(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path).batch
    with pytest.raises(ConflictError, match="still open, so its report is not final and none was written"):
        frozen_report(session, batch.id, RULES.secret)
    with pytest.raises(NotFoundError):
        frozen_report(session, batch.suite_id, RULES.secret)


@on_sqlite
def test_without_votes_the_report_says_so(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, reveal=Reveal.NEVER).batch
    eval_batches.close(session, batch, now=NOW)
    found = frozen_report(session, batch.id, RULES.secret)
    assert document_of(found).lead == ("Nobody voted on brie-v1/epoch-2 against tiny.",)
    assert set(cells(html_of(found))) == {f"0{TO}0{TO}0", "0", UNKNOWN, "no votes"}


@on_sqlite
def test_where_orders_are_mixed_up_there_is_no_result(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = closed(session, tmp_path)
    told = found.told | {"mapping_suspect": True, "matchups": [], "canaries": {"sentence": "Mapping suspect: stop."}}
    page = html_of(FrozenReport(found.name, told, found.sha256, found.verified))
    assert "Mapping suspect: stop." in page
    assert "What people prefer" not in page


@on_sqlite
def test_the_page_and_its_files(app: FastAPI, admin: TestClient, study: Study) -> None:
    here = f"/batches/{study.batch.id}/report"
    refused = admin.get(here)
    assert refused.status_code == 409
    assert "is still open" in refused.text
    with app.state.database.session_scope() as session:
        eval_batches.close(session, session.get_one(EvalBatch, study.batch.id), now=NOW)
    page = admin.get(here)
    assert page.status_code == 200
    assert "This page does not compute them all again each time" in page.text
    with app.state.database.session_scope(write=False) as session:
        found = frozen_report(session, study.batch.id, b"a key for tests")
        assert found.told == report(session, study.batch.id)
    for ending, content in (("html", html_of(found)), ("md", markdown_of(found)), ("json", json_of(found))):
        assert f'href="{here}.{ending}"' in page.text
        sent = admin.get(f"{here}.{ending}")
        assert sent.text == content
        assert sent.headers["Content-Disposition"] == f'attachment; filename="suite-1.report.{ending}"'
    for leading_there in ("results", "batches"):
        assert f'href="{here}"' in admin.get(f"/{leading_there}/{study.batch.id}").text
