"""``./arena``: every command in one place."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from sqlalchemy.exc import SQLAlchemyError

from app import __version__
from app.bench.command import bench
from app.cli import (
    controls,
    evaluating,
    exporting,
    importing,
    intake,
    judges,
    judging,
    library,
    packing,
    perplexity,
    planning,
    raters,
    sample,
    serve,
    serving,
    simulating,
    study,
    tokens,
    training,
    up,
    verifying,
    worker,
)
from app.cli.address import last_known
from app.cli.follow import ensure_training
from app.cli.output import console
from app.cli.prepare import prepare
from app.config import get_settings
from app.db import session_scope
from app.domain.errors import ArenaError
from app.domain.terms import Queue
from app.services import accounts
from app.setup.extras import TORCH_CHOICES, SetupError

cli = typer.Typer(
    help="Train a LoRA adapter, compare it blind with its base, and know which is better and how sure that is.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
admin = typer.Typer(help="Signing in.", no_args_is_help=True)

cli.add_typer(library.models, name="models")
cli.add_typer(library.suites, name="suites")
cli.add_typer(library.datasets, name="datasets")
cli.command()(training.train)
cli.add_typer(training.runs, name="runs")
training.checkpoints.command("add")(intake.add)
training.checkpoints.command("delete")(intake.delete)
training.checkpoints.command("clean")(intake.clean)
training.checkpoints.command("export")(packing.export)
training.checkpoints.command("serve")(serving.serve)
cli.add_typer(training.checkpoints, name="checkpoints")
cli.command()(evaluating.launch)
evaluating.batches.command("plan")(planning.batches_plan)
cli.add_typer(evaluating.batches, name="batches")
cli.command()(perplexity.perplexity)
cli.command()(evaluating.status)
cli.command()(evaluating.report)
cli.command()(exporting.export)
cli.add_typer(raters.raters, name="raters")
cli.command()(judging.judge)
cli.add_typer(judges.judges, name="judges")
cli.command()(controls.canaries)
cli.add_typer(controls.controls, name="controls")
cli.command()(verifying.verify)
cli.command("import")(importing.import_files)
cli.command()(exporting.export)
cli.command()(simulating.simulate)
cli.add_typer(study.study, name="study")
cli.add_typer(sample.sample, name="sample")
cli.add_typer(tokens.tokens, name="tokens")
cli.add_typer(bench, name="bench")
cli.add_typer(admin, name="admin")


@cli.command("up")
def up_command(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 0,
    torch: Annotated[str, typer.Option(help=f"Build of PyTorch: {', '.join(TORCH_CHOICES)}.")] = "auto",
    demo_judges: Annotated[
        bool, typer.Option("--demo-judges", help="With simulated judges, to try judging without a key.")
    ] = False,
) -> None:
    """Start everything: the page at once, training behind it. Ctrl-C stops it."""
    settings = get_settings()
    host, port = host or settings.host, port or settings.port
    raise typer.Exit(up.run(host=host, port=port, torch=torch, demo_judges=demo_judges))


@cli.command("serve")
def serve_command(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 0,
) -> None:
    """Serve the page alone, where workers run elsewhere; `arena up` does both."""
    serve.run(host=host, port=port)


@cli.command("worker")
def worker_command(
    queue: Annotated[Queue | None, typer.Option(help="Only this queue; both by default.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say whether one of this machine is alive.")] = False,
    parent: Annotated[int, typer.Option(hidden=True, help="Stop when this process is no longer our parent.")] = 0,
) -> None:
    """Do background work until stopped; `arena up` starts one by itself."""
    if check:
        worker.check(queue)
        return
    prepare()
    ensure_training()
    raise typer.Exit(worker.run(queue, parent=parent))


@cli.command(
    "test", context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
)
def test_command(context: typer.Context) -> None:
    """Install what tests need and run them; --all adds slow simulations and the real model."""
    from app.setup import testing  # noqa: PLC0415 (stays out of every other command's start)

    raise typer.Exit(testing.main(context.args))


@cli.command("screenshots")
def screenshots_command(
    out: Annotated[Path | None, typer.Option(help="Folder to draw into; var/screenshots by default.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only this designed state; may be given again.")] = None,
    page: Annotated[str, typer.Option(help="Only pages whose name contains this.")] = "",
    width: Annotated[Literal["390", "1280"] | None, typer.Option(help="Only this width, in pixels.")] = None,
    scheme: Annotated[Literal["light", "dark"] | None, typer.Option(help="Only this colour scheme.")] = None,
    readme: Annotated[bool, typer.Option("--readme", help="Refresh the pictures of the README instead.")] = False,
) -> None:
    """Draw every page in every designed state, with a sheet that shows all pictures."""
    from app.setup import screenshots  # noqa: PLC0415 (stays out of every other command's start)

    code = screenshots.main(
        out=out, states=state or [], page=page, width=int(width or 0), scheme=scheme or "", readme=readme
    )
    raise typer.Exit(code)


@cli.command("version")
def version_command() -> None:
    """Print the version."""
    console.print(__version__, highlight=False)


@admin.command("link")
def admin_link() -> None:
    """Make a link that signs an admin in, once, within a day."""
    settings = prepare()
    with session_scope() as session:
        token = accounts.owner_link(session, now=datetime.now(UTC))
    console.print(f"{last_known(settings)}/enter/{token}", soft_wrap=True, highlight=False)


def main() -> int:
    """Run a command. Exit codes: 0 done, 1 an error that was explained, 2 wrong usage."""
    try:
        cli()
    except ArenaError as error:
        typer.echo(f"arena: {error}" + (f" ({error.detail})" if error.detail else ""), err=True)
        return 1
    except SetupError as error:
        typer.echo(f"arena: {error}", err=True)
        return 1
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        typer.echo(f"arena: The database refused this, and nothing was changed. ({reason})", err=True)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
