"""Imports are stored whole, once, in both databases, and hold what `arena verify` asks of everything."""

import gzip
import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select

from app.db import Database
from app.domain.errors import BadInputError, ConflictError
from app.domain.terms import BatchState, Design, Order, SwapMode
from app.models import Ballot, Checkpoint, EvalBatch, Judge, JudgeCall, Judging, Pair, Response, Verdict
from app.queries.judging import judging_views
from app.queries.report import report
from app.services import eval_batches, import_plan, import_write, imports, judging
from app.services.bulk import insert
from app.services.judges import set_retired
from tests.factories import NOW, RULES, write_rows
from tests.fixtures import on_sqlite
from tests.imported import exported, gathered, mismatches, store

TABLES = (Pair, Ballot, Verdict, Response, JudgeCall)


def row(number: int = 0, **changed: Any) -> dict[str, Any]:
    """A comparison of x and y on prompt `number`."""
    return {
        "prompt": f"Question {number}?", "checkpoint_a": "x", "checkpoint_b": "y", "response_a": f"x{number}",
        "response_b": f"y{number}", "winner": "a", "rater": "ann",
    } | changed  # fmt: skip


def mixed(prompts: int = 5) -> list[dict[str, Any]]:
    """Raters and judges, orders told and untold, weights, replies without a choice, texts that are missing."""
    rng = random.Random(3)  # noqa: S311
    rows = []
    for number in range(prompts):
        rows += [
            row(number, rater=voter, winner=rng.choice(["a", "b", "tie", "both_bad"]), order_known=True)
            for voter in ("ann", "bob")
        ]
        for a, b, winner in (("x", "y", "a"), ("y", "x", "unparsed" if number == 1 else "b")):
            said = {"checkpoint_a": a, "checkpoint_b": b, "response_a": f"{a}{number}", "response_b": f"{b}{number}"}
            rows.append(
                row(number, **said, winner=winner, judge="both", rater=None, order_known=True, reply="Because.")
            )
        rows.append(row(number, judge="weights", rater=None, winner=None, score=rng.random()))
        rows.append({"prompt_id": f"n{number}", "left": "z", "right": "x", "winner": "left"})
    return rows


def report_of(database: Database, batch_id: Any) -> dict[str, Any]:
    with database.session_scope(write=False) as session:
        return report(session, batch_id)


def counts(database: Database) -> list[int | None]:
    with database.session_scope(write=False) as session:
        return [session.scalar(select(func.count()).select_from(table)) for table in TABLES]


def test_everything_that_a_file_can_hold_verifies_and_is_closed(database: Database, tmp_path: Path) -> None:
    batch_id = store(database, gathered("plain", write_rows(tmp_path / "f.jsonl", mixed())), "mixed")
    assert mismatches(database, batch_id) == []
    with database.session_scope(write=False) as session:
        batch = session.get_one(EvalBatch, batch_id)
        assert (batch.state, batch.design, batch.planned_pairs) == (BatchState.CLOSED, Design.STAR, 10)
        assert {view.judge: view.mode for view in judging_views(session)} == {
            "both": SwapMode.BOTH, "weights": SwapMode.ONE
        }  # fmt: skip
    told = report_of(database, batch_id)
    assert told["batch"]["baseline"] == "mixed/x"
    assert told["batch"]["challengers"] == ["mixed/y", "mixed/z"]
    cards = {card["judge"]: card for card in told["judges"]}
    assert (cards["both"]["judged"], cards["both"]["lost"], cards["both"]["unparsed"]["n"]) == (4, 1, 1)
    assert cards["both"]["position_bias"]["consistency"] == 1.0
    assert (cards["weights"]["judged"], cards["weights"]["position_bias"]["first_rate"]) == (5, None)


def test_the_outcome_follows_the_checkpoint_whoever_stood_first(database: Database, tmp_path: Path) -> None:
    rows = [row(0, winner="a", order_known=True)]
    swapped = {"checkpoint_a": "y", "checkpoint_b": "x", "response_a": "y0", "response_b": "x0"}
    rows += [row(0, **swapped, winner="a", order_known=True, rater="bob"), row(0, **swapped, winner="b", rater="cyd")]
    batch_id = store(database, gathered("plain", write_rows(tmp_path / "f.jsonl", rows)), "orders")
    (matchup,) = report_of(database, batch_id)["matchups"]
    cell = matchup["raters"]["all"]
    assert (matchup["challenger"], cell["wins"], cell["losses"]) == ("orders/y", 1, 2)
    with database.session_scope(write=False) as session:
        stored = session.execute(select(Ballot.order, Ballot.order_known).order_by(Ballot.id)).all()
    assert [tuple(one) for one in stored] == [
        (Order.FIRST_IS_A, True), (Order.SECOND_IS_A, True), (Order.FIRST_IS_A, False)
    ]  # fmt: skip
    assert mismatches(database, batch_id) == []


def test_an_order_that_nobody_told_and_a_time_that_nobody_took_say_nothing_of_a_rater(
    database: Database, tmp_path: Path
) -> None:
    rows = [row(number, order_known=number < 2, winner="b") for number in range(5)]
    batch_id = store(database, gathered("plain", write_rows(tmp_path / "f.jsonl", rows)), "sides")
    (sheet,) = report_of(database, batch_id)["quality"]
    assert (sheet["votes"], sheet["sides"]) == (5, {"a": 0, "b": 2, "none": 0})
    assert (sheet["timed"], sheet["fast"]) == (0, 0)


def test_a_judge_that_gives_weights_has_their_mean_as_win_rate(database: Database, tmp_path: Path) -> None:
    scores = [0.9, 0.8, 0.35, 0.6, 0.55, 0.1]
    annotations = [
        {"instruction": f"Do {n}.", "output_1": f"a{n}", "generator_1": "base", "output_2": f"b{n}",
         "generator_2": "new", "annotator": "w", "preference": 1 + score}
        for n, score in enumerate(scores)
    ]  # fmt: skip
    batch_id = store(database, gathered("alpaca-eval", write_rows(tmp_path / "f.json", annotations)), "weights")
    (matchup,) = report_of(database, batch_id)["matchups"]
    cell = matchup["judge"]["w"]["all"]
    assert cell["win_rate"] == pytest.approx(sum(scores) / len(scores))
    assert (cell["wins"], cell["losses"], matchup["baseline"]) == (4, 2, "weights/base")
    assert mismatches(database, batch_id) == []


def test_texts_that_settle_a_pair_here_settle_nothing_there(database: Database, tmp_path: Path) -> None:
    rows = [row(0, response_a=""), row(1, response_a="same", response_b="same", winner="b"), row(2, response_b=None)]
    found = gathered("plain", write_rows(tmp_path / "f.jsonl", rows))
    batch_id = store(database, found, "empty")
    told = report_of(database, batch_id)
    assert (told["batch"]["settled_pairs"], told["batch"]["votes"]) == (0, 3)
    assert [told["matchups"][0]["raters"]["all"][name] for name in ("wins", "losses", "ties")] == [1, 2, 0]
    assert [problem.line for problem in found.log.problems] == [1, 3, 3]
    assert mismatches(database, batch_id) == []


@pytest.mark.parametrize(
    "text",
    [
        "again and " * 18_888,
        "<script>alert(1)</script><b>",
        "\x00\ud83d\u2028\r\n",
        None,
        True,
        3,
        ["a list"],
        {"a": 1},
    ],
    ids=["looping", "html", "unstorable", "null", "boolean", "number", "list", "object"],
)
def test_texts_as_real_data_has_them(database: Database, tmp_path: Path, text: Any) -> None:
    found = gathered("plain", write_rows(tmp_path / "f.jsonl", [row(response_a=text), row(1)]))
    batch_id = store(database, found, "dirty")
    assert mismatches(database, batch_id) == []
    assert (len(found.verdicts), found.log.refused) == (2, 0)
    assert len(found.log.problems) == {"again": 0, "<scri": 0, "None": 2}.get(str(text)[:5], 1)
    path = tmp_path / "exported.jsonl"
    path.write_text(exported(database, batch_id), encoding="utf-8", newline="")
    again = store(database, gathered("arena", path), "again")
    assert exported(database, again) == path.read_text(encoding="utf-8")


def test_the_same_again_changes_nothing(database: Database, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "f.jsonl", mixed())
    store(database, gathered("plain", path), "again")
    before = counts(database)
    other = tmp_path / "other.jsonl.gz"
    other.write_bytes(gzip.compress(path.read_bytes()))
    store(database, gathered("plain", other, path), "again", now=NOW + timedelta(days=1))
    assert counts(database) == before


def test_other_content_under_a_name_is_refused(database: Database, tmp_path: Path) -> None:
    store(database, gathered("plain", write_rows(tmp_path / "f.jsonl", [row()])), "taken")
    with pytest.raises(ConflictError, match="already, with other content"):
        store(database, gathered("plain", write_rows(tmp_path / "g.jsonl", [row(1)])), "taken")


def test_two_imports_of_the_same_texts_live_beside_each_other(database: Database, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "f.jsonl", mixed())
    one, other = (store(database, gathered("plain", path), name) for name in ("one", "other"))
    assert mismatches(database, one) == mismatches(database, other) == []
    with database.session_scope(write=False) as session:
        assert session.scalar(select(func.count(Checkpoint.id))) == 6


@pytest.mark.parametrize("portions", [0, 1, 2])
def test_broken_off_it_goes_on_behind_the_last_portion(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portions: int
) -> None:
    monkeypatch.setattr(import_write, "PORTION", 4)
    path = write_rows(tmp_path / "f.jsonl", mixed())
    whole = exported(database, store(database, gathered("plain", path), "whole"))
    batch_id = store(database, gathered("plain", path), "broken", portions=portions)
    with database.session_scope(write=False) as session:
        batch = session.get_one(EvalBatch, batch_id)
        assert batch.state is BatchState.IMPORTING
        with pytest.raises(ConflictError, match="it is being imported"):
            eval_batches.close(session, batch, now=NOW)
    with pytest.raises(ConflictError, match="is still being imported"):
        exported(database, batch_id)
    assert any("main pairs as planned" in sentence for sentence in mismatches(database, batch_id))
    assert store(database, gathered("plain", path), "broken", now=NOW + timedelta(days=1)) == batch_id
    assert mismatches(database, batch_id) == []
    assert exported(database, batch_id) == whole


def test_a_portion_that_fails_leaves_nothing_of_itself(database: Database, tmp_path: Path) -> None:
    found = gathered("plain", write_rows(tmp_path / "f.jsonl", mixed()))
    store(database, found, "failed", portions=0)

    def die(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "INSERT INTO verdict" in statement:
            raise RuntimeError("killed")

    def write() -> None:
        planned = import_plan.plan(found, "failed")
        with database.session_scope() as session:
            begun = imports.begin(session, found, planned, secret=RULES.secret, now=NOW)
            insert(session, import_write.Writer(found, planned, begun, secret=RULES.secret).rows(range(3)))
            raise RuntimeError("killed")

    event.listen(database.engine, "before_cursor_execute", die)
    try:
        with pytest.raises(RuntimeError, match="killed"):
            write()
    finally:
        event.remove(database.engine, "before_cursor_execute", die)
    assert counts(database) == [0, 0, 0, 0, 0]


def test_pairs_without_a_verdict_wait_for_a_judge(database: Database, tmp_path: Path) -> None:
    outputs = [{"instruction": f"Do {n}.", "output": f"{name}{n}", "generator": name}
               for name in ("x", "y", "z") for n in range(2)]  # fmt: skip
    batch_id = store(database, gathered("alpaca-eval", write_rows(tmp_path / "f.json", outputs)), "outputs")
    told = report_of(database, batch_id)["batch"]
    assert (told["pairs"], told["votes"], told["baseline"]) == (6, 0, "outputs/x")
    assert mismatches(database, batch_id) == []


def test_a_rater_may_vote_on_a_pair_again_and_a_judge_may_not(database: Database, tmp_path: Path) -> None:
    rows = [row(winner=winner) for winner in ("a", "a", "b")]
    rows += [row(winner=winner, rater=None, judge="j") for winner in ("a", "b")]
    found = gathered("plain", write_rows(tmp_path / "f.jsonl", rows))
    batch_id = store(database, found, "again")
    assert report_of(database, batch_id)["batch"]["votes"] == 3
    assert [(problem.source[-8:], problem.line) for problem in found.log.problems] == [("/f.jsonl", 5)]
    assert mismatches(database, batch_id) == []


@pytest.mark.parametrize("known", list(product((True, False), repeat=3)))
def test_orders_told_and_untold_by_one_rater_on_one_pair_stand_beside_each_other(
    database: Database, tmp_path: Path, known: tuple[bool, ...]
) -> None:
    turned = {"checkpoint_a": "y", "checkpoint_b": "x", "response_a": "y0", "response_b": "x0"}
    rows = [row(order_known=known[0]), row(order_known=known[1], **turned), row(order_known=known[2])]
    batch_id = store(database, gathered("plain", write_rows(tmp_path / "rows.jsonl", rows)), "study")
    assert report_of(database, batch_id)["batch"]["votes"] == 3
    assert mismatches(database, batch_id) == []


def test_nobody_can_ask_an_imported_judge_anything(database: Database, tmp_path: Path) -> None:
    batch_id = store(database, gathered("plain", write_rows(tmp_path / "f.jsonl", mixed())), "judged")
    with database.session_scope() as session:
        batch, judge = session.get_one(EvalBatch, batch_id), session.scalars(select(Judge)).first()
        assert judge is not None
        with pytest.raises(ConflictError, match="is retired"):
            judging.ask(session, batch, judge, cap=1, now=NOW)
        with pytest.raises(ConflictError, match="was imported"):
            set_retired(judge, retired=False, now=NOW)
        assert session.scalar(select(func.count(Judging.id))) == 2


def test_nothing_can_be_judged_where_there_is_no_text(database: Database, tmp_path: Path) -> None:
    rows = [{"left": "x", "right": "y", "winner": "left", "judge": "j"}]
    batch_id = store(database, gathered("plain", write_rows(tmp_path / "f.jsonl", rows)), "bare")
    assert mismatches(database, batch_id) == []
    with database.session_scope() as session:
        judge = session.scalars(select(Judge)).one()
        judge.retired_at = None
        with pytest.raises(ConflictError, match="was imported without its texts"):
            judging.ask(session, session.get_one(EvalBatch, batch_id), judge, cap=1, now=NOW)


def _changed(database: Database, batch_id: Any) -> str:
    """Change what a judge is said to have written, behind the back."""
    with database.session_scope() as session:
        call = session.scalars(select(JudgeCall).where(JudgeCall.reply == "Because.")).first()
        assert call is not None
        call.reply = "Something else."
    return mismatches(database, batch_id)[0]


def test_a_changed_reply_is_found(database: Database, tmp_path: Path) -> None:
    batch_id = store(database, gathered("plain", write_rows(tmp_path / "f.jsonl", mixed())), "changed")
    assert "its words in the verdict, Something else., found Because." in _changed(database, batch_id)


@on_sqlite
@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([], "no file was given"),
        ([b""], "holds no row that can be read"),
        ([b'{"checkpoint_a": "x", "checkpoint_b": "y", "winner": "both"}'], "1 rows were refused"),
        ([b"\x1f\x8bbroken"], "cannot be read to its end"),
        ([gzip.compress(b'{"a": "x"}\n' * 900)[:40]], "cannot be read to its end"),
    ],
)
def test_files_of_which_nothing_can_be_taken(
    database: Database, tmp_path: Path, files: Sequence[bytes], sentence: str
) -> None:
    paths = []
    for number, content in enumerate(files):
        paths.append(tmp_path / f"{number}.jsonl")
        paths[-1].write_bytes(content)
    with pytest.raises(BadInputError, match=sentence):
        store(database, gathered("plain", *paths), "nothing")
    assert counts(database) == [0, 0, 0, 0, 0]


@on_sqlite
def test_names_that_cannot_be(database: Database, tmp_path: Path) -> None:
    found = gathered("plain", write_rows(tmp_path / "f.jsonl", [row()]))
    with pytest.raises(BadInputError, match=r"'w' is none of the compared checkpoints\. They are x, y"):
        import_plan.plan(found, "name", baseline="w")
    with pytest.raises(BadInputError, match="cannot be the name of a eval batch"):
        import_plan.plan(found, "no name")
    assert import_plan.plan(found, "name", baseline="y").members[0].name == "y"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="No such file"):
        gathered("plain", tmp_path / "nothing.jsonl")
