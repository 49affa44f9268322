"""An arena to which somebody brought checkpoints, and a run to be cleaned up."""

import math
from typing import Any

from sqlalchemy import select

from app.domain.terms import IntakeState, JobKind, JobState
from app.jobs import enqueue
from app.models import BaseModel, Checkpoint
from app.services import intake as intakes
from app.services.intake import TakenIn
from tests.browser.arena import Arena
from tests.browser.page import Page
from tests.factories import sha256
from tests.uploads import stored_intake

KINDS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
         "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")  # fmt: skip
REFUSED = (
    "The upload was refused: “training_args.bin” is a file of a kind that can run code when it is loaded (a pickle); "
    "save the adapter as safetensors, and leave the trainer's own files out. Nothing of it was kept."
)


def layer_norms() -> dict[str, float]:
    """Of thirty blocks; later ones change more, as they often do."""
    return {
        f"model.layers.{block}.{kind}": 0.1
        + 0.01 * block * (1 + math.sin(block * (2 + position)) / 3)
        + 0.02 * position
        for block in range(30)
        for position, kind in enumerate(KINDS)
    }


def brought(arena: Arena) -> list[Page]:
    """One upload in every state, the checkpoint that came of one, and a run with checkpoints that may go."""
    arena.worker()
    arena.two_checkpoints()
    run = arena.run("brie-v1", recipe="brie-v1")
    arena.end(run.job_id)
    for number in range(1, 5):
        arena.checkpoint(run, f"epoch-{number}", 30 * number, is_last=number == 4)
    with arena.writing() as session:
        base = session.scalars(select(BaseModel.id)).one()
        sent: dict[str, Any] = {"created_at": arena.now, "ended_at": None, "reason": "", "state": IntakeState.WAITING}
        waiting = stored_intake(session, name="philosophy-lora", **sent)
        checking = stored_intake(session, name="plato-mlx", **{**sent, "state": IntakeState.CHECKING})
        job = enqueue(session, JobKind.INTAKE, checking.id, title="Check plato-mlx", now=arena.now)
        checking.job_id = job.id
        arena.working(session, job.id, done=2, total=4, eta_seconds=40.0).message = "Hashing the base model"
        refused = stored_intake(
            session, name="from-the-hub", **{**sent, "state": IntakeState.REFUSED, "reason": REFUSED}
        )
        failed = stored_intake(session, name="large-one", **sent)
        failed.job_id = enqueue(session, JobKind.INTAKE, failed.id, title="Check large-one", now=arena.now).id
        ready = stored_intake(session, name="seneca-r16", **sent)
        effect = {
            "passed": True,
            "kl_mean": 0.0712,
            "kl_max": 1.9,
            "delta_norm": 3.21,
            "reason": "",
            "layers": layer_norms(),
        }
        note = "It came from mlx-lm and was converted: the same update in the layout that peft reads."
        taken = TakenIn(base, "", sha256("seneca"), 19_584_000, effect, (note,))
        checkpoint: Checkpoint = intakes.accept(session, ready, taken, now=arena.now)
    arena.end(failed.job_id, JobState.FAILED, "the upload could not be unpacked (the disk is full); free some space")
    return [
        Page("checkpoint-add", "/checkpoints/add", "main .button-main"),
        Page("upload-waiting", f"/checkpoints/uploads/{waiting.id}"),
        Page("upload-checking", f"/checkpoints/uploads/{checking.id}"),
        Page("upload-refused", f"/checkpoints/uploads/{refused.id}", "main .button"),
        Page("upload-failed", f"/checkpoints/uploads/{failed.id}", "main button"),
        Page("upload-ready", f"/checkpoints/uploads/{ready.id}", "main .notice a"),
        Page("checkpoint-brought", f"/checkpoints/{checkpoint.id}", "main .button"),
        Page("run-clean", f"/runs/{run.id}/clean", "main .button-main"),
    ]
