"""`python -m tests.rigs.webhooks`: 100 deliveries, 20 kills, and a receiver that is away.

`BENCH_SEED=…` draws the same moments again.
"""

import os
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.rigs.webhooks.deliveries import Deliveries

SWEEPS: Final = 5
JOBS_OF_A_SWEEP: Final = 20
KILLS: Final = 10  # while it delivers, beside two for each sweep
SEED: Final = int(os.environ.get("BENCH_SEED", random.SystemRandom().randrange(10**6)))


def main() -> None:
    print(f"seed {SEED}", flush=True)
    with TemporaryDirectory() as folder:
        deliveries = Deliveries(Path(folder) / "var", random.Random(SEED))
        for _ in range(SWEEPS):
            deliveries.end_jobs(JOBS_OF_A_SWEEP)
        deliveries.deliver(KILLS, up=2.0, seconds=600)
        print(deliveries.report())


if __name__ == "__main__":
    main()
