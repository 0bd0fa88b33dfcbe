"""Every object of every overlay is one that Kubernetes takes, without an unknown field."""

import copy

import kubernetes_validate
import pytest
import yaml
from jsonschema import ValidationError

from tests.manifests.rendered import (
    FOREIGN,
    OVERLAYS,
    VERSIONS,
    find,
    render,
    templates,
    to_json,
    validator,
)


def check(manifest, version):
    """Raises ValidationError, kubernetes_validate.ValidationError."""
    if manifest["kind"] in FOREIGN:
        validator(manifest["kind"], version).validate(without_pods(manifest))
        for template in templates(manifest):
            check({"apiVersion": "v1", "kind": "Pod", **template}, version)
    else:
        kubernetes_validate.validate(manifest, version, strict=True)


def without_pods(manifest):
    """Leave out of an InferenceService what is a pod's; a RayService says where its pods are."""
    rest = copy.deepcopy(manifest)
    if manifest["kind"] == "InferenceService":
        for template in templates(manifest):
            for name in set(template["spec"]) - {"containers"}:
                del rest["spec"]["predictor"][name]
    return rest


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_keeps_to_its_schema(overlay, version):
    assert render(overlay)
    for manifest in render(overlay):
        try:
            check(manifest, version)
        except (ValidationError, kubernetes_validate.ValidationError) as error:
            pytest.fail(f"{error.json_path}: {error.message}\n{to_json(manifest)}")


@pytest.mark.parametrize("overlay", ["ray"])
def test_what_ray_serve_is_told_keeps_to_its_schema(overlay):
    (service,) = find(overlay, "RayService")
    serve_config = yaml.safe_load(service["spec"]["serveConfigV2"])
    validator("ServeConfig", VERSIONS[-1]).validate(serve_config)


@pytest.mark.parametrize(
    ("overlay", "kind", "path", "value"),
    [
        ("cpu", "Deployment", "spec.replica", 1),
        ("cpu", "Deployment", "spec.replicas", "one"),
        ("cpu", "Deployment", "spec.template.spec.containers.0.readynessProbe", {}),
        ("scaled", "HorizontalPodAutoscaler", "spec.minimum", 1),
        ("kserve", "InferenceService", "spec.predictor.minReplica", 1),
        ("kserve", "InferenceService", "spec.predictor.scaleTarget", "much"),
        ("kserve", "InferenceService", "spec.predictor.containers.0.port", 8000),
        ("ray", "RayService", "spec.rayClusterConfig.workerGroups", []),
        ("ray", "RayService", "spec.rayClusterConfig.headGroupSpec.template.spec.image", "mynet"),
        ("ray", "RayService", "spec.rayClusterConfig.workerGroupSpecs.0.maxReplicas", "all"),
    ],
)
def test_a_slip_is_found(overlay, kind, path, value):
    (manifest,) = copy.deepcopy(find(overlay, kind))
    *way, last = path.split(".")
    place = manifest
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[last] = value
    for version in VERSIONS:
        with pytest.raises((ValidationError, kubernetes_validate.ValidationError)):
            check(manifest, version)
