"""A folder as a zip file, made while it is sent: a merged model fits neither into memory nor on the disk twice."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_PIECE = 1 << 20


class _Outlet(io.RawIOBase):
    """Takes what is written and gives it away; it cannot go back."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []

    def writable(self) -> bool:
        """That is all it can do."""
        return True

    def write(self, data: "bytes | bytearray | memoryview", /) -> int:  # type: ignore[override]
        """Keep a copy until it is taken."""
        self._waiting.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken, self._waiting = b"".join(self._waiting), []
        return taken


def zipped(folder: Path, name: str) -> Iterator[bytes]:
    """The files of a folder, stored as they are under ``name/`` in the archive: weights do not become smaller."""
    outlet = _Outlet()
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo.from_file(file, f"{name}/{file.name}")
            with file.open("rb") as source, archive.open(entry, "w", force_zip64=True) as place:
                yield from _copied(source, place, outlet)
            yield outlet.take()
    yield outlet.take()


def _copied(source: IO[bytes], place: IO[bytes], outlet: _Outlet) -> Iterator[bytes]:
    while piece := source.read(_PIECE):
        place.write(piece)
        yield outlet.take()
