"""A checkpoint that is sent in pieces, so that a connection that breaks off costs one piece and not all of them.

What has come lies where uploads lie, beside a note of what was announced; a file is as far as it is long. The pieces
come one after the other: whoever adds one, or takes all of it, holds the note.
"""

import fcntl
import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.domain.errors import BadInputError, ConflictError, NotFoundError, TooLargeError, UnavailableError
from app.services.receiving import KeptUpload, file_name, require_content, require_count, require_room

LARGEST_PIECE = 8_000_000
"""Bytes."""
_NOTE = "announced.json"


@dataclass(frozen=True)
class Announced:
    """One file that is to come."""

    name: str
    size: int
    """Bytes."""


@dataclass(frozen=True)
class Sending:
    """An upload that was begun and is not whole, or not taken yet."""

    id: uuid.UUID
    folder: Path
    files: tuple[Announced, ...]

    def file(self, number: int) -> Path:
        """Where one of the files grows."""
        return self.folder / str(number)

    @property
    def received(self) -> list[int]:
        """Bytes that are here of each file."""
        return [self.file(number).stat().st_size for number in range(len(self.files))]


def begin_sending(files: Sequence[tuple[str, int]], *, artifacts: Path, account_id: uuid.UUID) -> Sending:
    """Make room for files with these names and sizes in bytes.

    Raises:
        BadInputError: no file, too many, or an empty one.
        TooLargeError: together they are larger than a checkpoint may be.
        UnavailableError: the disk is full.
    """
    require_count(len(files))
    announced = tuple(Announced(file_name(name), size) for name, size in files)
    for one in announced:
        require_content(one.name, one.size)
    require_room(sum(one.size for one in announced))
    new = uuid.uuid4()
    sending = Sending(new, _folder(artifacts, new), announced)
    note = {"account": str(account_id), "files": [[one.name, one.size] for one in announced]}
    try:
        sending.folder.mkdir(parents=True)
        for number in range(len(announced)):
            sending.file(number).touch()
        (sending.folder / _NOTE).write_text(json.dumps(note), encoding="utf-8")
    except OSError as error:
        shutil.rmtree(sending.folder, ignore_errors=True)
        raise _not_stored(error, "Nothing was added") from error
    return sending


def find_sending(sending_id: uuid.UUID, *, artifacts: Path, account_id: uuid.UUID) -> Sending:
    """What this person has begun to send.

    Raises:
        NotFoundError: nobody began it, somebody else did, or it was taken or given up since.
    """
    folder = _folder(artifacts, sending_id)
    try:
        note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _gone() from None
    if note["account"] != str(account_id):
        raise _gone()
    return Sending(sending_id, folder, tuple(Announced(name, size) for name, size in note["files"]))


def add_piece(sending: Sending, number: int, at: int, piece: bytes) -> None:
    """Put the next bytes behind those of a file that are here.

    Args:
        sending: whose file it is.
        number: of the file, from 0.
        at: how many bytes of it the sender believes to be here.
        piece: what comes next.

    Raises:
        NotFoundError: there is no such file, or the upload was taken meanwhile.
        ConflictError: other bytes are next.
        TooLargeError: it is larger than a piece may be.
        BadInputError: the file would be larger than was announced.
        UnavailableError: the disk is full; what came before is kept.
    """
    if not 0 <= number < len(sending.files):
        raise NotFoundError(f"Of this upload {len(sending.files)} files were announced, and this is none of them.")
    if len(piece) > LARGEST_PIECE:
        raise TooLargeError(f"A piece may have {LARGEST_PIECE // 1_000_000} MB. It was not stored.")
    with _held(sending):
        here, file = sending.received[number], sending.files[number]
        if at != here:
            raise ConflictError(f"{here} bytes of {file.name} are here, so what begins at {at} does not follow.")
        if here + len(piece) > file.size:
            raise BadInputError(f"{file.name} was announced with {file.size} bytes, and more were sent.")
        try:
            with sending.file(number).open("ab") as stream:
                stream.write(piece)
        except OSError as error:
            raise _not_stored(error, "What was sent before is kept") from error


@contextmanager
def taking(sending: Sending) -> Iterator[KeptUpload]:
    """All of it; if nothing fails within, no more can be sent.

    Raises:
        ConflictError: something has not come yet.
        NotFoundError: it was taken meanwhile.
    """
    with _held(sending):
        missing = sum(file.size for file in sending.files) - sum(sending.received)
        if missing:
            raise ConflictError(
                f"{missing} bytes of this upload have not come yet. Nothing was added; send them first."
            )
        told = []
        for number, file in enumerate(sending.files):
            with sending.file(number).open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            told.append({"name": file.name, "bytes": file.size, "sha256": sha256})
        yield KeptUpload(sending.folder, tuple(told))
        (sending.folder / _NOTE).unlink(missing_ok=True)  # a worker that refuses it may have removed all by now


@contextmanager
def _held(sending: Sending) -> Iterator[None]:
    note = sending.folder / _NOTE
    try:
        with note.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            if not note.exists():  # who held it before has taken all
                raise _gone()
            yield
    except FileNotFoundError:
        raise _gone() from None


def _folder(artifacts: Path, sending_id: uuid.UUID) -> Path:
    return artifacts / "uploads" / sending_id.hex


def _gone() -> NotFoundError:
    return NotFoundError("There is no such upload: it is whole, or nothing came of it for a day. Send the files again.")


def _not_stored(error: OSError, kept: str) -> UnavailableError:
    return UnavailableError(
        f"The upload could not be stored ({error.strerror}). {kept}. Free some space and try again."
    )
