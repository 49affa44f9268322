"""Exports: what each format says of the same study, in a fixed order and with the same bytes each time."""

import csv
import io
import json
import random
import uuid
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from app.db import Database
from app.domain.errors import ConflictError, ForbiddenError, NotFoundError
from app.domain.terms import Choice, Outcome, Reveal, VoterKind
from app.models import EvalBatch, Response, Verdict, Voter
from app.queries.exports import FORMATS
from app.queries.exports.conversations import as_file
from app.queries.exports.pairs import ToldPair, told_pairs
from app.queries.exports.rows import Format, Shape
from app.queries.exports.writing import files, lines, write_archive, write_folder, write_one
from app.queries.report import report
from app.services import eval_batches
from app.services.responses import Planned
from tests.factories import NOW, Study, make_rater, make_study, plain_text, prompt_row, question, vote_blind, write_rows
from tests.fixtures import on_sqlite
from tests.imported import gathered, store
from tests.saying import judge_called, say, with_marker

SYSTEM = "Be brief."


def text(member: int, planned: Planned) -> str:
    """Two pairs are settled; one text has everything that a CSV file trips over."""
    if "number 3?" in question(planned):
        return "the same"
    if "number 5?" in question(planned) and member:
        return ""
    return plain_text(member, planned) + (' "quoted", and\n=1+1; ' if "number 1?" in question(planned) else "")


def pick(ballot: Any) -> Choice:
    """The challenger, but on 0 the baseline and on 2 nobody."""
    if "number 2?" in ballot.text_a:
        return Choice.BOTH_BAD
    wanted = "Member 0" if "number 0?" in ballot.text_a else "Member 1"
    return Choice.A if ballot.text_a.startswith(wanted) else Choice.B


@pytest.fixture
def study(session: Session, tmp_path: Path) -> Study:
    """Seven prompts, two of them settled; one rater, one simulated rater, one judge; 4 has no vote of people."""
    rows = [prompt_row(number) for number in range(7)]
    rows[6] |= {"messages": [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Yes?"},
                             {"role": "user", "content": "Question number 6?"}], "prompt": None}  # fmt: skip
    rows[6].pop("prompt")
    made = make_study(session, tmp_path, prompts=rows, text=text, votes_per_pair=2, system_prompt=SYSTEM)
    rng = random.Random(4)  # noqa: S311
    for name in ("ann", "bob"):
        voter = make_rater(session, name)
        voter.simulated = name == "bob"
        vote_blind(session, made.batch, voter, pick, rng=rng)
    say(session, made.batch, judge_called(session, "one"), with_marker("Member 1"))
    eval_batches.close(session, made.batch, now=NOW)
    session.flush()
    return made


def rows_of(session: Session, batch: EvalBatch, name: str) -> dict[str, list[dict[str, Any]]]:
    """All rows of a format by file."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file, row in FORMATS[name].rows(session, batch.id):
        found.setdefault(file, []).append(row)
    return found


def written(session: Session, batch: EvalBatch, chosen: Format) -> dict[str, str]:
    return {name: "".join(part) for name, part in files(chosen.rows(session, batch.id), chosen)}


def by_prompt(session: Session, batch: EvalBatch) -> dict[int, ToldPair]:
    return {pair.number - 1: pair for pair in told_pairs(session, batch.id)}


# ------------------------------------------------------------------------------------------------ every format


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_data_gives_the_same_bytes(session: Session, study: Study, tmp_path: Path, name: str) -> None:
    chosen = FORMATS[name]
    once = written(session, study.batch, chosen)
    session.expunge_all()
    assert written(session, study.batch, chosen) == once
    assert once
    archives = []
    for _ in range(2):
        archive = io.BytesIO()
        write_archive(chosen.rows(session, study.batch.id), chosen, archive)
        archives.append(archive.getvalue())
    assert archives[0] == archives[1]
    with zipfile.ZipFile(io.BytesIO(archives[0])) as opened:
        assert {name: opened.read(name).decode() for name in opened.namelist()} == once
    paths = write_folder(chosen.rows(session, study.batch.id), chosen, tmp_path / name)
    assert {path.relative_to(tmp_path / name).as_posix(): path.read_bytes().decode() for path in paths} == once


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("closed", "reveal"), [(False, Reveal.AT_CLOSE), (True, Reveal.NEVER)])
@on_sqlite
def test_nothing_is_told_before_the_reveal_or_without_one(
    session: Session, tmp_path: Path, name: str, closed: bool, reveal: Reveal
) -> None:
    batch = make_study(session, tmp_path, reveal=reveal).batch
    if closed:
        eval_batches.close(session, batch, now=NOW)
    read: list[str] = []
    event.listen(session.get_bind(), "before_cursor_execute", lambda *args: read.append(args[2]))
    with pytest.raises(ForbiddenError if closed else ConflictError):
        next(FORMATS[name].rows(session, batch.id))
    assert not any("FROM response" in asked or "JOIN response" in asked for asked in read), "texts are not even read"
    with pytest.raises(NotFoundError):
        next(FORMATS[name].rows(session, uuid.uuid4()))


@pytest.mark.parametrize("name", FORMATS)
@on_sqlite
def test_a_batch_without_a_vote_has_readable_files(session: Session, tmp_path: Path, name: str) -> None:
    batch = make_study(session, tmp_path).batch
    eval_batches.close(session, batch, now=NOW)
    for file, told in written(session, batch, FORMATS[name]).items():
        assert read(file, told) or told == "", file


def read(file: str, told: str) -> list[Any]:
    """The rows of a file as somebody else would read them."""
    if file.endswith(".csv"):
        return list(csv.DictReader(io.StringIO(told, newline="")))
    return json.loads(told) if file.endswith(".json") else [json.loads(line) for line in told.splitlines()]


@pytest.mark.parametrize("name", FORMATS)
def test_files_are_read_back_as_their_rows(session: Session, study: Study, name: str) -> None:
    rows = rows_of(session, study.batch, name)
    for file, told in written(session, study.batch, FORMATS[name]).items():
        expected = rows[file]
        if file.endswith(".csv"):
            expected = [{key: str(value) for key, value in row.items()} for row in expected]
        assert read(file, told) == json.loads(json.dumps(expected))


def test_texts_stream_through_and_do_not_pile_up(session: Session, tmp_path: Path) -> None:
    """More pairs than are read at once; afterwards none of them is in memory."""
    batch = make_study(session, tmp_path, prompts=450).batch
    eval_batches.close(session, batch, now=NOW)
    session.flush()
    session.expunge_all()
    numbers = [pair.number for pair in told_pairs(session, batch.id)]
    assert numbers == list(range(1, 451))
    assert not [kept for kept in session.identity_map.values() if isinstance(kept, Response | Verdict)]


@on_sqlite
@pytest.mark.parametrize(
    ("shape", "rows", "told"),
    [
        (Shape.LINES, [], ""),
        (Shape.LINES, [{"a": 1}, {"a": "é\n"}], '{"a": 1}\n{"a": "é\\n"}\n'),
        (Shape.LIST, [], "[]\n"),
        (Shape.LIST, [{"a": 1}, {"a": 2}], '[\n{"a": 1},\n{"a": 2}\n]\n'),
        (Shape.CSV, [], ""),
        (Shape.CSV, [{"a": "=1+1", "b": "@SUM(1)"}, {"a": -1, "b": "a=1"}], "a,b\n'=1+1,'@SUM(1)\n-1,a=1\n"),
        (Shape.CSV, [{"a": 1, "b": 'x"y'}, {"a": "1\n2", "b": None}], 'a,b\n1,"x""y"\n"1\n2",\n'),
    ],
)
def test_how_rows_are_written(session: Session, shape: Shape, rows: list[dict[str, Any]], told: str) -> None:
    assert "".join(lines(rows, shape)) == told


@given(st.lists(st.text(st.sampled_from("=+-@\t\r'\uff1d\n \"a,"), max_size=6), min_size=1, max_size=4))
def test_no_cell_runs_in_a_spreadsheet_and_each_text_comes_back(texts: list[str]) -> None:
    told = "".join(lines([{"text": text} for text in texts], Shape.CSV))
    cells = [row[0] if row else "" for row in csv.reader(io.StringIO(told, newline=""))][1:]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d")) for cell in cells)
    assert [cell.removeprefix("'") for cell in cells] == texts


# ------------------------------------------------------------------------------------------------ each format


def test_the_counts_are_those_of_the_results(session: Session, study: Study) -> None:
    rows = rows_of(session, study.batch, "csv")["pairs.csv"]
    people = report(session, study.batch.id)["matchups"][0]["raters"]["all"]
    for column, name in (("people_second", "wins"), ("people_first", "losses"), ("people_tie", "ties"),
                         ("people_both_bad", "both_bad")):  # fmt: skip
        assert sum(row[column] for row in rows) == people[name]
    assert sum(row["people_simulated"] for row in rows) == 5
    assert [row["settled"] for row in rows] == ["", "", "", "identical", "", "empty_second", ""]
    assert [row["outcome"] for row in rows] == ["first", "second", "tie", "", "second", "", "second"]
    assert json.loads(rows[6]["messages"])[0] == {"role": "system", "content": SYSTEM}
    assert (rows[0]["first"], rows[0]["second"]) == ("tiny", "brie-v1/epoch-2")
    assert rows[1]["second_text"].startswith("Member 1")


def test_who_is_left_out_of_the_results_is_left_out_here(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=8, votes_per_pair=2, exclusion={"side_max": 0.9}).batch
    rng = random.Random(4)  # noqa: S311
    vote_blind(session, batch, make_rater(session, "fair"), pick, rng=rng)
    vote_blind(session, batch, make_rater(session, "lopsided"), lambda _: Choice.A, rng=rng)
    eval_batches.close(session, batch, now=NOW)
    left_out = report(session, batch.id)["excluded"]["raters"]
    told = {verdict.voter: verdict.excluded for pair in told_pairs(session, batch.id) for verdict in pair.verdicts}
    assert sum(told.values()) == left_out
    people = report(session, batch.id)["matchups"][0]["raters"]["all"]
    assert len(rows_of(session, batch, "battles")["battles.jsonl"]) == people["n"]


def test_battles_have_a_and_b_as_they_stood_on_the_screen(session: Session, study: Study) -> None:
    rows = rows_of(session, study.batch, "battles")["battles.jsonl"]
    pairs = {str(pair.id): pair for pair in told_pairs(session, study.batch.id)}
    assert len(rows) == 5 * 2 + 5 * 2  # two raters, and a judge in both orders
    for row in rows:
        pair = pairs[row["question_id"]]
        said = {"model_a": row["conversation_a"], "model_b": row["conversation_b"]}
        for side, conversation in said.items():
            member = "Member 1" if row[side] == "brie-v1/epoch-2" else "Member 0"
            assert conversation[-1]["content"].startswith(member)
            assert conversation[:-1] == [{"role": t["role"], "content": t["content"]} for t in pair.messages]
        if row["judge"] in ("ann", "bob"):
            preferred = {0: "tiny", 2: None}.get(pair.number - 1, "brie-v1/epoch-2")
            found = row.get(row["winner"]) if row["winner"].startswith("model_") else None
            assert found == preferred
    assert {row["winner"] for row in rows} == {"model_a", "model_b", "tie (bothbad)"}
    assert {row["judge"]: row["simulated"] for row in rows} == {"ann": False, "bob": True, "one": False}


def test_preference_rows_hold_what_most_people_prefer(session: Session, study: Study) -> None:
    rows = rows_of(session, study.batch, "trl")["preferences.jsonl"]
    told = [(row["chosen"][0]["content"][:8], row["rejected"][0]["content"][:8]) for row in rows]
    assert told == [("Member 0", "Member 1"), *[("Member 1", "Member 0")] * 3]
    assert [turn["role"] for turn in rows[-1]["prompt"]] == ["system", "user", "assistant", "user"]
    assert FORMATS["trl"].left_out is not None
    assert FORMATS["trl"].left_out(session, study.batch.id) == {"tie": 1, "settled": 2}


@on_sqlite
def test_pairs_without_a_vote_and_split_ones_are_left_out_of_preferences(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=1, votes_per_pair=2).batch
    rng = random.Random(4)  # noqa: S311
    for name, wanted in (("one", "Member 0"), ("two", "Member 1")):
        voter = make_rater(session, name)
        vote_blind(
            session, batch, voter,
            lambda b, wanted=wanted: Choice.A if b.text_a.startswith(wanted) else Choice.B, rng=rng,
        )  # fmt: skip
    eval_batches.close(session, batch, now=NOW)
    assert rows_of(session, batch, "trl") == {}
    assert FORMATS["trl"].left_out(session, batch.id) == {"tie": 1}


def test_alpaca_eval_has_the_baseline_as_output_1(session: Session, study: Study) -> None:
    found = rows_of(session, study.batch, "alpaca-eval")
    assert list(found) == ["outputs/tiny.json", "outputs/brie-v1--epoch-2.json", "annotations.json"]
    assert [len(rows) for rows in found.values()] == [7, 7, 20]
    pairs = by_prompt(session, study.batch)
    for row in found["annotations.json"]:
        assert (row["generator_1"], row["generator_2"]) == ("tiny", "brie-v1/epoch-2")
        assert row["output_1"].startswith("Member 0")
    people = [row["preference"] for row in found["annotations.json"] if row["annotator"] == "ann"]
    assert people == [1.0, 2.0, 1.5, 2.0, 2.0]
    assert found["outputs/tiny.json"][6]["instruction"] == (
        "system: Be brief.\n\nuser: Hello.\n\nassistant: Yes?\n\nuser: Question number 6?"
    )
    assert found["outputs/brie-v1--epoch-2.json"][1]["output"] == pairs[1].second.text


def test_mt_bench_has_a_winner_for_each_order_of_a_judge(session: Session, study: Study) -> None:
    found = rows_of(session, study.batch, "mt-bench")
    assert list(found) == [
        "question.jsonl", "model_answer/tiny.jsonl", "model_answer/brie-v1--epoch-2.jsonl", "human_judgment.jsonl",
        "model_judgment/pair.jsonl",
    ]  # fmt: skip
    assert [row["question_id"] for row in found["question.jsonl"]] == [1, 2, 3, 4, 5, 6, 7]
    assert found["model_answer/tiny.jsonl"][0]["choices"][0]["turns"][0].startswith("Member 0")
    for row in found["model_judgment/pair.jsonl"]:
        assert (row["model_1"], row["model_2"], row["judge"]) == ("tiny", "brie-v1/epoch-2", ["one", "pair"])
        assert (row["g1_winner"], row["g2_winner"]) == ("model_2", "model_2")
    for row in found["human_judgment.jsonl"]:
        if row["winner"].startswith("model_"):
            expected = "tiny" if row["question_id"] == 1 else "brie-v1/epoch-2"
            assert row[row["winner"]] == expected


UNTOLD = [
    {"prompt": "one", "checkpoint_a": "x", "checkpoint_b": "y", "response_a": "X.", "response_b": "Y."} | more
    for more in (
        {"winner": "b", "judge": "gpt"},
        {"winner": "a", "judge": "told", "order_known": True},
        {"winner": "a", "judge": "told", "checkpoint_a": "y", "checkpoint_b": "x", "response_a": "Y.",
         "response_b": "X.", "order_known": True},
        {"winner": "tie", "rater": "ann"},
        {"winner": "a", "rater": "bob", "order_known": True},
    )
]  # fmt: skip


def test_where_nobody_told_the_order_no_format_claims_one(database: Database, tmp_path: Path) -> None:
    batch_id = store(database, gathered("plain", write_rows(tmp_path / "untold.jsonl", UNTOLD)), "untold")
    with database.session_scope(write=False) as session:
        batch = session.get_one(EvalBatch, batch_id)
        mt_bench, battles = (rows_of(session, batch, name) for name in ("mt-bench", "battles"))
    people = {row["judge"].rpartition("/")[2]: row["order_known"] for row in mt_bench["human_judgment.jsonl"]}
    assert people == {"ann": False, "bob": True}
    (games,) = mt_bench["model_judgment/pair.jsonl"]
    assert (games["judge"][0].rpartition("/")[2], games["g1_winner"], games["g2_winner"]) == (
        "told", "model_1", "model_2",
    )  # fmt: skip
    (single,) = mt_bench["model_judgment/order_unknown.jsonl"]
    assert (single["order_known"], single["winner"], single[single["winner"]].rpartition("/")[2]) == (
        False, "model_b", "y",
    )  # fmt: skip
    known = {(row["judge"].rpartition("/")[2], row["order_known"]) for row in battles["battles.jsonl"]}
    assert known == {("gpt", False), ("told", True), ("ann", False), ("bob", True)}


@pytest.mark.parametrize("name", ["mt-bench", "battles"])
def test_an_order_that_nobody_told_is_still_unknown_when_the_export_is_imported(
    database: Database, tmp_path: Path, name: str
) -> None:
    batch_id = store(database, gathered("plain", write_rows(tmp_path / "untold.jsonl", UNTOLD)), "untold")
    with database.session_scope(write=False) as session:
        paths = write_folder(FORMATS[name].rows(session, batch_id), FORMATS[name], tmp_path / name)
    found = gathered({"battles": "chatbot-arena"}.get(name, name), *paths)
    voters = [(voter.name.rpartition("/")[2].removesuffix(" pair"), voter.kind) for voter in found.voters]
    known = {
        (*voters[one], bool(told)) for one, told in zip(found.verdicts.voter, found.verdicts.order_known, strict=True)
    }
    assert known == {
        ("gpt", VoterKind.JUDGE, False), ("told", VoterKind.JUDGE, True), ("ann", VoterKind.RATER, False),
        ("bob", VoterKind.RATER, True),
    }  # fmt: skip
    assert len(found.verdicts) == len(UNTOLD)


def test_argilla_records_have_votes_as_responses_and_judges_as_a_suggestion(session: Session, study: Study) -> None:
    rows = rows_of(session, study.batch, "argilla")["records.jsonl"]
    values = [[one["values"]["preference"]["value"] for one in row["responses"]] for row in rows]
    assert values == [
        ["response_1"] * 2,
        ["response_2"] * 2,
        ["tie"] * 2,
        [],
        ["response_2"] * 2,
        [],
        ["response_2"] * 2,
    ]
    assert [one["value"] for row in rows for one in row["suggestions"]] == ["response_2"] * 5
    assert rows[0]["suggestions"][0]["agent"] == "one"
    assert rows[0]["metadata"]["simulated_votes"] == 1


def test_replicates_are_told_apart(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path, prompts=2, replicates=2, challengers=2, allow_repeats=True).batch
    eval_batches.close(session, batch, now=NOW)
    order = [(pair.number, pair.replicate, pair.second.checkpoint) for pair in told_pairs(session, batch.id)]
    assert order == sorted(order)
    assert len(order) == 8
    answers = rows_of(session, batch, "mt-bench")["model_answer/tiny.jsonl"]
    assert [[choice["index"] for choice in row["choices"]] for row in answers] == [[0, 1], [0, 1]]
    assert len(rows_of(session, batch, "alpaca-eval")["outputs/tiny.json"]) == 4


@on_sqlite
def test_what_was_taken_back_is_in_no_export(session: Session, study: Study) -> None:
    standing = session.scalars(select(Verdict).join_from(Verdict, Voter, Voter.kind == VoterKind.RATER)).first()
    assert standing is not None
    before = sum(pair.counts(VoterKind.RATER).total() for pair in told_pairs(session, study.batch.id))
    standing.retracted_at = NOW
    session.flush()
    assert sum(pair.counts(VoterKind.RATER).total() for pair in told_pairs(session, study.batch.id)) == before - 1


@on_sqlite
@pytest.mark.parametrize(
    ("name", "file"),
    [("brie-v2/epoch-2", "brie-v2--epoch-2"), ("../../x", "--..--x"), ("a b:c", "a_b_c"), ("tiny", "tiny")],
)
def test_names_of_checkpoints_as_names_of_files(session: Session, name: str, file: str) -> None:
    assert as_file(name) == file
    assert "/" not in as_file(name)


@on_sqlite
def test_the_only_file_of_a_format_without_rows_is_empty(session: Session, tmp_path: Path) -> None:
    batch = make_study(session, tmp_path).batch
    eval_batches.close(session, batch, now=NOW)
    file = io.StringIO()
    write_one(FORMATS["trl"].rows(session, batch.id), FORMATS["trl"], file)
    assert file.getvalue() == ""
    assert {pair.most(VoterKind.RATER) for pair in told_pairs(session, batch.id)} == {None}
    assert Outcome.TIE not in {pair.most(VoterKind.JUDGE) for pair in told_pairs(session, batch.id)}
