"""The page in a real browser: nothing leaves it, charts live with JavaScript and without, script text is text."""

from pathlib import Path

import pytest
from test_report_run import EVIL, make_ward, own_template, report

pytestmark = pytest.mark.browser
CODE = f"""
import polars as pl
from dicom_workbench.explore import charts
from dicom_workbench.report import begin, blocks
r = begin(source_id, source_version)
names = r.lake.rows(source_id).select("PatientName", "Manufacturer").drop_nulls().sort("PatientName").collect()
assert {EVIL!r} in names["PatientName"].to_list()
blocks.table(names)
"""
CHART = "charts.bars(names.select(value='PatientName', n=pl.lit(1)), 'Who?')"


class Visit:
    "A page with everything that happened on it."

    def __init__(self, browser, file: Path, javascript: bool = True, scale: float = 1.0) -> None:
        width = int(1280 / scale)
        self.page = browser.new_context(java_script_enabled=javascript, viewport={"width": width, "height": 800}, device_scale_factor=scale).new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.dialogs: list[str] = []
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.on("dialog", lambda d: (self.dialogs.append(d.message), d.dismiss()))
        self.page.goto(file.as_uri())
        if javascript:
            self.page.wait_for_function("() => [...document.querySelectorAll('figure.dw-chart')].every(f => f.dataset.live)", timeout=30_000)


@pytest.fixture(scope="module")
def pages(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    "The profile of a small source, and a report of one's own that shows patients' names."
    folder = tmp_path_factory.mktemp("pages")
    lake, catalogue = make_ward(folder, samples)
    own = own_template(folder, CODE, CHART, "names['PatientName'].to_list()")
    return {"profile": report(lake, catalogue, folder / "out").html, "own": report(lake, catalogue, folder / "out", template=own).html}


@pytest.mark.parametrize("name", ["profile", "own"])
def test_no_request_no_error_no_dialog(browser, pages: dict[str, Path], name: str) -> None:
    visit = Visit(browser, pages[name])
    assert visit.requests == [pages[name].as_uri()]
    assert (visit.complaints, visit.dialogs) == ([], [])


def test_charts_come_to_life(browser, pages: dict[str, Path]) -> None:
    page = Visit(browser, pages["profile"]).page
    figures = page.locator("figure.dw-chart")
    assert figures.count() >= 4
    assert figures.evaluate_all("all => all.map(f => f.dataset.live)") == ["yes"] * figures.count()
    for box in figures.locator("svg.marks").evaluate_all("all => all.map(s => s.getBoundingClientRect().toJSON())"):
        assert box["width"] > 300 and box["height"] > 40
    bar = page.locator("figure.dw-chart path[aria-roledescription=bar]").first
    bar.hover()
    page.wait_for_selector("#vg-tooltip-element.visible")


def test_without_javascript_the_pictures_stand(browser, pages: dict[str, Path]) -> None:
    visit = Visit(browser, pages["profile"], javascript=False)
    drawn = visit.page.locator("figure.dw-chart > svg")
    assert drawn.count() == visit.page.locator("figure.dw-chart").count() >= 4
    assert all(drawn.nth(i).is_visible() for i in range(drawn.count()))
    assert visit.requests == [pages["profile"].as_uri()]


def test_charts_have_a_text_for_those_who_cannot_see_them(browser, pages: dict[str, Path]) -> None:
    page = Visit(browser, pages["profile"], javascript=False).page
    told = page.locator("figure.dw-chart").evaluate_all("all => all.map(f => f.getAttribute('aria-label'))")
    assert all(len(text) > 40 and "?" in text for text in told)


def test_script_text_in_a_name_is_shown_and_not_run(browser, pages: dict[str, Path]) -> None:
    visit = Visit(browser, pages["own"])
    assert visit.dialogs == []
    assert visit.page.locator("td", has_text=EVIL).count() >= 1
    assert visit.page.locator("figure svg text", has_text="<script>").count() >= 1


def test_the_policy_stops_what_escaping_would_miss(browser, pages: dict[str, Path], tmp_path: Path) -> None:
    "A page into which markup was smuggled by hand: it must not run, and nothing may be fetched."
    smuggled = '<script>window.ran = 1</script><img src="https://example.org/x.png" onerror="window.ran = 2"><link rel="stylesheet" href="https://example.org/x.css">'
    bad = tmp_path / "bad.html"
    bad.write_text(pages["profile"].read_text().replace("</h1>", f"</h1>{smuggled}", 1))
    visit = Visit(browser, bad)
    assert visit.page.evaluate("() => window.ran") is None
    assert visit.page.evaluate("async () => { try { await fetch('https://example.org/'); return 'left'; } catch (e) { return 'stayed'; } }") == "stayed"
    assert visit.page.evaluate("() => performance.getEntriesByType('resource').filter(e => e.responseStatus || e.transferSize).length") == 0


@pytest.mark.parametrize("scale", [1.0, 1.25, 2.0])
def test_nothing_is_wider_than_the_window(browser, pages: dict[str, Path], scale: float) -> None:
    page = Visit(browser, pages["profile"], scale=scale).page
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")


def test_print_unfolds_the_tables_and_leaves_out_the_code(browser, pages: dict[str, Path]) -> None:
    page = Visit(browser, pages["profile"]).page
    table = page.locator("details.dw-fold:not(.dw-made) table").first
    assert not table.is_visible()
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert table.is_visible() and not page.locator("details.dw-made").is_visible()
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
