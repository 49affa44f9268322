"""Importing suites. A changed file becomes the next version; nothing is ever overwritten."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError, BadRowError, ConflictError
from app.domain.names import CONTROLS, check_name
from app.domain.terms import Domain
from app.models import Prompt, Suite
from app.services.files import NamedFile, conversation, read_file, rows, sha256_of_json, text_field

_HEADER = {"suite": None, "title": 200, "description": None}
"""What the first line of a file may say, with the most characters; names have a rule of their own."""

_LONGEST_SOURCE = 400


@dataclass(frozen=True)
class PromptIn:
    """One prompt of a file."""

    key: str
    category: str
    domain: Domain
    messages: list[dict[str, str]]


def import_suite(session: Session, path: Path, *, now: datetime, name: str = "") -> Suite:
    """Import a suite file of this machine, see ``add_suite``.

    Raises:
        BadInputError: the file cannot be read or holds no prompt, or its name cannot be a suite's.
        BadRowError: a row cannot be used; names file and line.
    """
    return add_suite(session, read_file(path), now=now, name=name)


def add_suite(session: Session, file: NamedFile, *, now: datetime, name: str = "") -> Suite:
    """Import a suite; the same content under the same name gives the version that is there already.

    Any version, not only the newest: what ships is imported at every start, and must not come back on top of
    somebody's edit. The format stands in ``data/suites/README.md``.

    Raises:
        BadInputError: the file holds no prompt, or its name cannot be a suite's.
        BadRowError: a row cannot be used; names file and line.
    """
    header, prompts = parse_suite(file.content, file.name)
    name = check_name(name or header.get("suite") or file.stem, "suite")
    if name in CONTROLS:
        raise BadInputError(
            f"{name} is kept for control pairs. Write a better and a worse text into each row and import the file with "
            "`./arena controls import`, or choose another name."
        )
    sha256 = hashlib.sha256(file.content).hexdigest()
    versions = session.scalars(select(Suite).where(Suite.name == name).order_by(Suite.version.desc())).all()
    for version in versions:
        if version.sha256 == sha256 or _says_the_same(session, version, header, prompts):
            return version
    return next_version(session, name, file, header, prompts, now=now)


def next_version(
    session: Session, name: str, file: NamedFile, header: dict[str, str], prompts: list[PromptIn], *, now: datetime
) -> Suite:
    """Store the next version of a suite, whatever stands in the ones before it."""
    newest = session.scalar(select(func.max(Suite.version)).where(Suite.name == name))
    suite = Suite(
        name=name,
        version=(newest or 0) + 1,
        title=header.get("title") or name,
        description=header.get("description", ""),
        sha256=hashlib.sha256(file.content).hexdigest(),
        source=file.name[-_LONGEST_SOURCE:],
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


def _says_the_same(session: Session, suite: Suite, header: dict[str, str], prompts: list[PromptIn]) -> bool:
    """Whether a file that was written otherwise holds just what this version holds."""
    title, description = header.get("title") or suite.name, header.get("description", "")
    if (suite.title, suite.description) != (title, description):
        return False
    there = session.scalars(select(Prompt).where(Prompt.suite_id == suite.id).order_by(Prompt.position))
    return [PromptIn(p.key, p.category, p.domain, p.messages) for p in there] == prompts


def edit_suite(
    session: Session, suite: Suite, prompts: Sequence[dict[str, Any]], *, title: str, description: str, now: datetime
) -> Suite:
    """Make the next version of a suite from its newest one; nothing changed gives the suite itself.

    ``prompts`` are rows as in a file, in order.

    Raises:
        ConflictError: the suite has a newer version than the one that was edited.
        BadInputError: a prompt cannot be used; names it by its place.
    """
    if suite.name in CONTROLS:
        raise ConflictError(f"{suite.name} holds control pairs: change its file and import it again.")
    newest = session.scalar(select(func.max(Suite.version)).where(Suite.name == suite.name))
    if newest != suite.version:
        raise ConflictError(
            f"{suite.name} has a version {newest} by now, and this was made from version {suite.version}. Nothing was "
            "saved. What you typed is still here: copy it into the newest version, or look at what changed there."
        )
    header = {"suite": suite.name, "title": title, "description": description}
    header = {key: value for key, value in header.items() if value.strip()}
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in (header, *prompts))
    file = NamedFile(f"{suite.name} v{suite.version}, edited", content.encode())
    try:
        known, checked = parse_suite(file.content, file.name)
    except BadRowError as error:  # line 1 is the header
        place = f"Prompt {error.line - 1}" if error.line > 1 else "The head of the suite"
        raise BadInputError(f"{place}: {error.reason}. Nothing was saved, and what you typed is still here.") from error
    if _says_the_same(session, suite, known, checked):
        return suite
    return next_version(session, suite.name, file, known, checked, now=now)


def parse_suite(content: bytes, source: str) -> tuple[dict[str, str], list[PromptIn]]:
    """Header (may be empty) and prompts of a suite file.

    Raises:
        BadInputError: there is no prompt in it.
        BadRowError: a row cannot be used.
    """
    header: dict[str, str] = {}
    prompts: list[PromptIn] = []
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


def _prompt(row: dict[str, Any], source: str, line: int) -> PromptIn:
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
    return PromptIn(
        key=text_field(row, "key", source, line, longest=120),
        category=text_field(row, "category", source, line, longest=60),
        domain=Domain(domain),
        messages=messages,
    )
