"""Firefox, driven over WebDriver BiDi, which it speaks itself: no driver program is needed.

https://www.w3.org/TR/webdriver-bidi/
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from websockets.sync.client import ClientConnection, connect

SECONDS: Final = 120  # on a loaded machine
LISTENS: Final = re.compile(r"WebDriver BiDi listening on (ws://\S+)")


class Firefox:
    """One page of Firefox. `messages` has its errors and warnings, `requests` what it asked for."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._id = connection, 0
        self.messages: list[str] = []
        self.requests: list[str] = []
        self._call("session.new", capabilities={})
        self._context = self._call("browsingContext.getTree")["contexts"][0]["context"]
        self._call("session.subscribe", events=["log.entryAdded"])
        # Of the page alone: the browser itself may ask others.
        sent = ["network.beforeRequestSent"]
        self._call("session.subscribe", events=sent, contexts=[self._context])

    def open(self, url: str) -> None:
        """Open an address, and wait until it is loaded."""
        self._call("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression: a string, a number, a boolean or None."""
        target = {"context": self._context}
        answer = self._call(
            "script.evaluate", expression=expression, target=target, awaitPromise=True
        )
        assert answer["type"] == "success", answer
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + SECONDS
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, (expression, self.messages)
            time.sleep(0.1)

    def click(self, selector: str) -> None:
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def drag(self, points: Sequence[tuple[float, float]]) -> None:
        """Press the mouse at the first point, in pixels of the window, and lift it at the last."""
        moves = [
            {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 50} for x, y in points
        ]
        press = [{"type": "pointerDown", "button": 0}]
        actions = [*moves[:1], *press, *moves[1:], {"type": "pointerUp", "button": 0}]
        mouse = {"type": "pointer", "id": "mouse", "actions": actions}
        self._call("input.performActions", context=self._context, actions=[mouse])

    def _call(self, method: str, **params: Any) -> Any:
        self._id += 1
        self._connection.send(json.dumps({"id": self._id, "method": method, "params": params}))
        while True:
            message = json.loads(self._connection.recv(timeout=SECONDS))
            if message.get("id") == self._id:
                assert message["type"] == "success", message
                return message["result"]
            self._hear(message)

    def _hear(self, event: dict[str, Any]) -> None:
        if event.get("method") == "network.beforeRequestSent":
            self.requests.append(event["params"]["request"]["url"])
        if event.get("method") == "log.entryAdded":
            entry = event["params"]
            if entry["level"] in ("error", "warn"):
                frames = (entry.get("stackTrace") or {}).get("callFrames", [])[:3]
                places = [f"{frame['url']}:{frame['lineNumber']}" for frame in frames]
                self.messages.append(f"{entry['text']} {places}")


@contextmanager
def run_firefox(program: str, folder: Path) -> Iterator[Firefox]:
    """Run Firefox without a window, with a new profile in this folder."""
    folder.mkdir()
    log = folder / "firefox.log"
    command = [program, "--headless", "--no-remote", "--profile", folder]
    with (
        log.open("w") as file,
        subprocess.Popen(
            [*command, "--remote-debugging-port=0"], stdout=file, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            with connect(
                _address(process, log), max_size=None, open_timeout=SECONDS, ping_interval=None
            ) as connection:
                yield Firefox(connection)
        finally:
            process.kill()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + SECONDS
    while not (found := LISTENS.search(log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return f"{found[1]}/session"
