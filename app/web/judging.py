"""The judges of one eval batch: asking them within a cap, stopping them, and going on."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.domain.errors import BadInputError, NotFoundError
from app.domain.terms import ProviderKind
from app.models import EvalBatch, Judge, Judging, Voter
from app.queries.judging import judges_of_batch
from app.services import judging
from app.services.judges import has_key
from app.services.projection import Projection, project
from app.web.deps import AdminDep, NowDep, ReadDep, SettingsDep, WriteDep
from app.web.filters import cents
from app.web.judge_form import AskForm, micro_dollars
from app.web.render import render

router = APIRouter()


@dataclass(frozen=True)
class Asked:
    """What one judge of the form would cost."""

    name: str
    in_batches: bool
    cost: Projection


@dataclass(frozen=True)
class Plan:
    """What the form would start, and the cap that it offers: the worst case of the dearest judge."""

    asked: tuple[Asked, ...]
    cap: str
    cap_before: str

    @property
    def priced(self) -> bool:
        """Whether a cap can hold anybody."""
        return any(one.cost.worst is not None for one in self.asked)


@router.get("/batches/{batch_id}/judges")
def batches_judges(
    request: Request, _: AdminDep, session: ReadDep, settings: SettingsDep, batch_id: uuid.UUID
) -> Response:
    """The part of the page of an eval batch that says how far its judges are."""
    panel = judges_of_batch(session, batch_id, has_key=has_key(settings))
    return render(request, "batches/_judges.html", panel=panel)


@router.get("/batches/{batch_id}/projection")
def batches_projection(
    request: Request, _: AdminDep, session: ReadDep, now: NowDep, batch_id: uuid.UUID, form: Annotated[AskForm, Query()]
) -> Response:
    """What the judges picked in the form would cost."""
    plan = _plan(session, _batch(session, batch_id), form, now)
    return render(request, "batches/_projection.html", batch_id=batch_id, plan=plan)


@router.post("/batches/{batch_id}/judges")
def ask(_: AdminDep, session: WriteDep, now: NowDep, batch_id: uuid.UUID, form: Annotated[AskForm, Form()]) -> Response:
    """Ask the picked judges. A cap that is left empty is the projected worst case of each."""
    batch = _batch(session, batch_id)
    if not form.judges:
        raise BadInputError("No judge is picked. Pick one and ask again; nothing was started.")
    cap, after = micro_dollars(form.cap), _after(session, form)
    for judge in _picked(session, form):
        if after is not None and after.judge_id == judge.id:
            raise BadInputError("A judge cannot wait for itself. Pick another one; nothing was started.")
        in_batches = form.in_batches and judge.provider is ProviderKind.ANTHROPIC
        cost = project(session, batch, judge, mode=form.mode, after=after, in_batches=in_batches, now=now)
        judging.ask(
            session,
            batch,
            judge,
            mode=form.mode,
            after=after,
            in_batches=in_batches,
            cap=_cap(cap, cost.worst),
            projected=cost.expected,
            now=now,
        )
    return RedirectResponse(f"/batches/{batch_id}#judges", status_code=303)


@router.post("/batches/{batch_id}/judges/{judging_id}/resume")
def resume(
    _: AdminDep,
    session: WriteDep,
    now: NowDep,
    batch_id: uuid.UUID,
    judging_id: uuid.UUID,
    cap: Annotated[str, Form(max_length=40)] = "",
) -> Response:
    """Go on where a judge stopped. A cap that is left empty is what was spent and the worst case of the rest."""
    asked = _judging(session, batch_id, judging_id)
    batch, judge = session.get_one(EvalBatch, batch_id), session.get_one(Judge, asked.judge_id)
    after = session.get(Judging, asked.after_id) if asked.after_id else None
    cost = project(session, batch, judge, mode=asked.mode, after=after, in_batches=asked.in_batches, now=now)
    most = None if cost.worst is None else judging.spent(session, asked).at_most + cost.worst
    judging.ask(
        session,
        batch,
        judge,
        in_batches=asked.in_batches,
        cap=_cap(micro_dollars(cap), most),
        projected=cost.expected,
        now=now,
    )
    return RedirectResponse(f"/batches/{batch_id}#judges", status_code=303)


@router.post("/batches/{batch_id}/judges/{judging_id}/stop")
def stop(_: AdminDep, session: WriteDep, now: NowDep, batch_id: uuid.UUID, judging_id: uuid.UUID) -> Response:
    """Ask for no more verdicts. What was said is kept."""
    judging.stop(session, _judging(session, batch_id, judging_id), now=now)
    return RedirectResponse(f"/batches/{batch_id}#judges", status_code=303)


def _cap(typed: int | None, worst: int | None) -> int | None:
    """The cap in force: what was typed, else the worst case; none where the model has no price.

    Raises:
        BadInputError: nothing was typed, and there is nothing yet that could be projected.
    """
    if worst is None:
        return None
    if not typed and not worst:
        raise BadInputError(
            "There is no pair yet whose cost could be projected. Type the most that may be spent; nothing was started."
        )
    return typed or worst


def _plan(session: Session, batch: EvalBatch, form: AskForm, now: datetime) -> Plan:
    after = _after(session, form)
    asked = []
    for judge in _picked(session, form):
        in_batches = form.in_batches and judge.provider is ProviderKind.ANTHROPIC
        cost = project(session, batch, judge, mode=form.mode, after=after, in_batches=in_batches, now=now)
        asked.append(Asked(session.get_one(Voter, judge.voter_id).name, in_batches, cost))
    worst = max((one.cost.worst or 0 for one in asked), default=0)
    offered = cents(worst) if worst else ""
    own = form.cap.strip() not in ("", form.cap_before)
    return Plan(tuple(asked), cap=form.cap if own else offered, cap_before=offered)


def _picked(session: Session, form: AskForm) -> list[Judge]:
    found = [session.get(Judge, judge_id) for judge_id in dict.fromkeys(form.judges)]
    if None in found:
        raise NotFoundError("There is no such judge. The page Judges shows what exists.")
    return [judge for judge in found if judge is not None]


def _after(session: Session, form: AskForm) -> Judging | None:
    if form.after is None:
        return None
    found = session.get(Judging, form.after)
    if found is None:
        raise NotFoundError("The judge to go by was not asked about this eval batch. Nothing was started.")
    return found


def _batch(session: Session, batch_id: uuid.UUID) -> EvalBatch:
    batch = session.get(EvalBatch, batch_id)
    if batch is None:
        raise NotFoundError("There is no such eval batch. The list of eval batches shows what exists.")
    return batch


def _judging(session: Session, batch_id: uuid.UUID, judging_id: uuid.UUID) -> Judging:
    found = session.get(Judging, judging_id)
    if found is None or found.eval_batch_id != batch_id:
        raise NotFoundError("This judge was not asked about this eval batch. Its page shows who was.")
    return found
