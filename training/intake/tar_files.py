"""The members of an uploaded .tar.gz, as a stream, block by block.

Headers are read here and not by ``tarfile.open``: the library reads an extended header of any length into memory.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from training.errors import IntakeError
from training.intake.members import CHUNK, MOST_MEMBERS, MOST_RATIO, RATIO_FROM, Kind, Member, shown

BROKEN = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError)
"""What the libraries raise about an archive that is not whole, some of it only while its bytes are read."""
_BLOCK = tarfile.BLOCKSIZE
_LARGEST_EXTENSION = 64_000
_EXTENSIONS = (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME)
_IGNORED = (tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)


def members(archive: Path) -> Iterator[Member]:
    """Every member of a gzipped tar file. The chunks of one must be read, or left, before the next is asked for.

    Raises:
        IntakeError: an unusual member, a name that cannot be read, or far more bytes than were sent.
        tarfile.TarError and the others of ``BROKEN``: it is cut off or damaged.
    """
    with archive.open("rb") as packed, gzip.GzipFile(fileobj=packed) as unpacked:
        blocks = _Blocks(unpacked, packed)
        name = ""
        extensions = 0
        while (header := blocks.read(_BLOCK)) != bytes(_BLOCK):
            if header.startswith((b"\x1f\x8b", b"PK\x03\x04")):
                raise IntakeError("it is an archive inside an archive; pack the files themselves")
            info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
            if info.size < 0:
                raise IntakeError(f"the tar file promises {info.size} bytes of {shown(info.name)}")
            if info.type in _EXTENSIONS + _IGNORED:
                extensions += 1
                if extensions > 2 * MOST_MEMBERS:
                    raise IntakeError("the tar file holds more extended headers than files")
                name = _told_name(info, blocks) or name
                continue
            member_name, name = name or info.name, ""
            kind = _kind(info)
            size = info.size if kind is Kind.FILE else 0
            chunks = blocks.chunks(size)
            yield Member(member_name, kind, size, chunks)
            for _ in chunks:  # what the reader had no use for
                pass
            blocks.read(-size % _BLOCK)


class _Blocks:
    """Bytes of the unpacked stream, counted against the packed bytes that they came from."""

    def __init__(self, unpacked: BinaryIO | gzip.GzipFile, packed: BinaryIO) -> None:
        self._unpacked, self._packed, self._count = unpacked, packed, 0

    def read(self, count: int) -> bytes:
        """Exactly so many bytes, at most a chunk."""
        content = self._unpacked.read(count)
        self._count += len(content)
        if self._count > RATIO_FROM and self._count > MOST_RATIO * self._packed.tell():
            raise IntakeError(f"it unpacks to more than {MOST_RATIO} times what was sent, as an archive bomb does")
        if len(content) < count:
            raise EOFError("the tar file ends in the middle")
        return content

    def chunks(self, size: int) -> Iterator[bytes]:
        """So many bytes, piece by piece."""
        while size:
            piece = self.read(min(CHUNK, size))
            size -= len(piece)
            yield piece


def _kind(info: tarfile.TarInfo) -> Kind:
    if info.type in {tarfile.REGTYPE, tarfile.AREGTYPE}:
        return Kind.FOLDER if info.name.endswith("/") and not info.size else Kind.FILE
    if info.isdir():
        return Kind.FOLDER
    return Kind.LINK if info.islnk() or info.issym() else Kind.DEVICE


def _told_name(info: tarfile.TarInfo, blocks: _Blocks) -> str:
    """The name of the next member from an extended header; everything else in it is passed over."""
    if not 0 < info.size <= _LARGEST_EXTENSION:
        raise IntakeError(f"the tar file holds an extended header of {info.size} bytes")
    content = blocks.read(info.size)
    blocks.read(-info.size % _BLOCK)
    if info.type == tarfile.GNUTYPE_LONGNAME:
        return content.rstrip(b"\0").decode()
    if info.type in _IGNORED:
        return ""
    return _path_of(content)


def _path_of(records: bytes) -> str:
    """The ``path`` among records of the form "length key=value"; a record may say nothing of size or links."""
    name = ""
    while records:
        digits, _, _ = records[:10].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        key, _, value = records[len(digits) + 1 : length].removesuffix(b"\n").partition(b"=")
        if not key:
            raise ValueError("an extended header that cannot be read")
        if key in {b"size", b"linkpath"} or key.startswith(b"GNU.sparse"):
            raise IntakeError(f"the tar file says the {shown(key.decode())} of a member twice, once in a hidden header")
        name = value.decode() if key == b"path" else name
        records = records[length:]
    return name
