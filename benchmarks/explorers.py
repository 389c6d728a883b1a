"""How fast does the crossfilter explorer answer on a million real series, and how heavy are its peers? One command, one table.

    python benchmarks/explorers.py [--workspace DIR] [--clicks 60] [--rounds 300] [--no-peers]

The table is IDC's (1,044,191 series, package idc-index-data); without --workspace it is ingested into benchmarks/corpus.
- *kernel*: a process of its own without a browser; what a click costs there, from the message to the state that is sent.
- *browser*: JupyterLab and Debian's chromium on the same machine; from the pointer going down to the last change of the
  page; bytes are those of the web socket between page and kernel, resident memory is the kernel's.
Peers get the same rows and columns as a frame, a kernel of their own environment (benchmarks/venvs/explorers) and the
same browser. Machines are shared: beside the wall clock stands the load, and the kernel's times are CPU times too.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import distribution, version
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]
PEERS = {"quak": "0.3.5", "itables": "2.9.1", "vegafusion": "2.0.3"}
COLUMNS = ["Modality", "StudyDate", "PatientSex", "PatientAge", "BodyPartExamined", "Manufacturer", "ManufacturerModelName", "SeriesDescription", "StudyDescription", "PatientID", "instanceCount"]

WATCH = """() => {
  const roots = [], seen = new Set();
  const find = node => { for (const e of node.querySelectorAll('*')) if (e.shadowRoot && !seen.has(e.shadowRoot)) { seen.add(e.shadowRoot); roots.push(e.shadowRoot); find(e.shadowRoot); } };
  find(document);
  const outputs = [...document.querySelectorAll('.jp-OutputArea-output')];
  window.watched = {start: 0, last: 0};
  const observer = new MutationObserver(() => { window.watched.last = performance.now(); });
  for (const r of [...roots, ...outputs]) observer.observe(r, {subtree: true, childList: true, attributes: true, characterData: true});
  document.addEventListener('pointerdown', () => { window.watched.start = performance.now(); window.watched.last = 0; }, true);
}"""
QUIET = """async quiet => {
  const w = window.watched, end = performance.now() + 15000;
  while (performance.now() < end) {
    if (w.last && performance.now() - w.last > quiet) return w.last - w.start;
    await new Promise(r => setTimeout(r, 20));
  }
  return null; }"""
MEMORY = "import psutil, os; p = psutil.Process(); print(p.memory_info().rss / 1e6)"


def middle(values: list[float]) -> tuple[float, float]:
    "Median and 95th percentile."
    ordered = sorted(values)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


def in_kernel(workspace: str, rounds: int) -> dict[str, object]:
    "Run in a process of its own: open, then clicks with up to four filters."
    import resource

    import psutil

    rss = lambda: psutil.Process().memory_info().rss / 1e6  # noqa: E731
    t = time.process_time()
    from dicom_workbench.explore import crossfilter as module
    from dicom_workbench.explore.selection import counts, size
    from dicom_workbench.store import Lake

    imported, before = time.process_time() - t, rss()
    t, w = time.process_time(), time.perf_counter()
    explorer = module.Crossfilter(Lake.open(workspace), "idc")
    opened, wall = time.process_time() - t, time.perf_counter() - w
    folder = Path(module.__file__).parent
    load = sum((folder / f).stat().st_size for f in ("crossfilter.js", "crossfilter.css")) + len(json.dumps(explorer.setup)) + len(json.dumps(explorer.state))
    draw = random.Random(7)
    kernel, counting, cpu, sizes = [], [], [], []
    looking = explorer.selection
    for _ in range(rounds):
        column = draw.choice(explorer.charts)
        own = looking.dimension(column)
        if len(looking.filters) >= 4:
            explorer._hear(None, {"do": "reset"}, [])
        if own.bounds:
            first = draw.randrange(own.size)
            message = {"do": "brush", "column": column, "first": first, "last": min(own.size - 1, first + draw.randrange(own.size))}
        else:
            shown = next(c for c in explorer.state["charts"] if c["column"] == column)["bars"]
            message = {"do": "toggle", "column": column, "code": draw.choice(shown)[0] if shown else own.size}
        for cache in (looking._counts, looking._rows, looking._passing):
            cache.clear()  # nothing is remembered: the worst of cases
        c, w = time.process_time(), time.perf_counter()
        explorer._hear(None, message, [])
        cpu.append(1e3 * (time.process_time() - c))
        kernel.append(1e3 * (time.perf_counter() - w))
        sizes.append(len(json.dumps(explorer.state, ensure_ascii=False).encode()))
        for cache in (looking._counts, looking._rows, looking._passing):
            cache.clear()
        w = time.perf_counter()
        size(looking)
        for name in explorer.charts:
            counts(looking, name)
        counting.append(1e3 * (time.perf_counter() - w))
    child = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"imported": imported, "before": before, "opened": opened, "wall": wall, "load": load, "rss": rss(), "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "kernel": middle(kernel), "cpu": middle(cpu), "counting": middle(counting), "bytes": (statistics.median(sizes), max(sizes)), "charts": len(explorer.charts),
            "child_peak": child.ru_maxrss / 1024, "child_cpu": child.ru_utime + child.ru_stime, "rows": looking.table.height}


def own_process(workspace: str, rounds: int) -> dict[str, object]:
    done = subprocess.run([sys.executable, __file__, "--in-kernel", "--workspace", workspace, "--rounds", str(rounds)], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(HERE.parent)})
    return json.loads(done.stdout.strip().splitlines()[-1])


def clicks_of(visit, places, number: int, quiet: int = 700, asks: bool = True) -> tuple[list[float], list[int]]:
    "Click places one after the other; how long until the page was still, and how much came in. A click that asks nothing of the kernel does not count, unless nothing ever does."
    visit.page.evaluate(WATCH)
    took, came = [], []
    for i in range(number):
        if i >= 3 and len(took) < i // 3:  # it hardly reacts: no use in waiting for each
            break
        place = places(i)
        if place is None:
            continue
        before = sum(visit.received)
        visit.page.mouse.move(*place)
        visit.page.mouse.down()
        visit.page.mouse.up()
        passed = visit.page.evaluate(QUIET, quiet)
        if passed is not None and (not asks or sum(visit.received) > before):
            took.append(passed)
            came.append(sum(visit.received) - before)
    return took, came


def ours(jupyter, workspace: str, clicks: int) -> dict[str, object]:
    cells = ["from dicom_workbench.explore.crossfilter import Crossfilter\nfrom dicom_workbench.store import Lake", f"explorer = Crossfilter(Lake.open({workspace!r}), 'idc')", "explorer"]
    draw = random.Random(3)
    with jupyter.lab(cells, width=1400, height=1400, run=False) as visit:
        began = visit_run(visit)
        visit.page.wait_for_selector(".dw-crossfilter[data-ready=yes]")
        shown, load = time.perf_counter() - began[0], sum(visit.received) - began[1]

        def place(i: int) -> tuple[float, float] | None:
            if i % 6 == 5:
                visit.run("explorer.selection.reset(); explorer._show()")
                visit.until("() => !document.querySelector('.dwx-chip')")
            spots = visit.page.locator(".dwx-bars .dwx-bar, .dwx-plot").evaluate_all(
                "all => all.map(e => e.getBoundingClientRect()).filter(b => b.top > 120 && b.bottom < innerHeight - 60).map(b => [b.left, b.top, b.width, b.height])")
            x, y, w, h = draw.choice(spots)
            return x + w * draw.uniform(0.1, 0.9), y + h / 2

        took, came = clicks_of(visit, place, clicks)
        visit.page.screenshot(path=str(HERE / "corpus" / "explorers_ours.png"))
        return {"name": "workbench crossfilter", "shown": shown, "load": load, "click": middle(took), "n": len(took), "bytes": (statistics.median(came), max(came)),
                "rss": float(visit.run(MEMORY)), "outside": len(visit.outside), "wrong": len(visit.complaints), "note": "9 charts and a table"}


def visit_run(visit) -> tuple[float, int]:
    now = (time.perf_counter(), sum(visit.received))
    visit.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    return now


READ = f"import polars as pl\nframe = pl.read_parquet({{path!r}}, columns={COLUMNS!r})"
PEER_CELLS = {
    "quak": [READ, "import quak\nw = quak.Widget(frame)\nw"],
    "itables": [READ, "import itables\nitables.init_notebook_mode(all_interactive=False)\nfrom itables.widget import ITable\nw = ITable(frame)\nw"],
    "vegafusion": [READ, """import altair as alt
alt.JupyterChart.enable_offline()
alt.data_transformers.enable('vegafusion')
picks = {c: alt.selection_point(name='pick_' + c, fields=[c]) for c in ('Modality', 'Manufacturer', 'BodyPartExamined')}
def bars(c):
    base = alt.Chart(frame.select(list(picks)).to_pandas())
    for o in picks:
        if o != c: base = base.transform_filter(picks[o])
    return (base.transform_aggregate(n='count()', groupby=[c]).transform_window(rank='row_number()', sort=[alt.SortField('n', order='descending')])
            .transform_filter('datum.rank <= 9').mark_bar().encode(x='n:Q', y=alt.Y(c + ':N', sort='-x'), opacity=alt.condition(picks[c], alt.value(1), alt.value(0.3))).add_params(picks[c]).properties(width=200, height=200))
w = alt.JupyterChart(alt.hconcat(*[bars(c) for c in picks]), embed_options={'renderer': 'svg'})
w"""],
}
SPOTS = {  # what can be clicked, and what shows that it is there
    "quak": ("() => { const f = n => [...n.querySelectorAll('*')].flatMap(e => [e, ...(e.shadowRoot ? f(e.shadowRoot) : [])]); return f(document).filter(e => e.tagName === 'TH').map(e => e.getBoundingClientRect()).filter(b => b.width > 90 && b.right < innerWidth - 60).map(b => [b.left + 5, b.top + 0.5 * b.height, b.width * 0.4, 0.2 * b.height]); }", 6),
    "itables": ("() => [...document.querySelectorAll('.dt-container th, .dataTables_wrapper th')].map(e => e.getBoundingClientRect()).filter(b => b.width > 3 && b.top > 100).map(b => [b.left, b.top, b.width, b.height])", 3),
    "vegafusion": ("() => [...document.querySelectorAll('.vega-embed svg g.mark-rect path')].map(e => e.getBoundingClientRect()).filter(b => b.width > 4 && b.height > 4).map(b => [b.left, b.top, b.width, b.height])", 9),
}
NOTES = {"quak": "a histogram in each header, a table of all rows", "itables": "a sample of the rows, sorted in the browser: no filter of all rows", "vegafusion": "3 charts, no table"}


def peer(jupyter, name: str, path: str, clicks: int) -> dict[str, object]:
    spots, least = SPOTS[name]
    draw = random.Random(3)
    with jupyter.lab([c.format(path=path) if c == READ else c for c in PEER_CELLS[name]], width=1400, height=1400, run=False, kernel="peers") as visit:
        began = visit_run(visit)
        visit.until(f"() => ({spots})().length >= {least}", seconds=180)
        shown, load = time.perf_counter() - began[0], sum(visit.received) - began[1]

        def place(i: int) -> tuple[float, float] | None:
            found = visit.page.evaluate(spots)
            if not found:
                return None
            x, y, w, h = draw.choice(found)
            return x + w * draw.uniform(0.1, 0.9), y + h / 2

        took, came = clicks_of(visit, place, clicks, 1500, name != "itables")
        visit.page.screenshot(path=str(HERE / "corpus" / f"explorers_{name}.png"))
        return {"name": f"{name} {PEERS[name]}", "shown": shown, "load": load, "click": middle(took) if took else None, "n": len(took), "bytes": (statistics.median(came), max(came)) if came else None,
                "rss": float(visit.run(MEMORY)), "outside": len(visit.outside), "wrong": len(visit.complaints), "note": NOTES[name]}


def peers_python() -> Path:
    folder = HERE / "venvs" / "explorers"
    wanted = [f"{n}=={v}" for n, v in PEERS.items()] + [f"polars=={version('polars')}", f"altair=={version('altair')}", f"anywidget=={version('anywidget')}", f"vl-convert-python=={version('vl-convert-python')}", "ipykernel", "psutil", "pyarrow", "pandas"]
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True)
    return python


def workspace_of(given: str | None) -> str:
    if given:
        return str(Path(given).resolve())
    from dicom_workbench.catalog import Catalogue
    from dicom_workbench.store import Lake, ingest

    lake = Lake.open(HERE / "corpus" / "explorers")
    entry = Catalogue.open().entry("idc")
    ingest(entry.source, entry.folder, lake)
    return str(lake.folder)


def write(kernel: dict[str, object], fresh: dict[str, object], browser: list[dict[str, object]], load: tuple[float, ...]) -> None:
    two = lambda pair, digits=0: f"{pair[0]:,.{digits}f} / {pair[1]:,.{digits}f}"  # noqa: E731
    lines = [
        "# Explorers on 1,044,191 series: results", "",
        "Written by `python benchmarks/explorers.py`; do not edit. The machine has 2 cores and is shared: the load average was",
        f"{load[0]:.1f} at the beginning and {os.getloadavg()[0]:.1f} at the end, so wall-clock times are upper bounds. Python {sys.version.split()[0]}, polars {version('polars')}.", "",
        "## The kernel alone", "",
        f"{kernel['rows']:,} rows, {kernel['charts']} charts, up to 4 filters, nothing remembered from the click before.", "",
        "| what | median | 95th percentile | bar |", "| --- | ---: | ---: | ---: |",
        f"| counting of all charts, wall ms | {kernel['counting'][0]:.0f} | {kernel['counting'][1]:.0f} | 100 |",
        f"| a click: counts, table page, state, wall ms | {kernel['kernel'][0]:.0f} | {kernel['kernel'][1]:.0f} | |",
        f"| the same, CPU ms | {kernel['cpu'][0]:.0f} | {kernel['cpu'][1]:.0f} | |",
        f"| state that is sent, bytes (second number: the largest) | {kernel['bytes'][0]:,.0f} | {kernel['bytes'][1]:,.0f} | 20,000 |", "",
        f"- Script, style, set-up and first state: {kernel['load'] / 1e3:,.0f} kB (bar: 1,500 kB).",
        f"- Opening: {kernel['opened']:.1f} s CPU, {kernel['wall']:.1f} s wall; import of the room {kernel['imported']:.1f} s CPU. Resident memory {kernel['before']:.0f} MB after the import, {kernel['rss']:.0f} MB at the end, {kernel['peak']:.0f} MB at most (bar: 500).",
        f"- The first time ever, a process of its own gathers the level: {fresh['child_cpu']:.1f} s CPU, {fresh['wall']:.1f} s wall with it, {fresh['child_peak']:,.0f} MB at most in that process.", "",
        "## In JupyterLab and chromium", "",
        "| explorer | run to shown, s | load, kB | click to still page, ms (median / p95) | bytes a click (median / most) | kernel RSS, MB | requests outside | errors | what it shows |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for b in browser:
        if "failed" in b:
            lines.append(f"| {b['name']} | {b['failed']} | | | | | | | |")
            continue
        click = two(b["click"]) if b["click"] else "does not react"
        came = two(b["bytes"]) if b["bytes"] else "–"
        lines.append(f"| {b['name']} | {b['shown']:.1f} | {b['load'] / 1e3:,.0f} | {click} | {came} | {b['rss']:.0f} | {b['outside']} | {b['wrong']} | {b['note']}; n = {b['n']} |")
    lines += ["", "Run to shown includes import and reading. Bars: click median 150, p95 400 ms; 20,000 bytes a click; 1,500 kB at load; kernel 500 MB."]
    (HERE / "RESULTS_explorers.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace")
    parser.add_argument("--clicks", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--in-kernel", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.in_kernel:
        print(json.dumps(in_kernel(given.workspace, given.rounds)))
        return
    import shutil

    from explorer_browser import Browser, Jupyter

    load = os.getloadavg()
    (HERE / "corpus").mkdir(exist_ok=True)
    workspace = workspace_of(given.workspace)
    for kept in (Path(workspace) / "cache" / "explore").glob("idc-series-*"):
        kept.unlink()
    fresh = own_process(workspace, 1)
    kernel = own_process(workspace, given.rounds)
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or ""
    path = str(next(f for f in distribution("idc-index-data").files or [] if f.name == "idc_index.parquet").locate())
    with tempfile.TemporaryDirectory() as folder:
        page = Browser(chromium)
        jupyter = Jupyter(Path(folder), page)
        try:
            browser = [ours(jupyter, workspace, given.clicks)]
            if not given.no_peers:
                spec = Path(jupyter.environment["JUPYTER_DATA_DIR"]) / "kernels" / "peers"
                spec.mkdir(parents=True)
                (spec / "kernel.json").write_text(json.dumps({"argv": [str(peers_python()), "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "peers", "language": "python", "env": {"PYTHONPATH": ""}}))
                for name in PEERS:
                    try:
                        browser.append(peer(jupyter, name, path, min(given.clicks, 20)))
                    except Exception as error:  # a peer that does not work is a result
                        browser.append({"name": f"{name} {PEERS[name]}", "failed": f"not measured: {str(error).splitlines()[0][:80]}"})
        finally:
            jupyter.close()
            page.close()
    write(kernel, fresh, browser, load)


if __name__ == "__main__":
    main()
