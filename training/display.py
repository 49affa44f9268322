"""A run on the terminal: a progress bar where there is one, plain lines elsewhere."""

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from training.events import CheckpointSaved, Evaluated, Event, Keeping, Previewed, Started, StepDone, Warned


class Display:
    """Shows events; use as a context manager."""

    def __init__(self) -> None:
        self._console = Console()
        columns = (
            TextColumn("step"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._bar.stop()

    def show(self, event: Event) -> None:
        """Print one event as a line; steps move the bar where there is one."""
        if isinstance(event, Keeping):
            return
        if isinstance(event, Previewed):
            self._console.print(first_row(event), soft_wrap=True)
            return
        if isinstance(event, StepDone) and self._console.is_terminal:
            text = f"loss {event.loss:.3f} · {event.tokens_per_second:.0f} tokens/s"
            self._bar.update(self._task, completed=event.step, description=text)
            return
        if isinstance(event, Started):
            self._bar.update(self._task, total=event.total_steps)
        self._console.print(sentence(event), markup=False, highlight=False, soft_wrap=True)


def first_row(event: Previewed) -> Text:
    """The first row with what is learned of it in colour."""
    row = event.rows[0]
    text = Text(f"line {row.line}, what is learned of it underlined: ")
    for piece, learned in row.pieces:
        text.append(piece, style="green underline" if learned else "dim")
    return text


def sentence(event: Started | StepDone | Evaluated | CheckpointSaved | Warned) -> str:
    """One line of text for an event."""
    if isinstance(event, Started):
        going_on = f"going on after step {event.resumed_step}, " if event.resumed_step else ""
        return (
            f"{going_on}training {event.trainable_parameters:,} parameters on {event.device} in {event.dtype}: "
            f"{event.total_steps} steps over {event.train_rows} rows ({event.train_tokens:,} tokens)"
        )
    if isinstance(event, StepDone):
        return (
            f"step {event.step} (epoch {event.epoch:.2f}): loss {event.loss:.4f}, "
            f"{event.tokens_per_second:.0f} tokens/s, {event.memory_bytes / 1e9:.1f} GB, "
            f"{event.eta_seconds:.0f} s left"
        )
    if isinstance(event, Evaluated):
        what = "the base itself" if event.step == 0 else f"step {event.step}"
        return f"validation, {what}: loss {event.loss:.4f}, perplexity {event.perplexity:.2f}"
    if isinstance(event, CheckpointSaved):
        return f"saved {event.name} in {event.folder} (fingerprint {event.fingerprint[:12]})"
    return f"warning: {event.message}"
