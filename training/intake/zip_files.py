"""The members of an uploaded .zip, as a stream, after its directory was held against the bytes it speaks of."""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from training.errors import IntakeError
from training.intake.members import CHUNK, MOST_MEMBERS, MOST_RATIO, RATIO_FROM, Kind, Member, shown

BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error)
"""What the library raises about an archive that is not whole, some of it only while its bytes are read."""
_END = struct.Struct("<4s4H2LH")
_LOCAL = struct.Struct("<4s5H3L2H")
_ENCRYPTED, _SIZES_FOLLOW, _UTF8 = 0x1 | 0x40, 0x8, 0x800
_UNKNOWN, _MANY = 0xFFFFFFFF, 0xFFFF
_LARGEST_DIRECTORY = 1 << 20


def members(archive: Path) -> Iterator[Member]:
    """Every member of a zip file in the order of its directory.

    Raises:
        IntakeError: directory and bytes do not agree, or something is encrypted or packed in an unusual way.
        zipfile.BadZipFile and the others of ``BROKEN``: it is cut off or damaged.
    """
    with archive.open("rb") as stream:
        start, count = _directory(stream)
        with zipfile.ZipFile(stream) as opened:
            entries = opened.infolist()
            if len(entries) != count:
                raise IntakeError(f"its directory promises {count} members and lists {len(entries)}")
            _require_apart(stream, entries, start)
            for entry in entries:
                yield Member(entry.orig_filename, _kind(entry), entry.file_size, _chunks(opened, entry))


def _directory(stream: BinaryIO) -> tuple[int, int]:
    """Where the directory starts and how many members it has, read by hand: the library would read all of it first."""
    size = stream.seek(0, 2)
    tail_start = max(0, size - _END.size - _MANY)
    stream.seek(tail_start)
    tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise IntakeError("the zip file is cut off: its directory is missing")
    _, _, _, here, count, length, start, comment = _END.unpack_from(tail, at)
    if _MANY in (here, count) or _UNKNOWN in (length, start):
        raise IntakeError("the zip file is in the zip64 format, which a checkpoint has no need of; pack it again")
    if count > MOST_MEMBERS or length > _LARGEST_DIRECTORY:
        raise IntakeError(f"it holds more than {MOST_MEMBERS} members; a checkpoint has a handful")
    if start + length != tail_start + at or at + _END.size + comment != len(tail) or here != count:
        raise IntakeError("the zip file holds bytes before, after or between its members that no directory names")
    return start, count


def _require_apart(stream: BinaryIO, entries: list[zipfile.ZipInfo], end: int) -> None:
    """Each member has bytes of its own and says the same of itself as the directory does."""
    free_from = 0
    for entry in sorted(entries, key=lambda one: one.header_offset):
        name = shown(entry.orig_filename)
        if entry.flag_bits & _ENCRYPTED:
            raise IntakeError(f"{name} is encrypted; pack it without a password")
        if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise IntakeError(f"{name} is packed in an unusual way; use an ordinary zip file or a .tar.gz")
        if entry.file_size > max(RATIO_FROM, MOST_RATIO * entry.compress_size):
            raise IntakeError(f"{name} unpacks to more than {MOST_RATIO} times what was sent, as an archive bomb does")
        stream.seek(entry.header_offset)
        head = stream.read(_LOCAL.size)
        if len(head) < _LOCAL.size or head[:4] != b"PK\x03\x04":
            raise IntakeError(f"the zip file is broken: {name} is not where its directory says")
        _, _, flags, method, _, _, _, packed, size, name_length, extra = _LOCAL.unpack(head)
        encoding = "utf-8" if entry.flag_bits & _UTF8 else "cp437"
        told = stream.read(name_length) == entry.orig_filename.encode(encoding) and method == entry.compress_type
        for here, there in ((packed, entry.compress_size), (size, entry.file_size)):
            told = told and (here in {there, _UNKNOWN} or bool(flags & _SIZES_FOLLOW))
        if not told:
            raise IntakeError(f"{name} says one thing of itself and another in the directory of the zip file")
        stop = entry.header_offset + _LOCAL.size + name_length + extra + entry.compress_size
        if entry.header_offset < free_from or stop > end:
            raise IntakeError(f"{name} shares its bytes with another member, as archives do that unpack without end")
        free_from = stop


def _kind(entry: zipfile.ZipInfo) -> Kind:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if entry.orig_filename.endswith("/") and kind in {0, stat.S_IFDIR}:
        return Kind.FOLDER
    if kind in {0, stat.S_IFREG}:
        return Kind.FILE
    return Kind.LINK if kind == stat.S_IFLNK else Kind.DEVICE


def _chunks(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    with opened.open(entry) as stream:
        while chunk := stream.read(CHUNK):
            yield chunk
