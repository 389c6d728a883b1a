"""The quality board and the catalogue board in a real JupyterLab: one notebook visit for both."""

import json
from pathlib import Path

import pytest
from explorer_browser import Jupyter, Visit

pytestmark = pytest.mark.browser

CELLS = [
    """
import tempfile
from pathlib import Path
import pydicom
from pydicom.data import get_testdata_file
from dicom_workbench.catalog import Catalogue
from dicom_workbench.explore import CatalogBoard, QualityBoard
from dicom_workbench.quality import load_profile, score_source
from dicom_workbench.quality.score import count, score
from dicom_workbench.store import Lake
from dicom_workbench.store.ingest import ingest

evil = "<img src=x onerror=alert(1)>"
place = Path(tempfile.mkdtemp())
(place / "data").mkdir()
for n in range(6):
    ct = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    ct.PatientID, ct.PatientSex, ct.StudyInstanceUID = evil + str(n), "X" if n < 3 else "M", f"1.2.{n}"
    ct.SOPInstanceUID = ct.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{n}"
    ct.save_as(place / "data" / f"{n}.dcm")
entry = '''
id = "ID"
title = "A ward <script>alert(1)</script>"
institution = "Test hospital"
country = "ZM"
steward = "imaging-data@example.org"
access = "ACCESS"
licence = "none"
modalities = ["CT"]
deidentified = false
refresh = "never"
[acquisition]
kind = "folder"
root = "data"
'''
old = '[[approvals]]\\nboard = "UNZABREC"\\nnumber = "7"\\npurposes = ["ingest"]\\ngranted = 2020-01-01\\nexpires = 2021-01-01\\nconsent = "waived"'
(place / "ward.toml").write_text(entry.replace("ID", "ward").replace("ACCESS", "open"))
(place / "closed.toml").write_text(entry.replace("ID", "closed").replace("ACCESS", "restricted") + old)
catalogue, lake = Catalogue([place]), Lake.open(place / "workspace")
ingest(catalogue.get("ward"), place, lake)
result = score_source(lake, "ward")
""",
    "board = QualityBoard(lake, 'ward', title='A ward ' + evil, height=700)\nboard",
    "sources = CatalogBoard(lake, catalogue)\nsources",
]
IDLE = "cls => { const e = document.querySelector(cls); return e && e.dataset.ready === 'yes' && e.getAttribute('aria-busy') === 'false'; }"


@pytest.fixture(scope="module")
def visit(jupyter: Jupyter):
    with jupyter.lab(CELLS, height=1700) as visit:
        visit.until(IDLE, ".dw-quality")
        visit.until(IDLE, ".dw-catalog")
        yield visit


def ask(visit: Visit, expression: str) -> object:
    return json.loads(visit.run(f"import json; print(json.dumps({expression}))"))


def test_a_slider_moved_by_the_keyboard_changes_the_score(visit: Visit) -> None:
    page, board = visit.page, visit.page.locator(".dw-quality")
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    shown = board.locator(".dwq-main .dwq-score")
    before = shown.inner_text()
    stored = ask(visit, "round(float(score(count(result.answers), load_profile('research')).total[0]), 2)")
    assert before == f"{stored:.2f}"
    slider = board.get_by_label("Warning")
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    visit.until("old => document.querySelector('.dwq-main .dwq-score').textContent !== old && document.querySelector('.dw-quality').getAttribute('aria-busy') === 'false'", before)
    visit.until("() => document.querySelector('[data-name=\"weight:warning\"]').value === '1'")
    visit.until(IDLE, ".dw-quality")
    truth = ask(visit, "round(float(score(count(result.answers), board.profile).total[0]), 2)")
    assert ask(visit, "board.profile.weights['warning']") == 1.0 and float(shown.inner_text()) == truth
    assert slider.get_attribute("aria-valuetext") == "1" and slider.evaluate("e => e === document.activeElement")
    sums = board.locator(".dwq-end td.dwb-num").all_inner_texts()
    points = [float(t) for t in board.locator(".dwq-lost").all_inner_texts()]
    assert round(sum(points) + sum(map(float, sums[:-1])), 2) == float(sums[-1]) == round(100 - truth, 2)
    assert "yours" in board.locator("[data-profile=yours]").inner_text()
    for key in "abdxz":  # in command mode these add, delete, cut cells
        page.keyboard.press(key)
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells
    visit.shot("quality_board")


def test_a_rule_leads_to_its_rows_and_all_can_be_computed(visit: Visit, tmp_path: Path) -> None:
    page, board = visit.page, visit.page.locator(".dw-quality")
    assert "do not follow the sliders" in board.inner_text()
    board.get_by_role("button", name="Ask all rules again").click()
    visit.until("() => /What costs most/.test(document.querySelector('.dw-quality').textContent) && !/do not follow/.test(document.querySelector('.dw-quality').innerText)", seconds=30)
    board.get_by_label("Find a rule").fill("VAL-SEX")
    row = board.locator("tr", has_text="VAL-SEX")
    visit.until("() => document.querySelectorAll('.dwq-who[data-rule]').length === 1")
    row.get_by_role("button").focus()
    page.keyboard.press("Enter")
    visit.until("() => { const f = document.querySelector('.dwq-failing'); return !f.hidden && f.querySelectorAll('tbody tr').length === 3; }")
    assert "onerror" not in board.locator(".dwq-failing").inner_text() and "#" in board.locator(".dwq-failing").inner_text()
    board.get_by_role("button", name="Show identifiers").click()
    visit.until("() => /onerror/.test(document.querySelector('.dwq-failing').textContent)")
    assert board.locator("img, script").count() == 0 and "0.dcm" in board.locator(".dwq-failing").inner_text()
    visit.shot("quality_board_rows")
    with page.expect_download() as got:
        board.get_by_role("button", name="Download yours as TOML").click()
    got.value.save_as(tmp_path / "mine.toml")
    assert (tmp_path / "mine.toml").read_text(encoding="utf-8") == ask(visit, "board.state['toml']")


def test_the_catalogue_shows_the_gate_and_reads_what_is_new(visit: Visit) -> None:
    page, board = visit.page, visit.page.locator(".dw-catalog")
    closed, ward = board.locator("tr[data-source=closed]"), board.locator("tr[data-source=ward]")
    assert "lapsed on 2021-01-01" in closed.inner_text() and "<script>" in closed.inner_text()
    assert closed.locator(".dwc-read").is_disabled() and "6 files" in ward.inner_text()
    visit.run("import shutil; shutil.copyfile(place / 'data' / '0.dcm', place / 'data' / 'new.dcm')")
    ward.get_by_role("button", name="Read what is new").focus()
    page.keyboard.press("Enter")
    visit.until("() => /1 file read, 6 unchanged; now 7 files/.test(document.querySelector('.dw-catalog .dwj-words').textContent)", seconds=30)
    assert "7 files" in ward.inner_text()
    ward.locator(".dwc-name").click()
    visit.until("() => /Source version/.test(document.querySelector('.dwc-detail').textContent)")
    board.get_by_label("on", exact=True).fill("2020-06-01")
    visit.until("() => document.querySelector('tr[data-source=closed] .dwc-verdict').dataset.open === 'true'")
    assert closed.locator(".dwc-read").is_disabled()
    visit.shot("catalog_board")


def test_nothing_left_the_machine_and_nothing_went_wrong(visit: Visit) -> None:
    unlabelled = visit.page.locator(".dw-browse button, .dw-browse input, .dw-browse select").evaluate_all(
        "all => all.filter(e => !(e.getAttribute('aria-label') || e.textContent || e.labels && e.labels.length)).length")
    assert unlabelled == 0
    visit.calm()
