"""Inside the network: its cells, the weights of one, the paths; and the drawing as code."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from app.predict.numpy_net import NumpyNet
from app.versions import checkpoint
from app.versions.registry import SHIPPED
from tests.browser.conftest import (
    ONE,
    SEVEN,
    TIMEOUT_MS,
    draw,
    reads,
    run_service,
    serious_of,
    shows,
    walk,
)

COUNTS = {"Layer 1": 300, "Layer 2": 256, "Layer 3": 128}
PICTURE = "() => document.getElementById('{}').toDataURL()"
SIGNS = """() => {
  const context = document.getElementById("unit-picture").getContext("2d");
  const { data } = context.getImageData(0, 0, 28, 28);
  return Array.from({ length: 784 }, (_, i) => data[4 * i + 1] - data[4 * i]);
}"""


def picture(page, name):
    return page.evaluate(PICTURE.format(name))


def test_cells_light_up_and_show_their_weights(open_page, service, axe):
    page = open_page(service)
    page.wait_for_selector("#cells[style*=height]")  # its first frame gives it its size
    dark = picture(page, "cells")
    with page.expect_response("**/models/2/weights*"):
        draw(page, SEVEN)
    shows(page, "#unit-name", "What it looked at")
    shows(page, "#unit-rows", "Layer 3")
    lit = picture(page, "cells")
    assert lit != dark
    rows = dict(
        page.locator("#unit-rows tr").evaluate_all(
            "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
        )
    )
    for layer, count in COUNTS.items():
        strongest, share = re.match(r"(\d+) \((\d+)", rows[layer]).groups()
        assert (int(strongest) < count, share) == (True, "100")
    assert rows["Digits"].startswith("7 (")

    page.focus("#cells")
    page.keyboard.press("ArrowRight")
    shows(page, "#unit-name", "Layer 1, cell 0")
    shows(page, "#unit-said", "Its weights")
    assert picture(page, "cells") != lit, "its outline"
    signs = np.sign(page.evaluate(SIGNS))
    weights = NumpyNet(checkpoint.read_verified(SHIPPED / "robust.safetensors")).layers[0][0][:, 0]
    clear = np.abs(weights) > np.abs(weights).max() / 2
    assert (signs[clear] == np.sign(weights[clear])).all(), "green where a weight is positive"
    assert serious_of(page, axe) == {}
    page.keyboard.press("ArrowDown")
    shows(page, "#unit-name", "Layer 1, cell 20")
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    shows(page, "#unit-name", "Layer 2, cell 16")
    box = page.locator("#cells").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 30, box["y"] + 0.75 * box["height"])
    shows(page, "#unit-name", "The digit 7")
    page.mouse.move(0, 0)
    shows(page, "#unit-name", "What it looked at")
    page.click("#clear")
    assert picture(page, "cells") == dark


def test_paths_are_painted_once_the_weights_have_come(open_page, service):
    """Without weights, the cells light up and one has an outline. With them, paths are added."""
    held = []
    page = open_page(service)
    page.route("**/models/2/weights*", lambda route: held.append(route))
    draw(page, SEVEN)
    shows(page, "#unit-rows", "Layer 3")
    lit = picture(page, "cells")
    page.focus("#cells")
    page.keyboard.press("ArrowRight")
    shows(page, "#unit-name", "Layer 1, cell 0")
    outlined = picture(page, "cells")
    page.wait_for_timeout(200)
    assert (picture(page, "cells"), len(held)) == (outlined, 1), "nothing changes before they come"
    held[0].continue_()
    shows(page, "#unit-said", "Its weights")
    assert picture(page, "cells") != outlined, "paths to the cell"
    page.locator("#cells").evaluate("(cells) => cells.blur()")
    shows(page, "#unit-name", "What it looked at")
    assert picture(page, "cells") not in (lit, outlined), "paths to the answer"


def test_weights_behind_a_key_are_said_to_be_so(open_page, axe, tmp_path):
    settings = {"auth": "predict", "admin_key": "a-key-of-some-length"}
    with run_service(tmp_path / "var", **settings) as locked:
        page = open_page(locked, expected=["401"])
        draw(page, ONE)
        reads(page, 1)
        shows(page, "#unit-rows", "Layer 1")
        page.focus("#cells")
        page.keyboard.press("ArrowRight")
        shows(page, "#unit-name", "Layer 1, cell 0")
        shows(page, "#weights-said", "need a key")
        for measured in ("#s-rate", "#s-times", "#s-queue"):
            page.wait_for_selector(measured, state="hidden")  # no dash, which would say: none
        assert serious_of(page, axe) == {}
        shows(page, "#compared", "needs a key")
        page.click("#code")
        shows(page, "#snippet", "X-API-Key: $MYNET_KEY")
        page.keyboard.press("Escape")
        page.click("#weights-said button")
        page.fill("#key", settings["admin_key"])
        page.keyboard.press("Enter")
        page.wait_for_selector("#compared .opinion")
        shows(page, "#weights-said", re.compile("^$"))
        page.focus("#cells")
        page.keyboard.press("ArrowRight")
        shows(page, "#unit-said", "Its weights")
        page.wait_for_selector("#s-queue", state="visible")
        page.close()  # before the service stops: the page would retry


# The path of a screen reader through the view, after an example was read.
PATH = r"""
- region "Draw a digit":
  - heading "Draw a digit" [level=1]
  - paragraph: /346,742 parameters/
  - application "Paper to draw a digit on"
  - button "Undo"
  - button "Clear"
  - button "Open image"
  - region "Answer":
    - status: /It is a 3/
    - list "Probabilities of the digits":
      - listitem: /3 \d+/
    - button "All ten"
  - group "Wrong? It is a …":
    - button "0"
    - button "9"
  - region "Two versions on this drawing":
    - button "This drawing as code"
    - combobox "First version"
    - combobox "Second version"
    - text: /Version \d+, live 3 .* Version \d+ \d/
  - region "Inside the network":
    - application "Cells of the network"
    - figure:
      - img
    - table "The most active cells of each layer":
      - rowgroup:
        - row:
          - rowheader "Layer 1"
"""


def test_a_screen_reader_meets_the_answer_then_the_network(open_page, service):
    expect = pytest.importorskip("playwright.sync_api").expect
    page = open_page(service, reduced_motion="reduce")
    walk(page, "Draw")
    expect(page.locator("#draw")).to_match_aria_snapshot(PATH, timeout=TIMEOUT_MS)


@pytest.fixture
def snippets(open_page, service):
    """A page with a drawn seven, and its snippets by language."""
    page = open_page(service, permissions=["clipboard-read", "clipboard-write"])
    draw(page, SEVEN)
    shows(page, "#said", "It is a 7")
    page.click("#code")
    found = {}
    for language in ("curl", "python", "javascript"):
        page.click(f"[data-language={language}]")
        page.click("#code-copy")
        shows(page, "#code-said", "Copied")
        found[language] = page.evaluate("() => navigator.clipboard.readText()")
    return page, found


def test_the_drawing_as_code_runs_as_shown(snippets):
    page, found = snippets
    commands = (["sh", "-c", found["curl"]], [sys.executable, "-c", found["python"]])
    outputs = [
        subprocess.run(each, capture_output=True, text=True, check=True) for each in commands
    ]
    assert json.loads(outputs[0].stdout)["digit"] == 7
    assert "'digit': 7" in outputs[1].stdout
    run = "async () => { const console = { log: (answer) => (window.answer = answer) };\n"
    page.evaluate(f"{run}{found['javascript']}\n return null; }}")
    assert page.evaluate("() => window.answer.digit") == 7
