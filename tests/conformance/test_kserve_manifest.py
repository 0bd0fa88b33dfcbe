"""The InferenceService of `deploy/k8s` is one by KServe's own models.

What is a pod's in it, Kubernetes' own schemas check: `make manifests`.
"""

import copy
from typing import Final

import kserve.models
import pytest
import yaml

from tests.conformance.conftest import ROOT

FILE: Final = ROOT / "deploy" / "k8s" / "kserve" / "inferenceservice.yaml"
PLAIN: Final = {"str": str, "int": int, "bool": bool, "dict(str, str)": dict}


@pytest.fixture
def manifest():
    return yaml.safe_load(FILE.read_text())


def check(kind, value, path="it"):
    """Compare with a type, as the generated models write it. Raises AssertionError, ValueError."""
    if kind in PLAIN:
        assert isinstance(value, PLAIN[kind]), path
    elif model := getattr(kserve.models, kind, None):
        kinds = {
            name: model.openapi_types[attribute] for attribute, name in model.attribute_map.items()
        }
        for name, field_value in value.items():
            assert name in kinds, f"{path} has no field {name}"
            check(kinds[name], field_value, f"{path}.{name}")
        model(**{attribute: value.get(name) for attribute, name in model.attribute_map.items()})


def test_it_is_an_inference_service(manifest):
    check("V1beta1InferenceService", manifest)
    assert manifest["spec"]["predictor"]["containers"]


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        ("spec", "predicter", {}),
        ("spec", "predictor", None),
        ("predictor", "minReplica", 1),
        ("predictor", "maxReplicas", "many"),
        ("predictor", "enableServiceLinks", "no"),
    ],
)
def test_a_slip_is_found(manifest, place, name, value):
    bent = copy.deepcopy(manifest)
    {"spec": bent["spec"], "predictor": bent["spec"]["predictor"]}[place][name] = value
    with pytest.raises((AssertionError, AttributeError, ValueError)):
        check("V1beta1InferenceService", bent)
