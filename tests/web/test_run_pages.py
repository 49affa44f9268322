"""The pages of runs: curves by window, runs beside each other, the log, and training again with changes."""

import html
import re
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from app.domain.terms import LineKind, Split
from app.models import Run
from app.services import runs
from app.services.run_log import say
from app.services.runs import Metric, launch_run
from tests.factories import NOW, make_base, make_dataset, make_run, recipe
from tests.fixtures import on_sqlite

pytestmark = on_sqlite
Form = Callable[..., dict[str, str]]


@pytest.fixture
def run(app: FastAPI, tmp_path: Path) -> Run:
    with app.state.database.session_scope() as session:
        make_base(session, tmp_path)
        return make_run(session, tmp_path)


@pytest.fixture
def other(app: FastAPI, run: Run, tmp_path: Path) -> Run:
    with app.state.database.session_scope() as session:
        return make_run(session, tmp_path, name="other", done=False)


def measure(app: FastAPI, run: Run, steps: int = 20) -> None:
    told = [
        Metric(Split.TRAIN, step, 0.1, 2.0 + 1 / step, 1e-4, 50.0, 10 * step, 10**9) for step in range(1, steps + 1)
    ]
    with app.state.database.session_scope() as session:
        stored = session.get_one(Run, run.id)
        runs.record(session, stored, [*told, Metric(Split.VALIDATION, 0, 0.0, 3.0, tokens=0)], now=NOW)


def newest(app: FastAPI) -> list[Run]:
    with app.state.database.session_scope(write=False) as session:
        return list(session.scalars(select(Run).where(Run.came_from_id.is_not(None)).order_by(Run.name)))


# ---------------------------------------------------------------------------------------------------------- curves


def test_a_window_is_kept_by_the_part_that_fetches_itself_again(app: FastAPI, admin: TestClient, run: Run) -> None:
    measure(app, run)
    page = admin.get(f"/runs/{run.id}?from=5&to=10&scale=log").text
    assert f'hx-get="/runs/{run.id}/progress?scale=log&amp;from=5&amp;to=10"' in page
    assert 'data-first="5" data-last="10"' in page
    assert "on a logarithmic scale" in page
    assert f'href="/runs/{run.id}?scale=log"' in page  # the whole run, still on that scale
    part = admin.get(f"/runs/{run.id}/progress?from=5&to=10").text
    assert 'data-first="5" data-last="10"' in part
    assert "logarithmic" not in part


def test_the_axis_ends_where_an_ended_run_did(app: FastAPI, admin: TestClient, run: Run, other: Run) -> None:
    for one in (run, other):
        measure(app, one)
        with app.state.database.session_scope() as session:
            session.get_one(Run, one.id).total_steps = 80
    assert 'data-last="20"' in admin.get(f"/runs/{run.id}").text
    going = admin.get(f"/runs/{other.id}").text
    assert 'data-last="80"' in going
    assert "None yet. One is saved" in going
    assert "None was saved." in admin.get(f"/runs/{run.id}").text


def test_empty_fields_of_the_window_are_the_whole_run(app: FastAPI, admin: TestClient, run: Run) -> None:
    measure(app, run)
    assert 'data-first="0" data-last="20"' in admin.get(f"/runs/{run.id}?from=&to=").text


@pytest.mark.parametrize("query", ["from=-1", "from=x", "to=1.5", f"to={10**30}", "scale=cubic", "by=days"])
def test_a_window_that_is_none_is_refused(admin: TestClient, run: Run, query: str) -> None:
    answer = admin.get(f"/runs/{run.id}?{query}")
    assert (answer.status_code, 'id="error"' in answer.text) == (422, True)


def test_a_window_without_anything_in_it_says_so(app: FastAPI, admin: TestClient, run: Run) -> None:
    measure(app, run)
    assert "nothing to draw between 90 and 99 steps" in admin.get(f"/runs/{run.id}?from=90&to=99").text


def test_a_run_that_measured_nothing_has_no_tools(admin: TestClient, run: Run) -> None:
    page = admin.get(f"/runs/{run.id}").text
    assert "No loss has been measured yet." in page
    assert "data-curves" not in page


def test_the_page_of_many_steps_has_few_points(app: FastAPI, admin: TestClient, run: Run) -> None:
    measure(app, run, 5000)
    page = admin.get(f"/runs/{run.id}").text
    assert "mean of 17 steps" in page
    assert max(path.count("L") for path in re.findall(r' d="([^"]*)"', page)) <= 600  # to and fro, for the band
    assert page.count("<tr>") < 400


# --------------------------------------------------------------------------------------------------------- compare


def test_runs_are_chosen_on_their_list(admin: TestClient, run: Run, other: Run) -> None:
    page = admin.get("/runs").text
    assert '<form id="compare"' in page
    assert all(f'name="run" value="{one.id}"' in page for one in (run, other))


def test_runs_beside_each_other(app: FastAPI, admin: TestClient, run: Run, other: Run) -> None:
    measure(app, run)
    measure(app, other, 10)
    page = admin.get(f"/runs/compare?run={run.id}&run={other.id}").text
    assert page.count("line-run-1") >= 3
    assert page.count("line-run-2") >= 3
    assert "In nothing that a recipe says" in page
    assert f"/runs/compare/curves?run={run.id}&amp;run={other.id}" in page  # the other one still goes
    over = admin.get(f"/runs/compare?run={run.id}&run={other.id}&by=tokens").text
    assert 'data-first="0" data-last="200"' in over
    part = admin.get(f"/runs/compare/curves?run={run.id}&run={other.id}&from=2&to=8").text
    assert 'data-first="2" data-last="8"' in part


def test_runs_that_have_ended_ask_for_nothing_more(app: FastAPI, admin: TestClient, run: Run) -> None:
    measure(app, run)
    page = admin.get(f"/runs/compare?run={run.id}").text
    assert "/runs/compare/curves" not in page
    assert "Only one run was chosen" in page


def test_without_a_run_the_page_says_how_to_choose(admin: TestClient) -> None:
    page = admin.get("/runs/compare")
    assert (page.status_code, "tick two or more" in page.text) == (200, True)


def test_more_runs_than_fit_are_said_to(app: FastAPI, admin: TestClient, run: Run, tmp_path: Path) -> None:
    with app.state.database.session_scope() as session:
        many = [make_run(session, tmp_path).id for _ in range(9)]
    page = admin.get("/runs/compare?" + "&".join(f"run={one}" for one in [run.id, *many])).text
    assert "8 runs fit on a chart; the first 8 that were chosen are here, 2 more are left out." in page
    assert "line-run-8" in page
    assert "line-run-9" not in page


@pytest.mark.parametrize(("query", "status"), [(f"run={uuid.UUID(int=7)}", 404), ("run=x", 422)])
def test_runs_that_are_none_cannot_be_compared(admin: TestClient, query: str, status: int) -> None:
    for address in ("/runs/compare", "/runs/compare/curves"):
        assert admin.get(f"{address}?{query}").status_code == status


def test_the_moving_part_without_a_run_is_empty(admin: TestClient) -> None:
    answer = admin.get("/runs/compare/curves")
    assert (answer.status_code, "line-run-" in answer.text) == (200, False)


# ------------------------------------------------------------------------------------------------------------- log


def test_the_log_is_on_the_page_and_is_a_text(app: FastAPI, admin: TestClient, run: Run) -> None:
    assert "Nothing was said yet." in admin.get(f"/runs/{run.id}").text
    with app.state.database.session_scope() as session:
        told = [(NOW, LineKind.TOLD, f"step {n} <b>") for n in range(30)]
        say(session, session.get_one(Run, run.id), [*told, (NOW, LineKind.WARNING, "too long")])
    part = admin.get(f"/runs/{run.id}/log").text
    assert "step 29 &lt;b&gt;" in part
    assert "step 5 " not in part
    assert "warning: too long" in part
    assert "the last 12 of 31 lines" in part
    text = admin.get(f"/runs/{run.id}/log.txt")
    assert text.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert (text.text.count("\n"), text.headers["Cache-Control"]) == (31, "no-store")


# ----------------------------------------------------------------------------------------------------------- again


@pytest.fixture
def form(admin: TestClient, run: Run) -> Form:
    """The form as the page offers it, with some fields changed."""
    page = admin.get(f"/runs/{run.id}/again").text
    values = dict(re.findall(r'<input id="(\w+)"[^>]* value="([^"]*)"', page))
    values |= {name: re.search(rf'<select id="{name}".*?<option selected>([^<]*)', page, re.DOTALL)[1]
               for name in ("dataset", "base_model")}  # fmt: skip
    values["toml"] = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)[1].replace("&#34;", '"')
    return lambda **changed: values | changed


def test_the_form_has_what_the_run_was_trained_with(form: Form) -> None:
    assert form()["name"] == "brie-v1-2"
    assert (form()["r"], form()["seed"], form()["dataset"], form()["base_model"]) == ("8", "", "lessons@1", "tiny")
    assert "[lora]\nr = 8\n" in form()["toml"]


def test_a_changed_field_makes_a_new_run_that_tells_it(app: FastAPI, admin: TestClient, run: Run, form: Form) -> None:
    answer = admin.post(f"/runs/{run.id}/again", data=form(r="16", learning_rate="2e-4"))
    (made,) = newest(app)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/runs/{made.id}")
    assert (made.name, made.came_from_id, made.recipe["lora"]["r"]) == ("brie-v1-2", run.id, 16)
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", admin.get(f"/runs/{made.id}").text))
    assert "Changed from brie-v1: lora.r 8 → 16, train.learning_rate not set → 2e-4." in page
    assert admin.get(f"/runs/compare?run={run.id}&run={made.id}").status_code == 200
    assert admin.get(f"/runs/{made.id}/again").text.count('value="brie-v1-3"') == 1


def test_the_toml_changes_what_has_no_field(app: FastAPI, admin: TestClient, run: Run, form: Form) -> None:
    toml = form()["toml"] + 'use_rslora = true\r\n[train]\r\nlr_scheduler_type = "linear"\r\n'
    assert admin.post(f"/runs/{run.id}/again", data=form(toml=toml, seed="5")).status_code == 303
    (made,) = newest(app)
    assert made.recipe["lora"] == {"r": 8, "use_rslora": True}
    assert (made.recipe["train"], made.recipe["seed"]) == ({"lr_scheduler_type": "linear"}, 5)


def test_the_weights_of_a_mix_are_changed_in_the_toml(
    app: FastAPI, admin: TestClient, run: Run, tmp_path: Path
) -> None:
    with app.state.database.session_scope() as session:
        make_dataset(session, tmp_path, "notes")
        mixed = launch_run(session, recipe(), mix={"lessons": 2.0, "notes": 1.0}, name="both", now=NOW)
    page = admin.get(f"/runs/{mixed.id}/again").text
    assert 'name="dataset"' not in page
    assert "It learned from a mix of datasets" in page
    toml = html.unescape(page.partition("<textarea")[2].partition(">")[2].partition("</textarea>")[0])
    toml = toml.replace('"notes@1" = 1.0', '"notes@1" = 3.0')
    assert admin.post(f"/runs/{mixed.id}/again", data={"toml": toml}).status_code == 303
    (made,) = (one for one in newest(app) if one.name == "both-2")
    assert made.recipe["mix"] == {"lessons@1": 2.0, "notes@1": 3.0}


def test_a_list_in_a_field_is_a_sweep(app: FastAPI, admin: TestClient, run: Run, form: Form) -> None:
    answer = admin.post(f"/runs/{run.id}/again", data=form(r="[4, 16]"))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/runs")
    first, second = sorted(newest(app), key=lambda made: made.recipe["lora"]["r"])
    assert [made.name for made in (first, second)] == ["brie-v1-2-r4", "brie-v1-2-r16"]
    assert first.sweep_id == second.sweep_id is not None
    assert "Compare with its sibling" in admin.get(f"/runs/{first.id}").text


HEAD = 'name = "a"\nkind = "sft"\ndataset = "brie"\n'


@pytest.mark.parametrize(
    ("changed", "field", "said"),
    [
        ({"r": "many"}, "r", "lora.r must be a whole number from 1 to 256, not &#34;many&#34;."),
        ({"r": ""}, "r", "A value is needed here."),
        ({"learning_rate": "5"}, "learning_rate", "must be a number from 1e-8 to 1, not 5."),
        ({"r": "[4, 0]"}, "r", "lora.r must be a whole number from 1 to 256, not 0."),
        ({"r": "[]"}, "toml", "which needs a list of single values"),
        ({"name": "../up"}, "name", "cannot be the name of a run"),
        ({"name": "n" * 98, "r": "[4, 16]"}, "name", "cannot be the name of a run"),
        ({"name": "brie-v1"}, "name", "There is a run &#39;brie-v1&#39; already."),
        ({"toml": "name ="}, "toml", "is not valid TOML"),
        ({"toml": f"{HEAD}[lora]\nrr = 3\n"}, "toml", "did you mean lora.r?"),
        ({"toml": f"{HEAD}[lora]\nr = 4\n", "r": "16"}, "r", "changed to 4: change it in one"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_told_at_its_field(
    app: FastAPI, admin: TestClient, run: Run, form: Form, changed: dict[str, str], field: str, said: str
) -> None:
    answer = admin.post(f"/runs/{run.id}/again", data=form(**changed))
    assert answer.status_code == 422
    told = re.search(rf'id="{field}-error">([^<]*)<', answer.text)
    assert told is not None, re.findall(r'id="(\w+)-error">([^<]*)<', answer.text)
    assert said in told[1]
    assert all(value in answer.text for value in changed.values() if value.isalnum())  # what was typed stays
    with app.state.database.session_scope(write=False) as session:
        assert session.scalar(select(func.count(Run.id))) == 1


def test_of_a_sweep_none_is_launched_when_one_name_is_taken(
    app: FastAPI, admin: TestClient, run: Run, form: Form, tmp_path: Path
) -> None:
    with app.state.database.session_scope() as session:
        make_run(session, tmp_path, name="mine-r16")
    answer = admin.post(f"/runs/{run.id}/again", data=form(name="mine", r="[4, 16]"))
    assert (answer.status_code, "There is a run &#39;mine-r16&#39; already" in answer.text) == (422, True)
    assert newest(app) == []


def test_a_dataset_that_is_not_there_is_said_to_be_missing(admin: TestClient, run: Run, form: Form) -> None:
    answer = admin.post(f"/runs/{run.id}/again", data=form(dataset="gone@3"))
    assert (answer.status_code, "There is no dataset" in answer.text) == (422, True)
