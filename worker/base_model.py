"""The folder of a base model, when what lies in it is what was registered."""

from pathlib import Path

from app.domain.errors import ConflictError, UnavailableError
from app.domain.terms import BaseModelState
from app.models import BaseModel
from training.base import hash_base


def verified_folder(model: BaseModel) -> Path:
    """Where the weights lie, hashed again now: a path may hold something else than when it was registered.

    Raises:
        UnavailableError: they were never fetched, or the folder is gone.
        ConflictError: weights, tokenizer or chat template are not the registered ones.
    """
    folder = Path(model.folder) if model.folder else None
    if model.state is not BaseModelState.READY or folder is None or not folder.is_dir():
        why = f": {model.error}" if model.error else "."
        raise UnavailableError(
            f"The base model {model.name} is not on this machine{why} Get it with "
            f"`./arena models add {model.location or model.name}`, then try this job again."
        )
    found = hash_base(folder)
    for what, now, registered in (
        ("weights", found.weights, model.weights_hash),
        ("a tokenizer", found.tokenizer, model.tokenizer_hash),
        ("a chat template", found.chat_template, model.template_hash),
    ):
        if now != registered:
            raise ConflictError(
                f"The folder of the base model {model.name} holds {what} other than when it was added, so nothing was "
                "done. Restore it, or add it under a new name and launch again."
            )
    return folder
