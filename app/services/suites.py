"""Importing suites. A changed file becomes the next version; nothing is ever overwritten."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError, BadRowError
from app.domain.names import check_name
from app.domain.terms import Domain
from app.models import Prompt, Suite
from app.services.files import conversation, read_bytes, rows, sha256_of_json, text_field

_HEADER = {"suite": None, "title": 200, "description": None}
"""What the first line of a file may say, with the most characters; names have a rule of their own."""


@dataclass(frozen=True)
class _PromptIn:
    key: str
    category: str
    domain: Domain
    messages: list[dict[str, str]]


def import_suite(session: Session, path: Path, *, now: datetime, name: str = "") -> Suite:
    """Import a suite file; the same content under the same name gives the suite that is there already.

    The format stands in ``data/suites/README.md``.

    Raises:
        BadInputError: the file cannot be read or holds no prompt, or its name cannot be a suite's.
        BadRowError: a row cannot be used; names file and line.
    """
    content = read_bytes(path)
    header, prompts = parse_suite(content, path.name)
    name = check_name(name or header.get("suite") or path.stem, "suite")
    sha256 = hashlib.sha256(content).hexdigest()
    newest = session.scalar(select(Suite).where(Suite.name == name).order_by(Suite.version.desc()).limit(1))
    if newest is not None and newest.sha256 == sha256:
        return newest
    suite = Suite(
        name=name,
        version=newest.version + 1 if newest else 1,
        title=header.get("title") or name,
        description=header.get("description", ""),
        sha256=sha256,
        source=path.name,
        created_at=now,
    )
    session.add(suite)
    session.flush()
    session.add_all(
        Prompt(
            suite_id=suite.id,
            position=position,
            key=prompt.key,
            category=prompt.category,
            domain=prompt.domain,
            messages=prompt.messages,
            sha256=sha256_of_json(prompt.messages),
        )
        for position, prompt in enumerate(prompts)
    )
    session.flush()
    return suite


def parse_suite(content: bytes, source: str) -> tuple[dict[str, str], list[_PromptIn]]:
    """Header (may be empty) and prompts of a suite file.

    Raises:
        BadInputError: there is no prompt in it.
        BadRowError: a row cannot be used.
    """
    header: dict[str, str] = {}
    prompts: list[_PromptIn] = []
    keys: dict[str, int] = {}
    texts: dict[str, int] = {}
    for line, row in rows(content, source):
        if "suite" in row and not prompts and not header:
            header = {k: text_field(row, k, source, line, longest=n) for k, n in _HEADER.items() if k in row}
            continue
        prompt = _prompt(row, source, line)
        for what, value, seen in (
            ("key", prompt.key, keys),
            ("prompt", sha256_of_json(prompt.messages), texts),
        ):
            if value in seen:
                raise BadRowError(source, line, f"the same {what} stands in line {seen[value]} already")
            seen[value] = line
        prompts.append(prompt)
    if not prompts:
        raise BadInputError(f"{source} holds no prompt. A suite needs at least one row.")
    return header, prompts


def _prompt(row: dict[str, Any], source: str, line: int) -> _PromptIn:
    if ("prompt" in row) == ("messages" in row):
        raise BadRowError(source, line, 'a row needs either "prompt" or "messages"')
    if "messages" in row:
        messages = conversation(row, source, line)
        if messages[-1]["role"] != "user":
            raise BadRowError(source, line, "the last turn must be the user's: that is what gets answered")
    else:
        messages = [{"role": "user", "content": text_field(row, "prompt", source, line)}]
    domain = text_field(row, "domain", source, line)
    if domain not in list(Domain):
        raise BadRowError(source, line, f'"domain" is {domain!r}; it must be {" or ".join(Domain)}')
    return _PromptIn(
        key=text_field(row, "key", source, line, longest=120),
        category=text_field(row, "category", source, line, longest=60),
        domain=Domain(domain),
        messages=messages,
    )
