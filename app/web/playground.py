"""The playground: one prompt, several checkpoints side by side, with their names. For admins, and never a verdict."""

import secrets
import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Request
from pydantic import BaseModel, Field
from starlette.responses import RedirectResponse, Response

from app import jobs
from app.domain.sampling import Sampling
from app.queries.trials import askable, trial_view
from app.services import trials
from app.web.deps import AdminDep, NowDep, ReadDep, WriteDep
from app.web.render import render

router = APIRouter()
_LARGEST_SEED = 2**31 - 1


class TrialForm(BaseModel):
    """The fields as a browser sends them. Without a seed, one is drawn."""

    prompt: str = Field(default="", max_length=4 * trials.LONGEST_PROMPT)
    checkpoints: list[uuid.UUID] = Field(default_factory=list, max_length=100)
    temperature: float = Sampling.temperature
    top_p: float = Sampling.top_p
    max_new_tokens: int = Sampling.max_new_tokens
    seed: int | None = Field(default=None, ge=0, le=_LARGEST_SEED)


@router.get("/playground")
def playground(request: Request, _: AdminDep, session: ReadDep, checkpoint: uuid.UUID | None = None) -> Response:
    """The empty form; a checkpoint may be chosen already."""
    return render(
        request, "playground/page.html", bases=askable(session), trial=None, limits=trials, defaults=Sampling(),
        chosen={str(checkpoint)} if checkpoint else set(),
    )  # fmt: skip


@router.post("/playground")
def ask(viewer: AdminDep, session: WriteDep, now: NowDep, form: Annotated[TrialForm, Form()]) -> Response:
    """Ask the chosen checkpoints."""
    sampling = Sampling(form.temperature, form.top_p, max_new_tokens=form.max_new_tokens)
    seed = secrets.randbelow(_LARGEST_SEED) if form.seed is None else form.seed
    asked = trials.Asked(form.prompt, tuple(form.checkpoints), sampling, seed)
    trial = trials.start(session, viewer, asked, now=now)
    return RedirectResponse(f"/playground/{trial.id}", status_code=303)


@router.get("/playground/{trial_id}")
def trial(request: Request, viewer: AdminDep, session: ReadDep, trial_id: uuid.UUID) -> Response:
    """What was asked, what is said, and the form to ask again."""
    view = trial_view(session, trials.find(session, viewer, trial_id))
    return render(
        request, "playground/page.html", bases=askable(session), trial=view, limits=trials, defaults=Sampling(),
        chosen={said.checkpoint_id for said in view.members},
    )  # fmt: skip


@router.get("/playground/{trial_id}/texts")
def texts(request: Request, viewer: AdminDep, session: ReadDep, trial_id: uuid.UUID) -> Response:
    """The part of that page that changes by itself."""
    found = trial_view(session, trials.find(session, viewer, trial_id))
    return render(request, "playground/_texts.html", trial=found)


@router.post("/playground/{trial_id}/stop")
def stop(viewer: AdminDep, session: WriteDep, now: NowDep, trial_id: uuid.UUID) -> Response:
    """End it; what was said so far stays."""
    found = trials.find(session, viewer, trial_id)
    if found.job_id is not None and trial_view(session, found).unfinished:
        jobs.request_cancel(session, found.job_id, now=now)
    return RedirectResponse(f"/playground/{trial_id}", status_code=303)
