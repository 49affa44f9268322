"""``arena checkpoints serve`` refuses what cannot be served before anything is loaded."""

from pathlib import Path

from app.db import Database
from app.domain.terms import BaseModelState
from app.models import BaseModel
from tests.command_line import Command
from tests.factories import make_adapter, make_base


def test_what_cannot_be_served_is_said(arena: Command, database: Database, tmp_path: Path) -> None:
    said = arena("checkpoints", "serve")
    assert (said.code, "Ready: none yet" in said.err) == (1, True)
    with database.session_scope() as session:
        for name in ("tiny", "other"):
            make_base(session, tmp_path, name=name)
        for number in range(9):
            make_adapter(session, tmp_path, name=f"run-{number}")
        make_adapter(session, tmp_path, name="stray", base="other")
    said = arena("checkpoints", "serve")
    assert (said.code, "with --base or by naming checkpoints. Ready: other, tiny." in said.err) == (1, True)
    said = arena("checkpoints", "serve", "run-1/epoch-2", "stray/epoch-2")
    assert (said.code, "sit on different base models" in said.err) == (1, True)
    said = arena("checkpoints", "serve", *(f"run-{number}/epoch-2" for number in range(9)))
    assert (said.code, "At most 8 adapters" in said.err) == (1, True)
    said = arena("checkpoints", "serve", "nobody")
    assert (said.code, "There is no checkpoint 'nobody'" in said.err) == (1, True)
    with database.session_scope() as session:
        for model in session.query(BaseModel):
            model.state = BaseModelState.FAILED
    said = arena("checkpoints", "serve", "run-1/epoch-2")
    assert (said.code, "The base model tiny is not on this machine." in said.err) == (1, True)
