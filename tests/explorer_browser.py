"""JupyterLab and Voilà in Debian's chromium, for the tests of every explorer.

    def test_it_loads(jupyter: Jupyter) -> None:
        with jupyter.lab(["from dicom_workbench.explore import ...", "widget"]) as visit:
            visit.page.wait_for_selector(".dw-crossfilter")
            ...
            visit.calm()        # no request left the machine, no error on the console, no dialog

The fixture `jupyter` (session: one server for all tests) is in conftest. Nothing sleeps: wait for something that can be
seen (`visit.until("() => …")`). Servers get a HOME and a configuration of their own, and are ended by their own process.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
OVERRIDES = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}
TOKEN = "token-of-the-tests"
SCREENSHOTS = os.environ.get("DICOM_WORKBENCH_SCREENSHOTS")  # asked here: the tests take the variable away
READY = """async () => {
  const app = window.jupyterapp; await app.restored;
  for (let i = 0; i < 600; i++) {
    const w = app.shell.currentWidget;
    if (w && w.context && w.sessionContext) {
      await w.context.ready; await w.sessionContext.ready;
      const kernel = w.sessionContext.session && w.sessionContext.session.kernel;
      if (kernel) { await kernel.info; return; }
    }
    await new Promise(r => setTimeout(r, 100));
  }
  throw new Error("no kernel");
}"""
ERRORS = "() => [...document.querySelectorAll('.jp-RenderedText[data-mime-type=\"application/vnd.jupyter.stderr\"], .jp-RenderedText[data-mime-type=\"application/vnd.jupyter.error\"]')].map(e => e.innerText)"
# what JupyterLab says of itself, whatever is shown in it
NOISE = re.compile(r"Failed to load resource.*(workspaces|favicon)|No themes are registered|Violation|Extension manager|jupyterlab-lsp", re.IGNORECASE)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def write_notebook(path: Path, cells: Sequence[str], kernel: str = "python3") -> Path:
    "A notebook of these code cells."
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c, id=f"c{i}") for i, c in enumerate(cells)])
    nb.metadata["kernelspec"] = {"display_name": kernel, "language": "python", "name": kernel}
    nbformat.write(nb, path)
    return path


@dataclass
class Visit:
    "A page, and everything that happened on it."

    page: Any
    outside: list[str] = field(default_factory=list)     # requests that left 127.0.0.1
    complaints: list[str] = field(default_factory=list)  # errors on the console or thrown by the page
    dialogs: list[str] = field(default_factory=list)
    received: list[int] = field(default_factory=list)    # bytes of each web socket frame from the kernel
    name: str = ""

    def watch(self) -> "Visit":
        def request(r: Any) -> None:
            if re.match(r"(https?|wss?):", r.url) and not re.match(r"\w+://(127\.0\.0\.1|localhost)[:/]", r.url):
                self.outside.append(r.url)

        self.page.on("request", request)
        self.page.on("websocket", lambda ws: ws.on("framereceived", lambda data: self.received.append(len(data if isinstance(data, bytes) else data.encode()))))
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" and not NOISE.search(m.text + str(m.location)) else None)
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.on("dialog", lambda d: (self.dialogs.append(d.message), d.dismiss()))
        return self

    def until(self, condition: str, arg: Any = None, seconds: float = 60) -> Any:
        "Wait until a JavaScript function is true."
        return self.page.wait_for_function(condition, arg=arg, timeout=1000 * seconds)

    def run(self, code: str) -> str:
        "Run code in the kernel behind the notebook (Lab only), beside the cells; what it printed, or the error."
        return str(self.page.evaluate("""async code => {
          const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
          const future = kernel.requestExecute({code, store_history: false}); let text = '';
          future.onIOPub = m => { if (m.header.msg_type === 'stream') text += m.content.text;
                                  if (m.header.msg_type === 'error') text += m.content.ename + ': ' + m.content.evalue; };
          await future.done; return text.trim(); }""", code))

    def calm(self) -> None:
        "Nothing left the machine, nothing went wrong."
        assert (self.outside, self.complaints, self.dialogs) == ([], [], [])

    def shot(self, name: str) -> Path | None:
        "A screenshot, where DICOM_WORKBENCH_SCREENSHOTS names a folder."
        if not SCREENSHOTS:
            return None
        target = Path(SCREENSHOTS).resolve() / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(target))
        return target


class Browser:
    "The chromium of this process, started when its first page is asked for."

    def __init__(self, chromium: str):
        self.chromium = chromium
        self._playwright: Any = None
        self._browser: Any = None

    def new_context(self, **options: Any) -> Any:
        if self._browser is None:
            from playwright.sync_api import sync_playwright

            self._playwright = sync_playwright().start()
            self._browser = self._playwright.chromium.launch(executable_path=self.chromium, args=CHROMIUM)
        return self._browser.new_context(**options)

    def close(self) -> None:
        if self._browser is not None:
            self._browser.close()
            self._playwright.stop()


class Jupyter:
    "Servers, and a browser before them; started when first asked for."

    def __init__(self, folder: Path, browser: Browser):
        self.folder, self.browser = folder, browser
        self.root = folder / "notebooks"  # what the servers serve; a notebook's kernel runs here
        self.root.mkdir(parents=True, exist_ok=True)
        self._lab: int | None = None
        self._servers: list[subprocess.Popen[bytes]] = []
        self._count = 0

    @property
    def environment(self) -> dict[str, str]:
        "What servers and kernels see: no configuration of whoever runs the tests."
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "DICOM_WORKBENCH"))}
        bin = str(Path(sys.executable).parent)
        return kept | {"HOME": str(home), "JUPYTER_CONFIG_DIR": str(home / "config"), "JUPYTER_DATA_DIR": str(home / "data"), "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
                       "IPYTHONDIR": str(home / "ipython"), "PATH": bin + os.pathsep + kept.get("PATH", ""), "PYTHONPATH": str(Path(__file__).resolve().parents[1])}

    def serve(self, command: Sequence[str], port: int, ready: str, seconds: float = 120, more: dict[str, str] | None = None) -> None:
        "Start a server of Jupyter and wait until `ready` (a path) answers; it ends with the tests."
        log = (self.folder / f"server_{port}.log").open("wb")
        server = subprocess.Popen([sys.executable, "-m", *command], cwd=self.root, env=self.environment | (more or {}), stdout=log, stderr=log)
        self._servers.append(server)
        until = time.monotonic() + seconds
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{ready}", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                if server.poll() is not None or time.monotonic() > until:
                    raise AssertionError((self.folder / f"server_{port}.log").read_text()[-3000:]) from None
                time.sleep(0.1)

    def visit(self, url: str, width: int = 1280, height: int = 900) -> Visit:
        "A new page at an address."
        page = self.browser.new_context(viewport={"width": width, "height": height}).new_page()
        visit = Visit(page).watch()
        page.set_default_timeout(60_000)
        page.goto(url, timeout=120_000)
        return visit

    @contextmanager
    def lab(self, cells: Sequence[str], width: int = 1280, height: int = 900, run: bool = True, kernel: str = "python3") -> Iterator[Visit]:
        "A notebook of these cells, open in JupyterLab with a live kernel, and run. The kernel is shut down at the end."
        if self._lab is None:
            self._lab = free_port()
            settings = self.folder / "settings"
            settings.mkdir(exist_ok=True)
            (settings / "overrides.json").write_text(json.dumps(OVERRIDES))
            self.serve(["jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={self._lab}", f"--IdentityProvider.token={TOKEN}",
                        f"--ServerApp.root_dir={self.root}", f"--LabApp.app_settings_dir={settings}", f"--LabApp.workspaces_dir={self.folder / 'workspaces'}",
                        f"--LabApp.user_settings_dir={self.folder / 'user_settings'}", "--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None",
                        "--LabApp.extension_manager=readonly"], self._lab, f"/api/status?token={TOKEN}")
        self._count += 1
        name = f"explorer_{self._count}.ipynb"
        write_notebook(self.root / name, cells, kernel)
        visit = self.visit(f"http://127.0.0.1:{self._lab}/lab/workspaces/w{self._count}/tree/{name}?token={TOKEN}&reset", width, height)
        try:
            visit.until("() => window.jupyterapp && window.jupyterapp.started")
            visit.page.evaluate(READY)
            visit.page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area').catch(() => null)")
            if run:
                visit.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
                wrong = visit.page.evaluate(ERRORS)
                assert not wrong, wrong
            yield visit
        finally:
            try:
                visit.page.evaluate("async () => { const w = window.jupyterapp.shell.currentWidget; if (w && w.sessionContext) await w.sessionContext.shutdown(); }")
            finally:
                visit.page.context.close()

    @contextmanager
    def voila(self, cells: Sequence[str] | Path, options: Sequence[str] = (), width: int = 1280, height: int = 900) -> Iterator[Visit]:
        "A notebook of these cells (or one that exists) served by Voilà on a port of its own."
        if isinstance(cells, Path):
            notebook = cells
        else:
            self._count += 1
            notebook = write_notebook(self.root / f"app_{self._count}.ipynb", cells)
        port = free_port()
        self.serve(["voila", str(notebook), "--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1", *options], port, "/voila/static/voila.js", 120)
        server = self._servers[-1]
        visit = self.visit(f"http://127.0.0.1:{port}/", width, height)
        try:
            yield visit
        finally:
            visit.page.context.close()
            self._end(server)

    def _end(self, server: "subprocess.Popen[bytes]") -> None:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    def close(self) -> None:
        for server in self._servers:
            if server.poll() is None:
                self._end(server)
        shutil.rmtree(self.folder / "home", ignore_errors=True)
