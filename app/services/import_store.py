"""Storing the portions of an import: here, or in a process beside this one while the next portion is made.

Rows take about as long to be made as to be inserted, so two processes on two cores need little more than half the time.
Portions are stored in their order, each in one transaction, whichever way it is done.
"""

import gc
import marshal
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection

from sqlalchemy.exc import SQLAlchemyError

from app.db import Database
from app.domain.errors import ArenaError, UnavailableError
from app.services.bulk import Load, insert

Put = Callable[[Sequence[Load]], None]
"""Stores one portion; may return while it is still on its way, and raises then at the next one or at the end."""


@contextmanager
def store_here(database: Database) -> Iterator[Put]:
    """One portion after the other, by this process."""

    def put(loads: Sequence[Load]) -> None:
        with database.session_scope() as session:
            insert(session, loads)

    yield put


@contextmanager
def store_beside(database: Database) -> Iterator[Put]:
    """By a process of its own, which is started for it and ends with it.

    All is stored when this is left without an error. A process that ends before its time, this one or the other,
    leaves whole portions and no part of one.

    Raises:
        UnavailableError: a portion could not be stored; those before it are.
    """
    url = database.engine.url.render_as_string(hide_password=False)
    context = multiprocessing.get_context("spawn")  # a fork would share the open connections of this process
    ours, theirs = context.Pipe()
    process = context.Process(target=_store, args=(url, theirs), name="arena-import", daemon=True)
    process.start()
    theirs.close()
    waiting = 0

    def settle() -> None:
        nonlocal waiting
        while waiting:
            try:
                trouble = ours.recv_bytes().decode()
            except (EOFError, OSError):
                trouble = "the process that stores it has ended"
            if trouble:
                raise UnavailableError(
                    f"A portion of the import could not be stored: {trouble}. What was stored before it is kept; give "
                    "the same import again to go on."
                )
            waiting -= 1

    def put(loads: Sequence[Load]) -> None:
        nonlocal waiting
        packed = marshal.dumps([tuple(load) for load in loads])
        settle()
        with suppress(OSError):  # what it said before it ended is still to be read
            ours.send_bytes(packed)
        waiting += 1

    with closing(ours):
        try:
            yield put
            settle()
        finally:
            ours.close()  # the other side sees the end and goes
            process.join()


def _store(url: str, portions: Connection) -> None:
    """The other side: store what comes until nothing more does. Says "" for each that is stored, or what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the side that reads the files; this one follows
    gc.disable()  # rows are tuples without cycles, and there are millions
    database = Database.at(url)
    with closing(portions), store_here(database) as put:
        while True:
            try:
                loads = [Load(*load) for load in marshal.loads(portions.recv_bytes())]  # noqa: S302 (from our own side)
            except EOFError:
                break
            try:
                put(loads)
            except ArenaError as error:
                said = error.detail or str(error)
            except SQLAlchemyError as error:
                said = str(error).splitlines()[0]
            else:
                said = ""
            try:
                portions.send_bytes(said.encode())
            except OSError:
                break
            if said:
                break
    database.engine.dispose()
