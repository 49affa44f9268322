"""Files that are sent, written to the disk piece by piece under numbers of ours and hashed on the way."""

import hashlib
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from app.domain.errors import BadInputError, TooLargeError, UnavailableError

MOST_FILES = 8
LARGEST = 4_000_000_000
"""Bytes of an upload: rank 256 on every linear layer of a 7B model in 16-bit numbers is 1.3 GB."""
LONGEST_FILE_NAME = 200
_CHUNK = 1 << 20


def file_name(name: str) -> str:
    """The name that a file came with, as it is kept for people; it is never used as a path."""
    return PurePath(name.replace("\\", "/")).name.replace("\0", "")[:LONGEST_FILE_NAME] or "upload"


def require_count(count: int) -> None:
    """Refuse an upload of no file, or of too many.

    Raises:
        BadInputError: it is one.
    """
    if not count:
        raise BadInputError(
            "No file was chosen, so nothing was added. Choose a .zip, a .tar.gz or the adapter's files."
        )
    if count > MOST_FILES:
        raise BadInputError(f"More than {MOST_FILES} files were sent. Nothing was added; send an adapter's alone.")


def require_content(name: str, size: int) -> None:
    """Refuse a file without a byte.

    Raises:
        BadInputError: it is one.
    """
    if size < 1:
        raise BadInputError(f"{name} is empty. Nothing was added.")


def require_room(size: int) -> None:
    """Refuse an upload that is larger than a checkpoint may be.

    Raises:
        TooLargeError: it is.
    """
    if size > LARGEST:
        raise TooLargeError(
            f"A checkpoint may have {LARGEST / 1e9:g} GB. Nothing was stored. An adapter is far smaller: leave the "
            "base model and the optimizer's state out."
        )


@dataclass(frozen=True)
class KeptUpload:
    """What was sent, on the disk: ``files`` say ``name``, ``bytes`` and ``sha256`` of each."""

    folder: Path
    files: tuple[dict[str, Any], ...]
    called: str = ""
    """What the folder was called that they came from, if they came from one."""


class Receiver:
    """Takes one file after the other into its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[dict[str, Any]] = []
        self._name, self._size, self._digest = "", 0, hashlib.sha256()
        self._stream: BinaryIO | None = None

    def begin(self, name: str) -> None:
        """The next file; its name is kept for people and never used as a path.

        Raises:
            BadInputError: it is one too many.
        """
        require_count(len(self._files) + 1)
        self._name = file_name(name)
        self._size, self._digest = 0, hashlib.sha256()
        self._stream = (self._folder / str(len(self._files))).open("xb")

    def write(self, piece: bytes) -> None:
        """The next bytes of the file that was begun."""
        if self._stream is not None:
            self._size += len(piece)
            self._digest.update(piece)
            self._stream.write(piece)

    def end(self) -> None:
        """The file is whole.

        Raises:
            BadInputError: there is nothing in it.
        """
        if self._stream is None:
            return
        self.close()
        require_content(self._name, self._size)
        self._files.append({"name": self._name, "bytes": self._size, "sha256": self._digest.hexdigest()})

    def close(self) -> None:
        """Nothing more is written."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None

    def kept(self, called: str = "") -> KeptUpload:
        """All of it.

        Raises:
            BadInputError: no file was sent.
        """
        require_count(len(self._files))
        return KeptUpload(self._folder, tuple(self._files), called)


@contextmanager
def receiving(artifacts: Path) -> Iterator[Receiver]:
    """A receiver with a folder of its own, which is removed if anything fails within.

    Raises:
        UnavailableError: the disk is full.
    """
    folder = artifacts / "uploads" / uuid.uuid4().hex
    receiver = Receiver(folder)
    try:
        folder.mkdir(parents=True)
        yield receiver
    except OSError as error:
        _give_up(receiver, folder)
        raise UnavailableError(
            f"The upload could not be stored ({error.strerror}). Nothing was added. Free some space and try again."
        ) from error
    except BaseException:
        _give_up(receiver, folder)
        raise


def _give_up(receiver: Receiver, folder: Path) -> None:
    receiver.close()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def kept_upload(files: Sequence[tuple[str, BinaryIO]], *, artifacts: Path, called: str = "") -> Iterator[KeptUpload]:
    """Copies of open files, by name; if anything fails within, they are removed.

    Raises:
        BadInputError: no file, too many, or an empty one.
        UnavailableError: the disk is full.
    """
    with receiving(artifacts) as receiver:
        for name, stream in files:
            receiver.begin(name)
            while piece := stream.read(_CHUNK):
                receiver.write(piece)
            receiver.end()
        yield receiver.kept(called)
