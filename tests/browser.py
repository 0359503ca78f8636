"""Debian's chromium without a window, driven through its debugging port: opens a page, answers what JavaScript says."""

import json
import shutil
import subprocess
from pathlib import Path
from urllib.request import urlopen

import pytest
import websocket

from processes import eventually


class Browser:
    """One tab. `open` loads an address at a size in CSS pixels; `evaluate` gives a JavaScript expression's value."""

    def __init__(self, profile: Path):
        if not (program := shutil.which("chromium")):
            pytest.skip("chromium is not installed: apt-get install chromium")
        options = ["--headless=new", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
        self._process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = eventually(lambda: (found := profile / "DevToolsActivePort").exists() and found.read_text().split()[:1])
        tabs = eventually(lambda: json.load(urlopen(f"http://127.0.0.1:{port[0]}/json")))
        tab = next(tab for tab in tabs if tab["type"] == "page")
        self._socket = websocket.create_connection(tab["webSocketDebuggerUrl"], suppress_origin=True, timeout=300)
        self._sent = 0
        self.send("Page.enable")

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait()

    def send(self, method: str, **parameters: object) -> dict:
        """A command of the DevTools protocol, and its result."""
        self._sent += 1
        self._socket.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv())).get("id") != self._sent:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, address: str, width: int = 1400, height: int = 900) -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.send("Page.navigate", url=address)
        while json.loads(self._socket.recv()).get("method") != "Page.loadEventFired":
            pass

    def evaluate(self, expression: str) -> object:
        """The value of an expression, a promise's when it is kept; it must be one that JSON can say."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")
