"""A launch from the command line with a server that writes."""

import json
from pathlib import Path

from sqlalchemy import select

from app.db import Database
from app.models import EvalBatch
from tests.command_line import Command
from tests.factories import make_adapter, make_base, make_suite
from tests.fakes.model_server import FakeModelServer, model_server

LAUNCH = ("launch", "--suite", "suite", "--challenger", "brie-v1/epoch-2", "--canaries", "0", "--detach")


def prepare(database: Database, folder: Path) -> None:
    with database.session_scope() as session:
        make_suite(session, folder)
        make_base(session, folder)
        make_adapter(session, folder)


def test_a_launch_names_the_server_and_its_models(database: Database, arena: Command, tmp_path: Path) -> None:
    prepare(database, tmp_path)
    more = ("--top-k", "40", "--repetition-penalty", "1")
    with model_server(FakeModelServer({"SmolLM2": "", "brie": "SmolLM2"})) as fake:
        names = ("--model", "base=SmolLM2", "--model", "brie-v1/epoch-2=brie")
        said = arena(*LAUNCH, "--server", fake.url, *names, *more)
    assert said.code == 0, said.err
    with database.session_scope(write=False) as session:
        (batch,) = session.scalars(select(EvalBatch))
    assert batch.served is not None
    assert list(batch.served["models"].values()) == ["SmolLM2", "brie"]
    assert (batch.sampling["top_k"], batch.sampling["repetition_penalty"]) == (40, 1)
    (row,) = json.loads(arena("batches", "list", "--json").out)
    assert row["server"] == fake.url.removeprefix("http://").removesuffix("/v1")


def test_a_model_that_is_missing_launches_nothing(database: Database, arena: Command, tmp_path: Path) -> None:
    prepare(database, tmp_path)
    with model_server(FakeModelServer({"SmolLM2": ""})) as fake:
        said = arena(*LAUNCH, "--server", fake.url, "--model", "base=SmolLM2")
    assert said.code == 1
    assert "has no model brie-v1/epoch-2" in said.err + said.out
    assert json.loads(arena("batches", "list", "--json").out) == []
