"""Checkpoints behind the OpenAI-compatible API, asked as programs ask: over HTTP, at the same time, with a token."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors.torch import load_file, save_file
from sqlalchemy import select

from app.db import Database
from app.domain.terms import CheckpointKind, TokenScope
from app.models import BaseModel, Checkpoint
from app.services import accounts, tokens
from tests.cli.test_up import free_port
from tests.factories import NOW
from tests.processes import PATIENCE_SECONDS, QUICK, OwnArena, wait_for
from tests.tiny_arena import Tiny, add_tiny_base, copy_adapter
from training.fingerprint import fingerprint_adapter
from training.generate import LocalEngine, Request
from training.sampling import Sampling

HI = [{"role": "user", "content": "what is cheese number 3?"}]


def add_adapter(database: Database, base: BaseModel, folder: Path, name: str) -> str:
    fingerprint = fingerprint_adapter(folder)
    with database.session_scope() as session:
        session.add(
            Checkpoint(
                name=name, kind=CheckpointKind.ADAPTER, base_model_id=base.id, run_id=None, step=None, epoch=None,
                fingerprint=fingerprint, folder=str(folder), validation_loss=None, effect=None, origin=None,
                created_at=NOW,
            )
        )  # fmt: skip
    return fingerprint


@pytest.fixture
def arena(arena: OwnArena) -> OwnArena:
    """One whose engine has room for several requests at the same time."""
    return OwnArena.at(arena.home, **QUICK, generate_batch_size="6")


@pytest.fixture
def prints(database: Database, tiny: Tiny, tmp_path: Path) -> dict[str, str]:
    """A base and two adapters that say different things; fingerprints by name."""
    with database.session_scope() as session:
        base = add_tiny_base(session, tiny)
    other = copy_adapter(tiny, tmp_path / "other")
    weights = other / "adapter_model.safetensors"
    save_file({name: -2 * tensor for name, tensor in load_file(weights).items()}, weights)
    return {
        "mine/epoch-2": add_adapter(database, base, tiny.adapter, "mine/epoch-2"),
        "other": add_adapter(database, base, other, "other"),
    }


def token(database: Database, *scopes: TokenScope) -> str:
    now = datetime.now(UTC)
    with database.session_scope() as session:
        return tokens.make(session, accounts.the_admin(session, now=now), "a program", scopes, now=now)[1]


@contextmanager
def served(arena: OwnArena, sent: str, *arguments: str) -> Iterator[httpx.Client]:
    port = str(free_port())
    headers = {"Authorization": f"Bearer {sent}"}
    with (
        arena.running("checkpoints", "serve", "--port", port, *arguments),
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}/v1", headers=headers, trust_env=False, timeout=PATIENCE_SECONDS
        ) as client,
    ):

        def answers() -> bool:
            try:
                return client.get("/models").status_code in (200, 401, 403)
            except httpx.TransportError:
                return False

        wait_for(answers, "the server")
        yield client


def chat(client: httpx.Client, model: str, **settings: Any) -> dict[str, Any]:
    answer = client.post("/chat/completions", json={"model": model, "messages": HI, "max_tokens": 24} | settings)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def streamed(client: httpx.Client, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    with client.stream("POST", path, json=body | {"stream": True}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def said(reply: dict[str, Any]) -> str:
    text: str = reply["choices"][0]["message"]["content"]
    return text


def test_checkpoints_answer_as_the_engine_does_and_do_not_mix(
    arena: OwnArena, database: Database, tiny: Tiny, prints: dict[str, str], tmp_path: Path
) -> None:
    folders = {prints["mine/epoch-2"]: tiny.adapter, prints["other"]: tmp_path / "other"}
    engine = LocalEngine(tiny.base, folders, device="cpu")
    names: dict[str, str | None] = {"tiny": None, **prints}
    expected = {
        (name, seed): next(
            engine.generate(
                [Request("k", adapter, tuple(HI), seed)], Sampling(0.9, 0.95, max_new_tokens=24), batch_size=1
            )
        )
        for name, adapter in names.items()
        for seed in range(3)
    }
    sent = token(database, TokenScope.COMPLETE)
    with served(arena, sent, *prints) as client, ThreadPoolExecutor(9) as threads:
        listed = client.get("/models").json()["data"]
        assert {model["id"]: model["fingerprint"] for model in listed[1:]} == prints
        assert client.get("/models/mine/epoch-2").json() == next(one for one in listed if one["id"] == "mine/epoch-2")
        asked = list(expected) * 2
        replies = list(
            threads.map(lambda pair: chat(client, pair[0], seed=pair[1], temperature=0.9, top_p=0.95), asked)
        )
        for (name, seed), reply in zip(asked, replies, strict=True):
            one = expected[name, seed]
            assert (said(reply), reply["choices"][0]["finish_reason"]) == (one.text, one.finish_reason)
            assert (reply["model"], reply["usage"]["completion_tokens"]) == (name, one.token_count)
        assert len({said(reply) for reply in replies}) == len(expected)
        by_print = chat(client, prints["other"][:12], seed=1, temperature=0.9, top_p=0.95)
        assert (said(by_print), by_print["model"]) == (expected["other", 1].text, "other")
        _streams_say_the_same(client)


def _streams_say_the_same(client: httpx.Client) -> None:
    body = {"model": "other", "seed": 5, "max_tokens": 24}
    whole = chat(client, **body)
    events = streamed(client, "/chat/completions", body | {"messages": HI, "stream_options": {"include_usage": True}})
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    pieces = [event["choices"][0]["delta"].get("content", "") for event in events[:-1]]
    assert "".join(pieces) == said(whole)
    assert len(pieces) > 3
    assert events[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert (events[-1]["choices"], events[-1]["usage"]) == ([], whole["usage"])
    stop = said(whole)[4:6]
    cut = chat(client, **body, stop=[stop])
    assert said(cut) == said(whole)[: said(whole).index(stop)]
    text = body | {"prompt": "cheese number"}
    plain = client.post("/completions", json=text).json()
    events = streamed(client, "/completions", text)
    assert "".join(event["choices"][0]["text"] for event in events) == plain["choices"][0]["text"]
    assert plain["usage"]["prompt_tokens"] == len("cheese number")
    assert plain["object"] == events[0]["object"] == "text_completion"


def test_what_cannot_be_answered_is_an_error_as_clients_read_it(
    arena: OwnArena, database: Database, prints: dict[str, str]
) -> None:
    good, poor = token(database, TokenScope.COMPLETE), token(database, TokenScope.RESULTS)
    assert prints
    with served(arena, good, "--most-tokens", "64") as client:
        body = {"model": "other", "messages": HI}

        def error(body: object, path: str = "/chat/completions", **headers: str) -> tuple[int, Any]:
            answer = client.post(path, json=body, headers=headers)
            found = answer.json()["error"]
            assert set(found) == {"message", "type", "param", "code"}
            return answer.status_code, found

        status, found = error(body, Authorization="Bearer nonsense")
        assert (status, found["code"]) == (401, "invalid_api_key")
        assert error(body, Authorization=f"Bearer {poor}")[0] == 403
        status, found = error(body | {"model": "gpt-4"})
        assert (status, found["code"]) == (404, "model_not_found")
        assert "Served: tiny, " in found["message"]
        status, found = error(body | {"max_tokens": 65})
        assert (status, found["param"]) == (400, "max_tokens")
        status, found = error(body | {"temperature": 3})
        assert (status, found["param"]) == (400, "temperature")
        assert "n is not supported here" in error(body | {"n": 2})[1]["message"]
        status, found = error(body | {"messages": [{"role": "user", "content": "x" * 5000}], "stream": True})
        assert (status, "context holds 4096" in found["message"]) == (400, True)
        assert error({"model": "other", "prompt": ""}, "/completions")[0] == 400
        large = {"model": "other", "prompt": "x" * 1_100_000}
        assert client.post("/completions", json=large).status_code == 413  # by the server, before our code runs
        assert error([1])[0] == 400
        assert client.get("/nowhere").json()["error"]["type"] == "invalid_request_error"
        harmless = {"n": 1, "frequency_penalty": 0.0, "logprobs": False, "user": "me", "tools": None}
        assert said(chat(client, "other", **harmless))


def test_weights_that_changed_are_not_served(
    arena: OwnArena, database: Database, prints: dict[str, str], tmp_path: Path
) -> None:
    assert prints
    weights = tmp_path / "other/adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    done = arena.command("checkpoints", "serve", "other", "--port", str(free_port()))
    assert done.returncode == 1
    assert "weights changed since it was registered" in done.stderr
    with database.session_scope(write=False) as session:
        assert session.scalars(select(Checkpoint).where(Checkpoint.name == "other")).one().folder == str(weights.parent)
