"""Plots of throughput and latency for the documentation.

The same numbers give the same SVG files, byte for byte.
"""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from bench.harness.report import LEVELS, Rounds, p99_latency, rate
from tests.conftest import ROOT

FOLDER: Final = ROOT / "docs" / "images"
INK, LINES = "#57606a", "#d0d7de"
COLOURS: Final = {
    "MyNet": "#0969da",
    "mosec": "#bf5600",
    "LitServe": "#1a7f37",
    "naive FastAPI": "#8250df",
    "Granian and FastAPI": "#bf3989",
    "Robyn": "#9a6700",
    "bare uvicorn, no work": "#8c959f",
}
STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "mynet",
    "svg.fonttype": "none",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": LINES,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "#f6f8fa",  # a card of its own is legible on light and on dark
    "axes.facecolor": "#f6f8fa",
    "figure.constrained_layout.h_pad": 0.12,
    "figure.constrained_layout.w_pad": 0.12,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(measured: Mapping[str, Rounds], folder: Path = FOLDER) -> str:
    """Draw what was measured, and say in words what was drawn."""
    if find_spec("matplotlib") is None:
        return "Nothing was drawn: `matplotlib` is not installed."
    throughput, latency = folder / "predict-throughput.svg", folder / "predict-latency.svg"
    _draw(throughput, measured, rate, "requests a second")
    _draw(latency, measured, p99_latency, "p99, milliseconds")
    return f"Drawn: `docs/images/{throughput.name}`, `docs/images/{latency.name}`."


def _draw(
    file: Path, measured: Mapping[str, Rounds], value: Callable[[Rounds, int], float], label: str
) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    with matplotlib.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(7.2, 3.4), layout="constrained")
        for name, rounds in measured.items():
            width = 2.8 if name == "MyNet" else 1.6
            values = [value(rounds, level) for level in LEVELS]
            axes.plot(values, "o-", color=COLOURS[name], ms=4, linewidth=width, label=name)
        axes.set(xlabel="connections", ylabel=label, yscale="log")
        axes.set_xticks(range(len(LEVELS)), [str(level) for level in LEVELS])
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.minorticks_off()
        axes.grid(axis="y", color=LINES, linewidth=0.8)
        figure.legend(loc="outside right upper", frameon=False)
        figure.savefig(file, metadata={"Date": None, "Creator": None})
        pyplot.close(figure)
