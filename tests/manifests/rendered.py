"""Rendered objects of the folders of `deploy/k8s`, and Kubernetes' own schemas.

The program that renders and the schemas come with packages, so the tests download nothing.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import yaml
from jsonschema import Draft202012Validator
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

Object = dict[str, Any]
FOLDER: Final = Path(__file__).parents[2] / "deploy" / "k8s"
SCHEMAS: Final = Path(__file__).with_name("schemas")
KUBECTL: Final = Path(sys.executable).with_name("kubectl")
# The overlays to deploy. They are composed of `base`, `server` and `stores`.
OVERLAYS: Final = ("cpu", "gpu", "scaled", "kserve", "ray")
# From the first whose kubelet can wait by itself before it ends a container, to the newest known.
VERSIONS: Final = ("1.30.0", kubernetes_validate.latest_version())
# What others define, described in `schemas` as far as it is used here.
FOREIGN: Final = ("InferenceService", "RayService")


@cache
def render(overlay: str) -> tuple[Object, ...]:
    """Render the objects of one folder with kustomize."""
    done = subprocess.run(
        [KUBECTL, "kustomize", FOLDER / overlay], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def find(overlay: str, kind: str) -> list[Object]:
    return [manifest for manifest in render(overlay) if manifest["kind"] == kind]


def pods(overlay: str) -> Iterator[Object]:
    """Yield the templates of the pods that the objects would start."""
    for manifest in render(overlay):
        yield from templates(manifest)


def templates(manifest: Object) -> Iterator[Object]:
    """Yield the pods of one object, as Kubernetes' PodTemplateSpec."""
    if manifest["kind"] == "Deployment":
        yield manifest["spec"]["template"]
    elif manifest["kind"] == "InferenceService":
        predictor = manifest["spec"]["predictor"]
        predictor_fields = schema("InferenceService")["$defs"]["predictor"]["properties"]
        spec = {name: value for name, value in predictor.items() if name not in predictor_fields}
        yield {"metadata": {"labels": predictor["labels"]}, "spec": spec}
    elif manifest["kind"] == "RayService":
        cluster = manifest["spec"]["rayClusterConfig"]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            yield group["template"]


def schema(kind: str) -> Object:
    """Read one of our own descriptions."""
    read: Object = yaml.safe_load((SCHEMAS / f"{kind.lower()}.yaml").read_text())
    return read


@cache
def validator(kind: str, version: str) -> Draft202012Validator:
    """Check by our own description, which leans on Kubernetes' strict schemas of that version."""
    name = f"kubernetes-json-schema/v{version}-local-strict/_definitions.json"
    definitions = schema_contents(name, version)
    registry = Registry().with_resource(definitions["$id"], Resource.from_contents(definitions))
    return Draft202012Validator(schema(kind), registry=registry)


def to_json(manifest: Object) -> str:
    return json.dumps(manifest, indent=1)
