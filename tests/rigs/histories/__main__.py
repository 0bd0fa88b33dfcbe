"""`make histories`: many clients, four worker processes, and one order that explains each history.

`COUNT=N SEED=M` checks N histories, drawn by that seed. `STALENESS=10` lets reads be ten seconds
old instead of two, for a machine that is busy with other work. The first history that no order
explains is printed in full.
"""

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.rigs.histories.deployment import SERVICES, WORKERS, run_deployment
from tests.rigs.histories.model import STALENESS
from tests.rigs.histories.run import Histories
from tests.rigs.histories.timeline import Verdict

COUNT: Final = int(os.environ.get("COUNT", 10_000))
SEED: Final = int(os.environ.get("SEED", random.SystemRandom().randrange(10**6)))
MAX_STALENESS: Final = float(os.environ.get("STALENESS", STALENESS))
PROGRESS: Final = 100  # histories
# Each of these comes in a few histories already: without one of them, the histories prove little.
EXPECTED_ANSWERS: Final = (
    "promote: 200", "roll back: 200", "upload: 201", "predict: 200", "list: 200"
)  # fmt: skip


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the services end, too
    print(f"seed {SEED}, {COUNT} histories, {SERVICES} services of {WORKERS} workers", flush=True)
    with tempfile.TemporaryDirectory() as name, run_deployment(Path(name)) as deployment:
        started, histories = time.monotonic(), Histories(deployment, SEED, MAX_STALENESS)
        for number in range(1, COUNT + 1):
            verdict = histories.check_next()
            if not verdict.is_explained:
                print(f"No order explains history {number} of seed {SEED}.")
                print(*describe(verdict), sep="\n")
                sys.exit(1)
            if number % PROGRESS == 0 or number == COUNT:
                age, seconds = histories.timeline.oldest_age, time.monotonic() - started
                print(f"{number} histories, {seconds:.0f} s, oldest read: {age:g} s", flush=True)
    missing = [answer for answer in EXPECTED_ANSWERS if not histories.counts[answer]]
    if missing:
        print(f"No history of seed {SEED} has the answers {missing}. Check more histories.")
        sys.exit(1)
    counts = ", ".join(f"{count} × {answer}" for answer, count in sorted(histories.counts.items()))
    print(f"seed {SEED}: an order explains each of {COUNT} histories. {counts}.")


def describe(verdict: Verdict) -> list[str]:
    """Return the lines that show a history: its operations by their calls, and how far it got."""
    start = verdict.operations[0].call
    done = {id(operation): n for n, operation in enumerate(verdict.order.operations, 1)}
    lines = [f"It begins with {verdict.initial}.", "order  call ms    end ms  operation"]
    for operation in sorted(verdict.operations, key=lambda operation: operation.call):
        call, end = 1000 * (operation.call - start), 1000 * (operation.end - start)
        place = done.get(id(operation), "none")
        lines.append(f"{place!s:>5}{call:9.1f}{end:10.1f}  {operation.describe()}")
    lines.append(f"The longest order that was found ends with {verdict.order.state}.")
    lines += [f"lost a race without a winner: {lost.describe()}" for lost in verdict.unprovoked]
    return lines


if __name__ == "__main__":
    main()
