"""The frozen files of datasets: checked by their hashes, which are their names, and called by the dataset's name."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from app.domain.errors import BadInputError, ConflictError
from app.domain.terms import Split
from app.models import Dataset
from training.errors import DataError
from training.tensor_files import hash_file


def verified_file(dataset: Dataset, split: Split) -> Path:
    """The file, hashed again now.

    Raises:
        ConflictError: it is gone, or another than was imported.
    """
    path, sha256 = dataset.validation_path, dataset.validation_sha256
    if split is Split.TRAIN:
        path, sha256 = dataset.path, dataset.sha256
    if not Path(path).is_file() or hash_file(Path(path)) != sha256:
        raise ConflictError(
            f"The frozen file of dataset {dataset.name} v{dataset.version} is gone or was changed ({path}). "
            "Import the dataset again."
        )
    return Path(path)


def names_of(datasets: Iterable[Dataset]) -> dict[Path, str]:
    """What people call the files of these datasets."""
    names: dict[Path, str] = {}
    for dataset in datasets:
        label = f"{dataset.name} v{dataset.version}"
        names |= {Path(dataset.validation_path): f"{label}, validation", Path(dataset.path): label}
    return names


@contextmanager
def called_by(names: Mapping[Path, str]) -> Iterator[None]:
    """What is wrong with a line or a file is said of what people call it.

    Raises:
        BadInputError: in place of ``DataError``.
    """
    try:
        yield
    except DataError as error:
        line = f", line {error.line}" if error.line else ""
        raise BadInputError(f"{names.get(error.file, error.file)}{line}: {error.reason}.") from error
