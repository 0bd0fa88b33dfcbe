"""Imports go one way, and heavy or foreign packages stay where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

LEAVES = [
    "errors.py",
    "net.py",
    "durable.py",
    "card.py",
    "logs.py",
    "tally.py",
    "ledger.py",
    "scope.py",
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
                *("store.py", "engine.py", "sqlite.py", "postgres.py", "tables.py", "keys.py"),
                *("sweeps.py", "start.py", "train/job.py", "train/sweep.py"),
            ),
        ),
        ("psycopg", ("postgres.py",)),
        ("app.postgres", ("engine.py",)),
        ("cv2", ("image/", "train/drawn/")),
        ("uvicorn", ("server.py", "protocol.py", "patience.py")),
        ("typer", ("cli.py", "cli_keys.py", "terminal.py")),
        ("limits", ("rates.py", "notation.py")),
        ("app.rates", ("api/guard.py",)),
        ("prometheus_client", ("api/",)),
        ("onnx", ("onnx_export.py",)),
        ("opentelemetry", ("spans.py",)),
        ("fsspec", ("bucket.py",)),
        ("app.bucket", ("numbered.py", "mirror.py", "start.py", "train/")),
        ("app.spans", ("tracing.py",)),
        ("mlflow", ("train/runs.py",)),
        ("ray", ("on_ray/",)),
        ("pyarrow", ("on_ray/",)),
        ("app.on_ray", ("cli.py", "on_ray/")),
        ("app.train.runs", ("train/track.py",)),
        ("app.train.track", ()),
        ("mynet_client", ("remote.py", "cli.py")),
        ("app.remote", ("cli.py",)),
        ("app.onnx_export", ("export.py",)),
        (
            "app.train",
            (
                *("main.py", "cli.py", "follow.py", "start.py", "api/", "train/"),
                "runtime.py",
                "on_ray/",
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
        ("app.main", ("on_ray/",)),
        ("app.cli", ()),
    ],
)
def test_who_imports_what(package, allowed):
    assert {name for name in uses(package) if not name.startswith(allowed or ("-",))} == set()


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaves_import_nothing_of_ours(leaf):
    assert {name for name in imported(ROOT / "app" / leaf) if name.startswith("app")} == set()


def test_the_server_does_not_load_what_only_some_requests_need():
    heavy = {"torchvision", "onnx", "limits", "psycopg", "s3fs", "gcsfs"}
    code = f"import sys, app.main, app.server; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_who_tells_mlflow_does_not_load_torch():
    pytest.importorskip("mlflow", reason="an extra, which `make test-service` installs")
    code = "import sys, app.train.track; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_help_does_not_load_torch():
    code = "import sys, app.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
