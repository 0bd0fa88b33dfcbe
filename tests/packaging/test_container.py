"""What the compose file and the `Dockerfile` shut stays shut; `make docker` runs it so."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest
import yaml

from app.config.cpus import available_cpus
from app.config.settings import load_settings
from tests.config.control_groups import V2, write_control_group
from tests.conftest import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
BUILT_SERVICES = {name: service for name, service in SERVICES.items() if "build" in service}
TOOLS = r"\b(apt-get|apt|apk|gcc|g\+\+|clang|cmake|make|build-essential|pip3? install)\b"


def instructions(text):
    """Return each instruction's word and arguments, on one line and without comments."""
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def stages(instructions):
    """Return the instructions of each stage by its name, with those of the stage it starts from."""
    found = {}
    for word, arguments in instructions:
        if word == "FROM":
            base, _, name = arguments.partition(" AS ")
            stage = found[name or "default"] = [*found.get(base, [])]
        elif word != "ARG" or found:
            stage.append((word, arguments))
    return found


DOCKERFILE = instructions((ROOT / "Dockerfile").read_text())
STAGES = stages(DOCKERFILE)
FINAL_STAGE = STAGES["default"]
IMAGES = pytest.mark.parametrize(
    "image", [STAGES["default"], STAGES["predict"]], ids=["default", "predict"]
)


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
    assert set(BUILT_SERVICES) == {"mynet", "mynet-gpu", "mynet-predict"}
    assert len(DOCKERFILE) > len(FINAL_STAGE) > 10
    assert [*STAGES][-2:] == ["predict", "default"], "the last is built without --target"
    assert BUILT_SERVICES["mynet-predict"]["build"]["target"] == "predict"


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


# The comment beside `cpus`, on one line.
CPUS_COMMENT = " ".join(
    re.search(r"((?:    # .*\n)+)    cpus: ", (ROOT / "docker-compose.yml").read_text())[1]
    .replace("    # ", "")
    .split()
)


@pytest.mark.parametrize(
    ("cpus", "threads"),
    [("0", 4), ("16", 4), ("5", 4), ("4", 3), ("3.5", 2), ("2", 1), ("1.5", 1), ("1", 1)],
)
def test_comment_on_cpus_says_how_many_threads_train(tmp_path, monkeypatch, cpus, threads):
    assert "training uses one thread less than the limit has cores, at most four" in CPUS_COMMENT
    assert "(MYNET_TRAIN_THREADS), and at least one: with one core, or less than two," in (
        CPUS_COMMENT
    )
    # Docker writes `cpus` as microseconds in each 100,000; 0 is no limit.
    quota = "max" if cpus == "0" else int(float(cpus) * 100_000)
    write_control_group(tmp_path, V2.format("/"), {"cpu.max": f"{quota} 100000"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr("app.config.settings.available_cpus", lambda: available_cpus(tmp_path))
    assert load_settings().effective_train_threads == threads
    monkeypatch.setenv("MYNET_TRAIN_THREADS", "9")
    assert load_settings().effective_train_threads == 9


@IMAGES
def test_the_image_runs_as_a_number_that_is_not_root(image):
    (user,) = find_arguments("USER", image)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert any(f"useradd --uid {user.partition(':')[0]} " in command for command in commands(image))
    # What comes after it is run by that user, too.
    assert not find_arguments("RUN", image[image.index(("USER", user)) :])


@IMAGES
def test_what_is_run_needs_no_shell(image):
    (command,) = find_arguments("CMD", image)
    (check,) = [
        healthcheck.partition("CMD ")[2] for healthcheck in find_arguments("HEALTHCHECK", image)
    ]
    assert all(json.loads(arguments) for arguments in (command, check))
    assert not find_arguments("ENTRYPOINT", image)
    assert not find_arguments("SHELL", DOCKERFILE)


@pytest.mark.parametrize(("image", "builder"), [("default", "built"), ("predict", "predict-built")])
def test_nothing_that_installs_or_builds_is_left(image, builder):
    assert not any(re.search(TOOLS, command) for command in commands(STAGES[image]))
    assert f"--from={builder} /opt/mynet /opt/mynet" in find_arguments("COPY", STAGES[image])
    # The environment that is copied has lost its own already.
    for stage in (image, builder):
        assert any(
            re.search(r"^pip uninstall .*\bsetuptools pip$", command)
            for command in commands(STAGES[stage])
        )


def test_predict_image_has_no_torch():
    assert not any("torch" in command for command in commands(STAGES["predict-dependencies"]))
    locks = [
        (ROOT / "deploy" / "lock" / f"predict{suffix}.txt").read_text()
        for suffix in ("", "-with-extras")
    ]
    assert not any(re.search(r"^(torch|torchvision|sympy|mlflow)", lock, re.M) for lock in locks)


def test_nothing_is_installed_that_is_not_pinned():
    installs = [command for command in commands() if re.search(r"\bpip3? install\b", command)]
    assert len(installs) >= 3
    for command in installs:
        assert "--no-deps" in command
        assert "--require-hashes" in command or "--editable ." in command


def test_nothing_is_fetched_but_by_pip():
    assert not find_arguments("ADD", DOCKERFILE)
    assert not any(re.search(r"\b(curl|wget|git)\b", command) for command in commands())


# Hides packages as if they were not installed.
HIDE = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
hidden = {hidden}
PathFinder.find_spec = lambda name, path=None, target=None: (
    None if name.partition(".")[0] in hidden else find(name, path, target)
)
"""


@pytest.mark.parametrize(("image", "lock"), [("predict", "predict"), ("default", "default")])
def test_what_the_build_imports_needs_no_package_that_the_lock_lacks(image, lock):
    """Run the imports of the image's last step, with the packages of its lock alone."""
    text = (ROOT / "deploy" / "lock" / f"{lock}.txt").read_text()
    locked = {*re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE), "mynet", "mynet-client"}
    hidden = {
        package
        for package, distributions in packages_distributions().items()
        if not locked & {re.sub(r"[-_.]+", "-", name).lower() for name in distributions}
    }
    assert ("torch" in hidden) == (image == "predict") and "pytest" in hidden
    (imports,) = [
        re.search(r"python -c '(.*)'", arguments, re.DOTALL)[1]
        for arguments in find_arguments("RUN", STAGES[image])
        if "python -c" in arguments
    ]
    code = HIDE.format(hidden=hidden) + imports.strip()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
