"""Finding one thing by what a person calls it; what is not there is answered with what is."""

import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.domain.names import CONTROLS
from app.domain.terms import CheckpointKind
from app.models import BaseModel, Checkpoint, Dataset, EvalBatch, Run, Suite

BUILT_IN_NAMES = ("smollm2-135m", "smollm2-135m-q4")
"""The second is the same model from the fallback package: other weights, so a base model of its own."""
_SHORTEST_FINGERPRINT = 12
_SHORTEST_ID = 8
_VERSION = re.compile("[0-9]{1,9}")


def _name_and_version(wanted: str) -> tuple[str, int | None]:
    """``name@2`` as name and version. What is no number becomes 0, a version that never exists."""
    name, at, version = wanted.partition("@")
    if not at:
        return name, None
    return name, int(version) if _VERSION.fullmatch(version) else 0


def find_suite(session: Session, name: str) -> Suite:
    """The newest version of a suite by name, or one version as ``name@2``.

    Raises:
        NotFoundError: there is none; lists what exists.
    """
    plain, version = _name_and_version(name)
    competes = Suite.name.not_in(CONTROLS)  # nothing is compared on control pairs
    query = select(Suite).where(Suite.name == plain, competes).order_by(Suite.version.desc()).limit(1)
    suite = session.scalar(query.where(Suite.version == version) if version is not None else query)
    if suite is None:
        known = (
            ", ".join(session.scalars(select(Suite.name).where(competes).distinct().order_by(Suite.name))) or "none yet"
        )
        raise NotFoundError(
            f"There is no suite {name!r}. Known: {known}. Import one with `./arena suites import FILE`."
        )
    return suite


def find_dataset(session: Session, name: str) -> Dataset:
    """The newest version of a dataset by name, or one version as ``name@2``.

    Raises:
        NotFoundError: there is none; lists what exists.
    """
    plain, version = _name_and_version(name)
    query = select(Dataset).where(Dataset.name == plain).order_by(Dataset.version.desc()).limit(1)
    dataset = session.scalar(query.where(Dataset.version == version) if version is not None else query)
    if dataset is None:
        known = ", ".join(session.scalars(select(Dataset.name).distinct().order_by(Dataset.name))) or "none yet"
        raise NotFoundError(
            f"There is no dataset {name!r}. Known: {known}. Import one with `./arena datasets import FILE`."
        )
    return dataset


def base_model_named(session: Session, name: str) -> BaseModel | None:
    """The base model of this name; either name of the built-in one finds it."""
    names = BUILT_IN_NAMES if name in BUILT_IN_NAMES else (name,)
    return session.scalar(select(BaseModel).where(BaseModel.name.in_(names)).order_by(BaseModel.ready_at).limit(1))


def find_base_model(session: Session, wanted: str) -> BaseModel:
    """A base model by name or by the hub id it came from.

    Raises:
        NotFoundError: there is none; says how to add it.
    """
    model = base_model_named(session, wanted) or session.scalar(select(BaseModel).where(BaseModel.location == wanted))
    if model is None:
        known = ", ".join(session.scalars(select(BaseModel.name).order_by(BaseModel.name))) or "none yet"
        raise NotFoundError(
            f"There is no base model {wanted!r}. Known: {known}. Add it with `./arena models add {wanted}`."
        )
    return model


def find_run(session: Session, name: str) -> Run:
    """A run by its name.

    Raises:
        NotFoundError: there is none; lists the newest.
    """
    run = session.scalar(select(Run).where(Run.name == name))
    if run is None:
        newest = session.scalars(select(Run.name).order_by(Run.created_at.desc()).limit(8))
        raise NotFoundError(f"There is no run {name!r}. Known: {', '.join(newest) or 'none yet'}.")
    return run


def find_checkpoint(session: Session, wanted: str) -> Checkpoint:
    """A checkpoint by name, or by the beginning of its fingerprint (12 characters or more).

    Raises:
        NotFoundError: there is none; lists the newest.
    """
    competes = Checkpoint.kind != CheckpointKind.CONTROL
    by_name = session.scalar(select(Checkpoint).where(Checkpoint.name == wanted, competes))
    if by_name is not None:
        return by_name
    if len(wanted) >= _SHORTEST_FINGERPRINT:
        by_print = session.scalars(
            select(Checkpoint).where(Checkpoint.fingerprint.startswith(wanted, autoescape=True), competes)
        ).all()
        if len(by_print) == 1:
            return by_print[0]
    newest = select(Checkpoint.name).where(competes).order_by(Checkpoint.created_at.desc()).limit(8)
    known = ", ".join(session.scalars(newest)) or "none yet; train one with `./arena train brie-v1`"
    raise NotFoundError(f"There is no checkpoint {wanted!r}. Known: {known}.")


def base_of(session: Session, checkpoint: Checkpoint) -> Checkpoint:
    """The bare base that a checkpoint sits on.

    Raises:
        NotFoundError: the base is not registered (its weights were never brought here).
    """
    base = session.scalar(
        select(Checkpoint).where(
            Checkpoint.base_model_id == checkpoint.base_model_id, Checkpoint.kind == CheckpointKind.BASE
        )
    )
    if base is None:
        raise NotFoundError(f"The base model of {checkpoint.name} is not here. Add it with `./arena models add`.")
    return base


def find_batch(session: Session, wanted: str) -> EvalBatch:
    """An eval batch by its name, or by its id in full or in part (8 characters or more).

    Raises:
        NotFoundError: none matches; lists the newest names.
    """
    batches = session.scalars(select(EvalBatch).order_by(EvalBatch.created_at.desc())).all()
    for batch in batches:
        if batch.name == wanted or (len(wanted) >= _SHORTEST_ID and str(batch.id).startswith(wanted)):
            return batch
    known = ", ".join(batch.name for batch in batches[:5]) or "none yet; launch one with `./arena launch`"
    raise NotFoundError(f"There is no eval batch {wanted!r}. Known: {known}.")
