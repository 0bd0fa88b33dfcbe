"""What `deploy/k8s` says of MyNet is so; `make manifests` checks what Kubernetes thinks of it."""

import ast
import re
from pathlib import Path

import pytest
import yaml

from app.config.settings import PREFIX, Settings, load_settings
from app.main import create_app
from app.server.shutdown import GRACE_SECONDS, LAME_DUCK_SECONDS
from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "k8s"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
FILES = sorted(FOLDER.rglob("*.yaml"))


def objects(path):
    """Yield every mapping in a file, also those within others."""

    def walk(node):
        if isinstance(node, dict):
            yield node
        for child in node.values() if isinstance(node, dict) else node:
            if isinstance(child, dict | list):
                yield from walk(child)

    for document in yaml.safe_load_all(path.read_text()):
        yield from walk(document)


MAPPINGS = [(path, mapping) for path in FILES for mapping in objects(path)]
PODS = [mapping for _, mapping in MAPPINGS if mapping.get("terminationGracePeriodSeconds")]
CONTAINERS = [container for pod in PODS for container in pod["containers"]]
RAY_PODS = [pod for pod in PODS if pod["containers"][0]["name"].startswith("ray-")]
SERVICE_CONTAINERS = [
    container for container in CONTAINERS if not container["name"].startswith("ray-")
]


def literals(path):
    for mapping in objects(path):
        for generated in mapping.get("configMapGenerator", []):
            yield from (literal.split("=", 1) for literal in generated["literals"])


def test_there_is_something_to_read():
    assert len(PODS) >= 2 and len(SERVICE_CONTAINERS) >= 2


def test_every_variable_is_a_setting():
    variable_names = {
        mapping["name"]
        for _, mapping in MAPPINGS
        if str(mapping.get("name", "")).startswith(PREFIX)
    }
    variable_names |= {name for path in FILES for name, _ in literals(path)}
    assert {"MYNET_ADMIN_KEY", "MYNET_AUTH"} <= variable_names
    assert variable_names <= {PREFIX + field.upper() for field in Settings.model_fields}


@pytest.mark.parametrize(
    "path", [path for path in FILES if any(literals(path))], ids=lambda path: path.parent.name
)
def test_every_value_is_one_that_the_setting_may_have(path, monkeypatch):
    variables = dict(literals(path))
    for name in variables:
        monkeypatch.setenv(name, variables[name])
    load_settings()


@pytest.mark.parametrize("container", SERVICE_CONTAINERS, ids=lambda container: container["name"])
def test_ports_are_the_services_own(container):
    port = Settings.model_fields["port"].default
    assert f"EXPOSE {port}\n" in DOCKERFILE
    assert {container_port["containerPort"] for container_port in container["ports"]} == {port}


@pytest.mark.parametrize("container", SERVICE_CONTAINERS, ids=lambda container: container["name"])
def test_probes_ask_for_routes_that_are_there(container, settings):
    paths = create_app(settings).openapi()["paths"]
    probes = [container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")]
    assert all("get" in paths[probe["path"]] for probe in probes)
    assert [probe["path"].rpartition("/")[2] for probe in probes] == ["ready", "ready", "live"]


@pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod["containers"][0]["name"])
def test_who_runs_is_who_the_image_is_made_for(pod):
    user, group = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE).groups()
    context = pod["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (int(user), int(group))
    assert context["fsGroup"] == int(group)


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda container: container["name"])
def test_what_may_be_written_is_the_images_volume_and_tmp(container):
    (volume,) = re.findall(r"^VOLUME (\S+)$", DOCKERFILE, re.MULTILINE)
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {volume, "/tmp"}


@pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod["containers"][0]["name"])
def test_a_pod_is_given_the_time_that_the_service_takes_to_end(pod):
    for container in pod["containers"]:
        pre_stop = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {})
        required = pre_stop.get("seconds", 0) + LAME_DUCK_SECONDS + GRACE_SECONDS
        assert pod["terminationGracePeriodSeconds"] > required


@pytest.mark.parametrize("pod", RAY_PODS, ids=lambda pod: pod["containers"][0]["name"])
def test_a_node_of_ray_is_given_the_time_to_drain(pod):
    (container,) = pod["containers"]
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    drain = int(variables["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
    pre_stop = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {})
    assert pod["terminationGracePeriodSeconds"] > pre_stop.get("seconds", 0) + drain


def test_policies_let_requests_through_to_the_services_port():
    (policy,) = [
        mapping
        for path, mapping in MAPPINGS
        if path == FOLDER / "base/network.yaml" and "spec" in mapping
    ]
    (rule,) = policy["spec"]["ingress"]
    assert rule["ports"] == [{"port": Settings.model_fields["port"].default}]


def test_ray_serves_what_is_there():
    (service,) = [
        mapping for path in FILES for mapping in objects(path) if "serveConfigV2" in mapping
    ]
    (application,) = yaml.safe_load(service["serveConfigV2"])["applications"]
    package, _, name = application["import_path"].partition(":")
    module, function = _imports(ROOT / package.replace(".", "/") / "__init__.py")[name]
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    # Serve replaces all replicas where this is named in a later deploy alone.
    (deployment,) = application["deployments"]
    (name,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "NAME"
    ]
    assert deployment["name"] == name
    assert set(deployment["autoscaling_config"]) >= {"target_ongoing_requests", "max_replicas"}


def _imports(file: Path) -> dict[str, tuple[str, str]]:
    """What a file's imports name, without importing it: Ray is an extra. name -> (module, name)."""
    return {
        alias.asname or alias.name: (statement.module or "", alias.name)
        for statement in ast.walk(ast.parse(file.read_text()))  # in functions, too
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
