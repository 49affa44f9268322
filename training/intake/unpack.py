"""From what was sent to the few files of an adapter, in one folder and under our own names."""

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.errors import CheckpointWriteError, IntakeError
from training.intake import tar_files, zip_files
from training.intake.members import (
    ALLOWED,
    CHUNK,
    CONFIG,
    MANIFEST,
    MLX_WEIGHTS,
    README,
    WEIGHTS,
    Kind,
    Member,
    MemberNames,
    limit_of,
    shown,
)

_OTHER_ARCHIVES = {b"7z\xbc\xaf": "7z", b"Rar!": "rar", b"\xfd7zX": "xz", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd"}
_GZIP, _ZIP = b"\x1f\x8b", (b"PK\x03\x04", b"PK\x05\x06")


@dataclass(frozen=True, slots=True)
class SentFile:
    """One file as it was sent: the name that its sender gave it, and where its bytes lie."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The files of an adapter; ``manifest`` is there when it was exported by an arena."""

    config: Path
    weights: Path
    manifest: Path | None
    from_mlx: bool


def unpack(sent: Sequence[SentFile], folder: Path) -> Unpacked:
    """Copy the allowed files of an archive, or of the files that were sent, into ``folder``, which must be new.

    Nothing is ever written but ``ALLOWED`` names in that folder.

    Raises:
        IntakeError: anything else is in it, or it is broken; says what.
        CheckpointWriteError: the disk is full.
    """
    folder.mkdir(parents=True)
    names = MemberNames()
    found: set[str] = set()
    try:
        for member in _members(sent):
            allowed = names.admit(member.name, member.kind)
            limit = limit_of(allowed or "")
            if member.size > limit:
                raise IntakeError(f"{shown(member.name)} has {member.size:,} bytes; {limit:,} are possible")
            if allowed is None or allowed == README:
                continue
            _copy(member, folder / allowed, limit)
            found.add(allowed)
    except (*zip_files.BROKEN, *tar_files.BROKEN) as error:
        raise IntakeError(f"the archive is broken or cut off ({error}); send it again") from error
    except OSError as error:
        what = "the disk is full" if error.errno == errno.ENOSPC else str(error.strerror or error)
        raise CheckpointWriteError(
            f"the upload could not be unpacked ({what}); free some space and try again"
        ) from error
    return _complete(folder, found)


def _members(sent: Sequence[SentFile]) -> Iterator[Member]:
    if len(sent) == 1:
        only = sent[0]
        with only.path.open("rb") as stream:
            start = stream.read(4)
        if start in _ZIP:
            yield from zip_files.members(only.path)
            return
        if start.startswith(_GZIP):
            yield from tar_files.members(only.path)
            return
        for magic, kind in _OTHER_ARCHIVES.items():
            if start.startswith(magic):
                raise IntakeError(
                    f"{shown(only.name)} is a {kind} archive; send a .zip, a .tar.gz or the files themselves"
                )
        if only.name not in ALLOWED:
            MemberNames().admit(only.name)
    for file in sent:
        yield Member(file.name, Kind.FILE, file.path.stat().st_size, _chunks(file.path))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


def _copy(member: Member, target: Path, limit: int) -> None:
    """Copy at most ``limit`` bytes; what the archive says of the size must be what comes out of it."""
    written = 0
    with target.open("xb") as stream:
        for chunk in member.chunks:
            written += len(chunk)
            if written > limit:
                raise IntakeError(f"{shown(member.name)} goes on after {limit:,} bytes, which is all that is possible")
            stream.write(chunk)
    if written != member.size:
        raise IntakeError(f"{shown(member.name)} has {written:,} bytes, and the archive promised {member.size:,}")


def _complete(folder: Path, found: set[str]) -> Unpacked:
    weights = found & {WEIGHTS, MLX_WEIGHTS}
    if CONFIG not in found:
        raise IntakeError(f"{CONFIG} is missing; without it nobody knows how the adapter is scaled")
    if len(weights) != 1:
        what = "both are" if weights else "neither is"
        raise IntakeError(f"an adapter has one {WEIGHTS}, or {MLX_WEIGHTS} from mlx-lm, and {what} there")
    (name,) = weights
    return Unpacked(
        config=folder / CONFIG,
        weights=folder / name,
        manifest=folder / MANIFEST if MANIFEST in found else None,
        from_mlx=name == MLX_WEIGHTS,
    )
