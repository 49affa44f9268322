"""The web application: ``create_app(settings)`` puts routers, middleware and error handlers together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from app import __version__
from app.config import ROOT, Settings, get_settings
from app.db import Database
from app.log import configure_logging
from app.web import (
    account,
    api,
    api_docs,
    batches,
    canaries,
    datasets,
    enter,
    errors,
    exports,
    frozen_reports,
    home,
    intake,
    join,
    judges,
    judging,
    metrics,
    models,
    operations,
    packages,
    pairs,
    perplexities,
    playground,
    raters,
    ready,
    reports,
    results,
    retraining,
    run_comparison,
    runs,
    sending,
    suites,
    tokens,
    vote,
    yours,
)
from app.web.limits import Limits
from app.web.live import LiveHub
from app.web.live import router as live_router
from app.web.ready import Readiness
from app.web.security import SecurityMiddleware

_LARGEST_BODY = 1_000_000
"""Bytes of a request; forms are small, and bodies are read before anybody is asked who they are."""


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The poller of live hints and the canary script run as long as the application."""
    tasks = [asyncio.create_task(app.state.live.run()), asyncio.create_task(canaries.watch(app))]
    try:
        yield
    finally:
        for task in reversed(tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def create_app(settings: Settings | None = None) -> FastAPI:
    """An application on the settings' database; tests give their own settings."""
    settings = settings or get_settings()
    configure_logging(settings)
    app = FastAPI(
        title="Brie Arena",
        version=__version__,
        description=api_docs.DESCRIPTION,
        lifespan=_lifespan,
        max_body_size=_LARGEST_BODY,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.settings = settings
    app.state.database = Database.at(settings.database)
    app.state.live = LiveHub(app.state.database, settings.live_poll_seconds)
    app.state.limits = Limits.of(settings)
    app.state.readiness = Readiness(app.state.database, settings)
    app.add_middleware(SecurityMiddleware)
    app.add_middleware(metrics.MeterMiddleware)
    errors.install(app)
    for module in (
        enter, join, account, tokens, home, datasets, models, suites, intake, sending, packages, run_comparison, runs,
        retraining, playground, batches, judging, raters, judges, perplexities, pairs, vote, yours, results,
        frozen_reports, exports, operations, ready,
        metrics, api_docs,
    ):  # fmt: skip
        app.include_router(module.router, include_in_schema=False)
    for documented in (api, reports):
        app.include_router(documented.router)
    app.include_router(live_router, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=ROOT / "static"), name="static")
    return app
