"""What the compose file and the `Dockerfile` shut stays shut; `make docker` runs it so."""

import json
import re

import pytest
import yaml

from tests.conftest import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OWN = {name: each for name, each in SERVICES.items() if "build" in each}
TOOLS = r"\b(apt-get|apt|apk|gcc|g\+\+|clang|cmake|make|build-essential|pip3? install)\b"


def instructions(text):
    """Give each instruction's word and arguments, on one line and without comments."""
    whole = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text))
    return [tuple(line.split(maxsplit=1)) for line in whole.splitlines() if line.strip()]


DOCKERFILE = instructions((ROOT / "Dockerfile").read_text())
LAST = DOCKERFILE[max(at for at, (word, _) in enumerate(DOCKERFILE) if word == "FROM") :]


def of(word, among=LAST):
    return [arguments for each, arguments in among if each == word]


def commands(among=DOCKERFILE):
    return [each.strip() for run in of("RUN", among) for each in re.split(r"&&|\|\||;", run)]


def everyone(services):
    return pytest.mark.parametrize("service", services.values(), ids=list(services))


def test_there_is_something_to_read():
    assert set(OWN) == {"mynet", "mynet-gpu"}
    assert len(DOCKERFILE) > len(LAST) > 10


@everyone(SERVICES)
def test_ports_are_published_to_this_machine_alone(service):
    assert service["ports"]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", each) for each in service["ports"])
    assert "network_mode" not in service


@everyone(SERVICES)
def test_nobody_has_or_gets_privileges(service):
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not {"privileged", "cap_add", "user", "pid", "ipc", "devices"} & set(service)


@everyone(OWN)
def test_only_the_state_and_tmp_can_be_written(service):
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["volumes"] == [f"var:{volume}" for volume in of("VOLUME")]
    assert "var" in COMPOSE["volumes"]


@everyone(OWN)
def test_memory_and_processes_are_bounded(service):
    assert re.fullmatch(r"[1-9]\d*g", service["mem_limit"])
    assert service["pids_limit"] > 0


def test_the_image_runs_as_a_number_that_is_not_root():
    (user,) = of("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert any(f"useradd --uid {user.partition(':')[0]} " in each for each in commands(LAST))
    # What comes after it is run by that user, too.
    assert not of("RUN", LAST[LAST.index(("USER", user)) :])


def test_what_is_run_needs_no_shell():
    (command,) = of("CMD")
    (check,) = [each.partition("CMD ")[2] for each in of("HEALTHCHECK")]
    assert all(json.loads(each) for each in (command, check))
    assert not of("ENTRYPOINT")
    assert not of("SHELL", DOCKERFILE)


def test_nothing_that_installs_or_builds_is_left():
    assert not any(re.search(TOOLS, each) for each in commands(LAST))
    assert any(re.search(r"^pip uninstall .*\bsetuptools pip$", each) for each in commands(LAST))
    # The environment that is copied has lost its own already.
    built = DOCKERFILE[: -len(LAST)]
    assert any(re.search(r"^pip uninstall .*\bsetuptools pip$", each) for each in commands(built))


def test_nothing_is_installed_that_is_not_pinned():
    installs = [each for each in commands() if re.search(r"\bpip3? install\b", each)]
    assert len(installs) >= 3
    for each in installs:
        assert "--no-deps" in each
        assert "--require-hashes" in each or "--editable ." in each


def test_nothing_is_fetched_but_by_pip():
    assert not of("ADD", DOCKERFILE)
    assert not any(re.search(r"\b(curl|wget|git)\b", each) for each in commands())
