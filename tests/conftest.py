"""What the tests share: things a machine may lack, and what becomes of a test that lacks them.

A test whose machine has no chromium, Java or the like skips with a reason. Where everything has to be there, `.ci/run`
sets DICOM_WORKBENCH_REQUIRE_ALL, and then such a skip is a failure. Two reasons stay skips even there: the large real
files in shared/, which are no part of the project, and another operating system.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

MAY_ALWAYS_SKIP = re.compile(r"shared|only on (windows|macos|linux|posix)", re.IGNORECASE)


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


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a chromium that playwright can drive."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no chromium: `apt-get install chromium`")
    return found


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
