"""Health: what the arena needs and whether it is there."""

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.config import Settings
from app.models import Worker
from app.setup.state import SetupPhase, SetupState

_LOW_DISK = 2 * 1024**3


@dataclass(frozen=True)
class HealthRow:
    """One thing the arena needs: is it there, in words, and what to do if not."""

    name: str
    ok: bool
    detail: str
    advice: str


@dataclass(frozen=True)
class SettingsPage:
    """Health rows, then the settings in force as (environment variable, value, meaning); no secret is shown."""

    health: tuple[HealthRow, ...]
    settings: tuple[tuple[str, str, str], ...]


def settings_page(session: Session, settings: Settings, *, now: datetime, setup: SetupState) -> SettingsPage:
    """Health and settings."""
    return SettingsPage(
        health=(
            HealthRow("Database", ok=True, detail=session.get_bind().dialect.name, advice=""),
            HealthRow(
                "Training extra",
                ok=setup.state is SetupPhase.READY,
                detail=setup.message or plain_state(setup),
                advice=f"See {setup.log}, then start again." if setup.state is SetupPhase.FAILED else "",
            ),
            *_workers(session, settings, now),
            _key(settings),
            _disk(settings),
        ),
        settings=tuple(
            (
                str(field.validation_alias or f"ARENA_{name.upper()}"),
                _shown(name, getattr(settings, name)),
                field.description or "",
            )
            for name, field in Settings.model_fields.items()
        ),
    )


def plain_state(setup: SetupState) -> str:
    """The state of the installation when it has no message of its own."""
    return "installed" if setup.state is SetupPhase.READY else "not installed yet; ./arena up installs it"


def _shown(name: str, value: object) -> str:
    """Secrets and keys are never shown, and URLs may carry passwords."""
    text = str(value)
    secret = name == "secret" or name.endswith("_api_key") or (name.endswith("_url") and "@" in text)
    return "(set)" if secret and text else text


def _key(settings: Settings) -> HealthRow:
    """Nothing else needs it, so a missing one is told and is no fault."""
    there = bool(settings.anthropic_api_key.strip())
    return HealthRow(
        "Key for judges at Anthropic",
        ok=True,
        detail="there" if there else "none; needed only for judges that are Claude models",
        advice="" if there else "Put ANTHROPIC_API_KEY=… into .env and start the arena again.",
    )


def _workers(session: Session, settings: Settings, now: datetime) -> list[HealthRow]:
    since = now - timedelta(seconds=settings.stale_seconds)
    alive = session.scalars(select(Worker).where(Worker.heartbeat_at >= since).order_by(Worker.queue)).all()
    advice = "Start one with ./arena worker; ./arena up does it by itself."
    if not alive:
        return [HealthRow("Worker", ok=False, detail="no worker has been heard of lately", advice=advice)]
    return [HealthRow(f"Worker ({w.queue})", ok=True, detail=w.name, advice="") for w in alive]


def _disk(settings: Settings) -> HealthRow:
    free = shutil.disk_usage(settings.home).free
    return HealthRow(
        "Disk",
        ok=free > _LOW_DISK,
        detail=f"{free / 1024**3:.1f} GiB free under {settings.home}",
        advice="" if free > _LOW_DISK else "A checkpoint or model may not fit: make room.",
    )
