"""Runs: launching one, and storing what the training reports on the way."""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app import jobs
from app.domain.errors import BadInputError, ConflictError
from app.domain.names import check_name
from app.domain.recipe_rules import check_recipe
from app.domain.recipes import RecipeRow, variants, with_data
from app.domain.terms import BaseModelState, JobKind, Split
from app.models import BaseModel, Dataset, Job, Run, RunDataset, RunMetric
from app.queries.lookup import find_base_model, find_dataset
from app.services.base_models import fetch_base_model
from app.services.events import announce


@dataclass(frozen=True)
class Metric:
    """A loss in nats per trained token, with what was known at that step."""

    split: Split
    step: int
    epoch: float
    loss: float
    learning_rate: float | None = None
    tokens_per_second: float | None = None
    tokens: int | None = None
    memory_bytes: int | None = None


def launch_run(
    session: Session,
    recipe: RecipeRow,
    *,
    now: datetime,
    dataset: str = "",
    mix: Mapping[str, float] = MappingProxyType({}),
    base: str = "",
    name: str = "",
    came_from_id: uuid.UUID | None = None,
    sweep_id: uuid.UUID | None = None,
) -> Run:
    """Freeze the recipe, its data and its base model into a run and queue its training.

    ``dataset`` or ``mix`` (datasets with their weights) take the place of the recipe's own.

    A base model whose weights are still on their way is fine: the training waits for that job.

    Raises:
        NotFoundError: a dataset or the base model is unknown.
        BadInputError: a dataset is in the mix twice, under two names.
        ConflictError: the name is taken, or the base model could not be fetched.
    """
    if dataset or mix:
        recipe = with_data(recipe, mix or {dataset: 1.0})
    recipe, mixed = _frozen(session, recipe)
    data = mixed[0][0] if mixed else find_dataset(session, recipe.dataset)
    model = find_base_model(session, base or recipe.base_model)
    fetching = _fetch_in_progress(session, model, now)
    run = Run(
        name=_free_name(session, check_name(name or recipe.name, "run"), given=bool(name)),
        kind=recipe.kind,
        recipe_name=recipe.name,
        recipe=recipe.content,
        dataset_id=data.id,
        base_model_id=model.id,
        came_from_id=came_from_id,
        sweep_id=sweep_id,
        created_at=now,
    )
    session.add(run)
    session.flush()
    session.add_all(
        RunDataset(run_id=run.id, dataset_id=one.id, position=position, weight=weight)
        for position, (one, weight) in enumerate(mixed)
    )
    run.job_id = jobs.enqueue(session, JobKind.TRAIN, run.id, title=f"Train {run.name}", now=now, after=fetching).id
    announce(session, "run", run.id, now=now)
    session.flush()
    return run


def _frozen(session: Session, recipe: RecipeRow) -> tuple[RecipeRow, list[tuple[Dataset, float]]]:
    """The recipe with the version of each dataset of its mix in the name, and these datasets with their weights."""
    mixed = [(find_dataset(session, name), weight) for name, weight in recipe.mix.items()]
    if not mixed:
        return recipe, []
    pinned = {f"{one.name}@{one.version}": weight for one, weight in mixed}
    if len(pinned) < len(mixed):
        raise BadInputError(
            "The mix names one version of a dataset twice. Give it once, with the weight it is to have."
        )
    return replace(recipe, mix=pinned, content={**recipe.content, "mix": pinned}), mixed


def launch_sweep(
    session: Session,
    recipe: RecipeRow,
    *,
    now: datetime,
    dataset: str = "",
    mix: Mapping[str, float] = MappingProxyType({}),
    base: str = "",
    name: str = "",
    came_from: Run | None = None,
) -> tuple[Run, ...]:
    """``launch_run`` for every recipe that this one stands for; a name is given to each with what differs behind it.

    ``came_from``: the run whose recipe was changed for them.

    Raises:
        BadInputError, NotFoundError, ConflictError: as there, in ``variants`` and ``check_recipe``; none was launched.
    """
    wanted = variants(recipe)
    for one in wanted:
        check_recipe(one)
    sweep_id = uuid.uuid4() if len(wanted) > 1 else None
    return tuple(
        launch_run(
            session,
            one,
            now=now,
            dataset=dataset,
            mix=mix,
            base=base,
            name=name and name + one.name.removeprefix(recipe.name),
            came_from_id=came_from.id if came_from else None,
            sweep_id=sweep_id,
        )
        for one in wanted
    )


def next_name(session: Session, name: str) -> str:
    """The name of a run that comes from this one: ``name-2``, and after ``name-2`` the next number that is free."""
    stem = re.sub(r"-\d{1,4}$", "", name)
    taken = set(session.scalars(select(Run.name).where(Run.name.startswith(f"{stem}-", autoescape=True))))
    number = 2
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"


def _fetch_in_progress(session: Session, model: BaseModel, now: datetime) -> Job | None:
    """The job that brings the weights here, if they are not here yet."""
    if model.state is BaseModelState.FAILED:
        raise ConflictError(
            f"The base model {model.name} is not here: {model.error} Try again with `./arena models add`."
        )
    if model.state is BaseModelState.READY:
        return None
    return fetch_base_model(session, model, now=now)


def _free_name(session: Session, wanted: str, *, given: bool) -> str:
    taken = set(session.scalars(select(Run.name).where(Run.name.startswith(wanted, autoescape=True))))
    if wanted not in taken:
        return wanted
    if given:
        raise ConflictError(f"There is a run {wanted!r} already. Choose another name.")
    number = 2
    while f"{wanted}.{number}" in taken:
        number += 1
    return f"{wanted}.{number}"


def cancel_run(session: Session, run: Run, *, now: datetime) -> Job:
    """Ask the training to stop after the step it is in; what it learned is saved as a checkpoint.

    Raises:
        ConflictError: it has already ended.
    """
    if run.job_id is None:
        raise ConflictError(f"The run {run.name} has no job to cancel.")
    job = jobs.request_cancel(session, run.job_id, now=now)
    announce(session, "run", run.id, now=now)
    return job


def begin(
    session: Session,
    run: Run,
    *,
    device: str,
    dtype: str,
    total_steps: int,
    trainable_parameters: int,
    resumed_step: int = 0,
) -> None:
    """The training starts, or goes on behind a step: what an earlier attempt reported beyond that is dropped."""
    told = delete(RunMetric).where(RunMetric.run_id == run.id)
    session.execute(told.where(RunMetric.step > resumed_step) if resumed_step else told)
    run.device = device
    run.dtype = dtype
    run.total_steps = total_steps
    run.trainable_parameters = trainable_parameters
    if not resumed_step:
        run.notes = ""


def record(session: Session, run: Run, metrics: list[Metric], *, now: datetime) -> None:
    """Store what the training reported."""
    session.add_all(
        RunMetric(
            run_id=run.id,
            split=metric.split,
            step=metric.step,
            epoch=metric.epoch,
            loss=metric.loss,
            learning_rate=metric.learning_rate,
            tokens_per_second=metric.tokens_per_second,
            tokens=metric.tokens,
            memory_bytes=metric.memory_bytes,
            created_at=now,
        )
        for metric in metrics
    )
    announce(session, "run", run.id, now=now)


def show(run: Run, rows: Sequence[tuple[int, Sequence[tuple[str, bool]], str]]) -> None:
    """Keep what the model sees of the first rows.

    Args:
        run: which sees them.
        rows: the line of each, its pieces with whether they are learned, and the dataset of a mix that it is from.
    """
    run.preview = [
        {"line": line, "pieces": [[text, learned] for text, learned in pieces], "source": source}
        for line, pieces, source in rows
    ]


def note(run: Run, warning: str) -> None:
    """Keep a warning of the training with the run, once: an attempt that goes on gives those of its beginning again."""
    if warning not in run.notes.split("\n"):
        run.notes = "\n".join(filter(None, (run.notes, warning)))
