"""What comes with the arena: suites, control pairs, the first dataset, sample study, small base model and admin."""

from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.names import CONTROLS
from app.models import BaseModel
from app.services.accounts import the_admin
from app.services.base_models import add_base_model
from app.services.controls import import_controls
from app.services.datasets import import_dataset
from app.services.sample_study import MANIFEST, load_sample_study
from app.services.suites import import_suite


def import_shipped(
    session: Session,
    *,
    data: Path,
    artifacts: Path,
    base_model: str,
    secret: bytes,
    now: datetime,
    sample_study: bool = True,
) -> None:
    """Bring a database up to what this version ships. Doing it again changes nothing."""
    for path in sorted((data / "suites").glob("*.jsonl")):
        import_suite(session, path, now=now)
    for path in sorted((data / "sft").glob("*.train.jsonl")):
        validation = path.with_name(path.name.replace(".train.", ".val."))
        import_dataset(
            session, path, validation_path=validation if validation.exists() else None, artifacts=artifacts, now=now
        )
    for name in CONTROLS:
        path = data / "controls" / f"{name.removeprefix('brie-')}.jsonl"
        if path.exists():
            import_controls(session, path, now=now, name=name)
    the_admin(session, now=now)
    if sample_study and (data / "sample_study" / MANIFEST).exists():
        load_sample_study(session, data / "sample_study", secret=secret, now=now)
    if base_model and session.scalar(select(BaseModel.id).limit(1)) is None:
        add_base_model(session, base_model, now=now)
