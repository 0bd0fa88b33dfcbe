"""What tests share: real settings on a temporary folder, the real app, and real MNIST digits."""

import gzip
import logging
import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from app.config.settings import Settings
from app.database.database import Database
from app.database.jobs import JobStore
from app.database.leases import LeaseStore
from app.decoders.template_process import start_template
from app.main import create_app
from app.predict.model import Model
from app.startup import prepare_registry
from app.telemetry.logs import VERBOSE_LOGGERS
from app.train.recipes.dataset import Dataset, Digits, load
from app.versions.registry import SHIPPED, Registry
from tests.decoders.zygote import Zygote
from tests.postgres import FAST_SETTINGS, Postgres, open_patiently, run_postgres
from tests.read.checkpoints import load_model
from tests.rigs.temporary_files import use_memory

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data"


@pytest.fixture(autouse=True, scope="session")
def plain_environment() -> None:
    """Remove the user's settings from the environment, and use one thread as CI does."""
    for name in [name for name in os.environ if name.startswith(("MYNET_", "OTEL_", "MLFLOW_"))]:
        del os.environ[name]
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def forked_templates() -> Iterator[None]:
    """Fork the decoders' templates of all apps in this process from one, which imports once."""
    if not hasattr(os, "pidfd_open"):  # Linux has it
        yield
        return
    with closing(Zygote()) as zygote, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("app.decoders.template_process.start_template", zygote.fork)
        yield


@pytest.fixture(autouse=True, scope="session")
def patient_postgresql() -> Iterator[None]:
    """Replace the time-outs of PostgreSQL by longer ones, unless a test names its own."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("app.database.engine._postgresql", open_patiently)
        yield


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    """Undo what a test, or a command that it ran, did to the loggers that MyNet configures."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in VERBOSE_LOGGERS}
    filters = logging.getLogger("uvicorn.error").filters[:]
    yield
    root.handlers[:], root.level = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger("uvicorn.error").filters[:] = filters
    logging.captureWarnings(False)


@pytest.fixture
def started_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the decoders' templates as a service does."""
    monkeypatch.setattr("app.decoders.template_process.start_template", start_template)


@pytest.fixture(scope="session")
def mnist() -> Dataset:
    return load(DATA)


@pytest.fixture(scope="session")
def robust_model() -> Model:
    """The shipped version that a fresh service serves, on the CPU."""
    return load_model(SHIPPED / "robust.safetensors")


@pytest.fixture(scope="session")
def few_digits(mnist: Dataset) -> Digits:
    """The first 2,000 training images."""
    return Digits(mnist.train.pixels[:2000], mnist.train.labels[:2000])


@pytest.fixture(scope="session")
def small_data_dir(mnist: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the first 2,000 training and 500 test images, for quick child processes.

    The files are as MNIST publishes them: IDX with true counts, and an archive beside each.
    """
    folder = tmp_path_factory.mktemp("small-data")
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, digits, count in (("train", mnist.train, 2000), ("t10k", mnist.test, 500)):
        write_idx(raw / f"{name}-images-idx3-ubyte", digits.pixels[:count].numpy())
        write_idx(raw / f"{name}-labels-idx1-ubyte", digits.labels[:count].numpy().astype(np.uint8))
    return folder


@pytest.fixture(scope="session")
def documented_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the documented checkpoint, as if no other were shipped."""
    folder = tmp_path_factory.mktemp("shipped")
    shutil.copy(SHIPPED / "documented.safetensors", folder)
    return folder


@pytest.fixture(autouse=True, scope="session")
def one_shipped(documented_alone: Path) -> Iterator[None]:
    """Ship version 1 alone, so that it is live."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("app.versions.registry.SHIPPED", documented_alone)
        yield


@pytest.fixture
def all_shipped(one_shipped: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """Ship all versions."""
    monkeypatch.setattr("app.versions.registry.SHIPPED", SHIPPED)


def pytest_configure(config: pytest.Config) -> None:
    use_memory()
    config.addinivalue_line(
        "markers",
        "read_only: `client` is the app of the module, which the test leaves as it was; "
        "read_only(False): `client` is an app of the test's own, whatever the module says",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    databases = getattr(metafunc.module, "DATABASES", ())
    if databases and "database_url" in metafunc.fixturenames:
        metafunc.parametrize("database_url", databases, indirect=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL for all tests, which none of them stops."""
    pytest.importorskip("psycopg", reason="an extra, which `make test` installs")
    with run_postgres(*FAST_SETTINGS) as server:
        yield server


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The URL of an empty database; by default, none but that of the state folder."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield None
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.empty_database() as url:
        yield url


def settings_in(folder: Path, database_url: str | None = None) -> Settings:
    """Return the settings of a service that keeps its state below `folder`."""
    return Settings(
        state_dir=folder / "var",
        data_dir=DATA,
        device="cpu",
        log_level="warning",
        database_url=database_url,
        allowed_hosts="testserver,a,x",  # what TestClient and raw requests of the tests send
        predict_timeout=60,  # a busy machine takes its time
        train_standby=False,  # most services of tests train once, or never
    )


@pytest.fixture
def settings(tmp_path: Path, database_url: str | None) -> Settings:
    return settings_in(tmp_path, database_url)


@pytest.fixture
def registry(settings: Settings) -> Registry:
    """A registry with the shipped checkpoint live as version 1."""
    return prepare_registry(settings)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    with closing(Database(settings.effective_database_url)) as database:
        yield database


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database)


@pytest.fixture
def leases(database: Database) -> LeaseStore:
    return LeaseStore(database)


@pytest.fixture
def client(request: pytest.FixtureRequest, settings: Settings) -> Iterator[TestClient]:
    """The app with its lifespan; what it raises becomes a response, as it does for a client.

    A test marked `read_only` gets the app of its module, and must leave that app as it was.
    """
    marker = request.node.get_closest_marker("read_only")
    if marker and marker.args != (False,):
        assert settings.database_url is None, "the app of a module has SQLite"
        shared: TestClient = request.getfixturevalue("shared_client")
        state_before = changeable_state(shared)
        yield shared
        assert changeable_state(shared) == state_before, (
            "a test marked read_only changed the service"
        )
    else:
        with TestClient(create_app(settings), raise_server_exceptions=False) as client:
            yield client


@pytest.fixture(scope="module")
def shared_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The app that the tests of a module share that only read; `client` hands it to them."""
    settings = settings_in(tmp_path_factory.mktemp("shared"))
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def changeable_state(client: TestClient) -> dict[str, object]:
    """Return what requests and tests can change in a service, except its counters."""
    services = client.app_state["services"]
    return {
        "jobs": services.job_store.count_jobs(),
        "versions": sorted(path.name for path in services.settings.models_dir.iterdir()),
        "live": services.live.model.version,
        "corrections": sorted(path.name for path in services.settings.feedback_dir.glob("*.png")),
        "draining": services.draining.is_set(),
        "under_way": services.predictor.in_flight,
        "headers": dict(client.headers),
    }


@pytest.fixture(scope="session")
def seven(mnist: Dataset) -> bytes:
    """The first test image, a seven, as PNG."""
    return png(mnist.test.pixels[0].numpy())


@pytest.fixture(scope="session")
def digits(mnist: Dataset) -> NDArray[np.uint8]:
    """The first four test images, (4, 28, 28): 7, 2, 1, 0."""
    return mnist.test.pixels[:4].numpy()


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write `array` in the IDX format of unsigned bytes, at `path` and gzipped beside it."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    content = header + array.tobytes()
    path.write_bytes(content)
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content))


def png(pixels: NDArray[np.uint8], form: str = "PNG") -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()
