"""``arena checkpoints serve``: checkpoints behind an OpenAI-compatible API, for programs with a token."""

import os
import sys
from typing import Annotated

import typer
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.cli.follow import ensure_training
from app.cli.prepare import prepare
from app.cli.up import require_free_port
from app.config import ROOT
from app.db import session_scope
from app.domain.errors import BadInputError, ConflictError
from app.domain.terms import BaseModelState, CheckpointKind
from app.models import BaseModel, Checkpoint
from app.queries.lookup import find_base_model, find_checkpoint

MOST_ADAPTERS = 8
PORT = 8711


def serve(
    names: Annotated[
        list[str] | None, typer.Argument(help="Checkpoints on one base model; the newest eight when left out.")
    ] = None,
    base: Annotated[str, typer.Option(help="Base model, where no checkpoint is named.")] = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = PORT,
    most_tokens: Annotated[int, typer.Option(help="Most tokens of one response.", min=1)] = 1024,
    line: Annotated[int, typer.Option(help="Requests that may wait; more are refused with 429.", min=1)] = 32,
) -> None:
    """Serve a base model and adapters on it, until stopped; asked with a token of the scope `complete`."""
    settings = prepare()
    with session_scope(write=False) as session:
        model, adapters = _chosen(session, names or [], base)
        ids = [str(adapter.id) for adapter in adapters]
    require_free_port(host, port)
    ensure_training()
    settings.hand_on()
    arguments = [
        "--base", str(model.id), *(part for id_ in ids for part in ("--checkpoint", id_)),
        "--host", host, "--port", str(port), "--most-tokens", str(most_tokens), "--line", str(line),
    ]  # fmt: skip
    os.chdir(ROOT)
    # In place of this process, so that whoever stops it stops the server.
    os.execv(sys.executable, [sys.executable, "-m", "worker.endpoint", *arguments])  # noqa: S606 (our own module)


def _chosen(session: Session, names: list[str], base: str) -> tuple[BaseModel, list[Checkpoint]]:
    """One base model that is ready, and the adapters on it that are to be served."""
    named = [find_checkpoint(session, name) for name in dict.fromkeys(names)]
    for checkpoint in named:
        if checkpoint.kind not in (CheckpointKind.BASE, CheckpointKind.ADAPTER):
            raise ConflictError(f"Of {checkpoint.name} only responses are here, so it cannot be served.")
    if len({checkpoint.base_model_id for checkpoint in named}) > 1:
        raise BadInputError(
            "These checkpoints sit on different base models. Serve each base model on a port of its own."
        )
    model = _base(session, named, base)
    if model.state is not BaseModelState.READY:
        raise ConflictError(f"The base model {model.name} is not on this machine. `./arena models add` brings it.")
    adapters = [checkpoint for checkpoint in named if checkpoint.kind is CheckpointKind.ADAPTER]
    if not named:
        newest = (
            select(Checkpoint)
            .where(Checkpoint.base_model_id == model.id, Checkpoint.kind == CheckpointKind.ADAPTER)
            .order_by(Checkpoint.created_at.desc(), Checkpoint.id)
        )
        adapters = [one for one in session.scalars(newest) if one.folder][:MOST_ADAPTERS]
    if len(adapters) > MOST_ADAPTERS:
        raise BadInputError(f"At most {MOST_ADAPTERS} adapters are served at the same time. Name fewer.")
    return model, adapters


def _base(session: Session, named: list[Checkpoint], wanted: str) -> BaseModel:
    if named:
        return session.get_one(BaseModel, named[0].base_model_id)
    if wanted:
        return find_base_model(session, wanted)
    ready = session.scalars(select(BaseModel).where(BaseModel.state == BaseModelState.READY)).all()
    if len(ready) != 1:
        known = ", ".join(sorted(model.name for model in ready)) or "none yet; ./arena models add brings one"
        raise BadInputError(f"Say which base model to serve, with --base or by naming checkpoints. Ready: {known}.")
    return ready[0]
