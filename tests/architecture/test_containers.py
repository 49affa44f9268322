"""The promises of docker-compose.yml and the Dockerfile, as far as they can be kept without a container engine."""

import os
import re
from typing import Any

import pytest
import yaml

from app.__main__ import cli
from app.cli import serve, worker
from app.config import Settings
from app.setup import ROOT

TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
OURS = {name: one for name, one in SERVICES.items() if "build" in one}
ONCE = {"backup"}
"""Services that end by themselves."""
ARENA = OURS.keys() - ONCE
KEYS = {"PGPASSWORD", "HF_TOKEN", "FORWARDED_ALLOW_IPS"}
"""What our containers are given beside the settings."""


def environment(service: dict[str, Any]) -> dict[str, str | None]:
    return dict(service.get("environment") or {})


def stage(name: str) -> str:
    """The lines of a build target."""
    found = DOCKERFILE.partition(f" AS {name}\n")[2].partition("\nFROM ")[0]
    assert found, f"{name} is not a target of the Dockerfile"
    return found


def test_the_promised_services_are_there() -> None:
    assert OURS.keys() == {"web", "worker-cpu", "worker-gpu", "backup"}
    assert SERVICES.keys() - OURS.keys() == {"postgres", "redis", "objects"}
    profiles = {name: one["profiles"] for name, one in SERVICES.items() if "profiles" in one}
    assert profiles == {"worker-gpu": ["gpu"], "objects": ["objects"], "backup": ["backup"]}


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ONCE))
def test_every_service_that_stays_says_whether_it_is_well(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_containers_can_do_little(name: str) -> None:
    one = OURS[name]
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["volumes"] == ["home:/var/lib/arena"]
    assert re.search(r"^USER 10001:10001$", stage(one["build"]["target"]), flags=re.MULTILINE), "runs as root"


@pytest.mark.parametrize("name", sorted(OURS))
def test_images_that_are_built_here_are_never_pulled(name: str) -> None:
    assert "image" not in OURS[name]  # with a name, Compose asks a registry for it first


def test_images_of_others_are_pinned_to_a_version() -> None:
    stages = set(re.findall(r" AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)) | {"scratch"}
    built_on = set(re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)) - stages
    others = [one["image"] for one in SERVICES.values() if "build" not in one] + sorted(built_on)
    assert len(others) == 6
    assert [image for image in others if not re.search(r"\d+\.\d+", image.rpartition(":")[2])] == []
    assert SERVICES["postgres"]["image"] in built_on, "pg_dump must not be older than the server"


@pytest.mark.parametrize("name", sorted(ARENA))
def test_every_setting_can_be_given_and_every_given_one_exists(name: str) -> None:
    settings = {str(one.validation_alias or f"ARENA_{field.upper()}") for field, one in Settings.model_fields.items()}
    given = environment(OURS[name]).keys()
    assert given - KEYS <= settings
    # The address in the container is fixed; the device is the container's own.
    assert settings - given <= {"ARENA_HOST", "ARENA_PORT", "ARENA_DEVICE"}


def test_all_have_the_artifacts_at_the_same_place() -> None:
    assert {environment(one)["ARENA_HOME"] for one in OURS.values()} == {"/var/lib/arena"}
    assert len({environment(one)["ARENA_DATABASE_URL"] for one in OURS.values()}) == 1


def test_what_compose_reads_stands_in_the_example_file() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    read = set(re.findall(r"\$\{(\w+)", TEXT)) | {
        name for one in SERVICES.values() for name, value in environment(one).items() if value is None
    }
    assert sorted(name for name in read if not re.search(rf"^# {name}=", example, flags=re.MULTILINE)) == []


@pytest.mark.parametrize("name", sorted(ARENA))
def test_every_command_is_one_of_the_arena(name: str) -> None:
    commands = {command.name for command in cli.registered_commands}
    command = OURS[name]["command"]
    assert (command.split() if isinstance(command, str) else command)[0] in commands
    check = " ".join(OURS[name]["healthcheck"]["test"])
    assert "/healthz" in check or check.split("python -m app ")[1].split()[0] in commands


def test_the_backup_runs_programs_of_the_repository() -> None:
    copied = re.findall(r"app/setup/containers/\S+", stage("backup"))
    assert copied == sorted(f"app/setup/containers/{file.name}" for file in (ROOT / "app/setup/containers").iterdir())
    assert all(os.access(ROOT / file, os.X_OK) for file in copied)
    assert f"app/setup/containers/{OURS['backup']['command'][0]}" in copied


def test_containers_have_longer_to_stop_than_what_they_run() -> None:
    assert grace("web") > serve._GRACE_SECONDS
    assert min(grace("worker-cpu"), grace("worker-gpu")) > worker._STOP_SECONDS


def grace(name: str) -> int:
    return int(OURS[name]["stop_grace_period"].removesuffix("s"))


def test_what_is_named_is_declared() -> None:
    volumes = {one.partition(":")[0] for service in SERVICES.values() for one in service.get("volumes", [])}
    assert volumes == COMPOSE["volumes"].keys()
    networks = {one for service in SERVICES.values() for one in service.get("networks", [])}
    assert networks == COMPOSE["networks"].keys()
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= SERVICES.keys()


@pytest.mark.parametrize("name", ["POSTGRES_PASSWORD", "ARENA_SECRET", "OBJECTS_SECRET"])
def test_a_missing_secret_stops_everything_with_a_word(name: str) -> None:
    assert re.findall(rf"\$\{{{name}(?!:\?)", TEXT) == []
    assert f"${{{name}:?put {name}=… into .env" in TEXT


def test_what_the_dockerfile_copies_is_there() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for sources in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, flags=re.MULTILINE):
        for source in sources.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert f"!{source.split('/')[0]}" in ignored, f"{source} is kept out by .dockerignore"


def test_every_package_gets_into_the_images() -> None:
    assert "COPY app /app" in stage("page")
    assert {f"COPY {package} /{package}" for package in ("training", "worker")} <= set(stage("everything").splitlines())


def test_local_state_stays_out_of_images() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    lines = [line for line in ignored if not line.startswith("#")]
    assert lines[0] == "*"
    assert not {"!.git", "!.venv", "!var", "!.env"} & set(lines)
