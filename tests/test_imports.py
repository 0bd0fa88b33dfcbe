"""Imports go one way, and heavy or foreign packages stay where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import DATA, ROOT

LEAVES = [
    "errors.py",
    "net.py",
    "durable.py",
    "versions/card.py",
    "telemetry/logs.py",
    "telemetry/trace.py",
    "telemetry/tally.py",
    "telemetry/ledger.py",
    "keys/scope.py",
]
FILES = sorted((ROOT / "app").rglob("*.py"))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def uses(package: str) -> set[str]:
    """The modules that import a package, as `api/train.py`."""
    return {
        path.relative_to(ROOT / "app").as_posix()
        for path in FILES
        if any(name == package or name.startswith(f"{package}.") for name in imported(path))
    }


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("fastapi", ("main.py", "api/")),
        ("starlette", ("main.py", "api/")),
        ("torchvision", ("train/data.py",)),
        (
            "sqlalchemy",
            (
                *("database/", "keys/issued.py", "start.py"),
                *("train/job.py", "train/sweep.py"),
            ),
        ),
        ("alembic", ("database/migrate.py", "database/migrations/")),
        ("app.database.migrate", ("database/schema.py",)),
        ("psycopg", ("database/postgres.py",)),
        ("app.database.postgres", ("database/engine.py",)),
        ("cv2", ("image/", "train/drawn/")),
        ("uvicorn", ("serving/",)),
        ("typer", ("cli.py", "command/db.py", "command/keys.py", "command/terminal.py")),
        ("limits", ("api/rates.py", "notation.py")),
        ("app.auth.rate_limit", ("api/guard.py",)),
        ("prometheus_client", ("api/",)),
        ("onnx", ("versions/onnx_export.py",)),
        ("opentelemetry", ("telemetry/spans.py",)),
        ("fsspec", ("versions/bucket.py",)),
        ("app.versions.bucket.object_store", ("versions/", "start.py", "train/")),
        ("app.telemetry.otel", ("telemetry/tracing.py",)),
        ("mlflow", ("train/runs.py",)),
        ("ray", ("on_ray/",)),
        ("pyarrow", ("on_ray/",)),
        ("app.on_ray", ("cli.py", "on_ray/")),
        ("app.mlflow_tracking.run_logger", ("train/track.py",)),
        ("app.mlflow_tracking.worker", ()),
        ("mynet_client", ("command/remote.py", "cli.py")),
        ("app.command", ("cli.py", "command/")),
        ("app.versions.onnx_export", ("versions/export.py",)),
        (
            "app.train",
            (
                *("main.py", "cli.py", "command/follow.py", "start.py", "api/", "train/"),
                *("serving/runtime.py", "on_ray/"),
            ),
        ),
        ("app.predict", ("main.py", "cli.py", "api/", "predict/")),
        (
            "app.image",
            (
                "image/",
                "predict/",
                "api/predict.py",
                "api/review.py",
                "train/drawn/",
                "train/corrections.py",
            ),
        ),
        ("app.api", ("main.py", "api/", "on_ray/")),
        ("app.serving", ("main.py", "cli.py", "api/", "serving/", "on_ray/")),
        ("app.main", ("on_ray/",)),
        ("app.cli.main", ()),
    ],
)
def test_who_imports_what(package, allowed):
    assert {name for name in uses(package) if not name.startswith(allowed or ("-",))} == set()


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaves_import_nothing_of_ours(leaf):
    assert {name for name in imported(ROOT / "app" / leaf) if name.startswith("app")} == set()


def test_the_server_does_not_load_what_only_some_requests_need():
    heavy = {"alembic", "torchvision", "onnx", "limits", "psycopg", "s3fs", "gcsfs"}
    code = f"import sys, app.main, app.server.server; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_training_on_data_that_exists_does_not_load_torchvision():
    code = (
        "import sys, app.train.worker.main, app.weights_import.worker, app.train.worker.finish_sweep, pathlib; "
        f"app.train.recipes.dataset.load(pathlib.Path({str(DATA)!r})); "
        "print('torchvision' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_who_tells_mlflow_does_not_load_torch():
    pytest.importorskip("mlflow", reason="an extra, which `make test-service` installs")
    code = "import sys, app.mlflow_tracking.worker; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_help_does_not_load_torch():
    code = "import sys, app.cli.main; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
