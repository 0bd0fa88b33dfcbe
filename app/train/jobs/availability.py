"""Whether queued jobs can run: here, or by another service on the same database."""

from typing import Final

from app.database.database import Database
from app.database.leases import LeaseStore
from app.devices import is_torch_installed
from app.errors import TrainingUnavailable

RETRY_AFTER: Final = 30


def check_training(database: Database) -> None:
    """Raise TrainingUnavailable if no service can run a queued job. Raises NotReady.

    A service with PyTorch can. A service without it never takes the supervisor's lease, so the
    holder of the lease is a service that trains.
    """
    if not is_torch_installed() and LeaseStore(database).holder() is None:
        raise TrainingUnavailable(
            "No service trains: this one has no PyTorch, and no other one uses its database. Start "
            "a service that has PyTorch, with the same MYNET_DATABASE_URL or MYNET_STATE_DIR. Then "
            "send the request again.",
            retry_after=RETRY_AFTER,
        )
