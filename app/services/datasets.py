"""Importing datasets: the file is checked, copied and hashed, so that a run can say what it learned from."""

import hashlib
import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError, BadRowError, UnavailableError
from app.domain.names import check_name
from app.models import Dataset
from app.services.files import NamedFile, conversation, read_file, rows, text_field

_HOLD_OUT = 10
_LONGEST_SOURCE = 400


def import_dataset(
    session: Session,
    path: Path,
    *,
    artifacts: Path,
    now: datetime,
    name: str = "",
    validation_path: Path | None = None,
) -> Dataset:
    """Freeze files of this machine, see ``add_dataset``.

    Raises:
        BadInputError: a file cannot be read or is empty, or its name cannot be a dataset's.
        BadRowError: a row cannot be used; names file and line.
        UnavailableError: the artifact folder cannot be written.
    """
    validation = read_file(validation_path) if validation_path else None
    return add_dataset(session, read_file(path), validation, artifacts=artifacts, now=now, name=name)


def add_dataset(
    session: Session, file: NamedFile, held_out: NamedFile | None, *, artifacts: Path, now: datetime, name: str = ""
) -> Dataset:
    """Freeze a training file and the file its loss is validated on.

    Without a validation file every tenth row is held out for it (at least the last one).
    Rows may be chat ``messages``, ``prompt``/``completion``, ``instruction``/``input``/``output`` or ``text``.
    The same content under the same name gives the dataset that is there already.

    Raises:
        BadInputError: a file is empty, or its name cannot be a dataset's.
        BadRowError: a row cannot be used; names file and line.
        UnavailableError: the artifact folder cannot be written.
    """
    content = file.content
    count = count_rows(content, file.name)
    if held_out:
        validation = held_out.content
        validation_count = count_rows(validation, held_out.name)
    else:
        content, validation = hold_out(content, file.name)
        count, validation_count = content.count(b"\n"), validation.count(b"\n")
    name = check_name(name or file.stem.removesuffix(".train"), "dataset")
    sha256 = hashlib.sha256(content).hexdigest()
    validation_sha256 = hashlib.sha256(validation).hexdigest()
    same = session.scalar(
        select(Dataset).where(
            Dataset.name == name, Dataset.sha256 == sha256, Dataset.validation_sha256 == validation_sha256
        )
    )
    folder = artifacts / "datasets"
    stored, validation_stored = _freeze(folder, content, sha256), _freeze(folder, validation, validation_sha256)
    if same is not None:  # its files may have been lost; now they are there again
        same.path, same.validation_path = str(stored), str(validation_stored)
        return same
    newest = session.scalar(
        select(Dataset.version).where(Dataset.name == name).order_by(Dataset.version.desc()).limit(1)
    )
    dataset = Dataset(
        name=name,
        version=(newest or 0) + 1,
        path=str(stored),
        sha256=sha256,
        rows=count,
        validation_path=str(validation_stored),
        validation_sha256=validation_sha256,
        validation_rows=validation_count,
        source=file.name[-_LONGEST_SOURCE:],
        created_at=now,
    )
    session.add(dataset)
    session.flush()
    return dataset


def hold_out(content: bytes, source: str) -> tuple[bytes, bytes]:
    """Divide a training file: every tenth row, or the last of fewer, becomes the validation file.

    Raises:
        BadInputError: there is one row only.
    """
    lines = [line for line in content.splitlines() if line.strip()]
    if len(lines) == 1:
        raise BadInputError(f"{source} holds a single row. Learning needs one and its validation another.")
    held = set(range(_HOLD_OUT - 1, len(lines), _HOLD_OUT)) or {len(lines) - 1}
    train = [line for number, line in enumerate(lines) if number not in held]
    validation = [lines[number] for number in sorted(held)]
    return b"\n".join(train) + b"\n", b"\n".join(validation) + b"\n"


def _freeze(folder: Path, content: bytes, sha256: str) -> Path:
    """Keep the bytes under their own hash: complete or not there at all."""
    target = folder / f"{sha256}.jsonl"
    if target.exists():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                Path(file.name).unlink()
                raise
        Path(file.name).replace(target)
    except OSError as error:
        raise UnavailableError(
            f"The dataset cannot be stored under {folder} ({error.strerror}). Nothing was imported; "
            "make room or change ARENA_HOME."
        ) from error
    return target


def count_rows(content: bytes, source: str) -> int:
    """Number of usable rows of a training file.

    Raises:
        BadInputError: there is none.
        BadRowError: a row cannot be used.
    """
    count = 0
    for line, row in rows(content, source):
        _check_row(row, source, line)
        count += 1
    if not count:
        raise BadInputError(f"{source} holds no row to learn from.")
    return count


def _check_row(row: dict[str, Any], source: str, line: int) -> None:
    if "messages" in row:
        turns = conversation(row, source, line)
        if not any(turn["role"] == "assistant" for turn in turns):
            raise BadRowError(source, line, "there is no assistant turn, so there is nothing to learn from")
    elif "prompt" in row and "completion" in row:
        text_field(row, "prompt", source, line)
        text_field(row, "completion", source, line)
    elif "instruction" in row and "output" in row:
        text_field(row, "instruction", source, line)
        text_field(row, "output", source, line)
        if not isinstance(row.get("input", ""), str):
            raise BadRowError(source, line, '"input" must be a text')
    elif "text" in row:
        text_field(row, "text", source, line)
    else:
        raise BadRowError(
            source,
            line,
            'a row needs "messages", "prompt" + "completion", "instruction" + "output", or "text"',
        )
