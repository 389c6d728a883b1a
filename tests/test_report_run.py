"""From source to report: refused, checked, run, cleaned and written, the same bytes every time."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import nbformat
import papermill
import pydicom
import pytest
from conftest import APPROVAL, SOURCE

from dicom_workbench.catalog import Catalogue
from dicom_workbench.report import NotReported, ReportResult, begin, index, run_report, templates
from dicom_workbench.report.run import clean, find_template
from dicom_workbench.standard.errors import Refused, UsageError, WorkbenchError
from dicom_workbench.store import Lake, ingest

EVIL = "<script>alert(1)</script>"
FILES = ("report.html", "report.ipynb", "manifest.json")


def make_ward(folder: Path, samples: Path) -> tuple[Lake, Path]:
    "A workspace with three small files, one of them no DICOM and one with script text in its header."
    files = folder / "catalogue" / "files"
    files.mkdir(parents=True)
    shutil.copy(samples / "CT_small.dcm", files / "a.dcm")
    (files / "notes.txt").write_text("not DICOM, but long enough to be looked at " * 20)
    ds = pydicom.dcmread(samples / "MR_small.dcm")
    ds.PatientName, ds.PatientID, ds.Manufacturer = EVIL, "JOHNDOE77", EVIL
    ds.save_as(files / "b.dcm")
    catalogue = folder / "catalogue"
    (catalogue / "ward.toml").write_text(SOURCE.format(id="ward", access="open", root="files", more=""))
    lake = Lake.open(folder / "workspace")
    found = Catalogue.open(catalogue)
    ingest(found.get("ward"), found.entry("ward").folder, lake)
    return lake, catalogue


def report(lake: Lake, catalogue: Path, out: Path, **options) -> ReportResult:
    return run_report(lake, Catalogue.open(catalogue).get("ward"), out=out, catalogue=catalogue, **options)


def own_template(folder: Path, *code: str, name: str = "mine") -> Path:
    "A notebook of a user's own."
    cells = [nbformat.v4.new_code_cell('source_id: str = ""\nsource_version: str = ""\nlimit: int = 3  # rows\nratio: float = 0.5\nnames: list = []',
                                       metadata={"tags": ["parameters"]}), *map(nbformat.v4.new_code_cell, code)]
    path = folder / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "somebody-elses-kernel", "display_name": "x", "language": "python"}}), path)
    return path


@pytest.fixture(scope="module")
def ward(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Path]:
    return make_ward(tmp_path_factory.mktemp("ward"), samples)


@pytest.fixture(scope="module")
def made(ward: tuple[Lake, Path], tmp_path_factory: pytest.TempPathFactory) -> ReportResult:
    return report(*ward, tmp_path_factory.mktemp("out"))


def test_the_manifest_names_what_the_report_rests_on(ward: tuple[Lake, Path], made: ReportResult) -> None:
    manifest = json.loads(made.manifest.read_text())
    assert made.html.parent.parts[-2:] == ("ward", "source_profile")
    for name in ("report.html", "report.ipynb"):
        assert manifest["sha256"][name] == hashlib.sha256((made.html.parent / name).read_bytes()).hexdigest()
    assert manifest["source_version"] == ward[0].source_version("ward") == made.source_version
    assert manifest["gate"]["decision"] == "allow" and manifest["gate"]["because"]
    assert manifest["versions"]["polars"] and manifest["parameters"] == {"source_id": "ward", "source_version": made.source_version}


def test_another_workspace_and_folder_give_the_same_bytes(made: ReportResult, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, catalogue = make_ward(tmp_path / "elsewhere" / "deep", samples)
    monkeypatch.chdir(tmp_path)
    again = report(lake, catalogue, Path("relative out"))
    for name in FILES:
        assert (again.html.parent / name).read_bytes() == (made.html.parent / name).read_bytes(), name


def test_no_trace_of_place_time_or_person_is_left(ward: tuple[Lake, Path], made: ReportResult) -> None:
    lake, catalogue = ward
    nb = nbformat.read(made.notebook, 4)
    nbformat.validate(nb)
    assert set(nb.metadata) == {"kernelspec", "language_info"} and all(set(c.metadata) <= {"tags"} for c in nb.cells)
    assert [c["id"] for c in nb.cells] == [f"c{i}" for i in range(len(nb.cells))]
    for name in FILES:
        text = (made.html.parent / name).read_text()
        for private in (str(lake.folder), str(catalogue), str(made.html.parent), str(Path.home()), "JOHNDOE77", "a.dcm", "notes.txt"):
            assert private not in text, (name, private)


def test_script_text_of_a_header_is_shown_and_never_an_element(made: ReportResult) -> None:
    page = made.html.read_text()
    assert page.count("<script") == page.count('<script type="application/json"') + 2
    assert "alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page or "\\u003cscript>alert(1)" in page


def test_a_report_fits_into_a_mail(made: ReportResult) -> None:
    assert made.html.stat().st_size < 2_000_000


def test_nothing_is_said_on_the_terminal_and_the_environment_stays(ward: tuple[Lake, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = dict(os.environ), Path.cwd()
    report(*ward, tmp_path, template=own_template(tmp_path, "1"))
    assert (dict(os.environ), Path.cwd()) == before
    assert capfd.readouterr() == ("", "")


def test_a_kernel_of_the_same_name_installed_by_the_user_is_not_taken(ward: tuple[Lake, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(json.dumps({"argv": ["/no/such/python", "{connection_file}"], "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    assert "42" in report(*ward, tmp_path, template=own_template(tmp_path, "6 * 7")).notebook.read_text()


def test_the_cell_of_parameters_does_not_depend_on_papermill_s_formatting() -> None:
    def cleaned(source: str) -> str:
        cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["injected-parameters"]})
        return json.dumps(clean(nbformat.v4.new_notebook(cells=[cell]), {"limit": 4, "name": "x"}))

    assert cleaned('# Parameters\nlimit = 4\nname = "x"\n') == cleaned("# Parameters\nlimit=4\nname='x'")


def test_a_lapsed_approval_refuses_with_its_number_and_leaves_nothing(ward: tuple[Lake, Path], tmp_path: Path) -> None:
    lapsed = tmp_path / "lapsed"
    lapsed.mkdir()
    (lapsed / "ward.toml").write_text(SOURCE.format(id="ward", access="restricted", root="files", more=APPROVAL.format(number="2021-Sep-007", expires="2022-08-31")))
    with pytest.raises(Refused, match="2021-Sep-007"):
        report(ward[0], lapsed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_notebook_asks_the_gate_itself(ward: tuple[Lake, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    "Whoever opens a template in JupyterLab is refused too."
    (tmp_path / "ward.toml").write_text(SOURCE.format(id="ward", access="restricted", root="files", more=APPROVAL.format(number="2021-Sep-007", expires="2022-08-31")))
    monkeypatch.setenv("DICOM_WORKBENCH_CATALOG", str(tmp_path))
    monkeypatch.setenv("DICOM_WORKBENCH_WORKSPACE", str(ward[0].folder))
    with pytest.raises(Refused, match="2021-Sep-007"):
        begin("ward")


def test_every_template_that_ships_begins_with_the_gate() -> None:
    assert templates()
    for path in templates().values():
        code = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
        assert "source_id" in code[0] and "begin(source_id, source_version, released)" in code[1], path.stem


def test_a_refusal_in_the_kernel_is_a_refusal(ward: tuple[Lake, Path], tmp_path: Path) -> None:
    code = "from dicom_workbench.standard.errors import Refused\nraise Refused('The approval 12/3 lapsed.', 'Ask.')"
    with pytest.raises(Refused, match="12/3"):
        report(*ward, tmp_path, template=own_template(tmp_path, code))


def test_an_unknown_template_lists_those_that_exist() -> None:
    with pytest.raises(UsageError) as error:
        find_template("sorce_profile")
    assert "source_profile" in error.value.remedy


@pytest.mark.parametrize(
    ("given", "said"),
    [({"limitt": 3}, "no parameter 'limitt'"), ({"limit": "many"}, "'limit' of 'mine' must be of type int"), ({"limit": 2.5}, "must be of type int"), ({"ratio": "half"}, "type float"),
     ({"names": "a"}, "type list"), ({"source_version": "1"}, "set by the run itself")],
)
def test_wrong_parameters_stop_before_anything_runs(ward: tuple[Lake, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict, said: str) -> None:
    monkeypatch.setattr(papermill, "execute_notebook", lambda *a, **k: pytest.fail("it ran"))
    with pytest.raises(UsageError) as error:
        report(*ward, tmp_path / "out", template=own_template(tmp_path), parameters=given)
    assert said in error.value.message and error.value.exit_code == 2
    if "set by" not in said:
        assert "limit (int, default 3)" in error.value.remedy


def test_text_from_the_command_line_reaches_the_notebook_in_its_type(ward: tuple[Lake, Path], tmp_path: Path) -> None:
    done = report(*ward, tmp_path, template=own_template(tmp_path, "print(limit + 1, ratio * 2, names)"), parameters={"limit": "4", "ratio": "1", "names": '["a"]'})
    assert "5 2.0 ['a']" in done.html.read_text().replace("&#x27;", "'")
    injected = next(c for c in nbformat.read(done.notebook, 4).cells if "injected-parameters" in c.metadata.get("tags", []))
    assert "limit = 4\n" in injected.source and str(tmp_path) not in injected.source


@pytest.mark.parametrize("broken", ["no notebook at all", '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'])
def test_a_file_that_is_no_template_is_said_to_be_none(ward: tuple[Lake, Path], tmp_path: Path, broken: str) -> None:
    (tmp_path / "mine.ipynb").write_text(broken)
    with pytest.raises(UsageError, match="The template 'mine'"):
        report(*ward, tmp_path / "out", template=tmp_path / "mine.ipynb")


def test_a_failing_cell_is_one_line_without_values_and_the_good_report_stays(ward: tuple[Lake, Path], tmp_path: Path) -> None:
    good = report(*ward, tmp_path / "out", template=own_template(tmp_path, "1 + 1"))
    before = {name: (good.html.parent / name).read_bytes() for name in FILES}
    with pytest.raises(WorkbenchError) as error:
        report(*ward, tmp_path / "out", template=own_template(tmp_path, "1 + 1", "raise ValueError('DOE^JOHN, born 19700101')"))
    assert "mine" in error.value.message and "ValueError" in error.value.message
    assert "DOE" not in str(error.value) and "1970" not in str(error.value) and "\n" not in str(error.value)
    assert {name: (good.html.parent / name).read_bytes() for name in FILES} == before
    assert sorted(p.name for p in good.html.parent.iterdir()) == sorted(FILES)


def test_a_kernel_that_dies_is_one_line(ward: tuple[Lake, Path], tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"mine.*its Python process ended"):
        report(*ward, tmp_path / "out", template=own_template(tmp_path, "import os; os._exit(1)"))


def test_an_older_version_can_be_reported_after_the_data_changed(samples: Path, tmp_path: Path) -> None:
    lake, catalogue = make_ward(tmp_path, samples)
    template = own_template(tmp_path, "from dicom_workbench.report import begin\nr = begin(source_id, source_version)\nprint(r.lake.rows(source_id, r.source_version).collect().height, r.source_version)")
    before = report(lake, catalogue, tmp_path / "1", template=template)
    shutil.copy(samples / "MR_small.dcm", catalogue / "files" / "new.dcm")
    found = Catalogue.open(catalogue)
    ingest(found.get("ward"), found.entry("ward").folder, lake)
    after = report(lake, catalogue, tmp_path / "2", template=template)
    pinned = report(lake, catalogue, tmp_path / "3", template=template, pin=before.source_version[:12])
    assert f"4 {after.source_version}" in after.html.read_text()
    for name in FILES:
        assert (pinned.html.parent / name).read_bytes() == (before.html.parent / name).read_bytes()


def test_output_that_cannot_be_written_is_one_line(ward: tuple[Lake, Path], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(WorkbenchError, match="cannot be written"):
        report(*ward, tmp_path / "out", template=own_template(tmp_path, "1"))


def test_the_index_lists_reports_refusals_and_failures(tmp_path: Path) -> None:
    results = [ReportResult("a", EVIL, "source_profile", "f" * 64, Path(), Path(), Path()), NotReported("b", "B", "UNZABREC approval 12 lapsed.", True), NotReported("c", "C", f"broke {EVIL}", False)]
    first, second = index(tmp_path / "1", results).read_bytes(), index(tmp_path / "2", results[::-1]).read_bytes()
    page = first.decode()
    assert first == second and "<script" not in page
    assert 'href="a/source_profile/report.html"' in page and "UNZABREC approval 12 lapsed." in page and "refused" in page and "failed" in page
    assert "1 of 3 sources" in page


@pytest.mark.slow
def test_a_million_series_twice(idc_table: Path, tmp_path: Path) -> None:
    lake, catalogue = Lake.open(tmp_path / "ws"), Catalogue.open()
    ingest(catalogue.get("idc"), catalogue.entry("idc").folder, lake)
    one, two = (run_report(lake, catalogue.get("idc"), out=tmp_path / d) for d in "12")
    for name in FILES:
        assert (one.html.parent / name).read_bytes() == (two.html.parent / name).read_bytes()
    page = one.html.read_text()
    assert len(page) < 2_000_000
    assert all(n in page for n in ("1,044,191", "168,507", "86,451", "459 of 86,451 patients"))
