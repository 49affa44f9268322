"""The finished report of a closed eval batch: its numbers, the hash of them, and whether they follow from raw votes."""

import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.domain.errors import ConflictError, NotFoundError
from app.domain.terms import BatchState
from app.models import EvalBatch
from app.queries.report import report
from app.queries.verification import Verification, verify


@dataclass(frozen=True)
class FrozenReport:
    """``told`` is what ``arena report --json`` prints; everything that the report shows is in it."""

    name: str
    told: dict[str, Any]
    sha256: str
    """Of the canonical JSON of ``told``."""
    verified: Verification | None
    """``None``: only looked at, and not written down."""

    @property
    def file_name(self) -> str:
        """How its files are called, without the ending."""
        return f"{self.name}.report"


def canonical(told: dict[str, Any]) -> str:
    """One way to write a report as JSON: keys sorted, no spaces, UTF-8. What is hashed."""
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def frozen_report(session: Session, batch_id: uuid.UUID, secret: bytes | None = None) -> FrozenReport:
    """The report of a closed eval batch and, with the secret of the seals, its verification from raw votes.

    To verify takes seconds where pairs are many: a file is verified when it is written, a page is not at each view.
    Give a session that has read nothing yet, see ``verify``.

    Raises:
        NotFoundError: no eval batch has this id.
        ConflictError: it is still open.
    """
    batch = session.get(EvalBatch, batch_id)
    if batch is None:
        raise NotFoundError("There is no such eval batch. The list of eval batches shows what exists.")
    if batch.state is not BatchState.CLOSED:
        raise ConflictError(
            f"Voting on {batch.name} is still open, so its report is not final and none was written. Close voting "
            "first, or read the results as they stand."
        )
    verified = None if secret is None else verify(session, secret, batch_id)
    told = report(session, batch_id)
    return FrozenReport(batch.name, told, hashlib.sha256(canonical(told).encode()).hexdigest(), verified)
