"""The review of uncertain series in a real JupyterLab: mouse and keyboard, decisions that are kept."""

import pytest
from explorer_browser import Jupyter

pytestmark = pytest.mark.browser

CELLS = [
    """
import tempfile
from pathlib import Path
import pydicom
from pydicom.data import get_testdata_file
from dicom_workbench.analysis.classify import classify, kept_corrections, series_of
from dicom_workbench.catalog import load_source
from dicom_workbench.explore.series_review import SeriesReview
from dicom_workbench.store import Lake, ingest

place = Path(tempfile.mkdtemp())
(place / "data").mkdir()
evil = "<img src=x onerror=alert(1)>"
for n, words in enumerate(("t2_tse_tra", "ax FLAIR", evil, "xyz", "DTI 64", "DTI 64"), 1):
    mr = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    mr.SeriesInstanceUID, mr.SOPInstanceUID = f"1.2.3.{n}", f"1.2.3.{n}.1"
    mr.file_meta.MediaStorageSOPInstanceUID = mr.SOPInstanceUID
    mr.SeriesDescription = words
    mr.BurnedInAnnotation = "NO"
    for gone in ("EchoTime", "RepetitionTime", "InversionTime", "ScanningSequence", "SequenceVariant", "ScanOptions", "EchoTrainLength", "FlipAngle", "ImageType", "MRAcquisitionType",
                 "SequenceName", "SliceThickness", "MagneticFieldStrength", "Manufacturer", "ProtocolName"):
        if gone in mr:
            del mr[gone]
    mr.save_as(place / "data" / f"{n}.dcm")
(place / "ward.toml").write_text('''
id = "ward"
title = "Ward"
institution = "Test hospital"
country = "ZM"
steward = "imaging-data@example.org"
access = "open"
licence = "none"
modalities = ["MR"]
deidentified = false
refresh = "never"
[acquisition]
kind = "folder"
root = "data"
''')
lake = Lake.open(place / "workspace")
ingest(load_source(place / "ward.toml"), place, lake);
told = []
review = SeriesReview(lake, "ward", root=place / "data", threshold=1.0, log=lambda what, facts: told.append(what), title="A ward")
""",
    "review",
]
READY = "() => { const e = document.querySelector('.dw-review'); return e && e.dataset.ready === 'yes' && e.getAttribute('aria-busy') === 'false'; }"
KEPT = "print(kept_corrections(lake, 'ward').sort('SeriesInstanceUID').select('SeriesInstanceUID', 'kind', 'decision').rows())"


def test_accept_correct_skip_and_take_back(jupyter: Jupyter) -> None:
    with jupyter.lab(CELLS, height=1100) as visit:
        page = visit.page
        visit.until(READY)
        root, items = page.locator(".dw-review"), page.locator(".dw-review .dws-list [role=option]")

        def answered(act: object) -> None:
            before = int(root.get_attribute("data-answers") or 0)
            act()  # type: ignore[operator]
            visit.until("n => Number(document.querySelector('.dw-review').dataset.answers) > n", before)
            visit.until(READY)

        # every doubtful series once, unknown ones first; masked; the picture is there
        assert items.count() == 6 and root.locator(".dwb-count").inner_text() == "6 of 6 MR series to look at"
        assert items.first.locator(".dws-why").inner_text() == "unknown"
        assert "1.2.3." not in root.inner_text() and "#" in root.locator(".dwb-crumbs").inner_text()
        visit.until("() => { const i = document.querySelector('.dw-review .dwb-image'); return i && i.naturalWidth > 0; }")
        visit.shot("series_review")

        # correct the first one by mouse: it leaves the list, and stands in the workspace
        first = root.locator(".dwb-what").inner_text()
        root.get_by_label("The right kind (C)").select_option("BOLD")
        answered(root.locator(".dws-apply").click)
        assert items.count() == 5 and first not in [t.inner_text() for t in items.locator(".dwb-title").all()]
        assert "'BOLD', 'corrected'" in visit.run(KEPT)

        # the keyboard: down, accept, skip
        page.locator(".dw-review .dws-list").focus()
        answered(lambda: page.keyboard.press("ArrowDown"))
        chosen = root.locator(".dwb-what").inner_text()
        assert items.nth(1).get_attribute("aria-selected") == "true"
        answered(lambda: page.keyboard.press("a"))
        assert items.count() == 4 and "'accepted'" in visit.run(KEPT)
        answered(lambda: page.keyboard.press("s"))
        assert items.count() == 4 and "later" in items.last.inner_text()

        # two of one name at once
        answered(items.filter(has_text="DTI 64").first.click)
        root.get_by_text("and 1 other of this name").click()
        answered(root.locator(".dws-accept").click)
        assert items.count() == 2 and visit.run("print(review.corrections.height)") == "4"

        # take back what was accepted
        answered(root.locator("[data-why=decided]").first.click)
        answered(items.filter(has_text=chosen).click)
        answered(lambda: page.keyboard.press("u"))
        assert visit.run(KEPT).count("1.2.3.") == 3
        answered(root.locator(".dws-chips [data-why=decided]").click)

        # classify honours what is left of the decisions
        said = visit.run("print(classify(series_of(lake, 'ward'), kept_corrections(lake, 'ward')).filter(kind_basis='review').collect().select('kind', 'kind_confidence').rows())")
        assert said.count("1.0)") == 3 and "('BOLD', 1.0)" in said

        # the threshold, and the export: only after identifiers are shown, and both are told
        slider = root.get_by_label("Look at confidences below")
        answered(lambda: slider.evaluate("e => { e.value = '0'; e.dispatchEvent(new Event('change')); }"))
        assert visit.run("print(review.threshold, set(review.waiting['why']) <= {'unknown', 'conflict'})") == "0.0 True"
        answered(root.get_by_role("button", name="Save what was decided").click)
        assert "identifiers are hidden" in root.locator(".dwb-note").inner_text() and visit.run("print(told)") == "[]"
        answered(root.get_by_role("button", name="Show names and numbers").click)
        with page.expect_download() as download:
            root.get_by_role("button", name="Save what was decided").click()
        rows = download.value.path().read_text().splitlines()
        assert rows[0].startswith("SeriesInstanceUID,kind") and len(rows) == 4 and "BOLD" in "".join(rows)
        assert visit.run("print(told)") == "['show identifiers', 'save corrections']"
        visit.calm()
        assert max(visit.received) < 60_000
