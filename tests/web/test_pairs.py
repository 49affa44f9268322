import html
import random
import re
import uuid
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.domain.terms import CheckpointKind, Choice, Reveal, Role
from app.models import Checkpoint, EvalBatch, Pair, Response, Verdict, Voter
from app.services import eval_batches
from tests.factories import NOW, Study, client_for, make_account, make_rater, make_study, pairs_of, vote_blind
from tests.fixtures import on_sqlite

pytestmark = on_sqlite
TO = "\N{EN DASH}"


def text_of(client: TestClient, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    main = answer.text[answer.text.index("<main") :]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", main)))


def close(app: FastAPI, study: Study, *, votes: bool = True) -> None:
    """Somebody prefers the challenger everywhere, and voting ends."""
    with app.state.database.session_scope() as session:
        batch = session.get_one(EvalBatch, study.batch.id)
        if votes:
            voter = make_rater(session, "ines")
            pick = {True: Choice.A, False: Choice.B}
            rng = random.Random(5)  # noqa: S311
            vote_blind(session, batch, voter, lambda b: pick[b.text_a.startswith("Member 1")], rng=rng)
        eval_batches.close(session, batch, now=NOW)


def some_pair(app: FastAPI, study: Study) -> uuid.UUID:
    with app.state.database.session_scope(write=False) as session:
        return pairs_of(session, study.batch)[0].id


@pytest.mark.parametrize("reveal", Reveal)
@pytest.mark.parametrize("closed", [False, True])
def test_before_the_reveal_the_page_says_why_there_is_nothing(
    app: FastAPI, admin: TestClient, tmp_path: Path, reveal: Reveal, closed: bool
) -> None:
    with app.state.database.session_scope() as session:
        study = make_study(session, tmp_path, reveal=reveal)
    if closed:
        close(app, study)
    pair_id = some_pair(app, study)
    for address in (f"/batches/{study.batch.id}/pairs", f"/batches/{study.batch.id}/pairs/{pair_id}"):
        told = text_of(admin, address)
        shown = reveal is Reveal.AT_CLOSE and closed
        assert ("Member 1" in told) is shown
        assert ("brie-v1/epoch-2" in told) is shown
        assert ("Close voting to read the pairs with their authors." in told) is (
            reveal is Reveal.AT_CLOSE and not closed
        )
        assert ("nobody is told who wrote which text" in told) is (reveal is Reveal.NEVER)


def test_raters_do_not_get_there(app: FastAPI, study: Study) -> None:
    close(app, study)
    with app.state.database.session_scope() as session:
        account_id = make_account(session, "somebody", Role.RATER).id
    client = client_for(app, account_id)
    for address in (f"/batches/{study.batch.id}/pairs", f"/batches/{study.batch.id}/pairs/{some_pair(app, study)}"):
        answer = client.get(address)
        assert answer.status_code == 403
        assert "Member" not in answer.text


def test_the_list_says_first_what_came_out(app: FastAPI, admin: TestClient, study: Study) -> None:
    close(app, study)
    told = text_of(admin, f"/batches/{study.batch.id}/pairs")
    assert "4 pairs: the challenger was preferred in 4, the baseline in 0." in told
    assert f"1{TO}4 of 4" in told
    assert told.count(f"brie-v1/epoch-2 preferred 1{TO}0{TO}0") == 4


@pytest.mark.parametrize(
    ("texts", "votes", "sentence"),
    [
        (("same", "same"), False, "4 pairs: all settled without a voter."),
        (("one", "other"), False, "4 pairs: nobody voted."),
        (("one", "other"), True, "4 pairs: the challenger was preferred in "),
    ],
)
def test_the_sentence_fits_what_there_is(
    app: FastAPI, admin: TestClient, tmp_path: Path, texts: tuple[str, str], votes: bool, sentence: str
) -> None:
    with app.state.database.session_scope() as session:
        study = make_study(session, tmp_path, text=lambda member, _: texts[member])
    close(app, study, votes=votes)
    assert sentence in text_of(admin, f"/batches/{study.batch.id}/pairs")


def test_a_form_without_javascript_sends_empty_fields(app: FastAPI, admin: TestClient, study: Study) -> None:
    close(app, study)
    here = f"/batches/{study.batch.id}/pairs"
    form = {"text": "", "category": "", "domain": "", "outcome": "", "challenger": "", "sort": ""}
    assert f"1{TO}4 of 4" in text_of(admin, f"{here}?text=&category=&domain=&outcome=&challenger=&sort=")
    answer = admin.get(here, params=form | {"category": "category_1", "domain": "in_domain", "sort": "length"})
    assert re.findall(r'<option value="(\w+)" selected>', answer.text) == ["category_1", "in_domain", "length"]
    assert re.findall(r'<a href="([^"]+)">Question number (\d)', answer.text) == [
        (f"{here}/{pair_on(app, study, 2)}?category=category_1&amp;domain=in_domain&amp;sort=length", "2")
    ]
    assert "1 of 1 pair that fits" in text_of(admin, f"{here}?category=category_1&domain=in_domain")


def pair_on(app: FastAPI, study: Study, number: int) -> uuid.UUID:
    with app.state.database.session_scope(write=False) as session:
        query = select(Pair.id).join(Response, Response.id == Pair.second_response_id)
        return session.scalars(query.where(Response.text.contains(f"Question number {number}?"))).one()


@pytest.mark.parametrize("wrong", ["domain=nowhere", "outcome=first", "sort=up", "challenger=me", "page=0", "page=x"])
def test_what_is_no_filter_says_so(admin: TestClient, study: Study, wrong: str) -> None:
    answer = admin.get(f"/batches/{study.batch.id}/pairs?{wrong}")
    assert (answer.status_code, 'id="error"' in answer.text) == (422, True)


def test_no_match_offers_the_way_back(app: FastAPI, admin: TestClient, study: Study) -> None:
    close(app, study)
    here = f"/batches/{study.batch.id}/pairs"
    told = text_of(admin, f"{here}?text=pineapple")
    assert "None of the 4 pairs fits." in told
    assert "No pair is like that" in told
    assert f'<a class="button" href="{here}">Clear filters</a>' in admin.get(f"{here}?text=pineapple").text


def test_pages_keep_the_filter(app: FastAPI, admin: TestClient, tmp_path: Path) -> None:
    with app.state.database.session_scope() as session:
        study = make_study(session, tmp_path, prompts=60)
    close(app, study, votes=False)
    page = admin.get(f"/batches/{study.batch.id}/pairs?text=question+number&page=2").text
    assert re.findall(r'rel="(prev|next)" href="[^"?]+\?([^"]+)"', page) == [
        ("prev", "text=question+number"),
        ("next", "text=question+number&amp;page=3"),
    ]
    here = f"/batches/{study.batch.id}/pairs"
    assert f"26{TO}50 of 60 pairs that fit" in text_of(admin, f"{here}?text=question+number&page=2")
    assert 'rel="next"' not in admin.get(f"{here}?text=number+7%3F").text


def test_a_pair_is_read_with_its_authors_and_votes(app: FastAPI, admin: TestClient, study: Study) -> None:
    close(app, study)
    with app.state.database.session_scope() as session:
        verdict = session.scalars(select(Verdict)).all()
        for one in verdict:
            one.reason = "It says <b>more</b>."
    address = f"/batches/{study.batch.id}/pairs/{pair_on(app, study, 1)}?outcome=challenger"
    told = text_of(admin, address)
    assert "2 of 4 that fit" in told
    assert "brie-v1/epoch-2 preferred, by the only vote." in told
    assert "Member 1 on “Question number 1?”, take 0." in told
    assert "Member 0 on “Question number 1?”, take 0." in told
    assert "ines : brie-v1/epoch-2 preferred It says <b>more</b>. chose" in told
    page = admin.get(address).text
    assert f'href="/batches/{study.batch.id}/pairs?outcome=challenger"' in page
    assert f'rel="next" href="/batches/{study.batch.id}/pairs/{pair_on(app, study, 2)}?outcome=challenger"' in page
    adapter = study.adapters[0]
    for part in (adapter.fingerprint, f"/runs/{adapter.run_id}", f"/checkpoints/{adapter.id}"):
        assert part in page


def test_simulated_votes_are_called_that(app: FastAPI, admin: TestClient, study: Study) -> None:
    close(app, study)
    here = f"/batches/{study.batch.id}/pairs"
    addresses = here, f"{here}/{some_pair(app, study)}"
    assert not [address for address in addresses if "simulated" in text_of(admin, address)]
    with app.state.database.session_scope() as session:
        session.scalars(select(Voter).where(Voter.name == "ines")).one().simulated = True
    told, one = (text_of(admin, address) for address in addresses)
    assert "With simulated votes: 4 pairs: the challenger was preferred in 4" in told
    assert "4 of 4 votes here were made up to learn the tool." in told
    assert "With simulated votes: brie-v1/epoch-2 preferred, by the only vote." in one
    assert "ines simulated :" in one


def test_texts_of_any_length_are_shown_whole(app: FastAPI, admin: TestClient, tmp_path: Path) -> None:
    long = "An end is not in sight. " * 8000 + "This is the end."
    with app.state.database.session_scope() as session:
        study = make_study(session, tmp_path, prompts=1, text=lambda member, _: long if member else " ")
    close(app, study, votes=False)
    page = admin.get(f"/batches/{study.batch.id}/pairs/{some_pair(app, study)}").text
    folded = page[page.index("<details", page.index('class="folded"')) :]
    assert "The whole text" in folded
    assert folded.count("This is the end.") == page.count("This is the end.") == 1
    assert "(empty)" in page
    assert "Settled for brie-v1/epoch-2: the other text is empty." in re.sub(r"\s+", " ", page)


def test_checkpoints_from_elsewhere_have_no_base_and_no_run(app: FastAPI, admin: TestClient, study: Study) -> None:
    close(app, study)
    with app.state.database.session_scope() as session:
        elsewhere = Checkpoint(
            name="gpt-elsewhere", kind=CheckpointKind.EXTERNAL, base_model_id=None, run_id=None, fingerprint="e" * 64,
            origin={"base_model": "elsewhere-7b"}, step=None, epoch=None, validation_loss=None, effect=None,
            created_at=NOW,
        )  # fmt: skip
        session.add(elsewhere)
        session.flush()
        for pair in session.scalars(select(Pair)):
            pair.second_id = elsewhere.id
    told = text_of(admin, f"/batches/{study.batch.id}/pairs/{some_pair(app, study)}")
    assert "not here: responses only" in told
    assert "Base model elsewhere-7b" in told


def test_names_and_texts_are_never_markup(app: FastAPI, admin: TestClient, tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>'
    with app.state.database.session_scope() as session:
        study = make_study(session, tmp_path, prompts=1, text=lambda member, _: f"Member {member} {evil}")
    close(app, study)
    with app.state.database.session_scope() as session:
        session.get_one(EvalBatch, study.batch.id).name = evil
        session.get_one(Checkpoint, study.adapters[0].id).name = evil
        session.scalars(select(Verdict)).one().reason = evil
    for address in ("", f"/{some_pair(app, study)}", "?text=%3Cscript%3Ealert"):
        answer = admin.get(f"/batches/{study.batch.id}/pairs{address}")
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text


def test_closed_batches_lead_to_their_pairs(app: FastAPI, admin: TestClient, study: Study) -> None:
    link = f'href="/batches/{study.batch.id}/pairs"'
    assert link in admin.get(f"/batches/{study.batch.id}").text
    assert link not in admin.get(f"/results/{study.batch.id}").text
    close(app, study)
    assert link in admin.get(f"/batches/{study.batch.id}").text
    assert link in admin.get(f"/results/{study.batch.id}").text
