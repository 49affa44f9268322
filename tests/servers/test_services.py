"""The services behind the fixtures are real, separate for every test, and unprivileged."""

import os

import psycopg
import pytest
import redis
from sqlalchemy import create_engine, inspect, text


@pytest.mark.parametrize("test", ["one", "the next"])
def test_every_test_has_a_migrated_database_of_its_own(database_url: str, test: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        tables = inspect(connection).get_table_names()
        assert {"ballot", "verdict", "alembic_version"} <= set(tables)
        assert "left_behind" not in tables
        connection.execute(text("CREATE TABLE left_behind (id INTEGER)"))
    engine.dispose()


def test_the_empty_database_is_empty(empty_database_url: str) -> None:
    engine = create_engine(empty_database_url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


@pytest.mark.parametrize("test", ["one", "the next"])
def test_every_test_meets_an_empty_redis(redis_url: str, test: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left-behind", "1")


def test_postgres_is_real(postgres_server: str) -> None:
    with psycopg.connect(postgres_server.replace("+psycopg", "")) as connection:
        assert connection.info.server_version >= 15_00_00


@pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="about the server that the tests start themselves")
def test_our_own_postgres_lets_nobody_in_without_its_password(postgres_server: str) -> None:
    address = postgres_server.rpartition("@")[2]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"postgresql://arena:wrong@{address}")
