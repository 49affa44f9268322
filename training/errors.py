"""What can go wrong here. A message says what happened, what was kept and what to do next."""

from pathlib import Path


class TrainingError(Exception):
    """Base of every error this package raises on purpose; ``message`` is one sentence for a person."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RecipeError(TrainingError):
    """A recipe file cannot be used; the message names the file and the key."""


class DataError(TrainingError):
    """One line of a data file cannot be used. ``line`` counts from 1; 0 means the file as a whole."""

    def __init__(self, file: Path, line: int, reason: str) -> None:
        place = f"{file}, line {line}" if line else str(file)
        super().__init__(f"{place}: {reason}")
        self.file = file
        self.line = line
        self.reason = reason


class BaseModelError(TrainingError):
    """The base model is missing, broken, or cannot be fetched."""


class AdapterError(TrainingError):
    """An adapter folder is missing, broken, unsupported, or not the one that was registered."""


class PromptError(TrainingError):
    """A prompt cannot be put to the model; ``key`` names the request."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"request {key}: {reason}")
        self.key = key
        self.reason = reason


class CheckpointWriteError(TrainingError):
    """The checkpoint could not be written; nothing half-written was left behind."""


class PackError(TrainingError):
    """A checkpoint cannot be packed in the form that was asked for; nothing half-written was left behind."""


class BusyError(TrainingError):
    """A server has more to do than it can take on; ask again later."""


class ResumeError(TrainingError):
    """A run that was broken off cannot go on; the message says why. Nothing was changed."""


class PeerLostError(TrainingError):
    """Of several processes that train one run together, another is gone; the message says how to go on."""


class ReportError(TrainingError):
    """TensorBoard or W&B was asked for and cannot be told of the run; what was trained is kept."""


class MemoryExhaustedError(TrainingError):
    """Not even a single row fits into the memory of the device; the message says what would help."""


class Cancelled(TrainingError):  # noqa: N818 - asked for, so not an error to the person who asked
    """Somebody asked to stop; the message says what was kept."""


class DivergedError(TrainingError):
    """The loss or its gradient became NaN or infinite; the message names the batch."""


class TensorFileError(TrainingError):
    """A safetensors file is missing, cut off, or not what its header says."""


class ChatTemplateError(TrainingError):
    """The base model's chat template is missing, or cannot render or split these messages."""


class IntakeError(TrainingError):
    """An uploaded checkpoint is refused; ``reason`` is what is wrong with it, without a full stop."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The upload was refused: {reason}. Nothing of it was kept.")
        self.reason = reason
