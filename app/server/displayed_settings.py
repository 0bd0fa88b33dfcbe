"""Settings as logs and people may see them: without secrets."""

from app.config.settings import Settings
from app.database.engine import redacted
from app.telemetry.logs import redact


def displayed_settings(settings: Settings) -> dict[str, str | None]:
    """Return each setting by its name, with passwords and keys masked; None if it is not set."""
    values = {name: None if value is None else redact(str(value)) for name, value in settings}
    if settings.database_url:
        values["database_url"] = redacted(settings.database_url)
    return values
