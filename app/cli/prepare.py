"""What every command needs first: folders, tables, and what ships with the arena."""

from datetime import UTC, datetime

from app.config import DATA, Settings, get_settings
from app.db import migrate, session_scope
from app.domain.errors import UnavailableError
from app.jobs import require_known_broker
from app.log import configure_logging
from app.services.shipped import import_shipped


def prepare() -> Settings:
    """Make the arena ready to use; under a second when it is already.

    Raises:
        ArenaError: a setting, the folder or the database cannot be used; one sentence.
    """
    settings = get_settings()
    settings.hand_on()
    configure_logging(settings)
    require_known_broker(settings)
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(
            f"The folder {settings.home} cannot be made ({error.strerror}). Choose another with ARENA_HOME."
        ) from error
    migrate(settings.database)
    with session_scope() as session:
        import_shipped(
            session,
            data=DATA,
            artifacts=settings.artifacts,
            base_model=settings.base_model,
            sample_study=settings.sample_study,
            secret=settings.secret_key(),
            now=datetime.now(UTC),
        )
    return settings
