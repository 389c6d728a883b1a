"""The tree of a source, the elements of its files and their pictures, against pydicom and against the whole levels."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pydicom
import pytest

from dicom_workbench.catalog import load_source
from dicom_workbench.explore.file_elements import (
    content_of,
    differing,
    elements_of,
    elements_of_file,
    elements_of_row,
    masked_elements,
    search,
)
from dicom_workbench.explore.hierarchy import MOST_BYTES, Hierarchy
from dicom_workbench.explore.nodes import Node, Tree
from dicom_workbench.explore.thumbnail import picture, windowed
from dicom_workbench.quality import score_source, workspace_secret
from dicom_workbench.standard.errors import WorkbenchError
from dicom_workbench.store import Lake, levels
from dicom_workbench.store.ingest import ingest
from dicom_workbench.teach import synth

SOURCE = "ward"


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Path]:
    "A synthetic hospital with planted defects, and a scored lake of it."
    place = tmp_path_factory.mktemp("hospital")
    synth(place / "data", 24, seed=3, defects=True)
    (place / f"{SOURCE}.toml").write_text(
        'id = "ward"\ntitle = "Ward"\ninstitution = "Test hospital"\ncountry = "ZM"\nsteward = "imaging-data@example.org"\naccess = "open"\n'
        'licence = "none"\nmodalities = ["CT"]\ndeidentified = false\nrefresh = "never"\n[acquisition]\nkind = "folder"\nroot = "data"\n', encoding="utf-8")
    lake = Lake.open(place / "workspace")
    ingest(load_source(place / f"{SOURCE}.toml"), place, lake)
    score_source(lake, SOURCE)
    return lake, place / "data"


def everything(tree: Tree, node: Node) -> tuple[list[Node], int]:
    found: list[Node] = []
    while True:
        page = tree.children(node, len(found))
        found += page.nodes
        if not page.nodes or len(found) >= page.total:
            return found, page.left_out


def patients(tree: Tree) -> list[Node]:
    found: list[Node] = []
    while len(found) < (page := tree.patients(len(found))).total:
        found += page.nodes
    return found


@pytest.mark.slow
def test_the_tree_holds_every_entity_of_the_levels_and_says_the_same_of_it(hospital: tuple[Lake, Path]) -> None:
    lake, _ = hospital
    tree = Tree(lake, SOURCE, size=7)
    people = patients(tree)
    named = [p for p in people if p.keys[1] is not None]
    whole = levels.patients(lake, SOURCE).collect()
    assert {p.keys for p in named} == set(whole.select("IssuerOfPatientID", "PatientID").iter_rows())
    rows = {(r["IssuerOfPatientID"], r["PatientID"]): r for r in whole.iter_rows(named=True)}
    assert all(dict(p.row) == rows[p.keys] for p in named)
    studies = [s for p in people for s in everything(tree, p)[0]]
    seen = {r["StudyInstanceUID"]: r for r in levels.studies(lake, SOURCE).collect().iter_rows(named=True)}
    assert {s.keys[-1] for s in studies} == set(seen) and all(dict(s.row) == seen[str(s.keys[-1])] for s in studies)
    series = [x for s in studies for x in everything(tree, s)[0]]
    seen = {r["SeriesInstanceUID"]: r for r in levels.series(lake, SOURCE).collect().iter_rows(named=True)}
    assert {x.keys[-1] for x in series} == set(seen) and all(dict(x.row) == seen[str(x.keys[-1])] for x in series)
    # down to the last file: each readable one is below some series, or counted as left out on the way
    shown = {i.keys[-1] for x in series[:60] for i in everything(tree, x)[0]}
    of_those = levels.instances(lake, SOURCE).filter(pl.col("SeriesInstanceUID").is_in([x.keys[-1] for x in series[:60]])).collect()
    assert shown >= set(of_those["SOPInstanceUID"])


def test_conflicts_are_those_of_the_level_and_scores_those_of_the_last_run(hospital: tuple[Lake, Path]) -> None:
    lake, _ = hospital
    tree = Tree(lake, SOURCE, size=100)
    studies = [s for p in patients(tree) for s in everything(tree, p)[0]]
    whole = levels.studies(lake, SOURCE).collect()
    columns = [c for c in whole.columns if c.endswith("_conflict")]
    conflicting = set(whole.filter(pl.any_horizontal(pl.col(columns) > 0))["StudyInstanceUID"])
    assert conflicting and {s.keys[-1] for s in studies if s.conflicts} == conflicting
    kept = pl.scan_parquet(lake.files("scores", SOURCE)).filter(level="study").select("StudyInstanceUID", "total").collect()
    known = dict(kept.drop_nulls().iter_rows())
    assert known and all(s.score == known.get(str(s.keys[-1])) for s in studies)
    worst = [p.score for p in tree.patients(sort="lowest score").nodes if p.score is not None]
    assert worst == sorted(worst) and len(worst) > 10


def test_only_what_is_opened_is_gathered(hospital: tuple[Lake, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    lake, _ = hospital
    tree = Tree(lake, SOURCE, size=3)
    asked: list[int] = []
    real = levels.patients
    monkeypatch.setattr(levels, "patients", lambda part, *a: (asked.append(part.rows(*a).select("PatientID").unique().collect().height), real(part, *a))[1])
    assert len(tree.patients(6).nodes) == 3 and asked and max(asked) <= 3


def test_finding_masked_patients_does_not_tell_who_they_are(hospital: tuple[Lake, Path]) -> None:
    lake, _ = hospital
    tree = Tree(lake, SOURCE, size=5)
    person = next(p for p in tree.patients().nodes if p.row["PatientName"])
    name = str(person.row["PatientName"]).split("^")[0]
    assert person.keys in {p.keys for p in patients_found(tree, name, False)}
    assert tree.patients(find=str(person.row["PatientID"]), masked=True).total == 0
    explorer = Hierarchy(lake, SOURCE, rows=50)
    shown = json.dumps([explorer.tree, explorer.detail, explorer.setup], ensure_ascii=False)
    ids = levels.patients(lake, SOURCE).collect()
    for value in [*ids["PatientID"], *ids["PatientName"].drop_nulls()]:
        assert str(value) not in shown
    token = next(r["title"].split()[0] for r in explorer.tree["rows"] if r["title"].startswith("#"))
    assert tree.patients(find=token, masked=True).total == 1


def patients_found(tree: Tree, text: str, masked: bool) -> list[Node]:
    found: list[Node] = []
    while len(found) < (page := tree.patients(len(found), text, masked=masked)).total:
        found += page.nodes
    return found


def test_a_series_opens_to_the_elements_pydicom_reads(hospital: tuple[Lake, Path]) -> None:
    lake, root = hospital
    explorer = Hierarchy(lake, SOURCE, root=root, mask=False, rows=10)
    act(explorer, do="select", id=0, open=True)
    for level in ("study", "series"):
        act(explorer, do="select", id=next(r["id"] for r in explorer.tree["rows"] if r.get("level") == level), open=True)
    assert explorer.selected is not None and explorer.selected.level == "series"
    path = explorer.rows.sort("path").collect()["path"]
    tags = {int(t, 16) for t in explorer.elements["tag_path"] if "[" not in t}
    assert any(tags == {int(e.tag) for e in (*data.file_meta, *data)} for data in map(pydicom.dcmread, (root / p for p in path)))
    act(explorer, do="search", text="patient's name")
    assert [r[1] for r in explorer.detail["rows"]] == ["PatientName"]
    act(explorer, do="image", at=10**9)
    act(explorer, do="window", name="no such window")
    act(explorer, do="select", id=10**6)
    assert "not" in explorer.tree["note"]
    act(explorer, do="nonsense")
    assert len(json.dumps(explorer.tree)) < MOST_BYTES and len(json.dumps(explorer.detail)) < MOST_BYTES


def act(explorer: Hierarchy, **message: object) -> None:
    explorer._hear(None, message, None)


@pytest.mark.slow
def test_everything_opened_still_fits_into_a_message(hospital: tuple[Lake, Path]) -> None:
    lake, _ = hospital
    explorer = Hierarchy(lake, SOURCE, rows=25, mask=False)
    for _ in range(4):
        for number in [r["id"] for r in explorer.tree["rows"] if r.get("opens") and not r.get("open")]:
            if not any(r.get("id") == number for r in explorer.tree["rows"]):
                continue  # closed again, to make room
            act(explorer, do="open", id=number)
            assert len(json.dumps(explorer.tree, ensure_ascii=False).encode()) <= MOST_BYTES
            assert next(r for r in explorer.tree["rows"] if r.get("id") == number and not r.get("pager"))["open"]


def test_out_of_reach_files_leave_the_row_of_the_table(hospital: tuple[Lake, Path], tmp_path: Path) -> None:
    lake, _ = hospital
    for root in (None, tmp_path):
        explorer = Hierarchy(lake, SOURCE, root=root, mask=False)
        for level in ("patient", "study", "series"):
            act(explorer, do="select", id=next(r["id"] for r in explorer.tree["rows"] if r.get("level") == level), open=True)
        assert "row" in explorer.detail["from"] and explorer.picture == b""
        assert "Modality" in explorer.elements["keyword"].to_list()


def test_elements_are_pydicoms_private_ones_with_creator(samples: Path) -> None:
    for name in ("CT_small.dcm", "MR_small.dcm", "test-SR.dcm", "rtplan.dcm", "JPEG2000.dcm"):
        found = elements_of_file(samples, name)
        data = pydicom.dcmread(samples / name)
        want = {f"{int(e.tag):08X}" for e in (*data.file_meta, *data) if int(e.tag) <= 0x7FE00010}  # the padding behind the pixels is not read
        assert {t for t in found["tag_path"] if "." not in t} == want, name
        assert found.equals(elements_of(content_of(samples, name)))
    ct = elements_of_file(samples, "CT_small.dcm")
    assert set(search(ct, "(0043,104e)")["private_creator"]) == {"GEMS_PARM_01"}
    assert search(ct, "(0010,00").height == sum("001000" in t for t in ct["tag_path"])
    assert search(ct, "no such thing anywhere").is_empty()


def test_a_file_in_an_archive_is_read_from_it(samples: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "disc.zip", "w", zipfile.ZIP_DEFLATED) as disc:
        disc.write(samples / "CT_small.dcm", "a/ct.dcm")
        disc.write(samples / "MR_small.dcm", "a/mr.dcm")
    assert content_of(tmp_path, "disc.zip!a/mr.dcm") == (samples / "MR_small.dcm").read_bytes()
    assert elements_of_file(tmp_path, "disc.zip!a/mr.dcm").filter(keyword="Modality")["value"].item() == "MR"
    with pytest.raises(WorkbenchError):
        content_of(tmp_path, "disc.zip!a/none.dcm")


def test_paths_cannot_lead_out_of_the_source(tmp_path: Path, samples: Path) -> None:
    shutil.copy(samples / "CT_small.dcm", tmp_path / "secret.dcm")
    (tmp_path / "root").mkdir()
    for path in ("../secret.dcm", "a/../../secret.dcm", str(tmp_path / "secret.dcm")):
        with pytest.raises(WorkbenchError):
            content_of(tmp_path / "root", path)
        with pytest.raises(WorkbenchError):
            elements_of_file(tmp_path / "root", path)


def test_masked_elements_of_real_files_show_no_identifier(samples: Path) -> None:
    for name in ("CT_small.dcm", "MR_small.dcm", "test-SR.dcm", "rtplan.dcm", "US1_UNCI.dcm" if (samples / "US1_UNCI.dcm").exists() else "JPEG2000.dcm"):
        data = pydicom.dcmread(samples / name)
        shown = set(masked_elements(elements_of_file(samples, name), b"k" * 32)["value"].drop_nulls())
        for keyword in ("PatientName", "PatientID", "AccessionNumber", "SOPInstanceUID", "StudyInstanceUID", "ReferringPhysicianName"):
            value = str(data.get(keyword) or "")
            assert not value or value not in shown, (name, keyword)
        private = {str(e.value) for e in data.iterall() if e.tag.is_private and not e.tag.is_private_creator and e.VR == "LO" and e.value}
        public = {str(e.value) for e in data.iterall() if not e.tag.is_private}
        assert not (private - public) & shown


def test_differing_says_first_what_should_agree() -> None:
    rows = pl.DataFrame({"StudyDate": ["20200101", "20200102", None], "InstanceNumber": ["1", "2", "3"], "KVP": ["120"] * 3})
    found = differing(rows)
    assert found.select("column", "distinct", "absent", "agree").rows() == [("StudyDate", 2, 1, True), ("InstanceNumber", 3, 0, False)]
    assert differing(rows.head(0)).is_empty() and differing(rows.head(1)).is_empty()


def test_elements_of_a_row_carry_tags(samples: Path) -> None:
    found = elements_of_row({"PatientID": "1", "ReferencedSeriesSequence_SeriesInstanceUID": "1.2", "Modality": None, "path": "x"})
    assert found["tag_path"].to_list() == ["00081115[0].0020000E", "00100020"]


def test_a_picture_is_pydicoms_pixels_in_the_window() -> None:
    from pydicom.data import get_testdata_file

    from dicom_workbench.explore.thumbnail import CT_WINDOWS

    data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    hu = data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)
    want = pydicom.pixels.apply_windowing(hu, _with_window(data, *CT_WINDOWS["lung"])).ravel()  # the same up to the range of its output
    mine = windowed(hu, *CT_WINDOWS["lung"]).astype(float).ravel()
    assert mine.std() > 20 and np.abs(np.polyval(np.polyfit(want, mine, 1), want) - mine).max() <= 1
    shown = picture(Path(get_testdata_file("CT_small.dcm")).read_bytes(), "lung")
    assert _unpacked(shown.png).shape == data.pixel_array.shape
    assert np.array_equal(_unpacked(shown.png), windowed(hu, *CT_WINDOWS["lung"]))


def _with_window(data: pydicom.Dataset, centre: float, width: float) -> pydicom.Dataset:
    data.WindowCenter, data.WindowWidth = centre, width
    data.pop("VOILUTFunction", None)
    return data


def _unpacked(png: bytes) -> "np.ndarray":
    "An 8-bit grey PNG whose lines have no filter, by the specification's chunks."
    import zlib

    at, raw, size = 8, b"", (0, 0)
    while at < len(png):
        length, kind = int.from_bytes(png[at:at + 4], "big"), png[at + 4:at + 8]
        chunk = png[at + 8:at + 8 + length]
        assert zlib.crc32(kind + chunk) == int.from_bytes(png[at + 8 + length:at + 12 + length], "big")
        if kind == b"IHDR":
            size = int.from_bytes(chunk[4:8], "big"), int.from_bytes(chunk[:4], "big")
        raw += chunk if kind == b"IDAT" else b""
        at += 12 + length
    lines = np.frombuffer(zlib.decompress(raw), np.uint8).reshape(size[0], size[1] + 1)
    assert not lines[:, 0].any()
    return lines[:, 1:]


def test_every_real_file_gives_a_picture_or_one_line(samples: Path) -> None:
    made = 0
    for path in sorted(samples.glob("*.dcm")):
        found = picture(path.read_bytes())
        assert bool(found.png) or found.words.startswith("No picture"), path.name
        assert "\n" not in found.words
        made += bool(found.png)
    assert made > 40
    assert picture(b"not dicom").png == b"" and picture(b"").png == b""


def test_the_last_score_of_another_version_is_not_shown(hospital: tuple[Lake, Path], tmp_path: Path) -> None:
    lake, _ = hospital
    copy = tmp_path / "workspace"
    shutil.copytree(lake.folder, copy)
    notes = lake.notes("scores", SOURCE)[0]
    other = Lake.open(copy)
    other.commit("scores", SOURCE, [], [], {"run_id": "x", "source_version": "0" * 64})
    assert notes["source_version"] == lake.source_version(SOURCE)
    assert Tree(other, SOURCE).sorts == ("Patient ID", "most instances")
    assert workspace_secret(other.folder) == workspace_secret(lake.folder)
