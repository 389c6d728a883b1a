"""The crossfilter explorer in JupyterLab, in a real browser: mouse, keyboard, no request that leaves the machine."""

import json

import pytest
from explorer_browser import Jupyter, Visit

pytestmark = pytest.mark.browser
EVIL = '<script>window.evil=1</script><img src=x onerror="window.evil=2">'
WARD = f"""
import datetime, polars as pl
from dicom_workbench.explore.crossfilter import Crossfilter
n = 3000
evil = {EVIL!r}
ward = pl.DataFrame({{
    "PatientName": [evil if i % 3 == 0 else ["ЗИМА^АННА", "山田^太郎", "بندا^جون"][i % 3] for i in range(n)],
    "Modality": [["CT", "MR", "CR", None][i % 4] for i in range(n)],
    "SeriesDescription": [f"{{evil}} {{i % 40}}" if i % 5 else None for i in range(n)],
    "StudyDate": [datetime.date(2010 + i % 9, 1 + i % 12, 1) if i % 7 else None for i in range(n)],
    "age_years": [float(i % 90) if i % 11 else None for i in range(n)],
    "path": [f"f{{i:05}}.dcm" for i in range(n)],
}})
explorer = Crossfilter(ward, mask=False, folder="saved", title="A ward " + evil)
"""
ANSWERED = "n => { const r = document.querySelector('.dw-crossfilter'); return r && r.getAttribute('aria-busy') === 'false' && Number(r.dataset.answers) >= n; }"


def ask(visit: Visit, expression: str) -> object:
    return json.loads(visit.run(f"import json; print(json.dumps({expression}))"))


def done(visit: Visit) -> int:
    return int(visit.page.locator(".dw-crossfilter").get_attribute("data-answers") or 0)


def after(visit: Visit, act: object) -> None:
    "Do something, and wait until the kernel has answered it."
    before = done(visit)
    act()  # type: ignore[operator]
    visit.until(ANSWERED, before + 1)


@pytest.fixture(scope="module")
def ward(jupyter: Jupyter):
    with jupyter.lab([WARD, "explorer"]) as visit:
        visit.page.wait_for_selector(".dw-crossfilter[data-ready=yes]")
        yield visit


@pytest.fixture
def visit(ward: Visit) -> Visit:
    "The same page, with no filter."
    ward.run("explorer.selection.reset(); explorer._sort = ''; explorer._start = 0; explorer._show()")
    ward.until("() => !document.querySelector('.dwx-chip') && document.querySelector('.dwx-count').textContent.startsWith('3,000 of 3,000')")
    return ward


def chart(visit: Visit, column: str):
    return visit.page.locator(f".dwx-chart[data-column={column}]")


def test_a_click_filters_every_other_chart_the_table_and_the_frame(visit: Visit) -> None:
    bar = chart(visit, "Modality").get_by_role("checkbox", name="computed tomography")
    after(visit, bar.click)
    assert bar.get_attribute("aria-checked") == "true"
    assert visit.page.locator(".dwx-count").inner_text() == "750 of 3,000 rows (25.0 %)"
    assert "magnetic resonance (MR): 750" in chart(visit, "Modality").inner_html()  # its own filter does not hide the others
    assert ask(visit, "explorer.frame.select('Modality').unique().collect()['Modality'].to_list()") == ["CT"]
    assert ask(visit, "sum(explorer.state['charts'][1]['n']) + explorer.state['charts'][1]['missing']") == 750
    assert ask(visit, "explorer.code") == "pl.col('Modality').is_in(['CT'])"
    visit.shot("crossfilter_click")
    after(visit, visit.page.get_by_role("button", name="Undo").click)
    assert ask(visit, "explorer.size") == 3000


def test_a_brush_filters_and_escape_clears_it(visit: Visit) -> None:
    plot = chart(visit, "age_years").locator(".dwx-plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()

    def brush() -> None:
        visit.page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 50)
        visit.page.mouse.down()
        visit.page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 50, steps=6)
        visit.page.mouse.up()

    after(visit, brush)
    lower, upper = ask(visit, "[explorer.selection.filters[0].lower, explorer.selection.filters[0].upper]")
    assert 15 <= lower < upper <= 60
    assert ask(visit, f"explorer.size == ward.filter(pl.col('age_years').is_between({lower}, {upper}, closed='left')).height")
    visit.shot("crossfilter_brush")
    handle = chart(visit, "age_years").get_by_role("slider").first
    handle.focus()
    after(visit, lambda: visit.page.keyboard.press("Escape"))
    assert ask(visit, "explorer.size") == 3000


def test_all_of_it_by_keyboard(visit: Visit) -> None:
    "Tab to a bar, space, arrows on a slider, undo by Ctrl-Z: JupyterLab's own shortcuts of one letter do not interfere."
    cells = visit.page.locator(".jp-Notebook .jp-Cell").count()
    bar = chart(visit, "Modality").get_by_role("checkbox", name="magnetic resonance")
    bar.focus()
    after(visit, lambda: visit.page.keyboard.press("Space"))
    assert ask(visit, "explorer.selection.filters[0].values") == ["MR"]
    assert bar.evaluate("e => e === document.activeElement")
    slider = chart(visit, "StudyDate").get_by_role("slider").first
    slider.focus()
    after(visit, lambda: visit.page.keyboard.press("ArrowRight"))
    after(visit, lambda: visit.page.keyboard.press("ArrowRight"))
    assert ask(visit, "explorer.selection.filters[1].words()") == "Study Date: 2012 to 2018"
    assert slider.get_attribute("aria-valuetext") == "2012"
    after(visit, lambda: visit.page.keyboard.press("Control+z"))
    assert ask(visit, "explorer.selection.filters[1].words()") == "Study Date: 2011 to 2018"
    for key in "abdxz":  # in command mode these add, delete, cut cells
        visit.page.keyboard.press(key)
    assert visit.page.locator(".jp-Notebook .jp-Cell").count() == cells
    chip = visit.page.get_by_role("button", name="Remove the filter Modality")
    chip.focus()
    after(visit, lambda: visit.page.keyboard.press("Enter"))
    assert len(ask(visit, "[f.column for f in explorer.selection.filters]")) == 1


def test_what_is_not_recorded_can_be_chosen(visit: Visit) -> None:
    after(visit, chart(visit, "StudyDate").get_by_role("checkbox", name="not recorded").click)
    assert ask(visit, "explorer.frame.select(pl.col('StudyDate').null_count() == pl.len()).collect().item()")


def test_the_table_sorts_turns_pages_and_is_searched(visit: Visit) -> None:
    table = visit.page.locator(".dwx-wide table")
    after(visit, visit.page.get_by_role("button", name="Sort by Age").click)
    assert ask(visit, "explorer.state['table']['rows'][0][1]") == "0"
    after(visit, visit.page.get_by_role("button", name="Next page").click)
    assert visit.page.locator(".dwx-place").inner_text() == "13–24 of 3,000"
    visit.page.get_by_label("Column to search in").select_option("path")
    visit.page.get_by_label("Text to search for").fill("F00012")
    after(visit, lambda: visit.page.keyboard.press("Enter"))
    assert table.locator("tbody tr").count() == 1
    assert table.locator("td", has_text="f00012.dcm").count() == 1


def test_a_value_among_many_is_found(visit: Visit) -> None:
    one = chart(visit, "SeriesDescription")
    one.locator(".dwx-others").click()
    after(visit, lambda: one.get_by_role("searchbox").fill(" 37"))
    assert one.locator(".dwx-bars .dwx-bar").count() == 1
    after(visit, one.locator(".dwx-bars .dwx-bar").click)
    assert 0 < ask(visit, "explorer.size") < 100
    after(visit, lambda: one.get_by_role("searchbox").fill(""))


def test_columns_are_found_and_charted(visit: Visit) -> None:
    visit.page.get_by_role("button", name="Choose columns").click()
    visit.page.get_by_label("Find a column").fill("path")
    after(visit, lambda: visit.page.locator(".dwx-column").get_by_label("chart").check())
    assert "search for one below" in chart(visit, "path").inner_text()
    after(visit, lambda: visit.page.locator(".dwx-column").get_by_label("chart").uncheck())
    assert chart(visit, "path").count() == 0
    visit.page.get_by_role("button", name="Choose columns").click()


def test_a_cohort_is_saved(visit: Visit, jupyter: Jupyter) -> None:
    after(visit, chart(visit, "Modality").get_by_role("checkbox", name="computed tomography").click)
    after(visit, visit.page.get_by_role("button", name="Save the selected rows as Cohort").click)
    visit.until("() => document.querySelector('.dwx-note').textContent.startsWith('Saved 750 rows to saved/rows')")
    files = (jupyter.root / "saved" / "rows.txt").read_text().splitlines()
    assert (len(files), files[0]) == (750, "f00000.dcm")


def test_names_are_shown_and_never_run(visit: Visit) -> None:
    assert visit.page.locator("td", has_text="<script>window.evil=1").count() > 0
    assert visit.page.locator("td", has_text="山田^太郎").count() > 0
    assert visit.page.evaluate("() => window.evil") is None
    assert visit.page.locator(".dw-crossfilter img, .dw-crossfilter script").count() == 0


def test_every_chart_has_a_title_and_a_text(visit: Visit) -> None:
    told = visit.page.locator(".dwx-chart").evaluate_all("all => all.map(c => [c.querySelector('.dwx-title span').textContent, c.getAttribute('aria-label')])")
    assert len(told) >= 4
    assert all(title and title in text and "Not recorded" in text for title, text in told)
    unlabelled = visit.page.locator(".dw-crossfilter button, .dw-crossfilter input, .dw-crossfilter select").evaluate_all(
        "all => all.filter(e => !(e.getAttribute('aria-label') || e.textContent || e.labels && e.labels.length)).length")
    assert unlabelled == 0


def test_nothing_left_the_machine_and_nothing_went_wrong(ward: Visit) -> None:
    ward.calm()
