"""What every test may ask for: databases, Redis, a browser, real data, the real small model.

Plain `pytest` uses what the machine has and skips the rest with a reason; with ``CI=true`` or
`./arena test --all` a missing service fails instead. Nothing is installed here: `./arena test` does that.
"""

import fcntl
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from app.db import migrate
from app.setup import ROOT
from app.setup.programs import find_chromium, find_postgres, find_redis
from tests.servers import once, postgres
from tests.servers import redis as redis_server

STRICT = "ARENA_TEST_STRICT"
_KEPT = {"ARENA_CHROMIUM", "ARENA_TEST_BASE", "ARENA_SHARED_DATA", STRICT, once.RUN_FOLDER}
_SECRETS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "HF_TOKEN")
_TEMPLATE = "arena_template_"
_REDIS_DATABASES = 16


def pytest_configure(config: pytest.Config) -> None:
    """Keep the developer's settings, keys and local state away from the tests, and make the run's folder."""
    for name in list(os.environ):
        if (name.startswith("ARENA_") and name not in _KEPT) or name in _SECRETS:
            del os.environ[name]
    if not hasattr(config, "workerinput"):
        once.stop_abandoned()
        os.environ[once.RUN_FOLDER] = str(once.make_run_folder())
    # Whoever forgets to pass a folder must not write into the checkout's var/.
    os.environ["ARENA_HOME"] = f"{os.environ[once.RUN_FOLDER]}/home-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"


def pytest_unconfigure(config: pytest.Config) -> None:
    """The controller stops the servers that any of its workers started."""
    if not hasattr(config, "workerinput") and once.RUN_FOLDER in os.environ:
        once.stop_all(Path(os.environ.pop(once.RUN_FOLDER)))


def unavailable(reason: str) -> NoReturn:
    """Skip the test that needs what this machine lacks, or fail it where everything has to run."""
    if os.environ.get("CI") == "true" or os.environ.get(STRICT):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The SQLAlchemy URL of a fresh, fully migrated database, once on SQLite and once on a real Postgres."""
    if request.param == "sqlite":
        file = tmp_path / "arena.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), file)
        yield f"sqlite:///{file}"
        return
    server, template = request.getfixturevalue("postgres_template")
    name = f"arena_test_{uuid.uuid4().hex}"
    yield postgres.create_database(server, name, template)
    postgres.drop_database(server, name)


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without a table, on both backends, for tests of the migrations."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server = request.getfixturevalue("postgres_server")
    name = f"arena_test_{uuid.uuid4().hex}"
    yield postgres.create_database(server, name)
    postgres.drop_database(server, name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    file = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{file}")
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # a copy of the file alone must hold everything
    connection.close()
    return file


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """The URL of a Postgres server's maintenance database: ``TEST_DATABASE_URL``, else one of our own."""
    if named := os.environ.get("TEST_DATABASE_URL"):
        return named.replace("postgres://", "postgresql://").replace("postgresql://", "postgresql+psycopg://")
    program = find_postgres()
    if program is None:
        unavailable("No Postgres: set TEST_DATABASE_URL, or let ./arena test install one.")
    try:
        return once.once("postgres", lambda folder: postgres.start(folder, program.path))
    except RuntimeError as error:  # such as a user id without a name, which Postgres refuses
        unavailable(f"Postgres does not start here; set TEST_DATABASE_URL. {error}")


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[tuple[str, str]]:
    """The server's URL and the name of a migrated database to copy. Each xdist worker has its own."""
    name = _TEMPLATE + uuid.uuid4().hex
    migrate(postgres.create_database(postgres_server, name))
    yield postgres_server, name
    postgres.drop_database(postgres_server, name)


@pytest.fixture
def redis_url(worker_id: str) -> str:
    """The URL of an empty database on a real Redis: ``TEST_REDIS_URL``, else a server of our own.

    Workers use databases 1, 2, … of the server; they are emptied before each test.
    """
    import redis  # noqa: PLC0415

    server = os.environ.get("TEST_REDIS_URL")
    if not server:
        program = find_redis()
        if program is None:
            unavailable("No Redis: set TEST_REDIS_URL, or let ./arena test install one.")
        server = once.once("redis", lambda folder: redis_server.start(folder, program.path))
    number = 1 + int(worker_id.removeprefix("gw") or 0) % (_REDIS_DATABASES - 1) if worker_id != "master" else 1
    url = f"{server.rstrip('/')}/{number}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    """A Chromium to drive: ``ARENA_CHROMIUM``, on the PATH, or downloaded by Playwright."""
    program = find_chromium()
    if program is None:
        unavailable("No Chromium: set ARENA_CHROMIUM, or let ./arena test install one.")
    return program.path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real public data sets that lies beside a checkout, where there is one."""
    folder = Path(os.environ.get("ARENA_SHARED_DATA") or ROOT.parent / "shared/data")
    if not folder.is_dir():
        pytest.skip(f"No real data in {folder}; ARENA_SHARED_DATA names another folder.")
    return folder


@pytest.fixture(scope="session")
def real_base() -> Path:
    """The folder of the real small base model: ``ARENA_TEST_BASE``, else fetched once into var/test-cache."""
    if named := os.environ.get("ARENA_TEST_BASE"):
        return Path(named)
    from training.errors import TrainingError  # noqa: PLC0415
    from training.fetch import fetch_base  # noqa: PLC0415

    cache = ROOT / "var/test-cache"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / "base"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            try:
                fetch_base("built_in", "", folder, lambda *_: None)
            except TrainingError as error:
                unavailable(f"The real base model could not be fetched: {error}")
            (cache / "complete").touch()
    return folder
