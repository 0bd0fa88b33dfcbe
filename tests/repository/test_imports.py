"""Import rules: packages form layers, and heavy or foreign packages stay where they belong."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import DATA, ROOT

APP = ROOT / "app"
SHIPPED = ROOT / "models" / "documented.safetensors"
FILES = sorted(APP.rglob("*.py"))
# From the outermost to the innermost. A module imports its own package and the layers below it.
LAYERS = (
    ("cli",),
    ("on_ray",),
    ("main",),
    ("api",),
    ("server",),
    ("startup",),
    ("weights_import", "dataset_import", "mlflow_tracking", "monitoring", "read"),
    ("train.supervisor", "predict"),
    ("decoders",),
    ("train.worker",),
    ("train.evaluation",),
    ("train.recipes",),
    ("train.plan",),
    ("train.jobs",),
    ("datasets",),
    ("auth", "versions", "webhooks"),
    ("database", "config", "image", "feedback", "mnist", "torch_net"),
    (
        "telemetry",
        "errors",
        "net",
        "devices",
        "atomic_files",
        "safetensors_files",
        "subprocesses",
        "sandbox",
    ),
)
RANKS = {package: rank for rank, packages in enumerate(LAYERS) for package in packages}
# What everything else builds on: these import nothing of the app.
LEAVES = (
    "errors.py",
    "net.py",
    "devices.py",
    "atomic_files.py",
    "versions/card.py",
    "telemetry/logs.py",
    "telemetry/tracing.py",
    "telemetry/metrics.py",
)


@cache
def imported_names(path: Path) -> frozenset[str]:
    """Return what a file imports, modules and names, such as `app.errors.QueueFull`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def importers(package: str) -> set[str]:
    """Return the modules that import a package, as `api/routes/train.py`."""
    return {
        path.relative_to(APP).as_posix()
        for path in FILES
        if any(name == package or name.startswith(f"{package}.") for name in imported_names(path))
    }


def package_of(module: str) -> str | None:
    """Return the package in LAYERS that a module belongs to."""
    parts = module.split(".")[1:]
    return next((name for name in (".".join(parts[:2]), *parts[:1]) if name in RANKS), None)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(APP).as_posix())
def test_module_imports_its_own_package_and_lower_layers(path):
    module = ".".join(("app", *path.relative_to(APP).with_suffix("").parts))
    package = package_of(module)
    if package is None:
        assert not imported_names(path), f"{module} is in no layer"
        return
    for name in sorted(imported_names(path)):
        other = package_of(name) if name.startswith("app.") else None
        if other is not None and other != package:
            assert RANKS[other] > RANKS[package], f"{module} imports {name}"


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("fastapi", ("main.py", "api/", "on_ray/asgi.py")),
        ("starlette", ("main.py", "api/", "auth/csrf.py", "on_ray/asgi.py")),
        ("torchvision", ("mnist/dataset.py",)),
        (
            "sqlalchemy",
            (
                "database/",
                "auth/keys.py",
                "config/settings.py",
                "startup.py",
                "train/jobs/",
                "webhooks/",
            ),
        ),
        ("alembic", ("database/",)),
        ("psycopg", ("database/postgres.py",)),
        ("app.database.postgres", ("database/engine.py",)),
        ("cv2", ("image/", "train/recipes/synthetic/")),
        ("uvicorn", ("server/",)),
        ("typer", ("cli/",)),
        ("rich", ("cli/",)),
        ("limits", ("auth/rate_limit.py", "config/validators.py")),
        ("app.auth.rate_limit", ("auth/access_control.py",)),
        ("prometheus_client", ("monitoring/", "api/routes/metrics.py")),
        ("pillow_heif", ("image/decode.py",)),
        ("pyseccomp", ("sandbox/system_calls.py",)),
        ("app.decoders.operations", ("decoders/template.py", "decoders/worker.py")),
        ("onnx", ("versions/onnx_export.py",)),
        ("opentelemetry", ("telemetry/otel.py",)),
        ("fsspec", ("versions/bucket/object_store.py",)),
        ("app.telemetry.otel", ("telemetry/tracing_setup.py",)),
        ("mlflow", ("mlflow_tracking/run_logger.py",)),
        ("ray", ("on_ray/",)),
        ("pyarrow", ("on_ray/",)),
        ("app.on_ray", ("cli/verbs/serve.py", "on_ray/")),
        ("app.mlflow_tracking.run_logger", ("mlflow_tracking/worker.py",)),
        ("app.mlflow_tracking.worker", ()),
        ("mynet_client", ("cli/",)),
        ("app.versions.onnx_export", ("versions/export.py",)),
        ("app.predict.device_net", ("predict/model.py",)),
        ("app.main", ("on_ray/", "cli/verbs/serve.py")),
    ],
)
def test_package_is_imported_only_where_it_belongs(package, allowed):
    assert {name for name in importers(package) if not name.startswith(allowed or ("-",))} == set()


@pytest.mark.parametrize(
    "path", sorted((APP / "predict").rglob("*.py")), ids=lambda path: path.name
)
def test_predict_does_not_import_train(path):
    assert {name for name in imported_names(path) if name.startswith("app.train")} == set()


@pytest.mark.parametrize("path", sorted((APP / "train").rglob("*.py")), ids=lambda path: path.stem)
def test_train_does_not_import_predict(path):
    assert {name for name in imported_names(path) if name.startswith("app.predict")} == set()


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaf_imports_nothing_of_the_app(leaf):
    assert {name for name in imported_names(APP / leaf) if name.startswith("app")} == set()


def loaded_modules(imports: str, modules: set[str], statement: str = "") -> str:
    """Import modules in a new process, and return which of `modules` it has loaded."""
    code = f"import sys, {imports}\n{statement}\nprint(sorted({modules} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


TORCH = (
    *("torch_net.py", "devices.py", "predict/device_net.py", "versions/weights_file.py"),
    *("train/evaluation/evaluate.py", "train/evaluation/promotion.py", "train/recipes/"),
    *("train/worker/", "on_ray/training.py"),
)


@pytest.mark.parametrize("package", ["torch", "app.torch_net"])
def test_torch_is_imported_only_where_something_computes_with_it(package):
    assert {name for name in importers(package) if not name.startswith(TORCH)} == set()


def test_server_does_not_load_what_only_some_requests_need():
    heavy = {"torch", "torchvision", "onnx", "limits", "psycopg", "s3fs", "gcsfs"}
    assert loaded_modules("app.main, app.server.server, app.cli.state_folder", heavy) == "[]"


TRAIN = f"""
from pathlib import Path
from torch import device
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.recipes import dataset, recipes

digits = dataset.load(Path({str(DATA)!r})).test
for recipe in ("documented", "quick"):
    setup = recipes.RECIPES[recipe](Hyperparameters(recipe=recipe), digits, device("cpu"))
    steps = setup.fit(setup.model, setup.optimizer, setup.batches, epochs=range(1), device="cpu")
    assert next(steps).loss > 0
    setup.optimizer.load_state_dict(setup.optimizer.state_dict())
"""


def test_training_on_data_that_exists_loads_neither_torchvision_nor_the_compiler():
    processes = "app.train.worker.main, app.weights_import.worker"
    assert loaded_modules(processes, {"torchvision", "torch._dynamo"}, TRAIN) == "[]"


def test_import_worker_does_not_load_torch_for_safetensors():
    read = f"from pathlib import Path\nweights_file.read(Path({str(SHIPPED)!r}))"
    imports = "app.weights_import.worker; from app.versions import weights_file"
    assert loaded_modules(imports, {"torch"}, read) == "[]"


def test_import_worker_loads_neither_registry_nor_database_nor_settings():
    foreign = {"sqlalchemy", "app.versions.registry", "app.versions.bucket.object_store"}
    foreign |= {"app.database", "app.config.settings", "dotenv"}
    assert loaded_modules("app.weights_import.worker", foreign) == "[]"


def test_mlflow_process_does_not_load_torch():
    pytest.importorskip("mlflow", reason="an extra, which `make test-service` installs")
    assert loaded_modules("app.mlflow_tracking.worker", {"torch"}) == "[]"


def test_help_does_not_load_what_only_some_verbs_need():
    heavy = {"torch", "sqlalchemy", "fastapi", "numpy", "mynet_client"}
    assert loaded_modules("app.cli.main", heavy) == "[]"
