"""The embedded broker: kombu's filesystem transport, made safe for several processes.

kombu 5.7 writes messages and exchange tables in place, so that a reader can meet half of one, and an empty
file ends the worker that reads it. Here every file appears complete (temporary file, fsync, rename in the same
folder), a message is taken by renaming it (one taker wins), and a file that holds no message is put aside.

In Celery: ``broker_url="filesystem://"``, ``broker_transport=TRANSPORT``,
``broker_transport_options=transport_options(folder)``.
"""

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any, cast

from kombu.exceptions import ChannelError
from kombu.log import get_logger
from kombu.transport import filesystem, virtual
from kombu.utils.json import dumps, loads

TRANSPORT = "app.filesystem_broker:Transport"
"""What kombu and Celery take as the name of this transport."""

_POLL_SECONDS = 0.05
_BROKEN = "broken"

log = get_logger(__name__)


def transport_options(folder: Path) -> dict[str, Any]:
    """The options that make the transport use ``folder``, which is created with everything below it.

    Producers and consumers take the same options. A waiting consumer looks every 0.05 s.
    """
    messages, control = folder / "messages", folder / "control"
    for path in (messages / _BROKEN, control):
        path.mkdir(parents=True, exist_ok=True)
    return {
        "data_folder_in": str(messages),
        "data_folder_out": str(messages),
        "control_folder": str(control),
        "polling_interval": _POLL_SECONDS,
    }


class Channel(filesystem.Channel):
    """Queues as files named ``<time>_<uuid>.<queue>.msg`` in one folder, oldest first."""

    # kombu itself renames the parameter between its base class and this one.
    def _put(  # type: ignore[override]
        self, queue: str, payload: dict[str, Any], **_kwargs: Any
    ) -> None:
        """Publish a message: it is there completely or not at all.

        Raises:
            ChannelError: the file could not be written (full disk, missing folder); nothing of it remains.
        """
        name = f"{time.time_ns():020d}_{uuid.uuid4()}.{queue}.msg"
        _write(Path(self.data_folder_out) / name, dumps(payload))

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:  # noqa: ARG002 - kombu names it
        """Take the oldest message of the queue that no other consumer takes first.

        Raises:
            Empty: there is none.
        """
        folder = Path(self.data_folder_in)
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name.partition(".")[2] == f"{queue}.msg")
        for name in names:
            taken = folder / f"{name}.taken"
            try:
                (folder / name).rename(taken)
            except FileNotFoundError:
                continue  # another consumer was faster
            content = taken.read_bytes()
            message = _parse(content)
            if message is None:
                taken.rename(folder / _BROKEN / name)
                log.warning("broker_message_broken: %s (%d bytes) was put aside", name, len(content))
                continue
            taken.unlink()
            return message
        raise Empty

    def get_table(self, exchange: str) -> list[filesystem.exchange_queue_t]:
        """The bindings of an exchange; a table that cannot be read is empty until a queue binds again."""
        try:
            rows = loads(self._exchange_file(exchange).read_bytes().decode())
            return [filesystem.exchange_queue_t(*row) for row in rows]
        except (FileNotFoundError, ValueError, TypeError):
            return []

    def _queue_bind(self, exchange: str, routing_key: str | None, pattern: str | None, queue: str | None) -> None:
        binding = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        with self._table_lock(exchange):
            table = self.get_table(exchange)
            if binding not in table:
                _write(self._exchange_file(exchange), dumps([binding, *table]))

    def _delete(
        self,
        queue: str,
        exchange: str,
        routing_key: str | None,
        pattern: str | None,
        *_args: Any,
        **_kwargs: Any,
    ) -> None:
        self._purge(queue)
        binding = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        with self._table_lock(exchange):
            table = self.get_table(exchange)
            if binding in table:
                _write(self._exchange_file(exchange), dumps([row for row in table if row != binding]))

    @contextmanager
    def _table_lock(self, exchange: str) -> Iterator[None]:
        """One writer of an exchange's table at a time. The lock is a file of its own: tables are replaced."""
        with self._exchange_file(exchange).with_suffix(".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class Transport(filesystem.Transport):
    """The transport that kombu loads by the name in ``TRANSPORT``."""

    Channel = Channel

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        # kombu shares one memory of bindings among all connections of a process, whatever their folders:
        # a second folder would never get its tables, and messages into it would vanish.
        self.state = virtual.BrokerState()


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        with temporary.open("wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ChannelError(f"The broker could not write {path}: {error.strerror}. Nothing was sent.") from error


def _parse(content: bytes) -> dict[str, Any] | None:
    """The message in a file, or None if it holds none that kombu could deliver."""
    try:
        message = loads(content.decode())
        usable = isinstance(message["properties"]["delivery_tag"], str)
        usable = usable and isinstance(message["properties"]["delivery_info"], dict) and "body" in message
    except (ValueError, TypeError, KeyError, IndexError):
        return None
    return cast("dict[str, Any]", message) if usable else None
