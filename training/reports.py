"""Runs told to TensorBoard and Weights & Biases while they go: listeners for the events of a run.

Curves have the names that they have under transformers (train/loss, eval/loss …), so that runs of both stand side by
side. Neither package is needed otherwise; TensorBoard comes with the extra ``logging``.
"""

import importlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from training.config import Recipe, recipe_to_dict
from training.errors import ReportError
from training.events import CheckpointSaved, Evaluated, Event, Started, StepDone, Warned

PACKAGES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}
"""What is imported for each name of ``report_to``; the name is also that of the package to install."""
RUN_ID = "run-id.txt"
DEFAULT_PROJECT = "brie-arena"
"""In W&B; the variable WANDB_PROJECT overrides it."""


@contextmanager
def reporting(
    names: Sequence[str], folder: Path, run_name: str, recipe: Recipe, on_event: Callable[[Event], None]
) -> Iterator[Callable[[Event], None]]:
    """Tell the events of a run to ``on_event`` first and then to each of ``names``.

    Args:
        names: "tensorboard" writes into ``folder/tensorboard``, "wandb" into ``folder/wandb`` and to its server.
        folder: of this run and no other. A run that goes on after it was broken off continues its curves there.
        run_name: what the run is called in W&B.
        recipe: shown beside the curves.
        on_event: called with every event, also when ``names`` is empty.

    Raises:
        ReportError: a package is not installed, or what it writes to refuses; nothing of the training is lost.
    """
    modules = {name: _module(name) for name in dict.fromkeys(names)}
    with ExitStack() as stack:
        listeners: list[Callable[[Event], None]] = [on_event]
        if "tensorboard" in modules:
            listeners.append(stack.enter_context(TensorBoard(modules["tensorboard"], folder / "tensorboard", recipe)))
        if "wandb" in modules:
            listeners.append(stack.enter_context(WeightsAndBiases(modules["wandb"], folder, run_name, recipe)))

        def tell(event: Event) -> None:
            for listener in listeners:
                listener(event)

        yield tell


def curves(event: StepDone | Evaluated) -> dict[str, float]:
    """The figures of an event that are drawn over the steps."""
    if isinstance(event, Evaluated):
        return {"eval/loss": event.loss, "eval/perplexity": event.perplexity}
    return {
        "train/loss": event.loss,
        "train/learning_rate": event.learning_rate,
        "train/epoch": event.epoch,
        "train/tokens": event.tokens,
        "train/tokens_per_second": event.tokens_per_second,
        "train/memory_bytes": event.memory_bytes,
    }


class TensorBoard:
    """Writes event files that ``tensorboard --logdir FOLDER`` shows; use as a context manager."""

    def __init__(self, module: Any, folder: Path, recipe: Recipe) -> None:
        self._module = module
        self._folder = folder
        self._recipe = recipe
        self._writer: Any = None
        self._early: list[Warned] = []
        self._step = 0

    def __enter__(self) -> Callable[[Event], None]:
        return self._tell

    def __exit__(self, *_exception: object) -> None:
        if self._writer:
            self._writer.close()

    def _tell(self, event: Event) -> None:
        try:
            self._write(event)
        except OSError as error:
            raise ReportError(
                f"the files for TensorBoard in {self._folder} cannot be written ({error.strerror or error}); what was "
                "trained is kept: free some space, or take tensorboard out of report_to, and start the run again"
            ) from error

    def _write(self, event: Event) -> None:
        match event:
            case Started():
                # What an earlier attempt told of later steps is told again, so TensorBoard is to forget it.
                first = event.resumed_step + 1 if event.resumed_step else 0
                self._writer = self._module.SummaryWriter(str(self._folder), purge_step=first)
                self._step = event.resumed_step
                told = json.dumps(recipe_to_dict(self._recipe), indent=2)
                self._writer.add_text("recipe", "".join(f"    {line}\n" for line in told.splitlines()), self._step)
                for early in self._early:
                    self._writer.add_text("warnings", early.message, self._step)
            case StepDone() | Evaluated():
                self._step = event.step
                for name, value in curves(event).items():
                    self._writer.add_scalar(name, value, event.step)
            case CheckpointSaved():
                self._writer.add_text("checkpoints", f"{event.name}: {event.fingerprint}", event.step)
                self._writer.flush()
            case Warned() if self._writer:
                self._writer.add_text("warnings", event.message, self._step)
            case Warned():
                self._early.append(event)


class WeightsAndBiases:
    """One run in Weights & Biases, told to its server or, with WANDB_MODE=offline, to files; a context manager.

    The server drops figures of steps that it has; those of a resumed run are the same.
    """

    def __init__(self, module: Any, folder: Path, run_name: str, recipe: Recipe) -> None:
        self._module = module
        self._folder = folder
        self._run_name = run_name
        self._recipe = recipe
        self._run: Any = None
        self._warnings: list[str] = []

    def __enter__(self) -> Callable[[Event], None]:
        return self._tell

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        if self._run:
            self._run.finish(exit_code=0 if kind is None else 1)

    def _tell(self, event: Event) -> None:
        match event:
            case Started():
                self._run = self._begin(goes_on=event.resumed_step > 0)
                self._run.summary.update({"warnings": self._warnings, "device": event.device, "dtype": event.dtype})
            case StepDone() | Evaluated():
                self._run.log(curves(event), step=event.step)
            case CheckpointSaved():
                self._run.summary.update({f"checkpoints/{event.name}": event.fingerprint})
            case Warned():
                self._warnings.append(event.message)
                if self._run:
                    self._run.summary.update({"warnings": self._warnings})

    def _begin(self, *, goes_on: bool) -> Any:
        """The run that an earlier attempt began, where this one goes on with it, else one of its own."""
        noted = self._folder / "wandb" / RUN_ID
        earlier = noted.read_text(encoding="utf-8") if goes_on and noted.is_file() else None
        try:
            noted.parent.mkdir(parents=True, exist_ok=True)
            run = self._module.init(
                project=os.environ.get("WANDB_PROJECT", DEFAULT_PROJECT),
                name=self._run_name,
                config=recipe_to_dict(self._recipe),
                dir=str(self._folder),
                id=earlier,
                resume="allow" if earlier else None,
            )
            noted.write_text(run.id, encoding="utf-8")
        except (OSError, self._module.Error) as error:
            raise ReportError(
                f"Weights & Biases cannot be told of this run ({error}); no step was taken: sign in with "
                "`wandb login`, set WANDB_MODE=offline, or take wandb out of report_to"
            ) from error
        return run


def _module(name: str) -> Any:
    try:
        return importlib.import_module(PACKAGES[name])
    except ImportError as error:
        raise ReportError(
            f"report_to names {name}, which is not installed here ({error}); nothing was trained: install it "
            f"(`pip install {name}` in the environment that has torch) or take it out of report_to"
        ) from error
