"""`python -m tests.rigs.views FOLDER [--few] [VIEW …]`: pictures of every view, and what is wrong.

Writes a picture of each view in each size, language and theme, a contact sheet of each view, and
prints what is cut off, reaches out of the window, is higher than the screen, has the same words in
both languages, or is a serious violation for axe. Names of views take those alone, and
`--few` four looks instead of sixteen. The services' state is in the folder, too: a second run has
no trainings to wait for.
"""

from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, Final

import httpx2
from PIL import Image

from tests.browser.conftest import CALM
from tests.programs import find_program
from tests.rigs.views.looks import height, laid_out_wrong, texts, violations
from tests.rigs.views.services import run_services
from tests.rigs.views.states import LONG_MS, RUNNING, STATES, State
from tests.service.running import Service, wait_until

SIZES: Final = [(1440, 900), (1280, 800), (390, 844), (320, 640)]
LANGUAGES: Final = ["en-GB", "pt-BR"]
THEMES: Final = ["light", "dark"]
LOOKS: Final = list(product(SIZES, LANGUAGES, THEMES))
FEW: Final = [LOOKS[0], LOOKS[7], LOOKS[10], LOOKS[13]]
ROW_HEIGHT: Final = 560  # pixels of a contact sheet
LONG_JOB: Final = {"recipe": "quick", "epochs": 1000, "promote": "never", "keep_checkpoints": True}


class Album:
    """Takes the pictures, and collects what is wrong."""

    def __init__(self, folder: Path, browser: Any, axe: str, looks: list[Any]) -> None:
        self.folder, self.browser, self.axe, self.looks = folder, browser, axe, looks
        self.pictures: dict[str, list[Path]] = defaultdict(list)
        self.texts: dict[str, dict[str, set[str]]] = defaultdict(dict)

    def take(self, services: dict[str, Service], states: dict[str, State]) -> None:
        """Take these views in every appearance."""
        for appearance, (name, state) in product(self.looks, states.items()):
            self._take(services, name, state, appearance)

    def _take(self, services: dict[str, Service], name: str, state: State, appearance: Any) -> None:
        (width, screen), language, theme = appearance
        title = f"{name} {width} {language[:2]} {theme}"
        context = self.browser.new_context(
            viewport={"width": width, "height": screen},
            locale=language,
            color_scheme=theme,
            has_touch=width < 600,
            reduced_motion="reduce",
        )
        page = context.new_page()
        try:
            page.set_default_timeout(LONG_MS)
            page.goto(f"http://127.0.0.1:{services[state.service].port}{state.path}")
            page.wait_for_selector("#rows .pick, .locked, .opblock", state="attached")
            page.wait_for_timeout(200)
            state.act(page)
            self._look_at(page, name, title, appearance)
        except Exception as error:
            print(f"{title}: {str(error)[:900]}", flush=True)
        finally:
            context.close()

    def _look_at(self, page: Any, name: str, title: str, appearance: Any) -> None:
        (_, screen), language, _ = appearance
        path = self.folder / f"{title.replace(' ', '_')}.png"
        page.screenshot(path=path, full_page=page.locator("dialog[open]").count() == 0)
        self.pictures[name].append(path)
        for problem in laid_out_wrong(page):
            print(f"{title}: {problem}", flush=True)
        if screen == SIZES[0][1] and height(page) > screen:
            print(f"{title}: {height(page)} pixels high", flush=True)
        self.texts[name].setdefault(language, set()).update(texts(page))
        if screen in (SIZES[0][1], SIZES[-1][1]):
            for problem in violations(page, self.axe):
                print(f"{title}: {problem}", flush=True)

    def compare_languages(self) -> None:
        """Print what a view says in the same words in both languages."""
        for name, by_language in self.texts.items():
            if same := set.intersection(*by_language.values()):
                print(f"{name}: in both languages: {sorted(same)}", flush=True)

    def write_sheets(self) -> None:
        """Write a contact sheet of each view: wide ones and narrow ones."""
        for name, paths in self.pictures.items():
            for kind, is_wide in (("wide", True), ("narrow", False)):
                chosen = [path for path in paths if (Image.open(path).width > 600) is is_wide]
                tile(chosen, 4).save(self.folder / f"sheet-{name}-{kind}.png")


def tile(paths: list[Path], columns: int) -> Image.Image:
    """Return the pictures in rows, each as high as the others or less."""
    images = [Image.open(path).convert("RGB") for path in paths]
    width = 640 if images[0].width > 600 else 390
    scaled = [each.resize((width, each.height * width // each.width)) for each in images]
    rows = [scaled[i : i + columns] for i in range(0, len(scaled), columns)]
    heights = [max(each.height for each in row) for row in rows]
    sheet = Image.new("RGB", (columns * (width + 8), sum(heights) + 8 * len(rows)), "magenta")
    top = 0
    for row, tall in zip(rows, heights, strict=True):
        for i, each in enumerate(row):
            sheet.paste(each, (i * (width + 8), top))
        top += tall + 8
    return sheet


@contextmanager
def a_job_runs(service: Service) -> Iterator[None]:
    """Run a long job, with some epochs behind it, and cancel it afterwards."""
    with httpx2.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=60) as client:
        job = client.post("/train", json=LONG_JOB).json()["id"]
        assert wait_until(lambda: len(client.get(f"/train/{job}").json()["epochs"]) > 3)
        yield
        client.post(f"/train/{job}/cancel")


def main(folder: Path, names: list[str], looks: list[Any]) -> None:
    from playwright.sync_api import sync_playwright

    (folder / "services").mkdir(parents=True, exist_ok=True)
    states, running = (
        {name: state for name, state in each.items() if not names or name in names}
        for each in (STATES, RUNNING)
    )
    found = find_spec("axe_playwright_python")
    axe = (Path(found.origin).parent / "axe.min.js").read_text() if found and found.origin else ""
    with (
        run_services(folder / "services") as services,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=find_program("chromium"), args=CALM)
        album = Album(folder, browser, axe, looks)
        album.take(services, states)
        if running:
            with a_job_runs(services["used"]):
                album.take(services, running)
        album.compare_languages()
        album.write_sheets()
        browser.close()


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m tests.rigs.views")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("views", nargs="*", choices=[[], *STATES, *RUNNING], help="all by default")
    parser.add_argument("--few", action="store_true", help="four looks instead of sixteen")
    options = parser.parse_args()
    main(options.folder, options.views, FEW if options.few else LOOKS)
