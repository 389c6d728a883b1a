"""The confidentiality tables: against the standard's data as others transcribed it, pydicom's dictionaries, and highdicom."""

import importlib.util
import json
import os
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest
from pydicom._private_dict import private_dictionaries
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.sr.codedict import codes

from dicom_workbench.standard import confidentiality as c
from dicom_workbench.standard.attributes import tag_of

SHARED = Path(os.environ.get("DICOM_WORKBENCH_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"
OPTION_OF = {
    "retain_safe_private": "retain-safe-private", "retain_uids": "retain-uids", "retain_device_identity": "retain-device-identity",
    "retain_institution_identity": "retain-institution-identity", "clean_descriptors": "clean-descriptors",
    "retain_patient_characteristics": "retain-patient-characteristics", "clean_graphics": "clean-graphics",
    "retain_longitudinal_full_dates": "retain-full-dates", "clean_structured_content": "clean-structured-content",
    "retain_longitudinal_modified_dates": "retain-modified-dates",
}
CT, SC, PET, SR = (f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("2", "7", "128", "88.33"))


def shared(name):
    path = SHARED / "standard" / name
    if not path.exists():
        pytest.skip("needs shared/data/standard")
    return json.loads(path.read_text())


def test_the_tables_have_all_rows_of_edition_2026d():
    assert c.EDITION == "2026d"
    assert (len(c.ROWS), len(c.CONTENT_ITEMS), len(c._safe()), len(c.METHODS)) == (657, 214, 479, 13)
    assert len({row.tag for row in c.ROWS}) == 657


@pytest.mark.parametrize("name", [
    "confidentiality_actions.csv", "content_items.csv", "safe_private.csv", "deidentification_methods.csv", "confidentiality_types.csv"])
def test_each_table_names_its_edition_and_its_source(name):
    stamp = files("dicom_workbench.standard").joinpath(name).read_text(encoding="utf-8").partition("\n")[0]
    assert stamp.startswith("#") and "2026d" in stamp and "(c) NEMA" in stamp


def test_a_table_of_another_edition_is_not_read(monkeypatch):
    monkeypatch.setattr(c, "EDITION", "2031a")
    with pytest.raises(ValueError, match="is not of edition"):
        c.text_of("safe_private.csv")


@pytest.mark.parametrize(("tag", "keyword", "basic", "options"), [  # as published; an older edition by another hand (innolitics/dicom-standard) has the same
    (0x00080050, "AccessionNumber", "Z", {}),
    (0x00080020, "StudyDate", "Z", {"retain-full-dates": "K", "retain-modified-dates": "C"}),
    (0x00080021, "SeriesDate", "X/D", {"retain-full-dates": "K", "retain-modified-dates": "C"}),
    (0x00081010, "StationName", "X/Z/D", {"retain-device-identity": "K"}),
    (0x00081030, "StudyDescription", "X", {"clean-descriptors": "C"}),
    (0x00081140, "ReferencedImageSequence", "X/Z/U*", {"retain-uids": "K"}),
    (0x00080018, "SOPInstanceUID", "U", {"retain-uids": "K"}),
    (0x00100010, "PatientName", "Z", {}),
    (0x00100020, "PatientID", "Z/D", {}),
    (0x00100040, "PatientSex", "Z", {"retain-patient-characteristics": "K"}),
    (0x00102110, "Allergies", "X", {"retain-patient-characteristics": "C", "clean-descriptors": "C"}),
    (0x0040A730, "ContentSequence", "D", {"clean-structured-content": "C"}),
    (0x00120060, "ClinicalTrialCoordinatingCenterName", "Z", {"retain-institution-identity": "K"}),
    (0x00181002, "DeviceUID", "U", {"retain-uids": "K", "retain-device-identity": "K"}),
])
def test_rows_say_what_the_standard_says(tag, keyword, basic, options):
    row = c.row_of(tag)
    assert (row.keyword, row.basic, dict(row.options)) == (keyword, basic, options)


def test_repeating_groups_and_private_attributes_have_one_row():
    assert c.row_of(0x50023000) is c.row_of(0x50FE2600)
    assert c.row_of(0x60003000) is c.row_of(0x601E3000)
    assert c.row_of(0x60003000).keyword != c.row_of(0x60004000).keyword
    assert c.row_of(0x60000010) is None  # the rows of an overlay: the table names only its data and comments
    assert c.row_of(0x00290010) is c.row_of(0x70531000)
    assert c.row_of(0x00290010).options == {"retain-safe-private": "C"}


def test_every_row_is_as_transcribed_elsewhere():
    rules = shared("ps315_2026d.json")["rules"]
    theirs = {}
    for rule in rules:
        tag = rule["tag"] if rule["tag"] == "PRIVATE" else f"{rule['tag'][:4]},{rule['tag'][4:]}"
        theirs[tag.lower()] = (rule["basic"], {OPTION_OF[o]: code for o, code in rule["options"].items()})
    assert {row.tag.lower(): (row.basic, dict(row.options)) for row in c.ROWS} == theirs


def test_every_content_item_is_as_transcribed_elsewhere():
    items = shared("ps315_2026d.json")["content_items"]
    theirs = Counter((i["scheme"], i["code"], i["value_type"], i["basic"],
                      tuple(sorted((OPTION_OF[o], code) for o, code in i["options"].items()))) for i in items)
    ours = Counter((i.scheme, i.code, i.value_type, i.basic, tuple(sorted(i.options.items()))) for i in c.CONTENT_ITEMS)
    assert ours == theirs


def test_every_safe_private_attribute_is_as_transcribed_elsewhere():
    rows = shared("e3_10_1_safe_private_2026d.json")["rows"]
    assert len(rows) == 479
    for row in rows:
        element = int(row["element"].removeprefix("xx"), 16)
        assert c.safe_private(row["private_creator"], int(row["group"], 16), 0x4200 | element) == row["vr"]


def test_keywords_are_those_of_the_dictionary():
    known = {int(row.tag.replace(",", ""), 16): row.keyword for row in c.ROWS if row.tag != "private" and "x" not in row.tag}
    newer = {tag: keyword for tag, keyword in known.items() if not keyword_for_tag(tag)}
    assert {tag: keyword_for_tag(tag) for tag in known if tag not in newer} == {t: k for t, k in known.items() if t not in newer}
    assert len(newer) <= 26  # fewer, once pydicom's dictionary has caught up
    assert all(keyword.isidentifier() for keyword in known.values())


def test_methods_are_those_of_pydicom():
    theirs = {code.value: code.meaning for code in (getattr(codes.cid7050, name) for name in dir(codes.cid7050)) if hasattr(code, "value")}
    assert set(c.METHODS) == set(theirs)
    assert all(c.METHODS[code].split()[:2] == theirs[code].split()[:2] for code in theirs)


def test_safe_private_attributes_have_the_vr_that_vendors_document():
    differ, seen = [], 0
    for (creator, group, element), vr in c._safe().items():
        theirs = private_dictionaries.get(creator, {}).get(f"{group:04X}xx{element:02X}") or private_dictionaries.get(
            creator, {}).get(f"{group:04x}xx{element:02x}")
        if theirs and vr:
            seen += 1
            differ += [(creator, group, element, vr, theirs[0])] if theirs[0] not in (*vr.split("/"), "UN") else []
    assert seen > 200
    assert len(differ) / seen < 0.05, differ


def test_a_private_attribute_is_safe_for_its_own_creator_only():
    creator, group, element = next(iter(c._safe()))
    assert c.safe_private(creator, group, element) is not None
    assert c.safe_private(creator + "X", group, element) is None
    assert c.safe_private(creator.lower() + " ", group, element) is None
    assert c.safe_private("SIEMENS CSA HEADER", 0x0029, 0x1020) is None


# --- Types ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def places():
    """(SOP class, path of keywords) -> strictest Type, over all modules, from highdicom's tables; named attributes only."""
    pytest.importorskip("highdicom", reason="needs highdicom")
    folder = Path(importlib.util.find_spec("highdicom").origin).parent / "_standard"
    iods, modules, classes = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("iod_module_map", "module_attribute_map", "sop_class_iod_map"))
    named = {row.keyword for row in c.ROWS if tag_for_keyword(row.keyword)}
    rows = {key: [(tuple(r["path"]), r["keyword"], r["type"]) for r in rows if r["keyword"] in named and r["type"] in c.STRICTEST]
            for key, rows in modules.items()}
    found = {}
    for sop_class, iod in classes.items():
        for module in iods[iod]:
            for path, keyword, kind in rows.get(module["key"], ()):
                key = (sop_class, (*path, keyword))
                found[key] = min(kind, found.get(key, "3"), key=c.STRICTEST.index)
    return found


def test_types_are_those_of_all_modules_of_each_object_at_every_depth(places):
    tags = {keyword: tag_of(keyword) for _, path in places for keyword in path}
    wrong = {key: kind for key, kind in places.items()
             if (c.type_of(key[0], tuple(tags[keyword] for keyword in key[1])) or "3") != kind}
    # the same sequence inside itself is one place, so that the strictest of its depths counts
    nested = {key for key in wrong if any(a == b for a, b in zip(key[1], key[1][1:], strict=False))}
    assert len(places) > 100_000
    assert not set(wrong) - nested, list(wrong.items())[:5]


@pytest.mark.parametrize(("sop_class", "path", "kind"), [  # sections of PS3.3
    (CT, ["PatientName"], "2"),                    # C.7.1.1
    (CT, ["SOPInstanceUID"], "1"),                 # C.12.1
    (CT, ["AcquisitionDate"], None),               # C.7.10.1: Type 3
    (PET, ["AcquisitionDate"], "2"),               # C.8.9.4
    (PET, ["SeriesDate"], "1"),                    # C.8.9.1
    (CT, ["ClinicalTrialProtocolID"], "1"),        # C.7.1.3, an optional module
    (SR, ["ContentDate"], "1"),                    # C.17.2
    (SR, ["VerifyingObserverSequence", "VerifyingObserverName"], "1"),
    (SR, ["VerifyingObserverSequence", "VerifyingObserverIdentificationCodeSequence"], "2"),
    (SC, ["ReferringPhysicianIdentificationSequence", "PersonIdentificationCodeSequence"], "1"),
    (CT, ["OtherPatientIDsSequence", "PatientID"], "1"),
    (CT, ["PatientComments"], None),
    (CT, ["Manufacturer"], None),                  # Type 2, but no business of the confidentiality table
])
def test_types_are_what_the_standard_says(sop_class, path, kind):
    assert c.type_of(sop_class, tuple(map(tag_of, path))) == kind


def test_types_agree_with_an_older_edition():
    """Top level of all composite objects in 2023a (dicom-validator), where both name an attribute: few have changed since."""
    folder = SHARED / "quality" / "dicom_validator_2023a"
    if not folder.exists():
        pytest.skip("needs shared/data/quality")
    iods, modules = (json.loads((folder / f"{name}.json").read_text()) for name in ("iod_info", "module_info"))

    def rows(ref, seen=()):
        for tag, row in (modules.get(ref) or {}).items():
            if tag == "include":
                for other in row:
                    if other["ref"] not in seen:
                        yield from rows(other["ref"], (*seen, ref))
            elif "x" not in tag:
                yield int(tag[1:5] + tag[6:10], 16), row["type"]

    agree = Counter()
    for sop_class, iod in iods.items():
        strictest = {}
        for module in iod["modules"].values():
            for tag, kind in rows(module["ref"]):
                if kind in c.STRICTEST:
                    strictest[tag] = min(kind, strictest.get(tag, "3"), key=c.STRICTEST.index)
        if sop_class in c.storage_classes():
            agree.update((c.type_of(sop_class, (tag,)) or "3") == kind for tag, kind in strictest.items() if tag in c._BY_TAG)
    assert agree[True] > 10_000
    assert agree[False] / agree.total() < 0.005


def test_an_unknown_class_counts_as_the_plainest_image_and_a_retired_one_as_its_successor():
    everything = [row for row in c.ROWS if row.tag != "private" and "x" not in row.tag]
    tags = [int(row.tag.replace(",", ""), 16) for row in everything]
    assert [c.type_of("1.3.12.2.1107.5.9.1", (t,)) for t in tags] == [c.type_of(SC, (t,)) for t in tags]
    retired, current = "1.2.840.10008.5.1.4.1.1.6", "1.2.840.10008.5.1.4.1.1.6.1"
    assert [c.type_of(retired, (t,)) for t in tags] == [c.type_of(current, (t,)) for t in tags]


def test_depth_and_strange_paths_do_no_harm():
    content = tag_of("ContentSequence")
    assert c.type_of(SR, (content,) * 200 + (tag_of("PersonName"),)) == c.type_of(SR, (content, tag_of("PersonName")))
    assert c.type_of(SR, (0x00091001, 0x00091002)) is None
    assert c.type_of("", (0,)) is None
