"""What may lie in an uploaded archive: names are judged here and never used as paths."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from training.errors import IntakeError

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
MLX_WEIGHTS = "adapters.safetensors"
MANIFEST = "manifest.json"
README = "README.md"
ALLOWED = (CONFIG, WEIGHTS, MLX_WEIGHTS, MANIFEST, README)

MOST_MEMBERS = 32
LONGEST_NAME = 300
LARGEST_WEIGHTS = 4_000_000_000
"""Bytes: rank 256 on every linear layer of a 7B model in 16-bit numbers takes 1.3 GB."""
LARGEST_TEXT = 1_000_000
"""Bytes of every other file."""
MOST_RATIO = 20
RATIO_FROM = 1 << 20
"""Bytes below which the ratio is not looked at: a text of a few lines may well shrink that much."""
CHUNK = 1 << 20

_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar", ".whl", ".jar")


class Kind(StrEnum):
    """What a member of an archive says it is."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an archive. ``size`` is what the archive says, in bytes; ``chunks`` brings what there is."""

    name: str
    kind: Kind
    size: int
    chunks: Iterator[bytes]


def shown(name: str) -> str:
    """A hostile name as it may stand in a sentence: short, and printable characters only."""
    safe = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in name)
    return f"“{safe[:80]}{'…' if len(safe) > 80 else ''}”"  # noqa: PLR2004


def limit_of(name: str) -> int:
    """Bytes that an allowed file may have."""
    return LARGEST_WEIGHTS if name in {WEIGHTS, MLX_WEIGHTS} else LARGEST_TEXT


class MemberNames:
    """The names of one upload, each judged when it comes."""

    def __init__(self) -> None:
        self._count = 0
        self._seen: dict[str, str] = {}
        self._place: PurePosixPath | None = None
        self._taken: set[str] = set()

    def admit(self, name: str, kind: Kind = Kind.FILE) -> str | None:
        """The allowed file that this member is; None for what is passed over unread (a folder, what macOS adds).

        Raises:
            IntakeError: it has no business in a checkpoint; says which and why.
        """
        self._count += 1
        if self._count > MOST_MEMBERS:
            raise IntakeError(f"it holds more than {MOST_MEMBERS} members; a checkpoint has a handful")
        path = _plain_path(name)
        if kind is Kind.LINK:
            raise IntakeError(f"{shown(name)} is a link, and a link may point anywhere; send the file itself")
        if kind is Kind.DEVICE:
            raise IntakeError(f"{shown(name)} is a device, a pipe or a sparse file, not a plain file")
        self._once(name, path)
        if kind is Kind.FOLDER:
            return None
        if path.parts[:1] == ("__MACOSX",) or path.name == ".DS_Store" or path.name.startswith("._"):
            return None
        allowed = _allowed(path)
        if self._place not in {None, path.parent}:
            raise IntakeError(f"{shown(name)} lies in another folder than the other files; put all of them in one")
        self._place = path.parent
        self._taken.add(allowed)
        return allowed

    def _once(self, name: str, path: PurePosixPath) -> None:
        """No two names may be one file, on a disk that ignores capitals or spells letters its own way neither."""
        folded = unicodedata.normalize("NFKC", str(path)).casefold()
        if folded in self._seen:
            other = self._seen[folded]
            how = "twice" if other == name else f"beside {shown(other)}, which is the same name on some disks"
            raise IntakeError(f"{shown(name)} is there {how}; nobody can know which is meant")
        self._seen[folded] = name


def _plain_path(name: str) -> PurePosixPath:
    if not name or len(name) > LONGEST_NAME:
        raise IntakeError(f"the name {shown(name)} has {len(name)} characters; 1 to {LONGEST_NAME} are possible")
    if not name.isprintable():
        raise IntakeError(f"the name {shown(name)} holds a control character")
    if "\\" in name or ":" in name:
        raise IntakeError(f"the name {shown(name)} holds a backslash or a colon, which lead elsewhere on Windows")
    if name.startswith(("/", "~")):
        raise IntakeError(f"{shown(name)} is an absolute path, which leads out of the upload's folder")
    parts = name.removeprefix("./").removesuffix("/").split("/")
    if ".." in parts:
        raise IntakeError(f"{shown(name)} climbs out of the upload's folder with “..”")
    return PurePosixPath(*(part for part in parts if part not in {"", "."}))


def _allowed(path: PurePosixPath) -> str:
    name = path.name.casefold()
    if name.endswith(_ARCHIVES):
        raise IntakeError(f"{shown(str(path))} is an archive inside the upload; pack the files themselves")
    if name.endswith(_PICKLES):
        raise IntakeError(
            f"{shown(str(path))} is a file of a kind that can run code when it is loaded (a pickle); save the "
            "adapter as safetensors, and leave the trainer's own files out"
        )
    if path.name not in ALLOWED:
        raise IntakeError(f"{shown(str(path))} does not belong in a checkpoint; possible are {', '.join(ALLOWED)}")
    if len(path.parts) > 2:  # noqa: PLR2004
        raise IntakeError(f"{shown(str(path))} lies too deep; put the files at the top or in one folder")
    return path.name
