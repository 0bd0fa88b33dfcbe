"""The log lines and errors about settings at the start."""

import pytest

from app.server import server

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        (f"postgresql://u:{SECRET}@h/n", "postgresql://u:***@h/n"),
        (f"postgresql://h/n?user=u&password={SECRET}", "postgresql://h/n?password=***&user=u"),
        ("sqlite:///var/mynet.db", "sqlite:///var/mynet.db"),
        (f"host=127.0.0.1 user=u password={SECRET}", "***"),
        (f"u:{SECRET}@127.0.0.1:1/db", "***"),
        (f"postgresql:/u:{SECRET}@127.0.0.1/db", "***"),
        (f"postgresql://u:p@ss/w:{SECRET}@h/db", "***"),
    ],
)
def test_no_address_of_a_database_tells_a_password(settings, url, redacted):
    line = server._format_settings(settings.model_copy(update={"database_url": url}))
    assert f"MYNET_DATABASE_URL={redacted} " in line
    assert SECRET not in line


def test_no_other_address_does(settings):
    bucket = f"s3://KEY:{SECRET}@bucket/path"
    line = server._format_settings(settings.model_copy(update={"ray_storage": bucket}))
    assert "MYNET_RAY_STORAGE=s3://KEY:***@bucket/path " in line
