"""``python -m worker.endpoint``: load, check and serve; `./arena checkpoints serve` starts it."""

import argparse
import sys
import uuid
from pathlib import Path

import uvicorn
from sqlalchemy import select

from app.config import get_settings
from app.db import get_database, session_scope
from app.domain.errors import ArenaError
from app.domain.terms import CheckpointKind
from app.log import configure_logging
from app.models import BaseModel, Checkpoint
from training.checkpoint import verify_checkpoint
from training.errors import TrainingError
from training.generate import LocalEngine
from training.serve import Service
from worker.base_model import verified_folder
from worker.endpoint.application import Offer, Served, create_app

_GRACE_SECONDS = 2


def _load(base_id: uuid.UUID, checkpoint_ids: list[uuid.UUID]) -> tuple[LocalEngine, list[Served]]:
    """The engine with these checkpoints of one base, every one hashed again now."""
    with session_scope(write=False) as session:
        base = session.get_one(BaseModel, base_id)
        bare = session.scalars(
            select(Checkpoint).where(Checkpoint.base_model_id == base_id, Checkpoint.kind == CheckpointKind.BASE)
        ).one()
        adapters = [session.get_one(Checkpoint, id_) for id_ in checkpoint_ids]
    for adapter in adapters:
        verify_checkpoint(Path(adapter.folder), adapter.fingerprint)
    folders = {adapter.fingerprint: Path(adapter.folder) for adapter in adapters}
    engine = LocalEngine(verified_folder(base), folders, device=get_settings().device)
    served = [Served(bare.name, bare.fingerprint, None, bare.created_at)]
    served += [Served(one.name, one.fingerprint, one.fingerprint, one.created_at) for one in adapters]
    return engine, served


def main(arguments: list[str]) -> int:
    """Serve until stopped. Exit code 1: something cannot be loaded; one sentence says what."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=uuid.UUID, required=True)
    parser.add_argument("--checkpoint", type=uuid.UUID, action="append", default=[])
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--most-tokens", type=int, required=True)
    parser.add_argument("--line", type=int, required=True)
    chosen = parser.parse_args(arguments)
    settings = get_settings()
    configure_logging(settings)
    try:
        engine, served = _load(chosen.base, chosen.checkpoint)
    except (ArenaError, TrainingError) as error:
        sys.stderr.write(f"arena: {error.message}\n")
        return 1
    service = Service(engine, places=settings.generate_batch_size, waiting=chosen.line)
    service.start()
    offer = Offer(served, service, get_database(), chosen.most_tokens, engine.fingerprint)
    sys.stdout.write("".join(f"  {one.name}  {one.fingerprint[:12]}\n" for one in served))
    sys.stdout.write(f"Serving at http://{chosen.host}:{chosen.port}/v1   Stop with Ctrl-C.\n")
    sys.stdout.flush()
    try:
        uvicorn.run(
            create_app(offer),
            host=chosen.host,
            port=chosen.port,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    finally:
        service.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
