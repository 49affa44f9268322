"""What a run reports while it goes: frozen values handed to one callback."""

from dataclasses import dataclass
from pathlib import Path

from training.effect import Effect


@dataclass(frozen=True, slots=True)
class Started:
    """The data is read, the model is loaded, training begins."""

    total_steps: int
    device: str
    dtype: str
    trainable_parameters: int
    train_rows: int
    train_tokens: int
    skipped_rows: int
    """Rows of the training file longer than max_length."""
    validation_rows: int
    resumed_step: int = 0
    """The last step of the part that was done before the run was broken off; its steps are not told again."""


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """A row as the model sees it, in pieces: the text, and whether it is learned."""

    line: int
    pieces: tuple[tuple[str, bool], ...]
    source: str = ""
    """The dataset of a mix that it is from."""


@dataclass(frozen=True, slots=True)
class Previewed:
    """The first rows of the training file, as they were made into tokens: what is learned, and what only read."""

    rows: tuple[PreviewRow, ...]


@dataclass(frozen=True, slots=True)
class StepDone:
    """One optimizer step."""

    step: int
    epoch: float
    loss: float
    """Mean training loss in nats per learned token of this step."""
    learning_rate: float
    tokens: int
    """Tokens seen since the start (padding not counted)."""
    tokens_per_second: float
    """Over this step."""
    memory_bytes: int
    """Peak memory of this process (CPU) or of the device."""
    eta_seconds: float
    """Expected rest of the run, by the mean speed so far."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The exact loss on the validation file; step 0 is the base itself."""

    step: int
    epoch: float
    loss: float
    perplexity: float
    tokens: int


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    """A checkpoint is complete on the disk."""

    name: str
    """Within the run: "epoch-1", "step-10"."""
    step: int
    epoch: float
    folder: Path
    fingerprint: str
    size_bytes: int
    validation_loss: float | None
    is_last: bool
    effect: Effect


@dataclass(frozen=True, slots=True)
class Keeping:
    """A resume point is about to be written: the run may go on behind this step, so what was told must be stored."""

    step: int


@dataclass(frozen=True, slots=True)
class Warned:
    """Something a person should know; the run goes on."""

    message: str


Event = Started | Previewed | StepDone | Evaluated | CheckpointSaved | Keeping | Warned
