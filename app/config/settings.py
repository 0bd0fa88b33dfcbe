"""Settings, read once from the environment and `.env`."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from app.config import environment, secret_files, validators, vertex_ai, webhooks
from app.config.cpus import available_cpus
from app.telemetry.logs import redact

PREFIX: Final = "MYNET_"
ROUTE: Final = r"^/[^{}?#\s]*$"
SECRETS: Final = ("admin_key", "webhook_secret", "webhook_url")
# Settings that may contain a secret: the variable with `_FILE` names a file with the value.
FROM_FILES: Final = (*SECRETS, "database_url", "ray_storage")
# Options of the command line for a remote service; these are not settings of a service.
URL: Final = "MYNET_URL"
API_KEY: Final = "MYNET_API_KEY"
API_KEY_FILE: Final = f"{API_KEY}{secret_files.SUFFIX}"
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
ANY: Final = "*"
DATABASE: Final = "mynet.db"


def device_name(value: str) -> str:
    """Validate the name of a device, which need not exist. Raises ValueError."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?|mps", value):
        raise ValueError("must be auto, cpu, cuda, cuda:N or mps")
    return value


class SettingsError(Exception):
    """The environment is not a valid configuration; the message names each problem."""


class Settings(BaseSettings):
    """All settings of the service; `docs/reference/settings.md` is generated from them."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    host: str = Field(
        "127.0.0.1",
        description="address to listen on, or several, e.g. `127.0.0.1,::1`; `::` includes IPv4",
    )
    port: int = Field(8000, ge=0, le=65535, description="port to listen on")
    uds: Path | None = Field(None, description="Unix socket that replaces `HOST` and `PORT`")
    tls_cert: Path | None = Field(
        None, description="certificate chain for TLS, a PEM file; SIGHUP reads it again"
    )
    tls_key: Path | None = Field(None, description="private key for TLS, a PEM file")
    workers: int = Field(1, ge=1, le=64, description="worker processes; on Ray, minimum replicas")
    ray_max_replicas: int | None = Field(
        None, ge=1, description="on Ray, maximum replicas; default: `WORKERS`"
    )
    ray_target_requests: float = Field(
        32, gt=0, description="on Ray, in-flight requests per replica that autoscaling aims for"
    )
    device: str = Field("auto", description="device of predictions: auto, cpu, cuda[:n], mps")
    train_device: str | None = Field(None, description="device of training; default: `DEVICE`")
    train_threads: int | None = Field(
        None, ge=1, description="threads of a training process; default: its share of the cores"
    )
    train_jobs: int | None = Field(
        None, ge=1, le=64, description="jobs that train at once; default: 1, of sweeps as fit"
    )
    train_standby: bool = Field(True, description="keep a process with PyTorch for the next job")
    ray_train_workers: int = Field(
        1, ge=1, le=64, description="on Ray, workers of a job, which split each batch"
    )
    ray_storage: str | None = Field(
        None,
        description="on Ray, shared folder or URL for the state of running jobs; "
        "default: `{STATE_DIR}/jobs`",
    )
    state_dir: Path = Field(
        Path("var"), description="folder for versions, database, corrections and job state"
    )
    database_url: str | None = Field(
        None, description="SQLAlchemy URL; default: `sqlite:///{STATE_DIR}/mynet.db`"
    )
    database_migrate: bool = Field(
        True, description="migrate an older database at start; otherwise use `mynet db upgrade`"
    )
    models_url: str | None = Field(
        None,
        description="storage of versions: a folder, `s3://bucket/path` or `gs://bucket/path`; "
        "default: `{STATE_DIR}/models`",
    )
    data_dir: Path = Field(
        Path("data"), description="folder for `MNIST/raw`, which is downloaded if missing"
    )
    checkpoint: Path | None = Field(
        None,
        description="`.safetensors` or `.pt` file that is imported and goes live at the first "
        "start with it, and never again by itself",
    )
    auth: Literal["none", "predict", "keys"] | None = Field(
        None,
        description="access without a key: `none`: everything (default on loopback); "
        "`predict`: predictions and health; `keys`: health only (default otherwise)",
    )
    # Excluded from the settings that worker processes receive: they do not need it.
    admin_key: SecretStr | None = Field(
        None, exclude=True, description="key with all rights; `mynet keys create` makes others"
    )
    rate_limit: str | None = Field(
        None,
        description="requests per key, or per address without one, e.g. `10/second;1000/hour`; "
        "default: no limit",
    )
    cors_origins: str | None = Field(
        None,
        description="allowed cross-origin pages, e.g. `https://a.org,https://b.org`, or `*`; "
        "default: none",
    )
    allowed_hosts: str | None = Field(
        None,
        description="host names that an open service on a loopback address answers, besides "
        "`localhost`, e.g. `mynet.example,mynet.lan`, or `*`; default: none",
    )
    root_path: str | None = Field(
        None,
        description="path prefix behind a proxy, e.g. `/mynet`; a trusted proxy's "
        "`X-Forwarded-Prefix` takes precedence; default: none",
    )
    health_route: str | None = Field(
        None, pattern=ROUTE, description="additional path of `/health/ready`"
    )
    predict_route: str | None = Field(
        None, pattern=ROUTE, description="additional path of `/v1/models/mynet:predict`"
    )
    max_body_bytes: int = Field(
        10 * 1024**2, ge=1024, description="maximum size of a request body in bytes"
    )
    max_pixels: int = Field(
        50_000_000, ge=784, description="maximum size of an image, width × height"
    )
    decoders: int | None = Field(
        None,
        ge=1,
        le=64,
        description="processes of each worker that decode images; default: its share of the cores",
    )
    max_queue: int = Field(1024, ge=1, description="predictions in flight before `429`")
    max_batch_files: int = Field(
        256, ge=1, le=1000, description="maximum images in one `/predict/batch`"
    )
    predict_timeout: float = Field(
        2.0, gt=0, description="time-out in seconds for each image, then `504`"
    )
    train_queue: int = Field(16, ge=1, description="queued jobs before `429`")
    train_stall_seconds: float = Field(
        120.0,
        ge=10,
        description="seconds without a heartbeat after which a training process is killed and "
        "started again",
    )
    max_feedback: int = Field(10_000, ge=1, description="stored corrections before `409`")
    max_dataset_images: int = Field(
        100_000, ge=1, description="images of an uploaded data set before `413`"
    )
    max_dataset_bytes: int = Field(
        256 * 1024**2,
        ge=1024,
        description="maximum size of an uploaded data set in bytes; its files unpacked may be "
        "four times as large",
    )
    retrain_after: int | None = Field(
        None,
        ge=1,
        description="new corrections after which a job with all of them starts by itself, with "
        "the live version's recipe; default: never",
    )
    # These three are excluded from the settings that worker processes receive, as `admin_key` is.
    webhook_secret: SecretStr | None = Field(
        None,
        exclude=True,
        description="`whsec_` and base64: signs webhooks, as Standard Webhooks has it; default: "
        "jobs take no webhook",
    )
    webhook_url: SecretStr | None = Field(
        None,
        exclude=True,
        description="URL that gets the events of all jobs; it may hold a secret in its query",
    )
    webhook_allow: str | None = Field(
        None,
        exclude=True,
        description="hosts and networks that webhooks may connect to although they are not "
        "public, e.g. `hooks.internal,10.1.0.0/16`; default: none",
    )
    keep_versions: int = Field(
        20, ge=1, description="versions to keep, besides live, previous and shipped ones"
    )
    keep_checkpoints: int = Field(
        200, ge=1, description="checkpoints of epochs to keep, the newest of all jobs; 1.4 MB each"
    )
    keep_events_days: int = Field(30, ge=1, description="days to keep the events of final jobs")
    keep_jobs_days: int | None = Field(
        None, ge=1, description="days to keep final jobs and finished sweeps; default: all of them"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="minimum level of log lines"
    )
    log_format: Literal["text", "json"] = Field("text", description="format of log lines")

    @field_validator("device", "train_device")
    @classmethod
    def _known_device(cls, value: str | None) -> str | None:
        return None if value is None else device_name(value)

    _paths = field_validator("state_dir", "data_dir", "checkpoint", "uds", "tls_cert", "tls_key")(
        validators.path
    )
    _host = field_validator("host")(validators.hosts)
    _root_path = field_validator("root_path")(validators.root_path)
    _models_url = field_validator("models_url")(validators.folder_or_bucket)
    _admin_key = field_validator("admin_key")(validators.key)
    _rate_limit = field_validator("rate_limit")(validators.rate_limit)
    _cors_origins = field_validator("cors_origins")(validators.origins)
    _allowed_hosts = field_validator("allowed_hosts")(validators.host_names)
    _webhook_secret = field_validator("webhook_secret")(webhooks.secret)
    _webhook_url = field_validator("webhook_url")(webhooks.secret_url)
    _webhook_allow = field_validator("webhook_allow")(webhooks.allowed)

    @model_validator(mode="after")
    def _check_webhook(self) -> "Settings":
        if self.webhook_url and not self.webhook_secret:
            raise ValueError(
                "MYNET_WEBHOOK_URL is set without MYNET_WEBHOOK_SECRET, which signs what is sent. "
                "Set both, or neither."
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources; variables of a platform have the lowest priority."""
        for name in environment.service_links(os.environ):
            env_settings.env_vars.pop(name.lower(), None)  # type: ignore[attr-defined]
        platform = InitSettingsSource(settings_cls, vertex_ai.defaults(os.environ))
        variables = {**dotenv_values(".env"), **os.environ}
        files = secret_files.read_secrets(variables, PREFIX, FROM_FILES)
        in_files = InitSettingsSource(settings_cls, files)
        return init_settings, env_settings, dotenv_settings, in_files, platform

    @property
    def hosts(self) -> list[str]:
        """The addresses to listen on."""
        return [host.strip() for host in self.host.split(",")]

    @property
    def is_on_loopback(self) -> bool:
        """Return whether only programs on this machine can connect."""
        return self.uds is not None or all(host in LOOPBACK for host in self.hosts)

    @property
    def effective_auth(self) -> Literal["none", "predict", "keys"]:
        return self.auth or ("none" if self.is_on_loopback else "keys")

    @property
    def origins(self) -> list[str]:
        return [origin.strip() for origin in (self.cors_origins or "").split(",") if origin]

    @property
    def is_open_on_loopback(self) -> bool:
        """Return whether no key is needed and only programs on this machine can connect."""
        return self.effective_auth == "none" and self.is_on_loopback

    @property
    def extra_hosts(self) -> list[str]:
        """The names of `allowed_hosts`, in lower case."""
        return [name.strip().lower() for name in (self.allowed_hosts or "").split(",") if name]

    @property
    def bucket_url(self) -> str | None:
        """The URL of the bucket with the versions, if they are not in a folder."""
        return self.models_url if validators.is_bucket(self.models_url or "") else None

    @property
    def models_dir(self) -> Path:
        """The folder of the versions, or the folder that mirrors the bucket."""
        if self.bucket_url:  # one folder for each bucket: their version numbers are unrelated
            name = hashlib.sha256(self.bucket_url.rstrip("/").encode()).hexdigest()[:8]
            return self.state_dir / "mirror" / name
        return validators.folder(self.models_url) if self.models_url else self.state_dir / "models"

    @property
    def jobs_dir(self) -> Path:
        """The folder for the state of running jobs, which lets them resume after a crash."""
        return self.state_dir / "jobs"

    @property
    def checkpoints_dir(self) -> Path:
        """The folder for the weights of epochs, of jobs with `keep_checkpoints`."""
        return self.state_dir / "checkpoints"

    @property
    def uploads_dir(self) -> Path:
        """The folder for uploads while they are imported."""
        return self.state_dir / "uploads"

    @property
    def feedback_dir(self) -> Path:
        return self.state_dir / "feedback"

    @property
    def datasets_dir(self) -> Path:
        """The folder for uploaded data sets."""
        return self.state_dir / "datasets"

    @property
    def metrics_dir(self) -> Path:
        """The folder in which worker processes share their metrics."""
        return self.state_dir / "tallies"

    @property
    def effective_database_url(self) -> str:
        if self.database_url:
            return self.database_url
        from sqlalchemy.engine import URL  # takes a fifth of a second

        return URL.create("sqlite", database=str(self.state_dir / DATABASE)).render_as_string()

    @property
    def effective_decoders(self) -> int:
        """The setting, or this worker's share of the cores."""
        return self.decoders or max(1, available_cpus() // self.workers)

    @property
    def effective_train_device(self) -> str:
        return self.train_device or self.device

    @property
    def effective_train_threads(self) -> int:
        """The setting, or a share of all cores but one, which stays free for predictions.

        More than four threads do not make batches of 100 faster.
        """
        share = (available_cpus() - 1) // (self.train_jobs or 1)
        return self.train_threads or min(4, max(1, share))


FILE_VARIABLES: Final = [f"{PREFIX}{name.upper()}{secret_files.SUFFIX}" for name in FROM_FILES]
VARIABLES: Final = [*(PREFIX + name.upper() for name in Settings.model_fields), *FILE_VARIABLES]


def load_settings() -> Settings:
    """Return the settings of the environment. Raises SettingsError for invalid or unknown ones."""
    try:
        validators.validate_env_file(Path(".env"), PREFIX)
        mine = [name for name in os.environ if name not in (URL, API_KEY, API_KEY_FILE)]
        links = environment.service_links(os.environ)
        names = [name for name in (*dotenv_values(".env"), *mine) if name not in links]
        environment.refuse_unknown(names, PREFIX, VARIABLES)
        return Settings()
    except UnicodeDecodeError as error:
        raise SettingsError(f".env is not UTF-8 text: {error}.") from None
    except ValidationError as error:
        raise SettingsError(
            "\n".join(_format_error(dict(detail)) for detail in error.errors())
        ) from None
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _format_error(error: Mapping[str, object]) -> str:
    location = error["loc"]
    message = str(error["msg"]).removeprefix("Value error, ")
    if not isinstance(location, tuple) or not location:
        return message
    field = str(location[0])
    variable = vertex_ai.VARIABLES.get(field, "")
    if error["input"] != os.environ.get(variable):
        variable = f"{PREFIX}{field.upper()}"
        file_variable = f"{variable}{secret_files.SUFFIX}"
        variable = file_variable if os.environ.get(file_variable) else variable
    displayed = "***" if field in SECRETS else redact(str(error["input"]))
    return f"{variable}={displayed!s}: {message}."
