import html
import random
import re
import uuid
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.domain.ranking_words import ranking_words
from app.domain.terms import Choice, Design, Order, Role
from app.models import Ballot, Checkpoint, EvalBatch, Verdict
from app.queries.report import report
from app.services import eval_batches
from app.services.checkpoints import register_adapter
from app.services.eval_batches import LaunchPlan
from app.web import results as web
from app.web.filters import percent, points
from tests.factories import (
    NOW,
    RULES,
    Study,
    client_for,
    make_account,
    make_base,
    make_rater,
    make_run,
    make_study,
    make_suite,
    saved_adapter,
    sha256,
    vote_blind,
    write_responses,
)
from tests.web.ballots import choose, look

MARK = {"challenger": "Member 1 ", "baseline": "Member 0 "}


@pytest.mark.parametrize("winner", MARK)
def test_the_text_that_is_always_preferred_wins_on_the_page_and_in_the_report(
    app: FastAPI, tmp_path: Path, winner: str
) -> None:
    """A scripted voter on the whole real path: it reads the page, picks by the text, and never sees an order."""
    database = app.state.database
    with database.session_scope() as session:
        batch = make_study(session, tmp_path, prompts=9, votes_per_pair=2).batch
        accounts = [make_account(session, name, Role.RATER, seat_in=batch).id for name in ("one", "two")]
    for account_id in accounts:
        voter = client_for(app, account_id)
        while (ballot := look(voter, batch.id)).ballot_id is not None:
            assert ballot.text_a.startswith(MARK[winner]) != ballot.text_b.startswith(MARK[winner])
            choose(voter, batch.id, ballot.ballot_id, "a" if ballot.text_a.startswith(MARK[winner]) else "b")
    with database.session_scope(write=False) as session:
        orders = session.scalars(select(Ballot.order)).all()
        assert orders.count(Order.FIRST_IS_A) == orders.count(Order.SECOND_IS_A) == 9
        assert set(session.scalars(select(Verdict.choice))) == {Choice.A, Choice.B}
        assert set(session.scalars(select(Verdict.outcome))) == {"second" if winner == "challenger" else "first"}
        told = report(session, batch.id)["matchups"][0]
    rate, word = (1.0, "better") if winner == "challenger" else (0.0, "worse")
    assert (told["raters"]["all"]["win_rate"], told["raters"]["all"]["standing"]) == (rate, word)
    page = text_of(client_for(app), f"/results/{batch.id}")
    assert f"brie-v1/epoch-2 is {word} than tiny" in page
    assert f"({rate:.0%})" in page


def text_of(client: TestClient, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))


def test_the_first_vote_changes_the_live_part(app: FastAPI, admin: TestClient, study: object) -> None:
    live = f"/results/{study.batch.id}/live"
    assert "No votes yet" in text_of(admin, live)
    choose(admin, study.batch.id, look(admin, study.batch.id).ballot_id, "tie")
    after = text_of(admin, live)
    assert "The only vote so far" in after
    assert "1 of 4 votes by people" in after


def test_a_round_robin_is_ranked_and_its_differences_have_ranges(app: FastAPI, tmp_path: Path) -> None:
    admin = client_for(app)
    with app.state.database.session_scope() as session:
        plan = {"design": Design.ROUND_ROBIN, "allow_repeats": True}
        batch = make_study(session, tmp_path, prompts=12, challengers=2, **plan).batch
    page = f"/results/{batch.id}"
    assert "Nobody is ranked yet" in text_of(admin, page)
    assert "Differences" not in text_of(admin, page)
    with app.state.database.session_scope() as session:
        rng = random.Random(2)  # noqa: S311
        later = {True: Choice.A, False: Choice.B}
        vote_blind(session, batch, make_rater(session), lambda one: later[one.text_a > one.text_b], rng=rng)
        told = report(session, batch.id)
    shown = text_of(admin, page)
    ranked = told["ranking"]["checkpoints"]
    assert ranked[0]["checkpoint"] == "brie-v2/epoch-2"
    assert ranking_words([(one["checkpoint"], *one["ranks"]) for one in ranked]) in shown
    assert points(told["contrasts"][0]["gap"]) in shown
    assert all(one["sentence"] in shown for one in told["contrasts"])


def test_checkpoints_of_one_run_are_put_in_a_line_on_the_page_and_in_the_finished_report(
    app: FastAPI, tmp_path: Path
) -> None:
    admin = client_for(app)
    with app.state.database.session_scope() as session:
        make_suite(session, tmp_path, 12)
        make_base(session, tmp_path)
        run = make_run(session, tmp_path, name="brie-v1")
        saved = [saved_adapter(sha256(str(step)), label=f"step-{step}", step=step) for step in (1000, 2000)]
        names = tuple(register_adapter(session, run, one, now=NOW).name for one in saved)
        plan = LaunchPlan(suite="suite", challengers=names, allow_repeats=True)
        batch = eval_batches.launch(session, plan, secret=RULES.secret, now=NOW)
        write_responses(session, batch)
    assert "Win rate over training" not in text_of(admin, f"/results/{batch.id}")
    with app.state.database.session_scope() as session:
        rng = random.Random(4)  # noqa: S311
        vote_blind(session, batch, make_rater(session), lambda _: rng.choice([Choice.A, Choice.B]), rng=rng)
        (told,) = report(session, batch.id)["trajectories"]
    shown = text_of(admin, f"/results/{batch.id}")
    assert "Win rate over training" in shown
    assert told["sentence"] in shown
    admin.post(f"/batches/{batch.id}/close")
    finished = text_of(admin, f"/batches/{batch.id}/report")
    assert "Win rate over training" in finished
    assert "the win rate of brie-v1 moved by" in finished
    assert "Too early" not in finished


def test_a_star_has_no_ranking_to_show(admin: TestClient, study: object) -> None:
    assert "Ranking" not in text_of(admin, f"/results/{study.batch.id}")


def test_agreement_is_told_without_judges_and_two_by_two(app: FastAPI, tmp_path: Path) -> None:
    admin = client_for(app)
    with app.state.database.session_scope() as session:
        batch = make_study(session, tmp_path, prompts=8, votes_per_pair=3).batch
    page = f"/results/{batch.id}"
    said = []
    for number, name in enumerate(("ines", "otto", "mara")):
        with app.state.database.session_scope() as session:
            rng = random.Random(number)  # noqa: S311
            vote_blind(session, batch, make_rater(session, name), lambda _, rng=rng: rng.choice(list(Choice)), rng=rng)
            told = report(session, batch.id)
        said.append(text_of(admin, page))
    assert "One rater has voted." in said[0]
    assert "Two raters agree on" in said[1]
    assert f"Two raters, drawn from 3, agree on {percent(told['panel']['raw'])} of 8 pairs" in said[2]
    between = [(row["one"], row["other"], row["raw"]) for row in told["agreement"]]
    assert len(between) == 3
    table = admin.get(page).text.split('aria-label="Raters two by two"')[1].split("</table>")[0]
    shown = re.findall(r'heat-\d">([^<]+)<br>', table)
    assert sorted(shown) == sorted(2 * [percent(raw) for *_, raw in between])


def test_noise_and_the_votes_still_needed_are_told_once_there_are_votes(app: FastAPI, tmp_path: Path) -> None:
    admin = client_for(app)
    with app.state.database.session_scope() as session:
        batch = make_study(session, tmp_path, prompts=24, replicates=2, allow_repeats=True, votes_per_pair=2).batch
    page = f"/results/{batch.id}"
    before = text_of(admin, page)
    assert "How many votes it takes can be said once there are some." in before
    assert "The whole plan, 24 prompts with 4 votes each, tells a true win rate of" in before
    assert "told by votes on 20 prompts with two seeds each" in before
    with app.state.database.session_scope() as session:
        for number, name in enumerate(("ines", "otto")):
            rng = random.Random(number)  # noqa: S311
            vote_blind(session, batch, make_rater(session, name), lambda _, rng=rng: rng.choice(list(Choice)), rng=rng)
        told = report(session, batch.id)["matchups"][0]["variance"]
    after = text_of(admin, page)
    assert told["sentence"] in after
    whole = told["prompt"] + (told["seed"] or 0) + (told["voter"] or 0) + told["residual"]
    assert f"prompts {percent(told['prompt'] / whole)}" in after
    assert f"{percent(told['icc'])} of the noise between prompts (as measured here)" in after


def test_numbers_lead_to_the_pairs_behind_them_once_these_may_be_read(app: FastAPI, tmp_path: Path) -> None:
    admin = client_for(app)
    with app.state.database.session_scope() as session:
        batch = make_study(session, tmp_path, prompts=8).batch
        rng = random.Random(3)  # noqa: S311
        vote_blind(session, batch, make_rater(session), lambda _: rng.choice(list(Choice)), rng=rng)
    page = f"/results/{batch.id}"
    links = re.compile(rf'<a href="(/batches/{batch.id}/pairs\?[^"]*)">([^<]*)</a>')
    assert not links.findall(admin.get(page).text)
    with app.state.database.session_scope() as session:
        eval_batches.close(session, session.get_one(EvalBatch, batch.id), now=NOW)
        told = report(session, batch.id)["matchups"][0]["raters"]
    table = admin.get(page).text.split("Votes on brie-v1/epoch-2 against tiny</caption>")[1].split("</table>")[0]
    found = {label: html.unescape(href) for href, label in links.findall(table)}
    cells = {"all prompts": told["all"], **told["domains"], **told["categories"]}
    assert found.keys() == cells.keys()
    for label, href in found.items():
        answer = admin.get(href)
        assert answer.status_code == 200
        assert answer.text.count('class="pair-row') == cells[label]["n"], label


@pytest.mark.parametrize("design", Design)
def test_every_section_leads_to_its_pairs_once_these_may_be_read(app: FastAPI, tmp_path: Path, design: Design) -> None:
    admin = client_for(app)
    with app.state.database.session_scope() as session:
        plan = {"design": design, "allow_repeats": True, "votes_per_pair": 2}
        batch = make_study(session, tmp_path, prompts=24, challengers=2, **plan).batch
        for number in range(2):
            rng = random.Random(number)  # noqa: S311
            vote_blind(session, batch, make_rater(session), lambda _, rng=rng: rng.choice(list(Choice)), rng=rng)
    page = f"/results/{batch.id}"
    links = re.compile(rf'href="(/batches/{batch.id}/pairs\?[^"]*)"')
    assert not links.findall(admin.get(page).text)
    with app.state.database.session_scope() as session:
        eval_batches.close(session, session.get_one(EvalBatch, batch.id), now=NOW)
        names = {row.id: row.name for row in session.scalars(select(Checkpoint))}
    text = admin.get(page).text
    sections = ["slices", "contrasts", "agreement", "variance"] + ["ranking"] * (design is Design.ROUND_ROBIN)
    for part in sections:
        section = re.search(rf'<section[^>]* id="results-{part}".*?</section>', text, re.DOTALL)
        assert section is not None, part
        assert links.search(section[0]), part
    for href in {html.unescape(one) for one in links.findall(text)}:
        answer = admin.get(href)
        assert 'class="pair-row' in answer.text, href
        asked = httpx.URL(href).params
        if "against" in asked:
            two = {names[uuid.UUID(asked[one])] for one in ("challenger", "against")}
            shown = set(re.findall(r"(?:brie-v\d/epoch-2|tiny)", answer.text.split('id="pairs-list"')[1]))
            assert shown == two, href


def test_a_crowd_is_one_line_each_and_every_line_leads_to_its_comparison_in_full(app: FastAPI, tmp_path: Path) -> None:
    admin = client_for(app)
    with app.state.database.session_scope() as session:
        batch = make_study(session, tmp_path, prompts=6, challengers=7, allow_repeats=True).batch
        rng = random.Random(4)  # noqa: S311
        vote_blind(session, batch, make_rater(session), lambda _: rng.choice([Choice.A, Choice.B]), rng=rng)
        told = report(session, batch.id)["matchups"]
        names = {row.name: row.id for row in session.scalars(select(Checkpoint))}
    page = f"/results/{batch.id}"
    shown = text_of(admin, page)
    assert "7 challengers" in shown
    assert not [one["sentence"] for one in told if one["sentence"] in shown]
    table = admin.get(page).text.split("Every comparison; each name leads")[1].split("</table>")[0]
    links = re.findall(rf'<a href="({page}\?[^"]*)">([^<]*)</a>', table)
    assert [name for _, name in links] == [one["challenger"] for one in told]
    for (link, name), one in zip(links, told, strict=True):
        address = html.unescape(link)
        alone = text_of(admin, address)
        assert one["sentence"] in alone
        assert "All 7 comparisons" in alone
        assert f"checkpoint={names[name]}" in address
        live = text_of(admin, address.replace("?", "/live?"))
        assert one["sentence"] in live
        assert f'hx-get="{page}/live?{link.partition("?")[2]}"' in admin.get(address).text


def test_checkpoints_that_do_not_meet_have_no_results_together(admin: TestClient, study: Study) -> None:
    for part in ("", "/live", "/more"):
        answer = admin.get(f"/results/{study.batch.id}{part}?checkpoint={uuid.uuid4()}")
        assert answer.status_code == 404
        assert "do not meet in this eval batch" in answer.text


def test_of_many_pairs_what_is_behind_the_numbers_is_fetched_when_somebody_reads_that_far(
    app: FastAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = client_for(app)
    with app.state.database.session_scope() as session:
        batch = make_study(session, tmp_path, prompts=8, votes_per_pair=2).batch
        for name in ("ines", "otto"):
            rng = random.Random(name)  # noqa: S311
            vote_blind(session, batch, make_rater(session, name), lambda _, rng=rng: rng.choice(list(Choice)), rng=rng)
    page = f"/results/{batch.id}"
    at_once = admin.get(page).text
    assert "Two raters agree on" in at_once
    monkeypatch.setattr(web, "_AT_ONCE", 7)
    later = admin.get(page).text
    assert "Two raters agree on" not in later
    assert f'hx-get="{page}/more" hx-swap="outerMorph" hx-trigger="intersect once"' in later
    whole = re.search(r'href="([^"#]*)#results-more">Show everything at once', later)
    assert whole is not None
    assert "Two raters agree on" in admin.get(html.unescape(whole[1])).text
    more = admin.get(f"{page}/more").text
    assert "Two raters agree on" in more
    assert "verdicts-changed from:body" in more
    assert more.strip() in at_once
