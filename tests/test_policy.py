"""The policy: what the table, the options and the object's own needs make of each element."""

import hashlib
import importlib.util
import json
import os
import pickle
import tomllib
from importlib.resources import files
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.sr.codedict import codes

from dicom_workbench.acquire.reference import read_with_pydicom
from dicom_workbench.privacy import policy as p
from dicom_workbench.privacy.policy import ACTIONS, OPTIONS, load_policy
from dicom_workbench.standard.attributes import tag_of
from dicom_workbench.standard.confidentiality import ROWS, storage_classes
from dicom_workbench.standard.errors import UsageError
from dicom_workbench.standard.requirements import judge

SHARED = Path(os.environ.get("DICOM_WORKBENCH_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"
CT, ENHANCED_CT, CR, PET, SR, GSPS, RT_PLAN = (
    f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("2", "2.1", "1", "128", "88.33", "11.1", "481.5"))
BASIC = load_policy()
LISTED = [(int(row.tag.replace(",", ""), 16), row) for row in ROWS if row.tag != "private" and "x" not in row.tag]
TEXTS = ("LO", "LT", "SH", "ST", "UC", "UT", "AE")


def action(policy, *keywords, sop_class=CT):
    *within, tag = (tag_of(keyword) for keyword in keywords)
    return policy.action(tag, sop_class, tuple(within))


def profile(tmp_path, text):
    path = tmp_path / "ours.toml"
    path.write_text(text, encoding="utf-8")
    return path


# --- the Basic Profile ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keyword", "sop_class", "expected"), [
    ("PatientName", CT, "empty"),              # Z, Type 2
    ("PatientID", CT, "empty"),                # Z/D, Type 2
    ("PatientBirthName", CT, "remove"),        # X, Type 3
    ("SOPInstanceUID", CT, "uid"),
    ("FrameOfReferenceUID", CT, "uid"),
    ("ContentDate", SR, "dummy"),              # Z/D, Type 1
    ("ContentDate", CR, "empty"),              # Z/D, Type 2C
    ("SeriesDate", CT, "remove"),              # X/D, Type 3
    ("SeriesDate", PET, "dummy"),              # X/D, Type 1
    ("AcquisitionDate", CT, "remove"),         # X/Z, Type 3
    ("AcquisitionDate", PET, "empty"),         # X/Z, Type 2
    ("AcquisitionDateTime", ENHANCED_CT, "dummy"),  # X/Z/D, Type 1C
    ("DeviceSerialNumber", CT, "remove"),      # X/Z/D, Type 3
    ("DeviceSerialNumber", ENHANCED_CT, "dummy"),   # X/Z/D, Type 1
    ("RTPlanDate", RT_PLAN, "dummy"),          # X/D, Type 2: the table does not offer Z
    ("PresentationCreationDate", GSPS, "dummy"),    # X, Type 1
    ("ResponsiblePerson", CT, "empty"),        # X, Type 2C
    ("AnnotationGroupUID", CT, "uid"),         # D of a UID is another UID
    ("OriginalAttributesSequence", CT, "remove"),
    ("DigitalSignaturesSequence", CT, "remove"),
    ("IconImageSequence", CT, "remove"),
])
def test_codes_are_resolved_by_the_type_in_the_objects_own_iod(keyword, sop_class, expected):
    assert action(BASIC, keyword, sop_class=sop_class) == expected


def test_the_same_attribute_is_removed_at_the_top_and_gets_a_dummy_where_an_item_needs_it():
    assert action(BASIC, "InstitutionName") == "remove"
    assert action(BASIC, "ReferringPhysicianIdentificationSequence", "InstitutionName") == "dummy"
    assert action(BASIC, "OtherPatientIDsSequence", "PatientID") == "dummy"


def test_references_are_kept_and_their_uids_mapped():
    for sequence in ("SourceImageSequence", "ReferencedImageSequence"):
        assert action(BASIC, sequence) == "keep"
        assert action(BASIC, sequence, "ReferencedSOPInstanceUID") == "uid"
        assert action(BASIC, sequence, "ReferencedSOPClassUID") == "keep"
    mammogram = "1.2.840.10008.5.1.4.1.1.1.2"  # its procedure step is Type 1C: a dummy, which its mapped UIDs are
    assert action(BASIC, "ReferencedPerformedProcedureStepSequence", sop_class=mammogram) == "keep"
    assert action(BASIC, "ReferencedPerformedProcedureStepSequence", sop_class=SR) == "empty"


@pytest.mark.parametrize("tag", [
    0x00080000,  # group length
    0x00080001,  # length to end
    0x00087777, 0x0010FFFF, 0x12340010,  # nobody knows them
    0x00000002, 0x00020016, 0x00041130,  # command, file meta, directory
    0x40000010, 0x40004000, 0xFFFCFFFC, 0xFFFAFFFA, 0x4FFE0001, 0x04000500,
    0x50000005, 0x50022500, 0x50FE3000, 0x60000010, 0x60000022, 0x60021500, 0x60003000, 0x60004000, 0x60FF1234,
    0x00120062, 0x00120063, 0x00120064, 0x00280303,  # markings, which are written anew
])
@pytest.mark.parametrize("options", [(), ("clean-graphics", "clean-descriptors", "retain-modified-dates", "retain-uids")])
def test_what_nobody_knows_is_denied(tag, options):
    assert load_policy(options=options).action(tag, CT) == "remove"
    assert load_policy(options=options).action(tag, CT, (tag_of("RequestAttributesSequence"),)) == "remove"


@pytest.mark.parametrize("keyword", [
    "Modality", "ImageType", "Rows", "PixelSpacing", "PixelData", "SOPClassUID", "SpecificCharacterSet", "ProcedureCodeSequence",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "AnatomicRegionSequence", "CodeMeaning", "CodingSchemeUID",
    "Manufacturer", "ManufacturerModelName", "BodyPartExamined", "KVP", "WaveformData", "RedPaletteColorLookupTableData",
    "InstanceNumber", "SegmentLabel", "ContourData", "BurnedInAnnotation", "SeriesNumber", "MappingResourceUID",
])
def test_what_betrays_nobody_is_kept(keyword):
    assert action(BASIC, keyword) == "keep"


@pytest.mark.parametrize(("keyword", "expected"), [  # of the dictionary, and of a kind that the table names elsewhere
    ("EvaluatorName", "remove"), ("ProcedureCreationDate", "remove"), ("ItemInventoryDateTime", "remove"),
    ("RetrieveURL", "remove"), ("AssertionUID", "uid"), ("VolumeFrameOfReferenceUID", "uid"), ("RepositoryUniqueID", "uid"),
    ("PatientBirthDateInAlternativeCalendar", "remove"), ("PatientAlternativeCalendar", "remove"), ("TextValue", "dummy"),
    ("HL7InstanceIdentifier", "remove"), ("IssuerOfAccessionNumberSequence", "remove"), ("CommentsOnTheScheduledProcedureStep", "remove"),
])
def test_what_the_table_forgot_is_treated_like_its_kind(keyword, expected):
    assert action(BASIC, keyword, sop_class=SR if keyword == "TextValue" else CT) == expected


def test_no_name_date_or_address_of_the_dictionary_is_kept_by_the_basic_profile():
    kept = [f"{tag:08X}" for tag in pydicom.datadict.DicomDictionary
            if dictionary_VR(tag) in ("PN", "DA", "DT", "TM", "AE", "AS") and BASIC.action(tag, CT) == "keep"]
    assert not kept


def test_what_is_left_out_takes_with_it_what_hangs_on_it(tmp_path):
    assert action(BASIC, "ResponsiblePersonRole") == "remove"  # Type 1C: where Responsible Person has a value
    keeps = load_policy(profile(tmp_path, '[overrides]\nResponsiblePerson = "keep"'))
    assert action(keeps, "ResponsiblePersonRole") == "keep"


def test_real_headers_lack_nothing_more_than_before():
    """Judged by the tables that the quality rules use, with their conditions: another path from the standard to here."""
    seen = 0
    for path in sorted((Path(pydicom.__file__).parent / "data" / "test_files").rglob("*")):
        header = read_with_pydicom(str(path)) if path.is_file() else None
        if header is None or header.status not in ("ok", "recovered") or not header.values.get("SOPClassUID"):
            continue
        sop_class, after = header.values["SOPClassUID"], []
        for tag, empty in header.tags:
            word = "remove" if tag >> 16 & 1 else BASIC.action(tag, sop_class)
            if word != "remove":
                after.append((tag, False if word == "dummy" else word == "empty" or empty))
        left = {tag for tag, _ in after}
        values = {column: value for column, value in header.values.items() if tag_of(column.partition("_")[0]) in left}
        lacks = {line for line in judge(sop_class, after, values) if line[1:] != ("2", "empty")}
        assert lacks <= set(judge(sop_class, header.tags, header.values)), path.name
        seen += 1
    assert seen > 50


# --- options --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.startswith("retain-") and o not in ("retain-safe-private", "retain-modified-dates")])
def test_an_option_keeps_all_that_the_table_lets_it_keep(option):
    policy, basic = load_policy(options=[option]), BASIC
    rows = [(tag, row) for tag, row in LISTED if row.options.get(option) == "K" and tag >> 16 not in (0, 2, 4)]
    follows = {"ClinicalTrialProtocolEthicsCommitteeName"}  # Type 1C: only with an approval number, which goes
    assert rows and {row.keyword for tag, row in rows if policy.action(tag, CT) != "keep"} <= follows
    others = [tag for tag, row in LISTED if option not in row.options]
    assert all(policy.action(tag, CT) == basic.action(tag, CT) for tag in others)


def test_modified_dates_are_shifted_wherever_the_table_has_a_date():
    policy = load_policy(options=["retain-modified-dates"])
    for tag, row in LISTED:
        if row.options.get("retain-modified-dates") and dictionary_has_tag(tag):
            vr = dictionary_VR(tag)
            expected = {"SH": "keep", "OB": BASIC.action(tag, CT)}.get(vr, "shift")  # an offset from UTC; a time in a blob
            assert policy.action(tag, CT) == expected, row.keyword
    assert action(policy, "PatientBirthDate") == "empty"  # no option keeps it
    assert action(policy, "ItemInventoryDateTime") == "shift"


def test_clean_descriptors_cleans_every_text_that_the_table_lets_it_clean():
    policy = load_policy(options=["clean-descriptors"])
    for tag, row in LISTED:
        if row.options.get("clean-descriptors") == "C" and dictionary_has_tag(tag) and dictionary_VR(tag) in TEXTS:
            assert policy.action(tag, CT) == "clean", row.keyword
            assert policy.otherwise(tag, CT) == BASIC.action(tag, CT)


def test_code_meanings_are_cleaned_in_the_code_sequences_that_are_cleaned_and_nowhere_else():
    policy = load_policy(options=["clean-descriptors"])
    assert action(policy, "AdmittingDiagnosesCodeSequence") == "clean"
    assert action(policy, "AdmittingDiagnosesCodeSequence", "CodeMeaning") == "clean"
    assert policy.otherwise(tag_of("CodeMeaning"), CT, (tag_of("AdmittingDiagnosesCodeSequence"),)) == "dummy"  # Type 1
    assert action(policy, "AdmittingDiagnosesCodeSequence", "CodeValue") == "keep"
    assert action(policy, "AnatomicRegionSequence", "CodeMeaning") == "keep"
    assert action(BASIC, "AdmittingDiagnosesCodeSequence") == "remove"


def test_a_shifted_date_is_never_kept_as_well():
    device, shifted = load_policy(options=["retain-device-identity"]), load_policy(options=["retain-device-identity", "retain-modified-dates"])
    assert action(device, "DateOfLastCalibration") == "keep"
    assert action(shifted, "DateOfLastCalibration") == "shift"


def test_structured_content_is_for_those_who_clean_it():
    assert action(BASIC, "ContentSequence", sop_class=SR) == "dummy"
    assert action(load_policy(options=["clean-structured-content"]), "ContentSequence", sop_class=SR) == "clean"


def test_graphics_are_kept_without_their_words_and_overlays_never():
    policy = load_policy(options=["clean-graphics"])
    assert action(policy, "GraphicAnnotationSequence", sop_class=GSPS) == "keep"
    assert action(policy, "GraphicAnnotationSequence", "TextObjectSequence", "UnformattedTextValue", sop_class=GSPS) == "dummy"
    assert policy.action(0x60003000, CT) == "remove"


def test_private_attributes_are_removed_unless_known_to_be_safe_and_asked_for():
    safe = load_policy(options=["retain-safe-private"])
    assert BASIC.private("SIEMENS MR HEADER", 0x0019, 0x100C) == "remove"
    assert safe.private("SIEMENS MR HEADER", 0x0019, 0x100C) == "keep"
    assert safe.private("SIEMENS CSA HEADER", 0x0029, 0x1020) == "remove"
    assert safe.action(0x0019100C, CT) == "remove"  # without its creator nobody knows it


def test_every_question_has_one_of_the_seven_answers():
    every = load_policy(options=[o for o in OPTIONS if o != "retain-full-dates"])
    for tag in [*pydicom.datadict.DicomDictionary, *(tag for tag, _ in LISTED)]:
        for sop_class in (CT, SR, "1.2.3", ""):
            assert {BASIC.action(tag, sop_class), every.action(tag, sop_class)} <= set(ACTIONS)
            assert every.otherwise(tag, sop_class) in ("remove", "empty", "dummy", "uid", "keep")


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**32 - 1), max_size=5), st.text(max_size=20))
def test_any_tag_anywhere_in_any_object_has_an_answer(tag, within, sop_class):
    assert BASIC.action(tag, sop_class, tuple(within)) in ACTIONS
    if tag >> 16 & 1 or not dictionary_has_tag(tag):
        assert BASIC.action(tag, sop_class, tuple(within)) in ("remove", "empty", "dummy", "uid")


# --- markings -------------------------------------------------------------------------------------------------------------


def test_methods_are_the_codes_of_what_is_applied_and_no_others():
    assert BASIC.methods == ("113100",)
    every = load_policy(options=[o for o in OPTIONS if o != "retain-full-dates"])
    assert every.methods == tuple(sorted({BASIC.methods[0], *OPTIONS.values()} - {OPTIONS["retain-full-dates"], "113102"}))
    known = {getattr(codes.cid7050, name).value for name in codes.cid7050.dir()}
    assert {"113100", *OPTIONS.values()} == known


def test_what_cannot_be_done_is_accepted_and_never_claimed():
    policy = load_policy(options=["clean-recognizable-visual-features"])
    assert policy.methods == ("113100",)
    assert policy.options == {"clean-recognizable-visual-features"} == p.NOT_DONE


# --- a steward's file -----------------------------------------------------------------------------------------------------


def test_exceptions_by_keyword_and_by_tag_are_the_same(tmp_path):
    by_keyword = load_policy(profile(tmp_path, '[overrides]\nPatientSex = "keep"\nStationName = "keep"'))
    by_tag = load_policy(profile(tmp_path, '# ours\n[overrides]\n"0008,1010" = "keep"\n"0010,0040" = "keep"'))
    assert by_keyword == by_tag and hash(by_keyword) == hash(by_tag)
    assert action(by_keyword, "PatientSex") == "keep"
    assert action(by_keyword, "PatientName") == "empty"


def test_an_exception_beats_an_option_but_never_the_validity_of_the_object(tmp_path):
    policy = load_policy(profile(tmp_path, """
options = ["clean-descriptors", "retain-patient-characteristics"]
[overrides]
StudyDescription = "remove"
PatientSex = "remove"
PatientAge = "remove"
Modality = "remove"
"""))
    assert action(policy, "StudyDescription") == "remove"
    assert action(policy, "PatientAge") == "remove"
    assert action(policy, "PatientSex") == "empty"  # Type 2
    assert action(policy, "PatientSize") == "keep"


def test_options_of_the_file_and_of_the_command_line_are_joined(tmp_path):
    policy = load_policy(profile(tmp_path, 'options = ["retain-uids"]'), ["clean-descriptors"])
    assert policy.options == {"retain-uids", "clean-descriptors"}
    assert policy.name == "ours"


@pytest.mark.parametrize(("text", "complaint"), [
    ('options = ["retain-everything"]', "no option"),
    ('options = "retain-uids"', "built wrongly"),
    ('overrides = ["PatientAge"]', "built wrongly"),
    ('option = ["retain-uids"]', "means nothing"),
    ('edition = "2024b"', "edition 2024b"),
    ('options = ["retain-full-dates", "retain-modified-dates"]', "cannot be kept and shifted"),
    ('[overrides]\nPatientNme = "keep"', "no attribute"),
    ('[overrides]\nPatientName = "hide"', "cannot be done"),
    ('[overrides]\nPatientName = "shift"', "cannot be done"),
    ('[overrides]\nStudyDate = "uid"', "cannot be done"),
    ('[overrides]\nRows = "clean"', "cannot be done"),
    ('[overrides]\nStudyDate = 3', "cannot be done"),
    ('[overrides]\n"0029,1010" = "keep"', "exception"),
    ('[overrides]\n"0002,0016" = "keep"', "exception"),
    ('[overrides]\n"6000,3000" = "keep"', "exception"),
    ("options = [", "no TOML"),
])
def test_a_mistake_is_one_clear_line(tmp_path, text, complaint):
    with pytest.raises(UsageError, match=complaint) as caught:
        load_policy(profile(tmp_path, text))
    assert caught.value.exit_code == 2 and caught.value.remedy and "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["", "nothing", "../basic", "/etc/passwd", "basic.toml"])
def test_an_unknown_profile_is_named(name):
    with pytest.raises(UsageError, match="no profile"):
        load_policy(name)


@pytest.mark.parametrize("name", p.profiles())
def test_each_profile_that_ships_says_what_it_is_for(name):
    policy = load_policy(name)
    said = tomllib.loads(files("dicom_workbench.privacy").joinpath(f"profiles/{name}.toml").read_text(encoding="utf-8"))
    assert said["title"] and said["description"] and said["edition"] == policy.edition == "2026d"
    assert policy.methods[0] == "113100"


def test_the_basic_profile_is_nothing_but_the_basic_profile():
    assert not BASIC.options and not BASIC.overrides


# --- one policy, one digest -----------------------------------------------------------------------------------------------


def test_the_digest_names_all_that_decides(tmp_path):
    digests = {
        BASIC.digest, load_policy("research").digest, load_policy(options=["retain-uids"]).digest,
        load_policy(profile(tmp_path, '[overrides]\nPatientSex = "keep"')).digest,
        load_policy(profile(tmp_path, '[overrides]\nPatientSex = "remove"')).digest,
    }
    assert len(digests) == 5 and all(len(digest) == 64 for digest in digests)
    assert load_policy(profile(tmp_path, 'title = "The basic profile, with another name"\noptions = []')).digest == BASIC.digest


def test_decisions_change_only_with_the_digest():
    """If this fails on purpose, count `_RULES` up in nbs/privacy/00_policy.ipynb, so that the digest changes too."""
    decided = hashlib.sha256()
    tags = sorted({tag for tag, _ in LISTED} | set(p._added()))
    for policy in (BASIC, load_policy("research"), load_policy(options=["retain-full-dates", "retain-uids", "clean-graphics"])):
        for sop_class in (CT, ENHANCED_CT, SR, GSPS, RT_PLAN):
            decided.update(" ".join(policy.action(tag, sop_class) for tag in tags).encode())
    assert (p._RULES, decided.hexdigest()[:16]) == (1, "c6d8d7546ce18a58")


def test_a_policy_travels_to_other_processes():
    research = load_policy("research")
    action(research, "PatientName")
    copy = pickle.loads(pickle.dumps(research))
    assert copy == research and copy.digest == research.digest and action(copy, "StudyDate") == "shift"


def test_a_question_is_thought_about_once(monkeypatch):
    policy = load_policy()
    first = action(policy, "SourceImageSequence", "ReferencedSOPInstanceUID")
    monkeypatch.setattr(p, "type_of", None)
    assert action(policy, "SourceImageSequence", "ReferencedSOPInstanceUID") == first == "uid"


def test_endless_nesting_does_not_fill_the_memory():
    policy = load_policy()
    content, name = tag_of("ContentSequence"), tag_of("PersonName")
    for depth in range(300):
        assert policy.action(name, SR, (content,) * depth) == "dummy"
    for number in range(100_500):
        policy.action(name, str(number))
    assert len(policy._memory) <= 100_001


# --- items that say nothing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sequence", sorted(p.DUMMY_ITEMS))
def test_a_dummy_item_has_all_that_its_sequence_always_demands(sequence):
    pytest.importorskip("highdicom", reason="needs highdicom")
    folder = Path(importlib.util.find_spec("highdicom").origin).parent / "_standard"
    modules = json.loads((folder / "module_attribute_map.json").read_text())
    wanted = {}
    for rows in modules.values():
        for row in rows:
            if row["path"] and row["path"][-1] == sequence and row["type"] in ("1", "2"):
                wanted.setdefault(tuple(row["path"]), set()).add(row["keyword"])
    for path, keywords in wanted.items():
        item = p.dummy_item(tag_of(sequence), tuple(map(tag_of, path[:-1])))
        if "scheduled" not in " ".join(path).lower():
            assert keywords <= set(item), path


def test_every_sequence_that_can_need_a_dummy_item_has_one():
    needy = set()
    for tag, row in LISTED:
        if dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ":
            if any(BASIC.action(tag, sop_class) == "dummy" for sop_class in storage_classes()):
                needy.add(row.keyword)
    assert needy - set(p.DUMMY_ITEMS) <= {"ContentSequence", "FlowIdentifierSequence"}  # reports have their own; streams are no files

