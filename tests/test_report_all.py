"""All reports of a source: which apply, what a failed one does to the others, the index, and what Ctrl-C leaves behind."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import polars as pl
import psutil
import pytest
from conftest import APPROVAL, SOURCE
from test_report_run import make_ward, own_template
from typer.testing import CliRunner

from dicom_workbench.catalog import Catalogue
from dicom_workbench.cli import app
from dicom_workbench.report import AllReports, run_all, templates
from dicom_workbench.report.many import Made, Needs, NotMade, index_of, lacks, needs_of
from dicom_workbench.standard.errors import Refused, UsageError
from dicom_workbench.store import Lake

FINE = ("from IPython.display import HTML\nHTML('<div class=\"dw-figures\"><div><b>3</b><span>of &lt;them&gt;</span></div></div>')",  # what blocks write, without importing them in each kernel
        "HTML('<p class=\"dw-note dw-careful\">Not available in this source: no &lt;b&gt;date&lt;/b&gt;.</p>')")
BROKEN = ("class WorkbenchError(Exception): pass\nraise WorkbenchError('The lamp is out. Bring another lamp.')",)


@pytest.fixture(scope="module")
def ward(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Path]:
    return make_ward(tmp_path_factory.mktemp("ward"), samples)


@pytest.fixture(scope="module")
def three(ward: tuple[Lake, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[AllReports, Path, list[str]]:
    "Three templates, of which the second fails, run twice: the result, its folder, and what was said."
    folder, said = tmp_path_factory.mktemp("three"), []
    chosen = [own_template(folder, *code, name=name) for name, code in (("first", FINE), ("second", BROKEN), ("third", FINE))]
    source = Catalogue.open(ward[1]).get("ward")
    for place, workers in (("b", 2), ("a", 1)):
        done = run_all(ward[0], source, out=folder / place, catalogue=ward[1], workers=workers, chosen=chosen, progress=lambda r, k, n: said.append(f"{r.template} {k} {n}"))
    return done, folder, said


def test_a_failed_template_stops_no_other_and_is_named_with_its_remedy(three: tuple[AllReports, Path, list[str]]) -> None:
    done, _, said = three
    assert [type(r) for r in done.reports] == [Made, NotMade, Made]
    assert [(r.template, r.reason) for r in done.failed] == [("second", "The lamp is out. Bring another lamp.")]
    page = done.index.read_text()
    assert "The lamp is out." in page and "Bring another lamp." in page and page.count("/report.html") == 2
    assert sorted(line.split()[0] for line in said[:3]) == ["first", "second", "third"] and [line.split()[1] for line in said[:3]] == ["1", "2", "3"]


def test_the_index_shows_figures_and_warnings_as_text(three: tuple[AllReports, Path, list[str]]) -> None:
    page = three[0].index.read_text()
    assert "3 of &lt;them&gt;" in page and "no &lt;b&gt;date&lt;/b&gt;" in page and "<script" not in page
    assert three[0].source_version[:16] in page


def test_a_second_run_gives_the_same_bytes(three: tuple[AllReports, Path, list[str]]) -> None:
    "All but the times, which have a file of their own."
    _, folder, _ = three
    files = sorted(p.relative_to(folder / "a") for p in (folder / "a").rglob("*") if p.is_file())
    assert Path("ward/index.html") in files and Path("ward/first/report.html") in files and len(files) == 8
    for file in files:
        if file.name != "times.json":
            assert (folder / "a" / file).read_bytes() == (folder / "b" / file).read_bytes(), file
    assert set(json.loads((folder / "a/ward/times.json").read_text())) == {"first", "second", "third"}


def test_every_link_of_the_index_leads_to_a_file(three: tuple[AllReports, Path, list[str]]) -> None:
    index = three[0].index
    links = re.findall(r'href="([^"#]+)"', index.read_text())
    assert len(links) == 7 and all((index.parent / link).is_file() for link in links)


def test_what_a_source_needs_is_decided_by_its_data(ward: tuple[Lake, Path]) -> None:
    lake, version = ward[0], ward[0].source_version("ward")
    why = {name: lacks(lake, "ward", version, need) for name, need in needs_of().items()}
    assert not why["source_profile"] and not why["population"] and not why["quality"]
    assert "CR or DX" in why["exposure"] and "RG" in why["chest_xray"] and "one state" in why["drift"]
    assert lacks(lake, "ward", version, Needs(modalities=("CT",))) == ""
    assert lacks(lake, "ward", version, Needs(modalities=("CT",), part="chest")).endswith("is of the chest")
    assert lacks(lake, "ward", version, Needs(columns=("StationName", "PatientID"))) == ""
    assert lacks(lake, "ward", version, Needs(columns=("CTDIvol",), classes=("1.2.840.10008.5.1.4.1.1.2",))) == ""


def test_released_one_patient_is_as_good_as_none(ward: tuple[Lake, Path]) -> None:
    lake, version = ward[0], ward[0].source_version("ward")
    reasons = {lacks(lake, "ward", version, Needs(modalities=(m,)), 10).replace(m, "") for m in ("CT", "NM")}
    assert len(reasons) == 1 and "fewer than 10 patients" in reasons.pop()


def test_the_table_of_needs_names_only_templates_and_known_words() -> None:
    import tomllib

    from dicom_workbench.standard import resources
    from dicom_workbench.standard.attributes import COLUMNS

    told = tomllib.loads((resources.folder("templates") / "needs.toml").read_text())
    assert set(templates()) <= set(told)
    for need in needs_of().values():
        assert set(need.columns) <= set(COLUMNS) and need.part in ("", "chest") and need.table in ("", "instances")


def test_a_source_that_is_refused_leaves_nothing(ward: tuple[Lake, Path], tmp_path: Path) -> None:
    lapsed = tmp_path / "lapsed"
    lapsed.mkdir()
    (lapsed / "ward.toml").write_text(SOURCE.format(id="ward", access="restricted", root="files", more=APPROVAL.format(number="N-1", expires="2022-08-31")))
    with pytest.raises(Refused, match="N-1"):
        run_all(ward[0], Catalogue.open(lapsed).get("ward"), out=tmp_path / "out", catalogue=lapsed)
    with pytest.raises(UsageError, match="0 workers"):
        run_all(ward[0], Catalogue.open(ward[1]).get("ward"), out=tmp_path / "out", catalogue=ward[1], workers=0)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_makes_all_that_apply_and_an_index(ward: tuple[Lake, Path], tmp_path: Path) -> None:
    asked = ["report", "ward", "--all", "-o", str(tmp_path), "--workspace", str(ward[0].folder), "--catalog", str(ward[1]), "--json"]
    answer = CliRunner().invoke(app, asked)
    assert answer.exit_code == 0, answer.stderr
    told = json.loads(answer.stdout)[0]
    made = {r["template"] for r in told["reports"] if "html" in r}
    assert {"source_profile", "quality", "population", "privacy"} <= made and not {"exposure", "chest_xray", "drift"} & made
    assert all(Path(r["html"]).is_file() for r in told["reports"] if "html" in r)
    assert Path(told["index"]).read_text().count("report.html") == len(made)
    assert f"{len(made)} of {len(made)}" in answer.stderr and "not for this source: " in answer.stderr


@pytest.mark.parametrize(("words", "said"), [(["--template", "quality"], "only one"), (["-p", "top=3"], "belongs to one template")])
def test_all_and_one_contradict_each_other(ward: tuple[Lake, Path], words: list[str], said: str) -> None:
    answer = CliRunner().invoke(app, ["report", "ward", "--all", *words, "--catalog", str(ward[1]), "--workspace", str(ward[0].folder)])
    assert isinstance(answer.exception, UsageError) and said in str(answer.exception)


def test_the_exit_code_says_that_one_failed(ward: tuple[Lake, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dicom_workbench import report

    failed = AllReports("ward", "Ward", "0" * 64, 0, tmp_path / "index.html", (NotMade("quality", "", "The lamp is out.", "Bring another."),))
    monkeypatch.setattr(report, "run_all", lambda *a: failed)
    answer = CliRunner().invoke(app, ["report", "ward", "--all", "--catalog", str(ward[1]), "--workspace", str(ward[0].folder)])
    assert answer.exit_code == 1
    assert "Bring another." in index_of(failed)


def test_all_sources_have_a_page_above_theirs_and_one_that_is_refused_is_on_it(ward: tuple[Lake, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dicom_workbench import report

    def pretended(lake: Lake, source, pin, out, *_):
        if source.id == "ward":
            raise Refused("A report on 'ward' is refused: N-1 lapsed.", "Ask its steward.")
        return AllReports(source.id, source.title, "0" * 64, 0, Path(out) / source.id / "index.html", (Made("quality", "Quality", "", (), (), "quality", "0" * 64),))
    monkeypatch.setattr(report, "run_all", pretended)
    monkeypatch.setattr(Lake, "sources", lambda self: ["pydicom_samples", "ward"])
    answer = CliRunner().invoke(app, ["report", "--all", "-o", str(tmp_path), "--catalog", str(ward[1]), "--workspace", str(ward[0].folder)])
    assert answer.exit_code == 3 and "idc: not ingested yet" in answer.stderr
    page = (tmp_path / "index.html").read_text()
    assert 'href="pydicom_samples/quality/report.html"' in page and "N-1 lapsed" in page and "1 of 2 sources" in page


PARENT = """
import sys
from pathlib import Path
from dicom_workbench.catalog import Catalogue
from dicom_workbench.report import run_all
from dicom_workbench.store import Lake
try:
    run_all(Lake.open(sys.argv[1], create=False), Catalogue.open(sys.argv[2]).get("ward"), out=sys.argv[3], catalogue=sys.argv[2], workers=1, chosen=[Path(sys.argv[4])])
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.skipif(os.name != "posix", reason="only on Linux and macOS: signals")
@pytest.mark.parametrize("blow", [signal.SIGINT, pytest.param(getattr(signal, "SIGKILL", 9), marks=pytest.mark.slow)])
def test_no_process_outlives_the_command(ward: tuple[Lake, Path], tmp_path: Path, blow: signal.Signals) -> None:
    "A report that waits for ever says that it has begun; then the parent is stopped."
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    waits = own_template(tmp_path, f"import os\nwith open({str(pipe)!r}, 'w') as p: p.write(str(os.getpid()))\nimport threading\nthreading.Event().wait()")
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(ward[0].folder), str(ward[1]), str(tmp_path / "out"), str(waits)], stderr=subprocess.DEVNULL)
    kernel = psutil.Process(int(pipe.read_text()))  # waits until the kernel writes
    family = [kernel, *(p for p in kernel.parents() if parent.pid in [q.pid for q in p.parents()])]
    assert len(family) >= 2
    parent.send_signal(blow)
    assert parent.wait(30) == (130 if blow == signal.SIGINT else -9)
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE], [p.cmdline() for p in alive]


def test_a_worker_that_dies_costs_its_report_only(ward: tuple[Lake, Path], tmp_path: Path) -> None:
    dies = own_template(tmp_path, "import os, psutil\npsutil.Process(os.getppid()).kill()\nimport threading\nthreading.Event().wait()", name="dies")
    fine = own_template(tmp_path, "1", name="fine")
    done = run_all(ward[0], Catalogue.open(ward[1]).get("ward"), out=tmp_path / "out", catalogue=ward[1], workers=1, chosen=[dies, fine])
    assert [(r.template, isinstance(r, Made)) for r in done.reports] == [("dies", False), ("fine", True)]
    assert "--workers 1" in done.failed[0].remedy


def test_one_template_of_one_source_is_as_before(ward: tuple[Lake, Path], tmp_path: Path) -> None:
    plain = own_template(tmp_path, "1", name="plain")
    answer = CliRunner().invoke(app, ["report", "ward", "--template", str(plain), "-o", str(tmp_path), "--catalog", str(ward[1]), "--workspace", str(ward[0].folder)])
    assert answer.exit_code == 0 and (tmp_path / "ward/plain/report.html").is_file() and not (tmp_path / "ward/index.html").exists()
    assert nbformat.read(tmp_path / "ward/plain/report.ipynb", 4).cells and pl.__version__
