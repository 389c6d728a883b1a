"""`dicom-workbench explore`: the gate first, a token before the page, and the page itself in a real browser."""

import importlib.util
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from explorer_browser import Jupyter, Visit, free_port

from dicom_workbench.catalog import Catalogue, Source
from dicom_workbench.cli import main
from dicom_workbench.store import Lake, ingest

WARD = """
id = "ward"
title = "A ward <b>of</b> the teaching hospital"
institution = "Teaching hospital"
country = "ZM"
steward = "imaging-data@example.org"
access = "restricted"
licence = "none"
citation = ""
modalities = ["CT"]
body_parts = ["CHEST"]
population = "adults"
deidentified = false
refresh = "never"

[acquisition]
kind = "folder"
package = "pydicom"
root = "data/test_files"

[[approvals]]
board = "UNZABREC"
number = "1"
purposes = [{purposes}]
granted = 2020-01-01
expires = {expires}
consent = "waived"
"""
ANSWERED = "n => { const r = document.querySelector('.dw-crossfilter'); return r && r.getAttribute('aria-busy') === 'false' && Number(r.dataset.answers) >= n; }"
COMMAND = [sys.executable, "-c", "import sys; from dicom_workbench.cli import main; sys.argv[0] = 'dicom-workbench'; main()"]


def catalogue(folder: Path, expires: str = "2099-12-31", purposes: str = '"ingest", "report"') -> Path:
    "A catalogue with one restricted source: pydicom's files."
    folder.mkdir(exist_ok=True)
    (folder / "ward.toml").write_text(WARD.format(expires=expires, purposes=purposes))
    return folder


def fill(workspace: Path, catalog: Path | None, name: str) -> Source:
    opened = Catalogue.open(catalog)
    source = opened.get(name)
    ingest(source, opened.entry(name).folder, Lake.open(workspace))
    return source


@dataclass
class App:
    "A running `dicom-workbench explore`."

    process: "subprocess.Popen[str]"
    url: str
    said: Path

    @property
    def place(self) -> str:
        return self.url.partition("?")[0]


@pytest.fixture
def explore(jupyter: Jupyter, tmp_path: Path) -> Iterator[object]:
    "Start the command; it is ended with the test."
    pytest.importorskip("voila", reason="no voila: `pip install voila`")
    running: list[subprocess.Popen[str]] = []

    def start(name: str, workspace: Path, *options: str) -> App:
        said = tmp_path / f"said_{len(running)}.txt"
        with said.open("w") as stream:
            command = [*COMMAND, "explore", name, "--workspace", str(workspace), "--port", str(free_port()), "--no-browser", *options]
            running.append(subprocess.Popen(command, cwd=tmp_path, env=jupyter.environment, stdout=subprocess.PIPE, stderr=stream, text=True))
        assert running[-1].stdout is not None
        url = running[-1].stdout.readline().strip()  # said when it answers
        assert url.startswith("http://127.0.0.1:"), said.read_text()
        return App(running[-1], url, said)

    yield start
    for process in running:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def after(visit: Visit, act: object) -> None:
    "Do something, and wait until the kernel has answered it."
    before = int(visit.page.locator(".dw-crossfilter").first.get_attribute("data-answers") or 0)
    act()  # type: ignore[operator]
    visit.until(ANSWERED, before + 1)


def log(workspace: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (workspace / "explore.log").read_text().splitlines()]


# Before anything is served ---------------------------------------------------------------------------------------------

def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["dicom-workbench", "explore", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), capsys.readouterr().err


def test_the_gate_is_asked_before_anything_else(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # not even Voilà is looked for
    code, said = run(capsys, monkeypatch, "ward", "--catalog", catalogue(tmp_path / "c", expires="2021-01-01"), "--workspace", tmp_path / "none")
    assert code == 3
    assert "UNZABREC approval 1 lapsed on 2021-01-01" in said
    code, said = run(capsys, monkeypatch, "ward", "--catalog", catalogue(tmp_path / "d", purposes='"ingest"'), "--workspace", tmp_path / "none")
    assert code == 3
    assert "not report" in said
    assert not (tmp_path / "none").exists()


def test_without_voila_one_line_says_what_to_install(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, said = run(capsys, monkeypatch, "pydicom_samples", "--workspace", tmp_path / "none")
    assert (code, said.strip()) == (1, "Voilà, which serves the page, is not installed. pip install 'dicom-workbench[app]'")


def test_a_source_that_was_not_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("voila", reason="no voila: `pip install voila`")
    Lake.open(tmp_path / "w")
    code, said = run(capsys, monkeypatch, "pydicom_samples", "--workspace", tmp_path / "w")
    assert code == 2
    assert "dicom-workbench ingest pydicom_samples" in said


def test_an_address_of_another_machine_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("voila", reason="no voila: `pip install voila`")
    fill(tmp_path / "w", catalogue(tmp_path / "c"), "ward")
    code, said = run(capsys, monkeypatch, "ward", "--show-identifiers", "--host", "192.0.2.77", "--workspace", tmp_path / "w", "--catalog", tmp_path / "c")
    assert code == 2
    assert "no address '192.0.2.77'" in said
    assert not (tmp_path / "w" / "explore.log").exists()  # nothing was shown


# The page --------------------------------------------------------------------------------------------------------------

def status(url: str, method: str = "GET") -> int:
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    try:
        with urllib.request.build_opener(Stay).open(urllib.request.Request(url, method=method), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.browser
def test_an_open_source_in_a_browser(explore, jupyter: Jupyter, tmp_path: Path) -> None:
    "Nobody without the token; the page loads, a click changes the row count, other tabs open, nothing leaves the machine."
    workspace = tmp_path / "w"
    fill(workspace, None, "pydicom_samples")
    app = explore("pydicom_samples", workspace)
    for path in ("", "?token=wrong", "api/kernels/0-0-0-0-0", "voila/render/explorers.ipynb", "voila/files/explorers.ipynb", "voila/files/../app.py", "api/contents"):
        assert status(app.place + path) in (302, 403, 404), path
    assert "token=" in app.url
    assert app.url.partition("token=")[2] not in Path(f"/proc/{app.process.pid}/cmdline").read_text() if Path("/proc").exists() else True

    visit = jupyter.visit(app.url)
    visit.page.wait_for_selector(".dw-crossfilter[data-ready=yes]")
    count = visit.page.locator(".dwx-count").first
    everything = count.inner_text()
    total = everything.split(" of ")[1].split()[0]
    assert everything.startswith(f"{total} of {total} series")
    after(visit, visit.page.locator(".dwx-chart[data-column=Modality]").get_by_role("checkbox", name="computed tomography").click)
    assert 0 < int(count.inner_text().split(" of ")[0]) < int(total)
    visit.shot("app")
    visit.page.get_by_role("button", name="Patients").click()
    visit.until("() => /of .* patients/.test((document.querySelector('.dwx-count') || {}).textContent || '')")
    for tab in visit.page.get_by_role("tab").all()[1:]:
        tab.click()
        visit.until("() => !document.body.innerText.includes('One moment ...')")
        assert visit.page.get_by_role("alert").count() == 0, visit.page.get_by_role("alert").first.inner_text()
        visit.shot(f"app_{tab.inner_text().lower().replace(' ', '_')}")
    visit.calm()
    visit.page.context.close()


@pytest.mark.browser
def test_a_restricted_source_is_masked_and_what_is_shown_is_logged(explore, jupyter: Jupyter, tmp_path: Path) -> None:
    workspace, catalog = tmp_path / "w", catalogue(tmp_path / "c")
    fill(workspace, catalog, "ward")
    app = explore("ward", workspace, "--catalog", str(catalog))
    visit = jupyter.visit(app.url)
    visit.page.wait_for_selector(".dw-crossfilter[data-ready=yes]")
    assert visit.page.locator("h1").inner_text() == "A ward <b>of</b> the teaching hospital"
    visit.page.get_by_role("button", name="Patients").click()
    visit.until("() => /of .* patients/.test((document.querySelector('.dwx-count') || {}).textContent || '')")
    names = "CompressedSamples^"
    assert names not in visit.page.content()
    assert not (workspace / "explore.log").exists()
    visit.page.get_by_role("button", name="Show identifiers").last.click()
    visit.until("n => document.body.innerText.includes(n)", names)
    assert [line["what"] for line in log(workspace)] == ["show identifiers"]
    with visit.page.expect_download() as download:
        visit.page.get_by_role("button", name="Save the selected rows as CSV").last.click()
    assert names in Path(download.value.path()).read_text()
    lines = log(workspace)
    assert [(line["what"], line["source"]) for line in lines] == [("show identifiers", "ward"), ("save csv", "ward")]
    assert names not in (workspace / "explore.log").read_text()
    if os.name == "posix":
        assert (workspace / "explore.log").stat().st_mode & 0o777 == 0o600
    visit.calm()
    visit.page.context.close()


@pytest.mark.slow
@pytest.mark.browser
def test_a_page_that_is_ready_opens_at_once(explore, jupyter: Jupyter, tmp_path: Path) -> None:
    "From the address to a page that answers clicks, with the kernel made ready before: at most 2 s on a quiet machine."
    workspace = tmp_path / "w"
    fill(workspace, None, "pydicom_samples")
    app = explore("pydicom_samples", workspace)
    first = jupyter.visit(app.url)  # takes the prepared kernel, and fills the browser's file system cache
    first.page.wait_for_selector(".dw-crossfilter[data-ready=yes]")
    first.page.context.close()
    first = None
    seconds = []
    for _ in range(2):
        # the next kernel has been prepared when the machine has gone quiet; what is measured is a page on it
        deadline = time.monotonic() + 60
        while _busy(app.process.pid) and time.monotonic() < deadline:
            pass
        start = time.perf_counter()
        visit = jupyter.visit(app.url)
        visit.page.wait_for_selector(".dw-crossfilter[data-ready=yes]")
        seconds.append(time.perf_counter() - start)
        visit.calm()
        visit.page.context.close()
    print(f"page ready after {', '.join(f'{s:.2f}' for s in seconds)} s")
    assert min(seconds) < 6  # 2 s is the aim; tests share their machine


def _busy(pid: int) -> bool:
    "Does the server or one of its kernels use the processor?"
    import psutil

    server = psutil.Process(pid)
    return sum(p.cpu_percent(0.5) for p in [server, *server.children(recursive=True)]) > 10
