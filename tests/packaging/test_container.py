"""What the compose file and the `Dockerfile` shut stays shut; `make docker` runs it so."""

import json
import re

import pytest
import yaml

from tests.conftest import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
BUILT_SERVICES = {name: service for name, service in SERVICES.items() if "build" in service}
TOOLS = r"\b(apt-get|apt|apk|gcc|g\+\+|clang|cmake|make|build-essential|pip3? install)\b"


def instructions(text):
    """Return each instruction's word and arguments, on one line and without comments."""
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


DOCKERFILE = instructions((ROOT / "Dockerfile").read_text())
FINAL_STAGE = DOCKERFILE[
    max(index for index, (word, _) in enumerate(DOCKERFILE) if word == "FROM") :
]


def find_arguments(word, among=FINAL_STAGE):
    return [arguments for instruction, arguments in among if instruction == word]


def commands(among=DOCKERFILE):
    return [
        command.strip()
        for run in find_arguments("RUN", among)
        for command in re.split(r"&&|\|\||;", run)
    ]


def parametrize_services(services):
    return pytest.mark.parametrize("service", services.values(), ids=list(services))


def test_there_is_something_to_read():
    assert set(BUILT_SERVICES) == {"mynet", "mynet-gpu"}
    assert len(DOCKERFILE) > len(FINAL_STAGE) > 10


@parametrize_services(SERVICES)
def test_ports_are_published_to_this_machine_alone(service):
    assert service["ports"]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in service["ports"])
    assert "network_mode" not in service


@parametrize_services(SERVICES)
def test_nobody_has_or_gets_privileges(service):
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not {"privileged", "cap_add", "user", "pid", "ipc", "devices"} & set(service)


@parametrize_services(BUILT_SERVICES)
def test_only_the_state_and_tmp_can_be_written(service):
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["volumes"] == [f"var:{volume}" for volume in find_arguments("VOLUME")]
    assert "var" in COMPOSE["volumes"]


@parametrize_services(BUILT_SERVICES)
def test_memory_and_processes_are_bounded(service):
    assert re.fullmatch(r"[1-9]\d*g", service["mem_limit"])
    assert service["pids_limit"] > 0


def test_the_image_runs_as_a_number_that_is_not_root():
    (user,) = find_arguments("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert any(
        f"useradd --uid {user.partition(':')[0]} " in command for command in commands(FINAL_STAGE)
    )
    # What comes after it is run by that user, too.
    assert not find_arguments("RUN", FINAL_STAGE[FINAL_STAGE.index(("USER", user)) :])


def test_what_is_run_needs_no_shell():
    (command,) = find_arguments("CMD")
    (check,) = [healthcheck.partition("CMD ")[2] for healthcheck in find_arguments("HEALTHCHECK")]
    assert all(json.loads(arguments) for arguments in (command, check))
    assert not find_arguments("ENTRYPOINT")
    assert not find_arguments("SHELL", DOCKERFILE)


def test_nothing_that_installs_or_builds_is_left():
    assert not any(re.search(TOOLS, command) for command in commands(FINAL_STAGE))
    assert any(
        re.search(r"^pip uninstall .*\bsetuptools pip$", command)
        for command in commands(FINAL_STAGE)
    )
    # The environment that is copied has lost its own already.
    builder_stage = DOCKERFILE[: -len(FINAL_STAGE)]
    assert any(
        re.search(r"^pip uninstall .*\bsetuptools pip$", command)
        for command in commands(builder_stage)
    )


def test_nothing_is_installed_that_is_not_pinned():
    installs = [command for command in commands() if re.search(r"\bpip3? install\b", command)]
    assert len(installs) >= 3
    for command in installs:
        assert "--no-deps" in command
        assert "--require-hashes" in command or "--editable ." in command


def test_nothing_is_fetched_but_by_pip():
    assert not find_arguments("ADD", DOCKERFILE)
    assert not any(re.search(r"\b(curl|wget|git)\b", command) for command in commands())
