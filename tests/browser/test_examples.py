"""The browser page and the load script in `examples`."""

import json
import re
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.browser.conftest import SEVEN, TIMEOUT_MS, draw, reads, run_service, shows
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
# k6's own modules, for as much of them as the script uses. Each call is recorded.
K6_MODULES = {
    "k6/http": "export default { post: (...call) => (calls.push(call), answer) };",
    "k6": "export const check = (it, checks) => "
    "Object.entries(checks).forEach(([name, holds]) => (checked[name] = holds(it)));",
    "k6/metrics": "export class Rate { add(value) { rates.push(value); } }",
}
RUN_SCRIPT = """
const [script, status, environment] = ARGUMENTS;
Object.assign(globalThis, { calls: [], checked: {}, rates: [], __ENV: environment });
globalThis.answer = { status, json: (field) => ({ digit: 7 })[field] };
globalThis.open = (...file) => ({ file });
import(URL.createObjectURL(new Blob([script], { type: "text/javascript" }))).then((module) => {
  module.default();
  globalThis.outcome = { calls, checked, rates, options: module.options };
});
"""


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Keep requests out of the output of the tests."""


@pytest.fixture(scope="module")
def page_origin():
    """The origin of a web server for the examples, as `python3 -m http.server` runs one."""
    handler = partial(QuietHandler, directory=EXAMPLES)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def allowing_service(tmp_path_factory, page_origin):
    """A service that allows the page's origin."""
    state = tmp_path_factory.mktemp("examples") / "var"
    with run_service(state, cors_origins=page_origin) as service:
        yield service


@pytest.fixture
def draw_page(chromium, page_origin):
    context = chromium.new_context()
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{page_origin}/draw.html")
    yield page
    context.close()
    assert errors == []


def test_page_of_an_allowed_origin_reads_a_drawn_digit(draw_page, allowing_service):
    draw_page.fill("#url", f"http://127.0.0.1:{allowing_service.port}/")
    draw(draw_page, SEVEN)
    reads(draw_page, 7)
    shows(draw_page, "#message", re.compile(r"\d % sure, version \d"))
    draw_page.click("#clear")
    reads(draw_page, "?")


def test_page_sends_its_key(draw_page, allowing_service):
    draw_page.fill("#url", f"http://127.0.0.1:{allowing_service.port}")
    draw_page.fill("#key", "a key")
    with draw_page.expect_request("**/predict") as request:
        draw(draw_page, SEVEN)
    assert request.value.headers["x-api-key"] == "a key"
    reads(draw_page, 7)


def test_page_of_another_origin_names_the_setting(draw_page, service, page_origin):
    draw_page.fill("#url", f"http://127.0.0.1:{service.port}")
    draw(draw_page, SEVEN)
    shows(draw_page, "#message", f"Does MYNET_CORS_ORIGINS name {page_origin}?")


def run_load_script(chromium, status=200, **environment):
    """Run the load script once with stand-ins for k6's modules, and return what it did."""
    imports = {name: f"data:text/javascript,{code}" for name, code in K6_MODULES.items()}
    import_map = f'<script type="importmap">{json.dumps({"imports": imports})}</script>'
    arguments = json.dumps([(EXAMPLES / "load.js").read_text(), status, environment])
    script = RUN_SCRIPT.replace("ARGUMENTS", arguments)
    context = chromium.new_context()
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    page.set_content(f"{import_map}<script>{script}</script>")
    page.wait_for_function("globalThis.outcome")
    outcome = page.evaluate("outcome")
    context.close()
    return outcome


def test_load_script_sends_a_request_that_the_service_reads(chromium, service):
    outcome = run_load_script(chromium, URL=f"http://127.0.0.1:{service.port}", RATE="7")
    ((url, body, parameters),) = outcome["calls"]
    name, mode = body["file"]
    assert mode == "b"
    assert parameters == {"headers": {"Content-Type": "image/jpeg"}}
    path = url.removeprefix(f"http://127.0.0.1:{service.port}")
    content = service.get("/openapi.json")["paths"][path]["post"]["requestBody"]["content"]
    assert "image/*" in content
    assert service.post(path, (EXAMPLES / name).read_bytes())["digit"] == 7
    assert set(outcome["checked"].values()) == {True}
    assert outcome["rates"] == [False]
    assert outcome["options"]["scenarios"]["predict"]["rate"] == 7


def test_load_script_counts_429_apart_from_failures(chromium):
    outcome = run_load_script(chromium, status=429, API_KEY="k")
    assert outcome["rates"] == [True]
    assert outcome["checked"] == {}
    assert outcome["calls"][0][2]["headers"]["X-API-Key"] == "k"


def test_load_script_fails_the_check_of_another_status(chromium):
    checked = run_load_script(chromium, status=503)["checked"]
    assert len(checked) == 2
    assert set(checked.values()) == {False}
