"""Rules about relations, plausibility, uniqueness and traces: each finds what it is for, and leaves alone what is right."""

from pathlib import Path

import polars as pl
import pytest

from dicom_workbench.acquire.index import write_index_shards
from dicom_workbench.quality import plausibility, relational, traces, uniqueness
from dicom_workbench.quality.assess import assess
from dicom_workbench.quality.rule import Rule
from dicom_workbench.quality.rules import RULES, catalogue, rule, rules_of
from dicom_workbench.quality.score import count
from dicom_workbench.standard.attributes import COLUMNS
from dicom_workbench.standard.errors import UsageError

MINE = [*relational.RULES, *plausibility.RULES, *uniqueness.RULES, *traces.RULES]
CT, MR, PT, SC, SEG = (f"1.2.840.10008.5.1.4.1.1.{kind}" for kind in ("2", "4", "128", "7", "66.4"))
DISK = {"file_size": 1000, "shape": 1, "complete": True, "status": "ok", "mtime_ns": 0}
IMAGE = {  # a plain CT image; each row of an example is this with something else in it
    "PatientID": "7", "PatientName": "Banda^Mary", "PatientBirthDate": "19800203", "PatientSex": "F", "PatientAge": "043Y",
    "StudyInstanceUID": "1.2.840.113619.2.1", "SeriesInstanceUID": "1.2.840.113619.2.1.1", "SOPClassUID": CT, "Modality": "CT",
    "StudyDate": "20230510", "StudyTime": "101500", "SeriesDate": "20230510", "SeriesTime": "102000", "SeriesNumber": "1",
    "AcquisitionDate": "20230510", "AcquisitionTime": "102001.25", "ContentDate": "20230510", "ContentTime": "102002",
    "InstanceCreationDate": "20230510", "InstanceCreationTime": "102003", "AccessionNumber": "A1", "Manufacturer": "GE MEDICAL SYSTEMS",
    "ManufacturerModelName": "Revolution", "DeviceSerialNumber": "S1", "FrameOfReferenceUID": "1.2.840.113619.2.1.9", "Rows": "512", "Columns": "512",
    "PixelSpacing": "0.7\\0.7", "ImageType": "ORIGINAL\\PRIMARY\\AXIAL", "TransferSyntaxUID": "1.2.840.10008.1.2.1", "RescaleSlope": "1",
    "RescaleIntercept": "-1024", "PixelRepresentation": "0", "KVP": "120", "SliceThickness": "1.25",
}


def image(number: int = 1, **other: object) -> dict[str, object]:
    "One image; images with other numbers are other objects at other places."
    own = {"InstanceNumber": str(number), "SOPInstanceUID": f"1.2.840.113619.2.1.1.20230510.{number}", "ImagePositionPatient": f"0\\0\\{number}"}
    return IMAGE | own | other


def study(number: int, **other: object) -> dict[str, object]:
    "One image of a study of its own."
    uid = f"1.2.840.113619.2.{number}"
    return image(number, StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1", FrameOfReferenceUID=f"{uid}.9", AccessionNumber=f"A{number}") | other


def person(number: int, **other: object) -> dict[str, object]:
    "One study of a person of their own."
    return study(number, PatientID=str(number), PatientName=f"Phiri^N{chr(65 + number % 26)}", PatientBirthDate=f"19{50 + number % 40}0712") | other


MR_IMAGE = {"Modality": "MR", "SOPClassUID": MR, "ScanningSequence": "SE", "RepetitionTime": "500", "EchoTime": "15", "FlipAngle": "90", "MagneticFieldStrength": "1.5"}
DX_IMAGE = {"Modality": "DX", "ExposureTime": "100", "XRayTubeCurrent": "200", "Exposure": "20", "KVP": "70"}
PET_IMAGE = {"Modality": "PT", "SOPClassUID": PT, "PatientWeight": "70", "Units": "BQML", "RadiopharmaceuticalInformationSequence_RadionuclideTotalDose": "370000000"}
TAKEN_AWAY = {"PatientIdentityRemoved": "YES", "DeidentificationMethod": "CTP", "PatientName": "ANON^1"}
GOOD_UID, OTHER_UID = "1.2.840.113619.2.1.1.20230510.555", "1.3.6.1.4.1.14519.5.2.1.20230510"
SAME = {"SOPInstanceUID": "1.2.840.113619.2.1.1.1"}

# rule -> (rows of which something fails, rows of the same kind of which nothing does)
EXAMPLES: dict[str, tuple[list[dict[str, object]], list[dict[str, object]]]] = {
    "REL-SOP-MODALITY": ([image(Modality="PT")], [image()]),
    "REL-META-SOP": ([image(MediaStorageSOPInstanceUID="1.2.3")], [
        image(MediaStorageSOPInstanceUID=image()["SOPInstanceUID"], MediaStorageSOPClassUID=CT), image(2, SOPInstanceUID=None, MediaStorageSOPInstanceUID="1.2.3")]),
    "REL-SERIES-MODALITY": ([image(1), image(2, Modality="OT")], [image(1), image(2)]),
    "REL-SERIES-STUDY": ([image(1), image(2, StudyInstanceUID="1.2.3")], [image(1), image(2)]),
    "REL-SERIES-FOR": ([image(1), image(2, FrameOfReferenceUID="1.2.3")], [image(1), image(2)]),
    "REL-SERIES-EQUIP": ([image(1), image(2, DeviceSerialNumber="S2")], [image(1), image(2, DeviceSerialNumber=None)]),
    "REL-SERIES-MATRIX": ([image(1), image(2, Rows="256")], [image(1), image(2)]),
    "REL-SERIES-LOCALIZER": ([image(1), image(2, ImageType="ORIGINAL\\PRIMARY\\LOCALIZER")], [image(n, ImageType="ORIGINAL\\PRIMARY\\LOCALIZER") for n in (1, 2)]),
    "REL-STUDY-PATIENT": ([image(1), image(2, PatientID="8")], [image(1), image(2)]),
    "REL-STUDY-DATE": ([image(1), image(2, StudyDate="20230511")], [image(1), image(2, StudyDate="")]),
    "REL-STUDY-ACCESSION": ([image(1), image(2, AccessionNumber="A2")], [image(1), image(2)]),
    "REL-STUDY-AGE": ([image(1), image(2, PatientAge="044Y")], [image(1), image(2)]),
    "REL-ACCESSION": ([study(1, AccessionNumber="A"), study(2, AccessionNumber="A", PatientID="8")], [study(1, AccessionNumber="A"), study(2, AccessionNumber="A")]),
    "REL-PATIENT-SEX": ([study(1), study(2, PatientSex="O")], [study(1), study(2, PatientSex=None)]),
    "REL-PATIENT-SEX-MF": ([study(1), study(2, PatientSex="M")], [study(1), study(2, PatientSex="O")]),
    "REL-PATIENT-BIRTH": ([study(1), study(2, PatientBirthDate="19800302")], [study(1), study(2)]),
    "REL-PATIENT-NAME": ([study(1), study(2, PatientName="Phiri^Mary")], [study(1), study(2, PatientName="BANDA^MARY^^")]),
    "REL-REF-DANGLING": (
        [image(1), study(2, SOPClassUID=SEG, Modality="SEG", ReferencedSeriesSequence_SeriesInstanceUID="1.2.3")],
        [image(1), study(2, SOPClassUID=SEG, Modality="SEG", ReferencedSeriesSequence_SeriesInstanceUID=IMAGE["SeriesInstanceUID"])]),
    "REL-FOR-PATIENT": (
        [study(1, FrameOfReferenceUID="1.2.3"), study(2, FrameOfReferenceUID="1.2.3", PatientID="8")],
        [study(1, FrameOfReferenceUID="1.2.3"), study(2, FrameOfReferenceUID="1.2.3")]),
    "PLA-AGE": ([image(PatientAge="143Y")], [image(PatientAge="099Y")]),
    "PLA-WEIGHT": ([image(PatientWeight="72000")], [image(PatientWeight="72")]),
    "PLA-SIZE": ([image(PatientSize="172")], [image(PatientSize="1.72")]),
    "PLA-BMI": ([image(PatientSize="1.72", PatientWeight="7")], [image(PatientSize="1.72", PatientWeight="72")]),
    "PLA-PREG-MALE": ([image(PregnancyStatus="3", PatientSex="M")], [image(PregnancyStatus="3")]),
    "PLA-SEX-BODY": ([image(BodyPartExamined="PROSTATE")], [image(BodyPartExamined="UTERUS")]),
    "PLA-MG-MALE": ([image(Modality="MG", PatientSex="M")], [image(Modality="MG")]),
    "PLA-KVP": ([image(KVP="12")], [image(), image(2, Modality="MG", KVP="28")]),
    "PLA-EXPOSURE": ([image(**DX_IMAGE | {"Exposure": "20000"})], [image(**DX_IMAGE), image(2, **DX_IMAGE | {"ExposureTime": "7", "Exposure": "1"})]),
    "PLA-THICK": ([image(SliceThickness="125")], [image()]),
    "PLA-RESCALE": ([image(RescaleSlope="0")], [image()]),
    "PLA-CT-UNSIGNED": ([image(RescaleIntercept="0")], [image(), image(2, RescaleIntercept="0", PixelRepresentation="1")]),
    "PLA-MR-TIMES": ([image(**MR_IMAGE | {"EchoTime": "900"})], [image(**MR_IMAGE), image(2, **MR_IMAGE | {"ScanningSequence": "GR", "InversionTime": "900"})]),
    "PLA-FLIP": ([image(**MR_IMAGE | {"FlipAngle": "900"})], [image(**MR_IMAGE)]),
    "PLA-FIELD": ([image(**MR_IMAGE | {"MagneticFieldStrength": "15000"})], [image(**MR_IMAGE)]),
    "PLA-PET": ([image(**PET_IMAGE | {"PatientWeight": ""})], [image(**PET_IMAGE)]),
    "PLA-UNIFORM-WEIGHT": ([study(n, PatientWeight="70") for n in range(200)], [study(n, PatientWeight=str(40 + n % 60)) for n in range(200)]),
    "PLA-UNIFORM-AGE": ([study(n, PatientAge="050Y") for n in range(200)], [study(n, PatientAge=f"0{20 + n % 60}Y") for n in range(200)]),
    "PLA-FUTURE": ([image(StudyDate="20990101")], [image()]),
    "PLA-FUTURE-IMAGE": ([image(ContentDate="20990101")], [image()]),
    "PLA-OLD": ([image(StudyDate="19590101")], [image()]),
    "PLA-BORN-AFTER": ([image(PatientBirthDate="20230511")], [image(PatientBirthDate="20230510")]),
    "PLA-STUDY-ORDER": ([image(SeriesDate="20230509")], [image(SeriesDate="20230511")]),
    "PLA-STUDY-SPAN": ([image(SeriesDate="20230710")], [image(SeriesDate="20230511")]),
    "PLA-ACQ-ORDER": ([image(AcquisitionDate="20230509")], [image()]),
    "PLA-CREATION-STUDY": ([image(InstanceCreationDate="20230501")], [image(InstanceCreationDate="20230509")]),
    "PLA-CONTENT-ACQ": ([image(ContentTime="095900")], [image(), image(2, ContentTime="101930"), image(3, ContentTime="10")]),
    "PLA-CREATION": ([image(InstanceCreationTime="095900")], [image(), image(2, AcquisitionTime="110030", InstanceCreationTime="105959")]),
    "PLA-DEVICE-AGE": ([image(SoftwareVersions="syngo CT 2031B")], [image(SoftwareVersions="syngo CT 2012B")]),
    "PLA-UID-TIME": (
        [image(SeriesInstanceUID="1.3.12.2.1107.5.2.32.1.2011122313165022643777945")], [image(SeriesInstanceUID="1.3.12.2.1107.5.2.32.1.2023051010202222643777945")]),
    "UNQ-SOP-IDENTICAL": ([image(1), image(1)], [image(1), image(2)]),
    "UNQ-SOP-RECODED": ([image(1), image(1, TransferSyntaxUID="1.2.840.10008.1.2.4.70", file_size=400)], [image(1), image(1)]),
    "UNQ-SOP-EDITED": ([image(1), image(1, shape=2)], [image(1), image(1), image(1, TransferSyntaxUID="1.2.840.10008.1.2.4.70", file_size=400)]),
    "UNQ-SOP-CONFLICT": ([image(1, **SAME), image(2, **SAME)], [image(1), image(1)]),
    "UNQ-PIXELHASH": ([image(1, PixelHash="ab"), image(2, PixelHash="ab", PatientID="8")], [image(1, PixelHash="ab"), image(1, PixelHash="ab"), image(2, PixelHash="cd"), image(3)]),
    "UNQ-INSTANCENO": ([image(1), image(1, SOPInstanceUID="1.2.3")], [image(1), image(2), image(2)]),
    "UNQ-POSITION": ([image(1), image(2, ImagePositionPatient="0\\0\\1")], [image(1), image(2), image(2)]),
    "UNQ-SERIES-RESENT": ([image(1), image(2, SeriesInstanceUID="1.2.3")], [image(1), image(2, SeriesInstanceUID="1.2.3", SeriesNumber="2")]),
    "UNQ-STUDY-RESENT": ([study(1), study(2)], [study(1), study(2, StudyTime="140000")]),
    "UNQ-PATIENT-LINK": ([study(1), study(2, PatientID="8", PatientName="BANDA^MARY")], [study(1), study(2, PatientID="8", PatientBirthDate="19800204")]),
    "UNQ-PATIENT-LINK-SCAN": ([study(1), study(2, PatientID="8", PatientName="")], [study(1), study(2, PatientID="8", DeviceSerialNumber="S2")]),
    "UNQ-PATIENT-MIXED": ([study(1), study(2, PatientName="Phiri^Grace", PatientBirthDate="19700101")], [study(1), study(2, PatientName="Phiri^Mary")]),
    "UNQ-PATIENT-COLLISION": (
        [study(1, IssuerOfPatientID="A"), study(2, IssuerOfPatientID="B", PatientSex="M")], [study(1, IssuerOfPatientID="A"), study(2, IssuerOfPatientID="B")]),
    "FRD-DERIVED-ORIG": (
        [image(ImageType="ORIGINAL\\PRIMARY\\MPR")], [image(), image(2, DerivationDescription="Lossless JPEG compression"), image(3, ImageType="DERIVED\\SECONDARY\\MPR")]),
    "FRD-SECONDARY": ([image(SOPClassUID=SC)], [image(SOPClassUID=SC, Modality="OT")]),
    "FRD-BURNEDIN": ([image(Modality="US", **TAKEN_AWAY)], [image(Modality="US", BurnedInAnnotation="NO", **TAKEN_AWAY)]),
    "FRD-DEID-METHOD": ([image(PatientIdentityRemoved="YES")], [image(**TAKEN_AWAY)]),
    "FRD-DEID-CLAIM": (
        [image(**TAKEN_AWAY | {"OperatorsName": "Mwale^Joyce"})], [image(**TAKEN_AWAY), image(2, **TAKEN_AWAY | {"PatientName": "Doe^Peter", "OperatorsName": "Clinic"})]),
    "FRD-UID-MAKER": ([image(SeriesInstanceUID=OTHER_UID)], [image(), image(2, SeriesInstanceUID=OTHER_UID, **TAKEN_AWAY)]),
    "FRD-UID-ROOT-MIX": ([image(1), image(2, SOPInstanceUID=OTHER_UID)], [image(1), image(2, SOPInstanceUID=GOOD_UID)]),
    "FRD-UID-REUSE": ([image(SeriesInstanceUID=IMAGE["StudyInstanceUID"])], [image()]),
    "FRD-UID-REUSE-FOR": ([image(FrameOfReferenceUID=IMAGE["StudyInstanceUID"])], [image()]),
    "FRD-ROUND-DOSE": ([study(n, CTDIvol=f"{5 + n % 40 / 2}") for n in range(500)], [study(n, CTDIvol=f"{5 + n % 97 / 10:.1f}") for n in range(500)]),
    "FRD-ROUND-WEIGHT": ([study(n, PatientWeight=str(40 + n % 10 * 5)) for n in range(500)], [study(n, PatientWeight=str(40 + n % 61)) for n in range(500)]),
    "FRD-CLONE-PARAMS": (
        [person(1, ImagePositionPatient="1\\2\\3"), person(2, ImagePositionPatient="1\\2\\3")], [person(1), person(2), study(3, ImagePositionPatient="0\\0\\9"), study(4, ImagePositionPatient="0\\0\\9")]),
    "FRD-IMPL-MANUF": (
        [image(ImplementationClassUID="1.3.12.2.1107.5.2")],
        [image(ImplementationClassUID="1.2.840.113619.6.5"), image(2, ImplementationClassUID="1.2.276.0.7230010.3.0.3.6.0"), image(3, ImplementationClassUID="1.3.12.2.1107.5.2", Manufacturer="ACME")]),
    "FRD-TOOL-TRACE": (
        [image(ImplementationVersionName="PYDICOM 3.0.2"), image(2, ImplementationClassUID="1.2.276.0.7230010.3.0.3.6.0")],
        [image(ImplementationVersionName="REV 1.0", ImplementationClassUID="1.2.840.113619.6.5"), image(2, ImplementationVersionName="PYDICOM 3.0.2", **TAKEN_AWAY)]),
    "FRD-MODIFIED": ([image(**{"@EDITED": True})], [image(**{"@EDITED": False})]),
    "FRD-GROUP-LENGTH": ([image(status="recovered")], [image()]),
}


SCHEMA = dict.fromkeys(COLUMNS, pl.String) | {"file_size": pl.Int64, "shape": pl.Int64, "mtime_ns": pl.Int64, "complete": pl.Boolean, "status": pl.String, "@EDITED": pl.Boolean, "PixelHash": pl.String}


def asked(*parts: list[dict[str, object]], of: Rule) -> tuple[int, int]:
    "How often a rule applies to the rows of some parts and fails."
    frames = [pl.DataFrame([DISK | row for row in part], schema=SCHEMA).lazy() for part in parts]
    found = count(assess(frames, [of]))
    return int(found.applies[0, 0]), int(found.fails[0, 0])


@pytest.mark.parametrize("one", MINE, ids=lambda r: r.id)
def test_a_rule_finds_its_defect_and_leaves_what_is_right(one: Rule) -> None:
    wrong, right = EXAMPLES[one.id]
    assert asked(wrong, of=one)[1] > 0
    applies, fails = asked(right, of=one)
    assert applies > 0
    assert fails == 0


@pytest.mark.parametrize("one", MINE, ids=lambda r: r.id)
def test_order_and_parts_change_nothing(one: Rule) -> None:
    wrong, _ = EXAMPLES[one.id]
    half = (len(wrong) + 1) // 2
    assert asked(wrong[half:][::-1], wrong[:half], of=one) == asked(wrong, of=one)


def test_no_rule_fails_on_a_plain_examination() -> None:
    rows = [image(n) for n in range(1, 4)]
    found = {one.id: asked(rows, of=one)[1] for one in MINE}
    assert {id: n for id, n in found.items() if n} == {}


def test_both_images_of_a_conflict_are_found_and_no_third() -> None:
    assert asked([image(1, **SAME), image(2, **SAME), image(3)], of=rule("UNQ-SOP-CONFLICT")) == (3, 2)


def test_a_conflict_is_found_across_parts() -> None:
    assert asked([image(1, **SAME)], [image(2, **SAME)], of=rule("UNQ-SOP-CONFLICT")) == (2, 2)


def test_every_example_is_of_a_rule() -> None:
    assert set(EXAMPLES) == {r.id for r in MINE}


def test_ids_are_unique_and_every_rule_says_where_it_comes_from() -> None:
    assert len({r.id for r in RULES}) == len(RULES)
    assert [r.id for r in RULES if not (r.title and r.reference)] == []
    assert len(catalogue()) == len(RULES)


def test_an_unknown_rule_is_an_error_that_says_where_to_look() -> None:
    with pytest.raises(UsageError, match="no rule 'PLA-BEAUTY'"):
        rule("PLA-BEAUTY")


def test_traces_never_count_and_never_accuse() -> None:
    assert {r.dimension for r in traces.RULES} == {"provenance"}
    assert {r.id for r in rules_of("provenance")} >= {r.id for r in traces.RULES}
    assert not [r.title for r in RULES if "fraud" in r.title.lower()]


FROZEN = {  # idc-index-data 25.0.5: rule -> (applies, fails)
    "PLA-STUDY-ORDER": (729_822, 9_277), "REL-STUDY-PATIENT": (168_507, 1), "REL-PATIENT-SEX": (40_617, 459), "REL-PATIENT-SEX-MF": (40_617, 34),
    "REL-STUDY-DATE": (168_016, 651), "REL-STUDY-AGE": (44_250, 383), "PLA-AGE": (42_353, 2), "PLA-MG-MALE": (36_421, 4), "PLA-SEX-BODY": (25_131, 9),
    "PLA-OLD": (168_016, 16_723), "PLA-FUTURE": (168_016, 0), "PLA-STUDY-SPAN": (213_492, 1_934), "REL-SOP-MODALITY": (1_020_079, 52),
    "REL-SERIES-MODALITY": (1_044_191, 0), "REL-SERIES-STUDY": (1_044_191, 0), "FRD-UID-REUSE": (1_044_191, 85), "FRD-SECONDARY": (11_224, 11_210),
    "UNQ-PATIENT-COLLISION": (86_451, 0), "PLA-UNIFORM-AGE": (44_250, 0),
}


@pytest.mark.slow
def test_a_million_real_series_give_the_known_answers(idc_table: Path, tmp_path: Path) -> None:
    declared = {"IssuerOfPatientID": ("collection_id", None), "TransferSyntaxUID": ("TransferSyntaxUID", ","), "instance_count": ("instanceCount", None)}
    for _ in write_index_shards(idc_table, tmp_path, "run", declared):
        pass
    parts = [pl.scan_parquet(shard) for shard in sorted(tmp_path.glob("*.parquet"))]
    found = count(assess(parts, MINE, index=True))
    told = {r.id: (int(found.applies[0, i]), int(found.fails[0, i])) for i, r in enumerate(found.rules)}
    assert told == FROZEN
