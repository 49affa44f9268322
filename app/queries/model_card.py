"""What the model card of an adapter says: what it is, what it learned from, and its results in closed eval batches."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError
from app.domain.terms import BaseModelSource, BatchState
from app.models import BaseModel, BatchCheckpoint, EvalBatch, Run
from app.queries.checkpoints import CheckpointPage, checkpoint_page
from app.queries.report import report
from app.queries.run_data import data_of
from app.queries.runs import RunPage, run_page

BUILT_IN_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""Where the small base model that the arena brings with it comes from."""


@dataclass(frozen=True)
class CardResult:
    """What came of it in one closed eval batch: the matchups it took part in, as the report tells them."""

    batch: str
    suite: str
    suite_sha256: str
    simulated: bool
    mapping_suspect: bool
    matchups: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class CardData:
    """A dataset that it learned from."""

    name: str
    """With version, and weight where it is not 1."""
    sha256: str
    rows: int


@dataclass(frozen=True)
class ModelCard:
    """An adapter with its lineage and its results. ``base_hub_id`` is empty where the base came from a folder."""

    page: CheckpointPage
    run: RunPage
    base_model: str
    base_hub_id: str
    base_weights_hash: str
    data: tuple[CardData, ...]
    results: tuple[CardResult, ...]

    @property
    def name(self) -> str:
        """The checkpoint's name."""
        return self.page.checkpoint.name


def model_card(session: Session, checkpoint_id: uuid.UUID) -> ModelCard:
    """The card of an adapter that was trained here.

    Raises:
        NotFoundError: no checkpoint has this id.
        BadInputError: it is no adapter of a run of this arena.
    """
    page = checkpoint_page(session, checkpoint_id)
    if page.checkpoint.run_id is None:
        raise BadInputError(
            f"{page.checkpoint.name} was not trained in this arena, so there is nothing that a model card could say of "
            "it. Its page has what is known."
        )
    run = session.get_one(Run, page.checkpoint.run_id)
    base = session.get_one(BaseModel, run.base_model_id)
    data = data_of(session, run.id)
    hub_id = {BaseModelSource.HUB: base.location, BaseModelSource.BUILT_IN: BUILT_IN_HUB_ID}.get(base.source, "")
    closed = session.scalars(
        select(EvalBatch)
        .join(BatchCheckpoint, BatchCheckpoint.eval_batch_id == EvalBatch.id)
        .where(BatchCheckpoint.checkpoint_id == checkpoint_id, EvalBatch.state == BatchState.CLOSED)
        .order_by(EvalBatch.created_at, EvalBatch.name)
    )
    return ModelCard(
        page=page,
        run=run_page(session, run.id),
        base_model=base.name,
        base_hub_id=hub_id.partition("@")[0],
        base_weights_hash=base.weights_hash,
        data=tuple(CardData(part.label, part.dataset.sha256, part.dataset.rows) for part in data),
        results=tuple(_result(report(session, batch.id), page.checkpoint.name) for batch in closed),
    )


def _result(told: Mapping[str, Any], name: str) -> CardResult:
    return CardResult(
        batch=told["batch"]["name"],
        suite=told["batch"]["suite"],
        suite_sha256=told["provenance"]["suite"]["sha256"],
        simulated=bool(told["batch"]["simulated_votes"]),
        mapping_suspect=told["mapping_suspect"],
        matchups=tuple(one for one in told["matchups"] if name in (one["baseline"], one["challenger"])),
    )
