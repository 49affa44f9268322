"""What a run was trained on, and on what else it could be."""

import uuid
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import NotFoundError
from app.models import BaseModel, Dataset, Run


@dataclass(frozen=True)
class Retraining:
    """A run with its dataset and base model, and all that there are, by the names that a launch takes."""

    run: Run
    dataset: str
    """Empty where it learned from a mix."""
    base_model: str
    datasets: tuple[str, ...]
    base_models: tuple[str, ...]


def retraining(session: Session, run_id: uuid.UUID) -> Retraining:
    """A run, to be trained again.

    Raises:
        NotFoundError: no run has this id.
    """
    run = session.get(Run, run_id)
    if run is None:
        raise NotFoundError("There is no such run. The list of runs shows what exists.")
    names = select(Dataset.id, Dataset.name, Dataset.version).order_by(Dataset.name, Dataset.version.desc())
    datasets = {id_: f"{name}@{version}" for id_, name, version in session.execute(names)}
    models = session.execute(select(BaseModel.id, BaseModel.name).order_by(BaseModel.name))
    base_models = {row.id: row.name for row in models}
    return Retraining(
        run=run,
        dataset="" if run.recipe.get("mix") else datasets[run.dataset_id],
        base_model=base_models[run.base_model_id],
        datasets=tuple(datasets.values()),
        base_models=tuple(base_models.values()),
    )
