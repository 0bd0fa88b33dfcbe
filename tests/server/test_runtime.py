"""The settings and environment of a service's other processes, in any working folder."""

import pytest

from app.config import validators
from app.config.settings import Settings
from app.database import engine
from app.server.runtime import prepare_with_absolute_paths
from app.versions.registry import Registry
from tests.conftest import DATA


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_paths_lead_to_the_same_from_another_folder(there, monkeypatch):
    (there / "data").symlink_to(DATA)
    paths = {"state_dir": "var", "data_dir": "data", "models_url": "models"}
    settings = prepare_with_absolute_paths(
        Settings(**paths, database_url="sqlite:///x.db", device="cpu")
    )
    other_folder = there / "other"
    other_folder.mkdir()
    monkeypatch.chdir(other_folder)
    assert (settings.state_dir, settings.data_dir) == (there / "var", there / "data")
    assert settings.models_dir == there / "models"
    assert Registry(settings.models_dir).versions() == [1]
    assert settings.effective_database_url == f"sqlite:///{there}/x.db"
    assert (there / "x.db").exists()


def test_what_is_not_set_lies_in_the_state_folder(there):
    settings = prepare_with_absolute_paths(Settings(state_dir="var", data_dir=DATA, device="cpu"))
    assert settings.models_dir == there / "var/models"
    assert settings.effective_database_url == f"sqlite:///{there}/var/mynet.db"


@pytest.mark.parametrize(
    "url", ["s3://bucket/path", "gs://bucket", "/mnt/models", "/mnt/with %20 and space"]
)
def test_an_address_of_versions_stays(url):
    assert validators.absolute_url(url) == url


def test_a_folder_may_be_written_as_a_url():
    assert validators.absolute_url("file:///mnt/models") == "/mnt/models"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://user:p%40ss@host/name",
        "sqlite:////mnt/x.db?timeout=5",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x.db?uri=true",
        "no url",
    ],
)
def test_an_address_of_a_database_stays(url):
    assert engine.absolute_database_url(url) == url


def test_a_database_keeps_its_options(there):
    url = "sqlite+pysqlite:///x y.db?timeout=5"
    assert engine.absolute_database_url(url) == f"sqlite+pysqlite:///{there}/x y.db?timeout=5"
