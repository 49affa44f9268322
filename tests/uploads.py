"""Adapters as people upload them, made from the tiny one, and an arena that has taken them."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.db import Database
from app.domain.terms import IntakeState
from app.models import Intake
from app.services.intake import add_intake
from app.services.receiving import kept_upload
from tests.factories import NOW

FILES = ("adapter_config.json", "adapter_model.safetensors")


def zip_of(folder: Path, *more: str, **config: Any) -> bytes:
    """The two files of an adapter, or these as well; fields of the config may be exchanged."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in (*FILES, *more):
            content = (folder / name).read_bytes()
            if name == FILES[0]:
                content = json.dumps({**json.loads(content), **config}).encode()
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_of_changed(folder: Path, change: Callable[[str, Any], Any]) -> bytes:
    """The same with every tensor changed by its name."""
    from safetensors.torch import load_file, save  # noqa: PLC0415 (torch, which most tests can do without)

    tensors = {name: change(name, tensor) for name, tensor in load_file(folder / FILES[1]).items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(FILES[0], (folder / FILES[0]).read_bytes())
        archive.writestr(FILES[1], save(tensors))
    return buffer.getvalue()


def without_effect(name: str, tensor: Any) -> Any:
    """An adapter that was never trained: B is zero."""
    return tensor * 0 if ".lora_B." in name else tensor


def stored_intake(session: Session, **changed: Any) -> Intake:
    """An upload as a page meets it; by default one that was refused."""
    values: dict[str, Any] = {
        "name": "mine",
        "account_id": None,
        "base_model_id": None,
        "files": [{"name": "mine.zip", "bytes": 1_234, "sha256": "a" * 64}],
        "folder": "nowhere",
        "state": IntakeState.REFUSED,
        "reason": "The upload was refused: it is a bomb. Nothing of it was kept.",
        "checkpoint_id": None,
        "created_at": NOW,
        "ended_at": NOW,
    }
    intake = Intake(**values | changed)
    session.add(intake)
    session.flush()
    return intake


def send(database: Database, home: Path, content: bytes, *, file: str = "adapter.zip", **wanted: Any) -> Intake:
    """An upload that waits for its check."""
    with (
        kept_upload([(file, io.BytesIO(content))], artifacts=home / "artifacts") as kept,
        database.session_scope() as session,
    ):
        return add_intake(session, kept, now=NOW, **wanted)
