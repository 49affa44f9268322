"""The embedded broker: nothing lost, nothing twice, nothing half, whatever lies in its folder."""

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable
from multiprocessing.queues import Queue as ProcessQueue
from pathlib import Path
from queue import Empty
from threading import Barrier, Thread
from typing import Any

import pytest
from celery import Celery
from kombu import Connection, Exchange, Queue
from kombu.exceptions import ChannelError

from app.filesystem_broker import TRANSPORT, Channel, transport_options

QUEUE = Queue("io", Exchange("io"), routing_key="io")
PATIENCE_SECONDS = 60


def connect(folder: Path) -> Connection:
    return Connection("filesystem://", transport=TRANSPORT, transport_options=transport_options(folder))


def publish(folder: Path, bodies: list[dict[str, Any]]) -> None:
    with connect(folder) as connection, connection.Producer() as producer:
        for body in bodies:
            producer.publish(body, exchange=QUEUE.exchange, routing_key=QUEUE.routing_key, declare=[QUEUE])


def take(folder: Path, number: int) -> list[dict[str, Any]]:
    """Consume ``number`` messages, waiting for each."""
    got: list[dict[str, Any]] = []

    def receive(body: dict[str, Any], message: Any) -> None:
        got.append(body)
        message.ack()

    with connect(folder) as connection, connection.Consumer([QUEUE], callbacks=[receive]):
        while len(got) < number:
            connection.drain_events(timeout=PATIENCE_SECONDS)
    return got


def take_until_end(folder: Path, results: "ProcessQueue[list[int]]", ready: Callable[[], None]) -> None:
    """Consume numbers until a message says ``end``; hand back what was seen."""
    seen: list[int] = []
    ended = False

    def receive(body: dict[str, Any], message: Any) -> None:
        nonlocal ended
        message.ack()
        if "end" in body:
            ended = True
        else:
            seen.append(body["number"])

    with connect(folder) as connection, connection.Consumer([QUEUE], callbacks=[receive]):
        connection.default_channel.basic_qos(0, 1, apply_global=False)
        ready()
        while not ended:
            connection.drain_events(timeout=PATIENCE_SECONDS)
    results.put(seen)


def files(folder: Path, pattern: str) -> list[str]:
    return sorted(path.name for path in (folder / "messages").glob(pattern))


def test_messages_come_back_in_the_order_they_were_sent(tmp_path: Path) -> None:
    bodies = [{"id": str(number), "text": "é\n" * number} for number in range(20)]
    publish(tmp_path, bodies)
    assert take(tmp_path, 20) == bodies
    assert files(tmp_path, "*.msg*") == []


def test_queues_do_not_mix(tmp_path: Path) -> None:
    other = Queue("gpu", Exchange("gpu"), routing_key="gpu")
    with connect(tmp_path) as connection:
        for queue in (QUEUE, other):
            connection.Producer().publish(
                {"for": queue.name}, exchange=queue.exchange, routing_key=queue.name, declare=[queue]
            )
        with connection.SimpleQueue(other) as simple:
            assert simple.get(timeout=PATIENCE_SECONDS).payload == {"for": "gpu"}
            with pytest.raises(Empty):
                simple.get_nowait()
    assert take(tmp_path, 1) == [{"for": "io"}]


def test_a_message_that_was_not_acknowledged_returns_when_the_consumer_closes(tmp_path: Path) -> None:
    publish(tmp_path, [{"id": "kept"}])
    with connect(tmp_path) as connection, connection.SimpleQueue(QUEUE) as simple:
        assert simple.get(timeout=PATIENCE_SECONDS).payload == {"id": "kept"}
        assert files(tmp_path, "*.msg") == []
    assert take(tmp_path, 1) == [{"id": "kept"}]


def test_threads_that_send_and_take_at_once_see_each_message_exactly_once(tmp_path: Path) -> None:
    senders, takers, each = 4, 4, 125
    results: ProcessQueue[list[int]] = multiprocessing.get_context("spawn").Queue()
    together = Barrier(senders + takers)

    def send(start: int) -> None:
        together.wait()
        publish(tmp_path, [{"number": number} for number in range(start, start + each)])

    threads = [Thread(target=send, args=(sender * each,)) for sender in range(senders)]
    consumers = [Thread(target=take_until_end, args=(tmp_path, results, together.wait)) for _ in range(takers)]
    for thread in (*threads, *consumers):
        thread.start()
    for thread in threads:
        thread.join()
    publish(tmp_path, [{"end": True}] * takers)
    seen = Counter(number for _ in consumers for number in results.get(timeout=PATIENCE_SECONDS))
    for thread in consumers:
        thread.join()
    assert seen == Counter(range(senders * each))
    assert files(tmp_path, "*.msg*") == []


def test_processes_that_send_and_take_at_once_see_each_message_exactly_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results: ProcessQueue[list[int]] = context.Queue()
    together = context.Barrier(3)
    takers = [context.Process(target=take_until_end, args=(tmp_path, results, together.wait)) for _ in range(2)]
    for taker in takers:
        taker.start()
    together.wait(PATIENCE_SECONDS)
    publish(tmp_path, [{"number": number} for number in range(500)])
    publish(tmp_path, [{"end": True}] * len(takers))
    seen = Counter(number for _ in takers for number in results.get(timeout=PATIENCE_SECONDS))
    for taker in takers:
        taker.join(PATIENCE_SECONDS)
    assert [taker.exitcode for taker in takers] == [0, 0]
    assert seen == Counter(range(500))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b"{}",
        b'{"body": "x", "properties": {}}',
        b"\xff\xfe",
        b'{"body": "x"',
    ],
)
def test_a_file_that_holds_no_message_is_put_aside_and_the_next_is_delivered(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    transport_options(tmp_path)
    (tmp_path / "messages/00000_first.io.msg").write_bytes(content)
    publish(tmp_path, [{"id": "good"}])
    assert take(tmp_path, 1) == [{"id": "good"}]
    assert files(tmp_path, "*.msg*") == []
    assert (tmp_path / "messages/broken/00000_first.io.msg").read_bytes() == content
    assert "broker_message_broken: 00000_first.io.msg" in caplog.text


def test_an_unfinished_file_is_invisible(tmp_path: Path) -> None:
    publish(tmp_path, [{"id": "good"}])
    (name,) = files(tmp_path, "*.msg")
    (tmp_path / f"messages/{name}.0123.part").write_bytes(b"half")
    with connect(tmp_path) as connection:
        assert connection.default_channel._size("io") == 1
    assert take(tmp_path, 1) == [{"id": "good"}]
    assert files(tmp_path, "*.part") == [f"{name}.0123.part"]


def test_nothing_appears_under_its_name_before_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def full_disk(_descriptor: int) -> None:
        seen.append(files(tmp_path, "*.msg"))
        raise OSError(28, "No space left on device")

    with connect(tmp_path) as connection:
        channel = connection.default_channel
        monkeypatch.setattr(os, "fsync", full_disk)
        with pytest.raises(ChannelError, match=r"No space left on device\. Nothing was sent"):
            channel._put("io", {"body": "x"})
    assert seen == [[]]
    assert files(tmp_path, "*.*") == []


def test_an_empty_exchange_table_is_filled_again_by_the_next_binding(tmp_path: Path) -> None:
    transport_options(tmp_path)
    (tmp_path / "control/io.exchange").write_bytes(b"")
    publish(tmp_path, [{"id": "good"}])
    assert take(tmp_path, 1) == [{"id": "good"}]


def test_bindings_made_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    names = [f"queue-{number}" for number in range(12)]
    together = Barrier(len(names))

    def bind(name: str) -> None:
        with connect(tmp_path) as connection:
            together.wait()
            connection.default_channel._queue_bind("shared", name, "", name)

    threads = [Thread(target=bind, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with connect(tmp_path) as connection:
        channel = connection.default_channel
        assert isinstance(channel, Channel)
        assert sorted(row.queue for row in channel.get_table("shared")) == sorted(names)
        channel._delete("queue-3", "shared", "queue-3", "")
        assert "queue-3" not in [row.queue for row in channel.get_table("shared")]


def test_a_sender_killed_in_the_middle_leaves_only_whole_messages(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    bodies = [{"number": number} for number in range(5000)]
    sender = context.Process(target=publish, args=(tmp_path, bodies))
    sender.start()
    first = take(tmp_path, 20)
    os.kill(sender.pid or 0, signal.SIGKILL)
    sender.join(PATIENCE_SECONDS)
    rest = take(tmp_path, len(files(tmp_path, "*.msg")))
    assert [body["number"] for body in first + rest] == list(range(len(first) + len(rest)))
    assert list((tmp_path / "messages/broken").iterdir()) == []


def test_celery_sends_through_it(tmp_path: Path) -> None:
    celery = Celery("test", broker="filesystem://")
    celery.conf.update(broker_transport=TRANSPORT, broker_transport_options=transport_options(tmp_path))
    with celery.connection_for_write() as connection:
        assert isinstance(connection.default_channel, Channel)
    celery.send_task("arena.work", args=["an-id"], queue="io")
    assert len(files(tmp_path, "*.io.msg")) == 1
    celery.close()
