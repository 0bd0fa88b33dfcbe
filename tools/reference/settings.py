"""Settings by group, from `app.config.settings`."""

from typing import Final

from app.config.settings import FILE_VARIABLES, PREFIX, SECRETS, Settings
from tools.reference.markdown import default_text, page, table, type_name

BOUNDS: Final = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
GROUPS: Final = {
    "Address": "host port uds tls_cert tls_key workers root_path health_route predict_route",
    "Access": "auth admin_key rate_limit cors_origins allowed_hosts",
    "Storage": "state_dir models_url database_url database_migrate data_dir checkpoint "
    "keep_versions keep_checkpoints keep_events_days keep_jobs_days max_feedback "
    "max_dataset_images max_dataset_bytes",
    "Predictions": "device max_body_bytes max_pixels decoders max_queue max_batch_files "
    "predict_timeout",
    "Training": "train_device train_threads train_jobs train_standby train_queue "
    "train_stall_seconds retrain_after",
    "Webhooks": "webhook_secret webhook_url webhook_allow",
    "Ray": "ray_max_replicas ray_target_requests ray_train_workers ray_storage",
    "Logs": "log_level log_format",
}


def settings_page() -> str:
    """Return the page of the settings. Raises ValueError if one is in no group, or in two."""
    grouped = " ".join(GROUPS.values()).split()
    if sorted(grouped) != sorted(Settings.model_fields):
        different = set(grouped) ^ set(Settings.model_fields)
        raise ValueError(f"GROUPS must name each setting once; check {different or grouped}.")
    parts = [
        "# Settings",
        "MyNet reads its settings once, at the start, from environment variables and from a file "
        "`.env` in the working directory. An environment variable wins over `.env`. An empty "
        "variable counts as unset. A bad value stops the start with a message that names the "
        f"variable, and so does an unknown variable that begins with `{PREFIX}`.",
        "A secret may be in a file, as Docker and Kubernetes mount it: "
        + ", ".join(f"`{name}`" for name in FILE_VARIABLES)
        + " name such files.",
        f"The command line also reads `{PREFIX}URL` and `{PREFIX}API_KEY`: see [cli.md](cli.md).",
    ]
    for title, names in GROUPS.items():
        rows = [_setting(name) for name in names.split()]
        parts += [f"## {title}", table(("variable", "type", "default", "meaning"), rows)]
    return page(parts)


def _setting(name: str) -> tuple[str, ...]:
    field = Settings.model_fields[name]
    bounds = [
        f"{word} {getattr(bound, attribute)}"
        for bound in field.metadata
        for attribute, word in BOUNDS.items()
        if getattr(bound, attribute, None) is not None
    ]
    kind = "secret" if name in SECRETS else type_name(field.annotation)
    types = ", ".join([kind, *bounds])
    default = default_text(field.default)
    return f"`{PREFIX}{name.upper()}`", types, default, field.description or ""
