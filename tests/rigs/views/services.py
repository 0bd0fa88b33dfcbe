"""Services whose page has something to show: trainings, a sweep, corrections, a data set, keys."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile

import httpx2

from app.train.recipes.dataset import load
from tests.conftest import DATA, png
from tests.service.running import Service, run_service, wait_until

ADMIN_KEY: Final = "a-key-of-some-length"
DIGITS: Final = 40
FINISHED: Final = ("succeeded", "failed", "cancelled")
JOBS: Final = (
    {"recipe": "quick", "epochs": 2, "promote": "if_better", "keep_checkpoints": True, "seed": 1},
    {"recipe": "documented", "epochs": 3, "note": "three epochs, a long note that has to be cut",
     "promote": "never", "keep_checkpoints": True, "seed": 2},
    {"recipe": "quick", "epochs": 1, "learning_rate": 1e30, "note": "too fast", "promote": "never"},
    {"recipe": "quick", "epochs": 4, "learning_rate": 0.002, "note": "slow", "promote": "never"},
)  # fmt: skip
SWEEP: Final = {"name": "rates", "epochs": 1, "learning_rate": [0.001, 0.01], "momentum": [0, 0.9]}


@contextmanager
def run_services(folder: Path) -> Iterator[dict[str, Service]]:
    """Run a service that was used, one that was not, and one that needs keys."""
    with (
        run_service(folder / "used") as used,
        run_service(folder / "fresh") as fresh,
        run_service(folder / "locked", auth="keys", admin_key=ADMIN_KEY) as locked,
    ):
        if not used.get("/train")["data"]:  # else these are the services of an earlier run
            use(used)
            create_keys(locked)
        yield {"used": used, "fresh": fresh, "locked": locked}


def create_keys(service: Service) -> None:
    url, headers = f"http://127.0.0.1:{service.port}", {"X-API-Key": ADMIN_KEY}
    with httpx2.Client(base_url=url, headers=headers) as admin:
        for name, scopes in (("phone-app", ["predict"]), ("nightly", ["predict", "train"])):
            _post(admin, "/keys", json={"name": name, "scopes": scopes})


def use(service: Service) -> None:
    """Train, sweep, correct and upload."""
    with httpx2.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=120) as client:
        for job in JOBS:
            _ended(client, _post(client, "/train", json=job)["id"])
        sweep = _post(client, "/sweeps", json=SWEEP)
        for job in sweep["jobs"]:
            _ended(client, job["id"])
        test = load(DATA).test
        digits = list(zip(test.pixels.numpy()[:DIGITS], test.labels.tolist(), strict=False))
        for pixels, label in digits[:14]:
            files = {"file": ("digit.png", png(255 - pixels))}
            _post(client, "/feedback", data={"label": (label + 1) % 10}, files=files)
        _post(client, "/datasets", data={"name": "our-forms"}, files={"file": _archive(digits)})


def _archive(digits: list[Any]) -> tuple[str, bytes]:
    """Return a zip with some wrong labels, and a file that is no image."""
    buffer = BytesIO()
    with ZipFile(buffer, "w") as archive:
        for i, (pixels, label) in enumerate(digits):
            label = (label + 1) % 10 if i < 3 else label
            archive.writestr(f"{label}/{i}.png", png(255 - pixels))
        archive.writestr("3/notes.txt", "no image")
    return "our-forms.zip", buffer.getvalue()


def _post(client: httpx2.Client, path: str, **content: Any) -> Any:
    response = client.post(path, **content)
    response.raise_for_status()
    return response.json()


def _ended(client: httpx2.Client, job: str) -> None:
    assert wait_until(lambda: client.get(f"/train/{job}").json()["status"] in FINISHED)
