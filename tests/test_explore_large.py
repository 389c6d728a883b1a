"""The web app on the million series of NCI's Imaging Data Commons. Times are measured in benchmarks/, not here."""

import subprocess
import sys
from pathlib import Path

import pytest
from explorer_browser import Jupyter, free_port

from dicom_workbench.catalog import Catalogue
from dicom_workbench.store import Lake
from dicom_workbench.store.ingest import ingest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
COMMAND = [sys.executable, "-c", "import sys; from dicom_workbench.cli import main; sys.argv[0] = 'dicom-workbench'; main()"]
IDLE = "([cls, n]) => { const e = document.querySelector(cls); return e && e.getAttribute('aria-busy') === 'false' && Number(e.dataset.answers || 0) >= n; }"


def test_a_million_series_under_the_hand(jupyter: Jupyter, tmp_path: Path, idc_table: Path) -> None:
    "Rows, quality and catalogue of the same page: what comes to the browser stays small."
    pytest.importorskip("voila", reason="no voila: `pip install voila`")
    catalogue, lake = Catalogue.open(), Lake.open(tmp_path / "w")
    total = ingest(catalogue.get("idc"), catalogue.entry("idc").folder, lake).rows
    assert total > 1_000_000
    with (tmp_path / "said.txt").open("w") as said:
        command = [*COMMAND, "explore", "idc", "--workspace", str(lake.folder), "--port", str(free_port()), "--no-browser"]
        server = subprocess.Popen(command, cwd=tmp_path, env=jupyter.environment, stdout=subprocess.PIPE, stderr=said, text=True)
    try:
        assert server.stdout is not None
        visit = jupyter.visit(server.stdout.readline().strip())
        page = visit.page
        page.wait_for_selector(".dw-crossfilter[data-ready=yes]", timeout=300_000)  # the first time the series are gathered
        count = page.locator(".dwx-count").first
        assert count.inner_text() == f"{total:,} of {total:,} series (100 %)"
        before = len(visit.received)
        page.locator(".dwx-chart[data-column=Modality]").get_by_role("checkbox", name="computed tomography").click()
        visit.until("all => !document.querySelector('.dwx-count').textContent.startsWith(all)", f"{total:,}")
        visit.until(IDLE, [".dw-crossfilter", 1])
        assert max(visit.received[before:]) <= 20_000
        truth = int(lake.rows("idc").filter(Modality="CT").collect().height)
        assert count.inner_text().startswith(f"{truth:,} of {total:,} series")
        visit.shot("app_large_rows")

        page.get_by_role("tab", name="Quality").click()
        page.get_by_role("button", name="Ask the rules now").click()
        visit.until("() => document.querySelector('.dw-quality progress').hasAttribute('value')", seconds=120)
        visit.shot("app_large_asking")
        page.wait_for_selector(".dwq-main", timeout=300_000)
        visit.until("() => document.querySelector('.dwq-lost .dwq-bar')", seconds=300)
        score = page.locator(".dwq-main .dwq-score")
        old, sent = score.inner_text(), len(visit.received)
        page.locator(".dwq-slider", has_text="Warning").locator("input").focus()
        for _ in range(6):
            page.keyboard.press("ArrowRight")
        visit.until("old => document.querySelector('.dwq-main .dwq-score').textContent !== old", old)
        visit.until("() => document.querySelector('.dw-quality').getAttribute('aria-busy') === 'false'")
        assert max(visit.received[sent:]) <= 20_000
        sums = [float(t) for t in page.locator(".dwq-end td.dwb-num").all_inner_texts()]
        assert round(sums[-1] + float(score.inner_text()), 2) == 100
        visit.shot("app_large_quality")

        page.get_by_role("tab", name="Catalogue").click()
        page.wait_for_selector(".dw-catalog[data-ready=yes]")
        assert f"{total:,} series" in page.locator("tr[data-source=idc]").inner_text()
        visit.calm()
        page.context.close()
    finally:
        server.terminate()
        server.wait(60)
