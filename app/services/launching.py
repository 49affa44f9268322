"""Launching: what has to be asked of others before a plan is frozen, outside of any transaction."""

from app.config import Settings
from app.db import Database
from app.domain.terms import CheckpointKind
from app.services.eval_batches import LaunchPlan, resolve
from app.services.serving import look, planned_serving


def look_at_server(database: Database, plan: LaunchPlan, settings: Settings) -> None:
    """Ask the server that a plan names, if it names one, whether it has every checkpoint of the plan.

    Raises:
        NotFoundError, BadInputError, ConflictError: the plan could not be launched, or the server lacks a model.
        UnavailableError: the server stays away.
    """
    with database.session_scope(write=False) as session:
        _, members = resolve(session, plan)
        serving = planned_serving(plan.server, plan.served_as, members)
        bases = frozenset(one.fingerprint for one in members if one.kind is CheckpointKind.BASE)
    if serving is not None:
        look(serving, bases, settings)
