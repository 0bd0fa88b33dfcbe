"""The soak: `kill -9` of the training process, the server, or both, while jobs train.

Jobs are queued one after the other at a real `mynet serve`, which is started again after each death
of the server. Victims and moments are drawn from a seed; half of the moments lie at the end of a
job, when its version is stored and goes live. In the end every job must have succeeded with the
weights, losses and log of an uninterrupted run, nothing that was shown may have been lost or
changed, and no training process may be left. `BENCH_KILLS=5` kills less often than 50 times, and
`BENCH_SEED=…` draws the same victims and moments again.
"""

import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.rigs.kills.job_monitor import JobStage, Outcome
from tests.rigs.kills.kill_loop import VICTIMS, Soak, run_uninterrupted
from tests.service.running import are_gone

KILLS: Final = int(os.environ.get("BENCH_KILLS", "50"))
SEED: Final = int(os.environ.get("BENCH_SEED", random.SystemRandom().randrange(10**6)))


def main() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    print(f"seed {SEED}", flush=True)
    with TemporaryDirectory() as folder:
        expected = run_uninterrupted(Path(folder) / "calm")
        soak = Soak(Path(folder) / "var", random.Random(SEED))
        outcomes = soak.run(KILLS)
        leftover = "none" if are_gone(soak.trainings) else "some"
    yield "## Kills (`python -m bench kills`)"
    yield ""
    yield f"{KILLS} times `kill -9`, drawn from seed {SEED}: who was killed, and how far a job was."
    yield ""
    yield f"| | {' | '.join(VICTIMS)} |"
    yield f"|---|{'---|' * len(VICTIMS)}"
    counts = Counter((hit.stage, victim) for victim, _, hit in soak.hits)
    for stage in JobStage:
        yield f"| {stage} | {' | '.join(str(counts[stage, victim]) for victim in VICTIMS)} |"
    yield ""
    yield compare_outcomes(outcomes, [expected[kind] for kind in soak.jobs.values()])
    yield (
        f"Logs that lost or changed a line they had shown: {soak.witness.changed_logs}. "
        f"Training processes left over: {leftover}."
    )
    yield ""
    yield trained_again(soak, outcomes)


def compare_outcomes(outcomes: Sequence[Outcome], expected: Sequence[Outcome]) -> str:
    """Return how many jobs ended as an uninterrupted run does, and print how the others differ."""
    equal = 0
    for number, (outcome, reference) in enumerate(zip(outcomes, expected, strict=True)):
        equal += outcome == reference
        for name, value in outcome._asdict().items():
            if value != getattr(reference, name):
                print(f"job {number}: {name} is {value}, not {getattr(reference, name)}")
    return (
        f"**{equal} of {len(outcomes)} jobs** ended as without a kill: succeeded, with the same "
        "weights, losses, log and promotion, and one version each."
    )


def trained_again(soak: Soak, outcomes: Sequence[Outcome]) -> str:
    """Return how far attempts went back. What an attempt does again is not shown again, so that how
    much it had done when it was killed in its turn is known only where it had shown something new.
    """
    min_retrained, max_retrained, max_setback, displayed = (
        0.0,
        0.0,
        0.0,
        dict.fromkeys(soak.jobs, 0.0),
    )
    for _, job, hit in soak.hits:
        lost = (
            0
            if hit.stage in (JobStage.STORED, JobStage.ENDED)
            else max(0.0, hit.displayed_epochs - hit.saved_epochs)
        )
        min_retrained += lost if hit.displayed_epochs > displayed[job] else 0
        max_retrained, max_setback, displayed[job] = (
            max_retrained + lost,
            max(max_setback, lost),
            hit.displayed_epochs,
        )
    trained = sum(len(outcome.epochs) for outcome in outcomes)
    return (
        f"Trained again: {min_retrained:.1f} to {max_retrained:.1f} epochs, beside {trained}; "
        f"no attempt went back by more than {max_setback:.2f} epochs."
    )
