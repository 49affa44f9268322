"""The folder of a base model, when its weights are here."""

from pathlib import Path

from app.domain.errors import UnavailableError
from app.domain.terms import BaseModelState
from app.models import BaseModel


def ready_folder(model: BaseModel) -> Path:
    """Where the weights lie.

    Raises:
        UnavailableError: they were never fetched, or the folder is gone.
    """
    folder = Path(model.folder) if model.folder else None
    if model.state is not BaseModelState.READY or folder is None or not folder.is_dir():
        why = f": {model.error}" if model.error else "."
        raise UnavailableError(
            f"The base model {model.name} is not on this machine{why} Get it with "
            f"`./arena models add {model.location or model.name}`, then try this job again."
        )
    return folder
