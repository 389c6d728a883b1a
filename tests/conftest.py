"""What the tests share: things a machine may lack, and what becomes of a test that lacks them.

A test whose machine has no chromium, Java or the like skips with a reason. Where everything has to be there, `.ci/run`
sets DICOM_WORKBENCH_REQUIRE_ALL, and then such a skip is a failure. Three reasons stay skips even there: the large real
files in shared/, which are no part of the project, another operating system, and being root or not.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from explorer_browser import Browser, Jupyter

# programs that pip installed (dciodvfy) are found although nobody activated the environment
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
MAY_ALWAYS_SKIP = re.compile(r"shared|posix|only on (windows|macos|linux)|root may|needs root", re.IGNORECASE)


def _strict(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure, unless its reason is one that may stay."""
    if not report.skipped or hasattr(report, "wasxfail") or not os.environ.get("DICOM_WORKBENCH_REQUIRE_ALL"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not MAY_ALWAYS_SKIP.search(reason):
        report.outcome = "failed"
        report.longrepr = f"{reason}\nSkipped, where nothing may be: install it, or unset DICOM_WORKBENCH_REQUIRE_ALL."


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    _strict(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    _strict(report)
    return report


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the workspace or the catalogue of whoever runs it."""
    for name in list(os.environ):
        if name.startswith("DICOM_WORKBENCH_") and name not in ("DICOM_WORKBENCH_SHARED", "DICOM_WORKBENCH_REQUIRE_ALL"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a chromium that playwright can drive."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no chromium: `apt-get install chromium`")
    return found


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """The one chromium of this process: playwright cannot be started twice in it."""
    pytest.importorskip("playwright", reason="no playwright: `pip install playwright`")
    found = Browser(chromium)
    yield found
    found.close()


@pytest.fixture(scope="session")
def jupyter(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """JupyterLab and Voilà with a browser before them; see explorer_browser.py."""
    pytest.importorskip("jupyterlab", reason="no jupyterlab: `pip install jupyterlab`")
    servers = Jupyter(tmp_path_factory.mktemp("jupyter"), browser)
    yield servers
    servers.close()


@pytest.fixture(scope="session")
def java() -> str:
    """Path of a Java runtime, for spark."""
    found = shutil.which("java")
    if not found:
        pytest.skip("no Java: `apt-get install default-jre-headless`")
    return found


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with large real files that are no part of the project."""
    folder = Path(os.environ.get("DICOM_WORKBENCH_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    if not (folder / "data").is_dir():
        pytest.skip("no shared data: set DICOM_WORKBENCH_SHARED")
    return folder


@pytest.fixture(scope="session")
def real(shared: Path) -> Path:
    """Real files of 46 manufacturers."""
    return shared / "data" / "real"


@pytest.fixture(scope="session")
def samples() -> Path:
    """pydicom's own test files."""
    return Path(pydicom.__file__).parent / "data" / "test_files"


@pytest.fixture(scope="session")
def idc_table() -> Path:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        files = distribution("idc-index-data").files or []
    except PackageNotFoundError:
        pytest.skip('idc-index-data is not installed (pip install "dicom-workbench[idc]")')
    return Path(str(next(f for f in files if f.name == "idc_index.parquet").locate()))


SOURCE = """
id = "{id}"
title = "{id} for a test"
institution = "Test hospital"
country = "ZM"
steward = "imaging-data@example.org"
access = "{access}"
licence = "none"
citation = "none"
modalities = ["CT"]
body_parts = ["CHEST"]
population = "test objects"
deidentified = false
refresh = "never"

[acquisition]
kind = "folder"
root = "{root}"
{more}
"""

APPROVAL = """
[[approvals]]
board = "UNZABREC"
number = "{number}"
purposes = ["ingest", "report"]
granted = 2020-01-01
expires = {expires}
consent = "waived"
"""


@pytest.fixture
def write_source(tmp_path: Path):
    "Write a catalogue entry for a folder; gives the catalogue's folder."

    def write(root: Path | str, id: str = "ward", access: str = "open", more: str = "") -> Path:
        folder = tmp_path / "catalogue"
        folder.mkdir(exist_ok=True)
        text = SOURCE.format(id=id, access=access, root=Path(root).as_posix(), more=more)
        (folder / f"{id}.toml").write_text(text, encoding="utf-8")
        return folder

    return write
