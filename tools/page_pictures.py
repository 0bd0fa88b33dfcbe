"""Moving pictures of the page for the documentation, from a running service with Chromium.

    mynet serve &
    python -m tools.page_pictures http://127.0.0.1:8000

`page-draw.webp` shows how a digit is drawn and read, and a look inside the network.
`page-train.webp` shows a training: the curves, the weights of the first layer after each epoch, and
how each epoch reads the drawing. Needs the extra for the tests of the page: `make test-browser`
installs it. Of a new service, with no other trainings in the list, in a minute or two.
"""

import shutil
import sys
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from PIL import Image

IMAGES: Final = Path(__file__).parents[1] / "docs" / "images"
VIEWPORT: Final = {"width": 1200, "height": 840}
WIDTH: Final = 900  # pixels of the animation
FRAME: Final = 90  # milliseconds while the pen moves
HOLD: Final = 1600  # milliseconds on an answer, and on a cell
# A three, as points of a unit square: the pen rests at each, for the answer.
THREE: Final = [
    *[(0.3, 0.3), (0.34, 0.23), (0.42, 0.18), (0.52, 0.16), (0.61, 0.19), (0.66, 0.26)],
    *[(0.65, 0.34), (0.6, 0.41), (0.53, 0.45), (0.46, 0.47), (0.54, 0.48), (0.62, 0.52)],
    *[(0.67, 0.59), (0.68, 0.67), (0.64, 0.75), (0.57, 0.81), (0.47, 0.83), (0.37, 0.81)],
    (0.3, 0.74),
]
TRAIN_VIEWPORT: Final = {"width": 1200, "height": 900}
EPOCHS: Final = 8  # of the recipe quick
STEP: Final = 0.025  # share of a training between two frames
END: Final = 4000  # milliseconds on its result
CELLS: Final = [(0.33, 0.4), (0.62, 0.55)]  # of the canvas of cells: one of the first two layers


def draw(page: Any, frames: list[tuple[Image.Image, int]]) -> None:
    """Draw the three, a frame for each point, and look at two cells."""
    paper = page.locator("#canvas").bounding_box()
    frames.append((shot(page), HOLD // 2))
    for i, (x, y) in enumerate(THREE):
        page.mouse.move(paper["x"] + x * paper["width"], paper["y"] + y * paper["height"])
        if not i:
            page.mouse.down()
        page.wait_for_timeout(250)
        frames.append((shot(page), FRAME))
    page.mouse.up()
    page.wait_for_selector("#compared .opinion")
    page.wait_for_timeout(1000)  # the path is drawn when the weights have come
    frames.append((shot(page), HOLD))
    cells = page.locator("#cells").bounding_box()
    for x, y in CELLS:
        page.mouse.move(cells["x"] + x * cells["width"], cells["y"] + y * cells["height"])
        page.wait_for_timeout(300)
        frames.append((shot(page), HOLD))


def train(page: Any, frames: list[tuple[Image.Image, int]]) -> None:
    """Train for a few epochs, with a frame for each share of them, and wait for the result."""
    page.set_viewport_size(TRAIN_VIEWPORT)
    page.click("nav a[href='#/train']")
    page.fill("#train-form [name=epochs]", str(EPOCHS))
    frames.append((shot(page), HOLD))
    page.click("#train-form [type=submit]")
    page.wait_for_selector("#job[data-status=running]")
    next_share = 0.0
    while (status := page.get_attribute("#job", "data-status")) == "running":
        share = page.evaluate("() => document.getElementById('progress').value")
        if share >= next_share:
            frames.append((shot(page), 2 * FRAME))
            next_share = share + STEP
        page.wait_for_timeout(50)
    if status != "succeeded":
        sys.exit(f"The training is {status}, so it has no picture of its end.")
    page.wait_for_timeout(2000)  # the weights of the last epoch come after its result
    frames.append((shot(page), END))


def shot(page: Any) -> Image.Image:
    return Image.open(BytesIO(page.screenshot())).convert("RGB")


def save(frames: list[tuple[Image.Image, int]], path: Path) -> None:
    """Write an animated WebP."""
    width, height = frames[0][0].size
    size = (WIDTH, round(WIDTH * height / width))
    first, *others = [image.resize(size, Image.Resampling.LANCZOS) for image, _ in frames]
    durations = [duration for _, duration in frames]
    options = {"quality": 70, "method": 6, "loop": 0, "minimize_size": True}
    first.save(path, save_all=True, append_images=others, duration=durations, **options)


def main(url: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport=VIEWPORT, locale="en-GB")
        page.goto(url)
        page.wait_for_selector("#right option", state="attached")
        frames: list[tuple[Image.Image, int]] = []
        draw(page, frames)
        save(frames, IMAGES / "page-draw.webp")
        frames = []
        train(page, frames)
        save(frames, IMAGES / "page-train.webp")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
