"""The promises of docker-compose.yml and the Dockerfile, as far as they can be kept without a container engine."""

import re
from typing import Any

import pytest
import yaml

from app.__main__ import cli
from app.config import Settings
from app.setup import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
OURS = {name: one for name, one in SERVICES.items() if "build" in one}
ONCE = {"dump", "backup"}
"""Services that end by themselves."""


def environment(service: dict[str, Any]) -> dict[str, str]:
    return dict(service.get("environment") or {})


def test_the_promised_services_are_there() -> None:
    assert OURS.keys() == {"web", "worker-cpu", "worker-gpu"}
    assert SERVICES.keys() - OURS.keys() == {"postgres", "redis", "objects", "dump", "backup"}
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]
    assert {name for name, one in SERVICES.items() if one.get("profiles") == ["objects"]} == {"objects", *ONCE}


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ONCE))
def test_every_service_that_stays_says_whether_it_is_well(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_containers_can_do_little(name: str) -> None:
    one = OURS[name]
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["volumes"] == ["home:/var/lib/arena"]
    stage = DOCKERFILE.partition(f" AS {one['build']['target']}\n")[2].partition("\nFROM ")[0]
    assert stage, "the target is not in the Dockerfile"
    assert re.search(r"^USER 10001:10001$", stage, flags=re.MULTILINE), "runs as root"


def test_images_of_others_are_pinned_to_a_version() -> None:
    others = [one["image"] for one in SERVICES.values() if "build" not in one]
    others += re.findall(r"^ARG PYTHON=(\S+)", DOCKERFILE, flags=re.MULTILINE)
    assert len(others) == 6
    assert [image for image in others if not re.search(r"\d+\.\d+", image.rpartition(":")[2])] == []


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_setting_that_is_given_exists(name: str) -> None:
    settings = {f"ARENA_{field.upper()}" for field in Settings.model_fields}
    known = settings | {"HF_HOME", "HF_TOKEN", "ANTHROPIC_API_KEY"}
    assert environment(OURS[name]).keys() <= known
    assert environment(OURS[name])["ARENA_HOME"] == "/var/lib/arena"


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_command_is_one_of_the_arena(name: str) -> None:
    commands = {command.name for command in cli.registered_commands}
    assert OURS[name]["command"][0] in commands
    check = OURS[name]["healthcheck"]["test"]
    assert check[1] == "python"
    assert check[2] == "-c" or check[4] in commands


def test_what_is_named_is_declared() -> None:
    volumes = {one.partition(":")[0] for service in SERVICES.values() for one in service.get("volumes", [])}
    assert volumes == COMPOSE["volumes"].keys()
    networks = {one for service in SERVICES.values() for one in service.get("networks", [])}
    assert networks == COMPOSE["networks"].keys()
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= SERVICES.keys()


def test_secrets_have_no_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert re.findall(r"\$\{POSTGRES_PASSWORD(?!:\?)", text) == []
    assert not re.search(r"(PASSWORD|SECRET|KEY|TOKEN): +[A-Za-z0-9]", text.replace("ACCESS_KEY_ID: arena", ""))


def test_what_the_dockerfile_copies_is_there() -> None:
    for sources in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, flags=re.MULTILINE):
        for source in sources.split()[:-1]:
            assert (ROOT / source).exists(), source


def test_local_state_stays_out_of_images() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {".git", ".venv", "var", ".env"} <= set(ignored)
