"""Base models: asked for by an admin, brought here by a worker, known by their hashes."""

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from app import jobs
from app.domain.errors import BadInputError, ConflictError
from app.domain.names import check_name
from app.domain.terms import BaseModelSource, BaseModelState, JobKind
from app.models import BaseModel, Job
from app.queries.lookup import BUILT_IN_NAMES, base_model_named
from app.services.checkpoints import register_base


@dataclass(frozen=True)
class Fetched:
    """What a worker found out about weights it brought here."""

    name: str
    folder: str
    revision: str
    weights_hash: str
    tokenizer_hash: str
    template_hash: str
    parameters: int


def add_base_model(session: Session, wanted: str, *, now: datetime, name: str = "") -> BaseModel:
    """Ask for a base model: ``smollm2-135m``, a local folder, or a hub id like ``Qwen/Qwen2.5-0.5B-Instruct``.

    A failed or missing one is tried again; a ready one is returned as it is.

    Raises:
        BadInputError: it is none of the three.
        ConflictError: the name stands for another location already.
    """
    source, location = _source(wanted)
    name = check_name(name or _default_name(source, location), "base model")
    model = base_model_named(session, name)
    if model is None:
        model = BaseModel(
            name=name,
            source=source,
            location=location,
            state=BaseModelState.WAITING,
            created_at=now,
            ready_at=None,
        )
        session.add(model)
        session.flush()
    elif (model.source, model.location) != (source, location):
        raise ConflictError(f"The name {name!r} stands for {model.location or model.source} already; give --name.")
    elif model.state is BaseModelState.READY and Path(model.folder).exists():
        return model
    model.state = BaseModelState.WAITING
    model.error = ""
    fetch_base_model(session, model, now=now)
    return model


def fetch_base_model(session: Session, model: BaseModel, *, now: datetime) -> Job:
    """The job that brings the weights of this base model here, new or under way."""
    return jobs.enqueue(session, JobKind.FETCH_BASE_MODEL, model.id, title=f"Get base model {model.name}", now=now)


def _source(wanted: str) -> tuple[BaseModelSource, str]:
    if wanted in BUILT_IN_NAMES:
        return BaseModelSource.BUILT_IN, ""
    # os.path answers no where Path raises: a name too long, no such user, a folder we may not look into.
    folder = os.path.expanduser(wanted)  # noqa: PTH111
    if os.path.isdir(folder):  # noqa: PTH112
        return BaseModelSource.LOCAL, str(Path(folder).resolve())
    if wanted.count("/") == 1 and not wanted.startswith(("/", ".", "~")) and all(wanted.split("/")):
        return BaseModelSource.HUB, wanted
    raise BadInputError(
        f"{wanted!r} is no base model we can get: give {BUILT_IN_NAMES[0]}, an existing folder, or a hub id like "
        "Qwen/Qwen2.5-0.5B-Instruct."
    )


def _default_name(source: BaseModelSource, location: str) -> str:
    if source is BaseModelSource.BUILT_IN:
        return BUILT_IN_NAMES[0]
    return (
        Path(location).name.lower()
        if source is BaseModelSource.LOCAL
        else location.lower().replace("/", "--").replace("@", "-")
    )


def mark_ready(session: Session, model: BaseModel, fetched: Fetched, *, now: datetime) -> None:
    """The weights are here: store their hashes and register the bare base as a checkpoint.

    Raises:
        ConflictError: the folder now holds other weights than the ones results were made with.
    """
    known = (model.weights_hash, model.tokenizer_hash, model.template_hash)
    if model.weights_hash and known != (fetched.weights_hash, fetched.tokenizer_hash, fetched.template_hash):
        raise ConflictError(
            f"The folder of {model.name} now holds another model than when it was added. Add it under a new name."
        )
    if model.name in BUILT_IN_NAMES:
        model.name = fetched.name
    model.state = BaseModelState.READY
    model.error = ""
    model.folder = fetched.folder
    model.revision = fetched.revision
    model.weights_hash = fetched.weights_hash
    model.tokenizer_hash = fetched.tokenizer_hash
    model.template_hash = fetched.template_hash
    model.parameters = fetched.parameters
    model.ready_at = now
    register_base(session, model, now=now)


def mark_failed(model: BaseModel, error: str) -> None:
    """The weights could not be brought here."""
    model.state = BaseModelState.FAILED
    model.error = error
