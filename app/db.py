"""Engine, sessions, migrations. ``session_scope`` holds the only commit of the project."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app.config import ROOT, get_settings
from app.domain.errors import BadInputError, DatabaseAwayError, UnavailableError

_BAD_URL = (
    "ARENA_DATABASE_URL is not a usable database address: give sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME."
)


def make_engine(url: str) -> Engine:
    """An engine with the pragmas, pool size and begin mode measured best for voting.

    Raises:
        BadInputError: the URL names no database we can talk to.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername in {"postgres", "postgresql"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "sqlite":
            if parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            # Connections are kept: opening one takes as long as an insert, and closing the last one copies the whole
            # write-ahead log into the file. There is no limit, so no thread ever waits for another's;
            # the one used last is used next, so that a quiet arena needs few.
            engine = create_engine(
                parsed, pool_size=20, max_overflow=-1, pool_use_lifo=True, hide_parameters=True,
                connect_args={"timeout": 30},
            )  # fmt: skip
            _prepare_sqlite(engine)
        elif parsed.get_backend_name() == "postgresql":
            engine = create_engine(parsed, pool_size=20, max_overflow=0, pool_pre_ping=True, hide_parameters=True)
        else:
            engine = None
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise BadInputError(_BAD_URL) from error
    except OSError as error:
        raise UnavailableError(f"The folder of the database cannot be made: {error.strerror}.") from error
    if engine is None:
        raise BadInputError(_BAD_URL)
    return engine


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, see below
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=30000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        # SQLite's own knows A to Z only, and a search that ignores capitals is one for every letter.
        connection.create_function("lower", 1, _lower, deterministic=True)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that later writes can fail at once with "database is locked";
        # taking the write lock at the start waits in line instead.
        write = connection.get_execution_options().get("arena_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@dataclass(frozen=True)
class Database:
    """One database: sessions that read, sessions that write, and the lock that orders the writers."""

    engine: Engine
    _readers: sessionmaker[Session]
    _writers: sessionmaker[Session]
    _write_lock: "threading.Lock | None"

    @classmethod
    def at(cls, url: str) -> "Database":
        """Open the database at an SQLAlchemy URL."""
        engine = make_engine(url)
        sqlite = engine.dialect.name == "sqlite"
        # A page adds and subtracts what it asked for one after the other, so it is read as of one moment, as in SQLite.
        readers = engine if sqlite else engine.execution_options(isolation_level="REPEATABLE READ")
        return cls(
            engine,
            sessionmaker(readers, expire_on_commit=False),
            sessionmaker(engine.execution_options(arena_write=True), expire_on_commit=False),
            # Threads of one process queue here fairly; SQLite's own busy wait polls and starves some
            # (p99 981 ms without, 53 ms with). Other processes still meet at BEGIN IMMEDIATE.
            threading.Lock() if sqlite else None,
        )

    @contextmanager
    def session_scope(self, *, write: bool = True) -> Iterator[Session]:
        """One transaction: returns to commit, raises to roll back.

        Raises:
            DatabaseAwayError: the database cannot be reached or is not prepared.
        """
        lock = self._write_lock if write else None
        if lock is not None:
            lock.acquire()
        try:
            with (self._writers if write else self._readers)() as session:
                yield session
                if write:
                    session.commit()
        except OperationalError as error:
            raise _away(error) from error
        finally:
            if lock is not None:
                lock.release()


def _away(error: DBAPIError) -> DatabaseAwayError:
    lines = str(error.orig).strip().splitlines()
    return DatabaseAwayError(
        "The database cannot be used right now. Nothing was changed. Check ARENA_DATABASE_URL and that the database "
        "runs, then try again.",
        detail=lines[0] if lines else type(error).__name__,
    )


@lru_cache(maxsize=1)
def _newest_tables() -> frozenset[str]:
    """The revisions that this version of the code brings a database to."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    return frozenset(ScriptDirectory.from_config(config).get_heads())


def is_migrated(session: Session) -> bool:
    """Whether the tables are those of this version of the code."""
    return frozenset(MigrationContext.configure(session.connection()).get_current_heads()) == _newest_tables()


@lru_cache(maxsize=1)
def get_database() -> Database:
    """The database of this process, at the address in the settings."""
    return Database.at(get_settings().database)


@contextmanager
def session_scope(*, write: bool = True) -> Iterator[Session]:
    """``Database.session_scope`` on the database of this process."""
    with get_database().session_scope(write=write) as session:
        yield session


def migrate(database_url: str) -> None:
    """Bring the tables of the database up to this version of the code.

    Raises:
        BadInputError: the URL cannot be used.
        DatabaseAwayError: the database does not answer.
    """
    engine = make_engine(database_url)
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.attributes["engine"] = engine
    try:
        command.upgrade(config, "head")
    except DBAPIError as error:
        raise _away(error) from error
    except CommandError as error:
        raise BadInputError(
            f"The database was made by another version of the arena ({error}). Update the code or use another one."
        ) from error
    finally:
        engine.dispose()
