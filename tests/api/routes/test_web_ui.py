"""The web pages: their headers, and that every asset comes from the service itself."""

import gzip
import re
from math import prod

import pytest

from app.api.routes.web_ui import FILES, WEB
from app.api.schemas.keys import NewKey
from app.mnist.files import TRAIN_COUNTS
from app.net import SHAPES
from app.train.jobs.hyperparameters import (
    RECIPE_DEFAULTS,
    EarlyStopping,
    Hyperparameters,
    Init,
)
from app.train.jobs.phase import Phase

pytestmark = pytest.mark.read_only

PAGE = WEB / "page"
HTML = (PAGE / "index.html").read_text()
PAGES = ["/", "/docs"]


def assets(page):
    return re.findall(r'(?:src|href)="(web/[^"]+)"', page)


@pytest.mark.parametrize("path", PAGES)
def test_all_that_a_page_needs_is_served_from_here_and_may_be_kept(client, path):
    page = client.get(path)
    assert page.headers["cache-control"] == "no-cache"
    assert assets(page.text)
    for asset in assets(page.text):
        answer = client.get(asset)
        assert answer.status_code == 200, asset
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", PAGES)
def test_pages_allow_nothing_inline_and_nothing_from_elsewhere(client, path):
    page = client.get(path)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script>|<style|\son\w+=|\sstyle=|https?://", page.text)


@pytest.mark.parametrize("name", ["page/main.js", "page/style/base.css", "page/index.html"])
def test_files_are_compressed_for_those_who_take_it(client, name):
    folder = assets(client.get("/").text)[0].split("/page/", 1)[0]
    packed = client.get(f"{folder}/{name}", headers={"accept-encoding": "br, gzip;q=0.8"})
    plain = client.get(f"{folder}/{name}", headers={"accept-encoding": "gzip;q=0, br"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content  # the client unpacks
    assert int(packed.headers["content-length"]) < len(plain.content)
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("name", ["page/nothing.js", "../main.py", "page/../../main.py", ""])
def test_other_files_are_not_there(client, name):
    folder = assets(client.get("/").text)[0].split("/page/", 1)[0]
    assert client.get(f"{folder}/{name}").status_code == 404


def test_another_state_of_the_files_is_not_there(client):
    assert client.get("/web/0123456789abcdef/page/main.js").json()["code"] == "not_found"


def test_every_module_is_preloaded():
    modules = {path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*.js")}
    modules -= {"main.js", "theme.js"}
    assert set(re.findall(r'modulepreload" href="web/page/([\w/-]+\.js)"', HTML)) == modules


def test_pages_refer_to_nothing_by_an_absolute_path():
    """A path prefix would be lost, and the service may not know it."""
    for path in WEB.rglob("*"):
        if path.suffix in (".html", ".js", ".css") and "swagger-ui" not in path.parts:
            text = path.read_text()
            absolute = re.findall(r'(?:href|src|url|from)[=:( ]+["`]?/[a-z]\S*', text)
            absolute += re.findall(r"(?:fetch|ask|askJson|post)\([`\"]/\S*", text)
            assert not absolute, path


def test_first_load_is_small(client):
    page = client.get("/").text
    names = {"page/index.html"} | {asset.split("/", 2)[2] for asset in assets(page)}
    # It was 112 KB on 2026-12-01; the goal is 160 KB with the answers of the service.
    assert sum(len(gzip.compress(FILES[name].read_bytes())) for name in names) < 113_000


def test_the_page_names_the_figures_of_the_network():
    parameters = f"{sum(prod(shape) for shape in SHAPES.values()):,}"
    images = f"{sum(TRAIN_COUNTS):,}"
    for language, separator in (("en", ","), ("pt", ".")):
        text = (PAGE / f"language/words-{language}.js").read_text()
        about = re.search(r'about: "(.*)"', text)[1]
        assert {parameters.replace(",", separator), images.replace(",", separator)} <= set(
            re.findall(r"[\d.,]*\d", about)
        )


def words(language):
    """Return the names of all words, each with the values that stand in it."""
    paths = sorted((PAGE / "language").glob(f"words-{language}*.js"))
    text = "".join(path.read_text() for path in paths)
    found = re.findall(r'^  (\w+):\s+"(.*)",$', text, re.MULTILINE)
    return {name: sorted(re.findall(r"{\w+}", word)) for name, word in found}


def test_both_languages_have_the_same_words():
    english, portuguese = words("en"), words("pt")
    assert english == portuguese
    named = re.findall(r'data-word(?:-label|-placeholder)?="(\w+)"', HTML)
    assert set(named) <= set(english)


@pytest.mark.parametrize("language", ["en", "pt"])
def test_each_phase_has_its_words(language):
    """But `training`, for which the page shows the progress."""
    named = {name for name in words(language) if name.startswith("phase_")}
    assert named == {f"phase_{phase}" for phase in Phase if phase is not Phase.TRAINING}


def test_the_form_has_the_bounds_of_the_service():
    """Each limit of a field in the form is that of the API, and none is missing."""
    schema = Hyperparameters.model_json_schema()["properties"]
    names = {"minimum": "min", "maximum": "max", "exclusiveMinimum": "data-above"}
    names |= {"exclusiveMaximum": "data-below", "maxLength": "maxlength"}
    schema["patience"] = EarlyStopping.model_json_schema()["properties"]["patience"]
    schema["init"] = Init.model_json_schema()["properties"]["version"]
    names_of_fields = ("epochs", "batch_size", "learning_rate", "momentum", "seed", "note")
    more = ("validation_fraction", "patience", "max_seconds", "init")
    for name in (*names_of_fields, *more):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', field(name)))
        bounds = {key: float(attributes[key]) for key in names.values() if key in attributes}
        assert bounds == expected(schema[name], names), name


def expected(schema, names):
    options = [schema, *schema.get("anyOf", [])]
    found = {names[key]: float(one[key]) for one in options for key in names if key in one}
    if "data-below" in found and schema.get("title") == "Seed":
        found["max"] = found.pop("data-below") - 1  # whole numbers
    return found


def test_the_form_of_keys_has_the_bounds_of_the_service():
    schema = NewKey.model_json_schema()
    days, name = schema["properties"]["days"]["anyOf"][0], schema["properties"]["name"]
    assert f'min="{days["minimum"]}" max="{days["maximum"]}"' in field("days")
    pattern = name["pattern"].replace("-]", r"\-]")  # browsers want the hyphen escaped
    assert f'pattern="{pattern}"' in field("name")
    scopes = re.findall(r'<input name="scopes" type="checkbox" value="(\w+)"', HTML)
    assert scopes == schema["$defs"]["Scope"]["enum"]


def field(name):
    return re.search(rf'<input name="{name}"[^>]*>', HTML)[0]


def test_the_form_proposes_the_defaults_of_the_service():
    script = (PAGE / "train/form.js").read_text()
    line = r"(\w+): { epochs: (.+), batch_size: (.+), learning_rate: (.+) }"
    proposed = [(name, *map(float, values)) for name, *values in re.findall(line, script)]
    recipes = [Hyperparameters(recipe=name) for name in ("documented", *RECIPE_DEFAULTS)]
    assert proposed == [(h.recipe, h.epochs, h.batch_size, h.learning_rate) for h in recipes]
    first = Hyperparameters(recipe=re.search(r'name="recipe" value="(\w+)" checked', HTML)[1])
    for name in ("epochs", "batch_size", "learning_rate", "momentum"):
        assert f'placeholder="{getattr(first, name)}"' in field(name)
