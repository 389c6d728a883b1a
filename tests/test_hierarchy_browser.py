"""The hierarchy explorer and the privacy view in a real JupyterLab: one notebook visit for both."""

from pathlib import Path

import pytest
from explorer_browser import Jupyter

pytestmark = pytest.mark.browser

CELLS = [
    """
import logging, os, tempfile
from pathlib import Path
import pydicom
from pydicom.data import get_testdata_file
from dicom_workbench.catalog import load_source
from dicom_workbench.explore.hierarchy import Hierarchy
from dicom_workbench.explore.privacy_view import PrivacyView
from dicom_workbench.store import Lake
from dicom_workbench.store.ingest import ingest

place = Path(tempfile.mkdtemp())
(place / "data").mkdir()
for n, z in enumerate((3, 2, 1), 1):
    ct = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    ct.PatientName = "<img src=x onerror=alert(1)>^<b>bold</b>"
    ct.SOPInstanceUID = ct.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{n}"
    ct.InstanceNumber, ct.KVP = z, 100 + n
    ct.StudyDescription = "ABDOMEN" if n < 3 else "ABDOMEN AND PELVIS"
    ct.save_as(place / "data" / f"{n}.dcm")
mr = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
mr.save_as(place / "data" / "mr.dcm")
(place / "ward.toml").write_text('''
id = "ward"
title = "Ward"
institution = "Test hospital"
country = "ZM"
steward = "imaging-data@example.org"
access = "open"
licence = "none"
modalities = ["CT"]
deidentified = false
refresh = "never"
[acquisition]
kind = "folder"
root = "data"
''')
lake = Lake.open(place / "workspace")
ingest(load_source(place / "ward.toml"), place, lake);
told = []
""",
    "explorer = Hierarchy(lake, 'ward', root=place / 'data', log=lambda what, facts: told.append(what), title='A ward', rows=2, height=560)\nexplorer",
    "view = PrivacyView({'ct': place / 'data' / '1.dcm', 'report': get_testdata_file('test-SR.dcm')}, log=lambda what, facts: told.append(what), height=420)\nview",
]
IDLE = "cls => { const e = document.querySelector(cls); return e && e.dataset.ready === 'yes' && e.getAttribute('aria-busy') === 'false'; }"


def test_tree_elements_picture_and_live_options(jupyter: Jupyter) -> None:
    with jupyter.lab(CELLS, height=1500) as visit:
        page = visit.page
        tree, detail = page.locator(".dw-hierarchy .dwb-tree"), page.locator(".dw-hierarchy .dwb-right")
        visit.until(IDLE, ".dw-hierarchy")
        visit.until(IDLE, ".dw-privacy")

        # masked at first: a token, no name anywhere, and the kernel tells nobody
        assert tree.locator("[role=treeitem]").count() == 2
        assert "#" in tree.inner_text() and "bold" not in page.locator(".dw-hierarchy").inner_text()
        assert visit.run("print(told)") == "[]"

        # open down to the series by the keyboard
        ct = tree.locator("[role=treeitem]", has_text="CT")
        ct.click()
        visit.until("() => document.querySelectorAll('.dwb-tree .dwb-study').length === 1")
        visit.until(IDLE, ".dw-hierarchy")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        visit.until("() => document.querySelectorAll('.dwb-tree .dwb-series').length === 1")
        visit.until(IDLE, ".dw-hierarchy")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        visit.until("() => document.querySelectorAll('.dwb-tree .dwb-instance').length === 2")  # a page of two, of three
        visit.until(IDLE, ".dw-hierarchy")
        assert "1–2 of 3 instances" in tree.inner_text()
        assert "Study Description" in detail.locator(".dwb-disagree").inner_text()
        assert visit.run("print(explorer.selected.level, explorer.rows.collect().height)") == "series 3"
        visit.until("() => { const i = document.querySelector('.dw-hierarchy .dwb-image'); return i.complete && i.naturalWidth > 50; }")

        # search the elements, private ones with their creator
        detail.locator("input[type=search]").fill("gems_parm")
        visit.until("() => { const c = [...document.querySelectorAll('.dwb-elements .dwb-creator')]; return c.length > 5 && c.every(e => e.textContent === 'GEMS_PARM_01'); }")
        detail.locator("input[type=search]").fill("0018,0060")
        visit.until("() => { const v = document.querySelectorAll('.dwb-elements tbody tr'); return v.length === 1 && v[0].innerText.includes('102'); }")  # the middle one
        detail.locator("input[type=search]").fill("")
        visit.until("() => document.querySelectorAll('.dwb-elements tbody tr').length === 40")
        visit.until(IDLE, ".dw-hierarchy")

        # a window of CT, then what differs
        before = page.evaluate("() => document.querySelector('.dw-hierarchy .dwb-image').src")
        detail.locator("select").select_option("lung")
        visit.until("was => document.querySelector('.dw-hierarchy .dwb-image').src !== was", before)
        visit.until("() => document.querySelector('.dw-hierarchy .dwb-controls').innerText.includes('window lung')")
        visit.shot("hierarchy")
        detail.get_by_role("tab", name="Differences").click()
        visit.until("() => document.querySelectorAll('.dwb-differences tbody tr').length > 2")
        first = detail.locator(".dwb-differences tbody tr").first.inner_text()
        assert "StudyDescription" in first and "should agree" in first
        assert "InstanceNumber" in detail.inner_text()
        visit.shot("hierarchy_differences")

        # a click of the user shows identifiers, as text, and is logged
        page.locator(".dw-hierarchy").get_by_role("button", name="Show names and numbers").click()
        visit.until("() => document.querySelector('.dwb-tree').innerText.includes('<b>bold</b>')")
        assert visit.run("print(told)") == "['show identifiers']"
        assert page.locator(".dw-hierarchy .dwb-tree img").count() == 0

        # before and after: options re-run the file
        privacy = page.locator(".dw-privacy")
        privacy.scroll_into_view_if_needed()
        privacy.locator("input[type=search]").fill("StudyInstanceUID")
        row = "action => { const r = document.querySelectorAll('.dw-privacy tbody tr'); return r.length === 1 && r[0].dataset.action === action; }"
        visit.until(row, "uid")
        assert "Table E.1-1: U" in privacy.locator("tbody").inner_text()
        privacy.get_by_label("retain uids").check()
        visit.until(row, "keep")
        assert visit.run("print(view.policy.options)") == "frozenset({'retain-uids'})"
        privacy.get_by_label("retain uids").uncheck()
        visit.until(row, "uid")
        privacy.locator("input[type=search]").fill("")
        visit.until("() => document.querySelectorAll('.dw-privacy tbody tr').length >= 20")
        visit.until(IDLE, ".dw-privacy")
        privacy.locator(".dwp-actions button[data-action=dummy]").click()
        visit.until("() => { const r = [...document.querySelectorAll('.dw-privacy tbody tr')]; return r.length > 1 && r.every(x => x.dataset.action === 'dummy'); }")
        assert "bold" not in privacy.inner_text()
        privacy.locator(".dwp-actions button[data-action=dummy]").click()
        visit.until("() => document.querySelectorAll('.dw-privacy tbody tr').length >= 20")
        visit.shot("privacy_view")
        assert max(visit.received) < 600_000  # the scripts of the widgets, at load
        visit.calm()


def test_scripts_reach_no_network_and_parse_no_html() -> None:
    folder = Path(__file__).resolve().parents[1] / "dicom_workbench" / "explore"
    for name in ("page.js", "hierarchy.js", "privacy_view.js"):
        text = (folder / name).read_text(encoding="utf-8")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "http://", "https://", "import(", "fetch(", "eval("):
            assert word not in text, (name, word)
