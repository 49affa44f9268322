"""An arena whose checkpoints are tried on the playground and packed for elsewhere."""

import uuid

from app.domain.sampling import Sampling
from app.domain.terms import JobState, NumberFormat, PackageKind
from app.models import Checkpoint, Trial
from app.queries.trials import askable
from app.services import accounts, packages, trials
from app.services.trials import Asked
from tests.browser.arena import Arena
from tests.browser.page import Page

_PROMPT = "I have three hours on Sunday and no wish to cook. What could I still do that is worth remembering?"
_TEXTS = (
    (
        "Take a walk without a goal, and turn where you have never turned.\n\n1. Leave the phone at home.\n"
        "2. Speak to one person.\n3. Write down **one** sentence when you are back."
    ),
    (
        "What would you want to have remembered on Monday? Start there. Three hours are long enough for one thing that "
        "you do slowly, and too short for anything that you only do to have done it."
    ),
)


def tried(arena: Arena) -> list[Page]:
    """A trial while it is answered, one that was stopped, one that failed; and packages in every state."""
    arena.worker()
    arena.two_checkpoints()
    with arena.writing() as session:
        (base,) = askable(session)
        checkpoints = tuple(one.id for one in base.checkpoints)
    running, stopped, failed = (_trial(arena, checkpoints) for _ in range(3))
    with arena.writing() as session:
        for trial in (running, stopped):
            _say(session.get_one(Trial, trial.id))
        arena.working(session, running.job_id, done=1, total=2, eta_seconds=9.0).message = "96 tokens"
    arena.end(stopped.job_id, JobState.CANCELLED)
    arena.end(failed.job_id, JobState.FAILED, "This prompt cannot be put to the model: the prompt has 9,120 tokens and "
              "the model's context holds 8192. Nothing was generated.")  # fmt: skip
    _packages(arena, checkpoints[-1])
    return [
        Page("playground", "/playground", "main .button-main"),
        Page("playground-running", f"/playground/{running.id}", "main button"),
        Page("playground-stopped", f"/playground/{stopped.id}"),
        Page("playground-failed", f"/playground/{failed.id}"),
        Page("checkpoint-packed", f"/checkpoints/{checkpoints[-1]}", "#checkpoints-packages a"),
    ]


def _trial(arena: Arena, checkpoints: tuple[uuid.UUID, ...]) -> Trial:
    with arena.writing() as session:
        asked = Asked(_PROMPT, checkpoints, Sampling(), seed=1717)
        return trials.start(session, accounts.the_admin(session, now=arena.now), asked, now=arena.now)


def _say(trial: Trial) -> None:
    ends = ("stop", "")
    trials.write(
        trial,
        [
            {"text": text, "tokens": len(text.split()), "finish_reason": end}
            for text, end in zip(_TEXTS, ends, strict=True)
        ],
    )


def _packages(arena: Arena, checkpoint_id: uuid.UUID) -> None:
    with arena.writing() as session:
        checkpoint = session.get_one(Checkpoint, checkpoint_id)
        ready, making, failed = (
            packages.ask_for_package(session, checkpoint, kind, card="", now=arena.now, number_format=form)
            for kind, form in (
                (PackageKind.MERGED, NumberFormat.BFLOAT16),
                (PackageKind.MERGED, NumberFormat.FLOAT32),
                (PackageKind.GGUF, NumberFormat.FLOAT32),
            )
        )
        folder = arena.settings.artifacts / "packages" / ready.id.hex
        packages.packed(session, ready, folder=folder, size_bytes=273_000_000, off=4.8e-3, now=arena.now)
        arena.working(session, making.job_id, done=1, total=3, eta_seconds=20.0).message = "Merging file 1 of 1"
    arena.end(ready.job_id)
    arena.end(failed.job_id, JobState.FAILED, "llama.cpp has no DoRA, so this adapter cannot be written as GGUF; "
              "export the merged model")  # fmt: skip
