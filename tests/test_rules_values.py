"""Each rule about single values, missing values and sums: one example that it has to find, one that it has to leave alone.

The examples are raw rows as the store keeps them, laid over a faultless row. A rule without examples fails the test.
"""

from typing import Any

import polars as pl
import pytest
from pydicom import uid

from dicom_workbench.quality import completeness, computational, values
from dicom_workbench.quality.assess import assess
from dicom_workbench.quality.rule import Rule, make
from dicom_workbench.quality.score import count
from dicom_workbench.standard.attributes import COLUMNS
from dicom_workbench.standard.terms import terms, transfer_syntaxes
from dicom_workbench.standard.values import number

RULES = (*completeness.RULES, *values.RULES, *computational.RULES)
Row = dict[str, Any]

CT, MR, PT = str(uid.CTImageStorage), str(uid.MRImageStorage), str(uid.PositronEmissionTomographyImageStorage)
MG = str(uid.DigitalMammographyXRayImageStorageForPresentation)
SEG, HANGING = str(uid.SegmentationStorage), "1.2.840.10008.5.1.4.38.1"
JPEG, J2K, NATIVE, BIG_ENDIAN = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
ROOT = "1.2.826.0.1.3680043.8"

FRAME: Row = {"status": "ok", "complete": True, "file_size": 600_000, "shape": 1, "source_id": "ward", "path": "a"}
JUDGED = {"@judged": True, "@T1-ABSENT": False, "@T1-EMPTY": False, "@T2-ABSENT": False, "@T2-EMPTY": False, "@T1C-ABSENT": False,
          "@PRIVATE-ORPHAN": False}
FAULTLESS: Row = {
    "TransferSyntaxUID": NATIVE, "SOPClassUID": CT, "SOPInstanceUID": f"{ROOT}.1.1.1", "SeriesInstanceUID": f"{ROOT}.1.1", "StudyInstanceUID": f"{ROOT}.1",
    "FrameOfReferenceUID": f"{ROOT}.9", "SpecificCharacterSet": "ISO_IR 100", "PatientID": "P0001", "PatientName": "Mwanza^Grace", "PatientSex": "F",
    "PatientBirthDate": "19900312", "PatientAge": "033Y", "StudyDate": "20240105", "SeriesDate": "20240105", "AcquisitionDate": "20240105",
    "ContentDate": "20240105", "InstanceCreationDate": "20240105", "StudyTime": "101500", "SeriesTime": "101600.5", "AcquisitionTime": "1017",
    "ContentTime": "10", "InstanceCreationTime": "235960", "AcquisitionDateTime": "20240105101700.000+0200", "Modality": "CT", "BodyPartExamined": "CHEST",
    "Manufacturer": "SIEMENS", "StudyDescription": "CT thorax", "SeriesDescription": "Lung 1.0", "InstitutionName": "UTH", "AccessionNumber": "A1",
    "StudyID": "1", "ReferringPhysicianName": "Banda^Joseph^^Dr", "TimezoneOffsetFromUTC": "+0200", "ImageType": "ORIGINAL\\PRIMARY\\AXIAL",
    "ImagePositionPatient": "-250\\-250\\0", "ImageOrientationPatient": "1\\0\\0\\0\\1\\0", "PixelSpacing": "0.9\\0.9", "ImagerPixelSpacing": "0.2\\0.2",
    "SliceLocation": "0", "SliceThickness": "1", "SpacingBetweenSlices": "5", "KVP": "120", "ExposureTime": "500", "XRayTubeCurrent": "200",
    "RescaleSlope": "1", "RescaleIntercept": "-1024", "ScanOptions": "HELICAL", "PatientPosition": "HFS", "InstanceNumber": "1", "NumberOfFrames": "1",
    "SamplesPerPixel": "1", "PhotometricInterpretation": "MONOCHROME2", "Rows": "512", "Columns": "512", "BitsAllocated": "16", "BitsStored": "12",
    "HighBit": "11", "PixelRepresentation": "0", "WindowCenter": "40\\-600", "WindowWidth": "400\\1500", "PatientSize": "1.65", "PatientWeight": "62.5",
    "ViewPosition": "PA", "Laterality": "L", "ScanningSequence": "SE", "SequenceVariant": "SK\\SP", "EchoTime": "90", "RepetitionTime": "3000",
    "FlipAngle": "90", "MagneticFieldStrength": "1.5",
}
COLOUR = {"SamplesPerPixel": "3", "PhotometricInterpretation": "RGB", "PlanarConfiguration": "0", "Rows": "64", "Columns": "64"}


def frame(rows: list[Row]) -> pl.DataFrame:
    """Rows laid over the faultless one; what neither names is absent."""
    schema = {**dict.fromkeys(COLUMNS, pl.String), **dict.fromkeys(JUDGED, pl.Boolean), "file_size": pl.Int64, "complete": pl.Boolean,
              "status": pl.String, "shape": pl.Int64, "source_id": pl.String, "path": pl.String}
    return pl.DataFrame([{**FRAME, **JUDGED, **FAULTLESS, **row} for row in rows], schema=schema)


def asked(rule: Rule, rows: list[Row]) -> tuple[int, int]:
    """To how many entities a rule applies, and how many fail."""
    found = count(assess([frame(rows).lazy()], [rule]))
    return int(found.applies[0, 0]), int(found.fails[0, 0])


def stack(places: list[float], **more: Any) -> list[Row]:
    """Slices at these places, numbered from 1."""
    return [{"InstanceNumber": str(i + 1), "ImagePositionPatient": f"-250\\-250\\{place}", "SliceLocation": str(-place),
             "SOPInstanceUID": f"{ROOT}.1.1.{i + 1}", **more} for i, place in enumerate(places)]


def several(name: str, usual: str, odd: str, n: int = 60) -> list[Row]:
    """n patients, one series each, the last of them with another value."""
    return [{"PatientID": f"{i:04d}", "StudyInstanceUID": f"{ROOT}.{i}", "SeriesInstanceUID": f"{ROOT}.{i}.1", name: usual.format(i)} for i in range(n)] + [
        {"PatientID": f"{n:04d}", "StudyInstanceUID": f"{ROOT}.{n}", "SeriesInstanceUID": f"{ROOT}.{n}.1", name: odd}]


EVEN = [0.0, 5, 10, 15, 20, 25, 30, 35]
KINKED = [0.0, 5, 10, 20, 25, 30, 35, 40]  # the slice at 15 was taken, the rest numbered anew
MAMMOGRAM = {"SOPClassUID": MG, "Modality": "MG", "BodyPartExamined": "BREAST", "ImageLaterality": "L", "ViewPosition": "MLO", "Laterality": None}
SIDED = {"Laterality": "L", "SeriesDescription": "KNEE LEFT", "BodyPartExamined": "KNEE"}

EXAMPLES: dict[str, tuple[list[Row], list[Row]]] = {  # id -> found, left alone
    "CMP-SOPCLASS": ([{"SOPClassUID": ""}], [{}]),
    "CMP-UID-SOP": ([{"SOPInstanceUID": None}], [{}]),
    "CMP-UID-SERIES": ([{"SeriesInstanceUID": None}], [{}]),
    "CMP-UID-STUDY": ([{"StudyInstanceUID": ""}], [{}]),
    "CMP-PATID": ([{"PatientID": ""}], [{"PatientID": "1"}, {"PatientID": ""}]),
    "CMP-SEX": ([{"PatientSex": ""}], [{}]),
    "CMP-BIRTH-OR-AGE": ([{"PatientBirthDate": "", "PatientAge": None}], [{"PatientBirthDate": ""}]),
    "CMP-STUDYDATE": ([{"StudyDate": ""}], [{}]),
    "CMP-MANUF": ([{"Manufacturer": ""}], [{}]),
    "CMP-DESC": ([{"StudyDescription": "", "SeriesDescription": None}], [{"StudyDescription": ""}]),
    "CMP-BODYPART": ([{"BodyPartExamined": ""}], [{"BodyPartExamined": "", "AnatomicRegionSequence_CodeValue": "51185008"}]),
    "CMP-LATERALITY": ([{"Modality": "CR", "BodyPartExamined": "KNEE", "Laterality": ""}],
                       [{"Modality": "CR", "BodyPartExamined": "KNEE", "Laterality": "", "ImageLaterality": "R"}]),
    "CMP-MG-VIEW": ([{**MAMMOGRAM, "ViewPosition": ""}], [{**MAMMOGRAM, "ViewPosition": "", "ViewCodeSequence_CodeValue": "399368009"}]),
    "CMP-MG-VIEW-ImageLaterality": ([{**MAMMOGRAM, "ImageLaterality": ""}], [MAMMOGRAM]),
    "CMP-DOSE": ([{"KVP": "", "ExposureTime": None, "XRayTubeCurrent": None}], [{"KVP": "", "ExposureTime": None, "XRayTubeCurrent": None, "CTDIvol": "4.2"}]),
    "CMP-CHARSET": ([{"SpecificCharacterSet": None, "PatientName": "Müller^Jörg"}], [{"SpecificCharacterSet": None}]),
    "CMP-SLICEGAPS": ([{"InstanceNumber": n} for n in "1245"], [{"InstanceNumber": n} for n in "1234"]),
    "CMP-SERIESCOUNT": ([{"NumberOfTemporalPositions": "2"}] * 5, [{"NumberOfTemporalPositions": "2"}] * 6),
    "CMP-SERIESCOUNT-ImagesInAcquisition": ([{"ImagesInAcquisition": "6"}] * 5, [{"ImagesInAcquisition": "5"}] * 5),
    "AMB-PLACEHOLDER-PatientID": ([{"PatientID": "UNKNOWN"}], [{}]),
    "AMB-PLACEHOLDER-PatientName": ([{"PatientName": "anonymous^"}], [{}]),
    "AMB-PLACEHOLDER-PatientBirthDate": ([{"PatientBirthDate": "19000101"}], [{}]),
    "AMB-PLACEHOLDER-PatientAge": ([{"PatientAge": "000Y"}], [{"PatientAge": "003D"}]),
    "AMB-PLACEHOLDER-StudyDate": ([{"StudyDate": "11111111"}], [{}]),
    "AMB-PLACEHOLDER-AccessionNumber": ([{"AccessionNumber": "0000"}], [{}]),
    "AMB-PLACEHOLDER-StudyDescription": ([{"StudyDescription": "N/A"}], [{"StudyDescription": "NATIVE CT"}]),
    "AMB-PLACEHOLDER-InstitutionName": ([{"InstitutionName": "Anon"}], [{}]),
    "AMB-PLACEHOLDER-BodyPartExamined": ([{"BodyPartExamined": "UNKNOWN"}], [{}]),
    "AMB-PLACEHOLDER-Manufacturer": ([{"Manufacturer": "None"}], [{}]),
    "AMB-PLACEHOLDER-SeriesDescription": ([{"SeriesDescription": "= NONE ="}], [{"SeriesDescription": "NONE CONTRAST"}]),
    "VAL-DT": ([{"AcquisitionDateTime": "20240105101700+1500"}], [{}]),
    "VAL-DA-OLD": ([{"StudyDate": "2024.01.05"}], [{}]),
    "VAL-AS": ([{"PatientAge": "42y"}], [{"PatientAge": "006M"}]),
    "VAL-UI-SAME": ([{"SeriesInstanceUID": f"{ROOT}.1"}], [{}]),
    "VAL-SEX": ([{"PatientSex": "0000"}], [{"PatientSex": "O"}]),
    "VAL-MODALITY": ([{"Modality": "FUSION"}], [{"Modality": "SEG"}]),
    "VAL-MODALITY-RETIRED": ([{"Modality": "EC"}], [{}]),
    "VAL-PI": ([{"PhotometricInterpretation": "GREY"}], [{"PhotometricInterpretation": "YBR_ICT"}]),
    "VAL-ENUM-ImageType": ([{"ImageType": "PRIMARY\\ORIGINAL"}], [{"ImageType": "DERIVED\\SECONDARY"}]),
    "VAL-VM-ImageOrientationPatient": ([{"ImageOrientationPatient": "1\\0\\0"}], [{}]),
    "VAL-VM-ImagePositionPatient": ([{"ImagePositionPatient": "1"}], [{}]),
    "VAL-VM-PixelSpacing": ([{"PixelSpacing": "0.9"}], [{}]),
    "VAL-VM-ImagerPixelSpacing": ([{"ImagerPixelSpacing": "1\\1\\1"}], [{}]),
    "VAL-VM-ImageType": ([{"ImageType": "ORIGINAL"}], [{}]),
    "VAL-PN-PatientName": ([{"PatientName": "MWANZA, GRACE"}], [{"PatientName": "Mwanza^Grace, junior"}]),
    "VAL-PN-ReferringPhysicianName": ([{"ReferringPhysicianName": "a^b^c^d^e^f"}], [{}]),
    "VAL-PADDING-PatientID": ([{"PatientID": " P1"}], [{"PatientID": "P 1"}]),
    "VAL-PADDING-AccessionNumber": ([{"AccessionNumber": "A1\x00B"}], [{}]),
    "VAL-PADDING-StudyID": ([{"StudyID": "  1"}], [{}]),
    "VAL-PIXREP": ([{"PixelRepresentation": "2"}], [{"PixelRepresentation": "1"}]),
    "VAL-PIXREP-BitsAllocated": ([{"BitsAllocated": "12"}], [{"BitsAllocated": "1"}]),
    "VAL-TS": ([{"TransferSyntaxUID": BIG_ENDIAN}], [{"TransferSyntaxUID": JPEG}]),
    "VAL-PRIVATE": ([{"@PRIVATE-ORPHAN": True}], [{}]),
    "AMB-BODYPART": ([{"BodyPartExamined": "Left Breast"}], [{}]),
    "AMB-LATERALITY-CONFLICT": ([{**SIDED, "Laterality": "R"}], [SIDED]),
    "AMB-TIMEZONE": ([{}, {"StudyInstanceUID": f"{ROOT}.2", "SeriesInstanceUID": f"{ROOT}.2.1", "InstitutionName": "Ndola", "TimezoneOffsetFromUTC": None}],
                     [{}, {"StudyInstanceUID": f"{ROOT}.2", "SeriesInstanceUID": f"{ROOT}.2.1", "InstitutionName": "Ndola"}]),
    "AMB-MANUF-SPELL": (several("Manufacturer", "SIEMENS", "Siemens Healthineers", 3), several("Manufacturer", "SIEMENS", "Philips", 3)),
    "AMB-PATIENTID-FORMAT": (several("PatientID", "P{:04d}", "MWANZA G"), several("PatientID", "P{:04d}", "P9999")),
    "AMB-DESC-MODALITY": ([{"SeriesDescription": "KNEE AP"}], [{"SeriesDescription": "CHEST PA"}]),
    "CPU-PIXLEN": ([{"file_size": 524_287}], [{"file_size": 524_288}]),
    "CPU-HIGHBIT": ([{"HighBit": "15"}], [{}]),
    "CPU-SPP-PI": ([{**COLOUR, "SamplesPerPixel": "1"}], [COLOUR]),
    "CPU-SPP-PI-PlanarConfiguration": ([{**COLOUR, "PlanarConfiguration": None}], [COLOUR]),
    "CPU-FRAMES": ([{"NumberOfFrames": "0"}], [{}]),
    "CPU-SMALLBITS": ([{"LargestImagePixelValue": "4096", "BitsStored": "12", "PixelRepresentation": "0"}],
                      [{"SmallestImagePixelValue": "0", "LargestImagePixelValue": "4095", "BitsStored": "12", "PixelRepresentation": "0"},
                       {"SmallestImagePixelValue": "-2048", "LargestImagePixelValue": "2047", "BitsStored": "12", "PixelRepresentation": "1"}]),
    "CPU-LOSSY": ([{"TransferSyntaxUID": JPEG}], [{"TransferSyntaxUID": JPEG, "LossyImageCompression": "01"}]),
    "CPU-LOSSY-LossyImageCompressionRatio": ([{"LossyImageCompression": "01"}], [{"LossyImageCompression": "01", "LossyImageCompressionRatio": "12.5"}]),
    "CPU-WINDOW": ([{"WindowWidth": "400"}], [{}]),
    "CPU-WINDOW-WindowWidth": ([{"WindowWidth": "0.5\\1500"}], [{}, {"WindowWidth": "0.5", "VOILUTFunction": "LINEAR_EXACT"}]),
    "CPU-SPACING-POS": ([{"PixelSpacing": "0.9\\0"}], [{}]),
    "CPU-SPACING-FOV": ([{"PixelSpacing": "9\\9"}], [{}]),
    "CPU-AGE": ([{"PatientAge": "053Y"}], [{"PatientAge": "034Y"}]),
    "CPU-IOP-UNIT": ([{"ImageOrientationPatient": "1\\0\\0\\0\\0.5\\0"}], [{"ImageOrientationPatient": "0.8\\0.6\\0\\-0.6\\0.8\\0"}]),
    "CPU-IOP-ORTHO": ([{"ImageOrientationPatient": "1\\0\\0\\0.6\\0.8\\0"}], [{}]),
    "CPU-SPACING-UNIFORM": (stack(KINKED), stack(EVEN)),
    "CPU-THICK-SPACING": (stack(EVEN, SpacingBetweenSlices="6"), stack(EVEN)),
    "CPU-SLICELOC": (stack(EVEN, SliceLocation="12.5"), stack(EVEN)),
}
for kind in ("T1-ABSENT", "T1-EMPTY", "T2-ABSENT", "T2-EMPTY", "T1C-ABSENT"):
    EXAMPLES[f"CMP-{kind}"] = ([{f"@{kind}": True}], [{}])
for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
    EXAMPLES[f"CMP-GEOMETRY-{name}"] = ([{"SOPClassUID": PT, name: ""}], [{}])
for name in ("KVP", "RescaleSlope", "RescaleIntercept"):
    EXAMPLES[f"CMP-CT-PHYS-{name}"] = ([{name: None}], [{}])
for name in ("ScanningSequence", "SequenceVariant", "EchoTime", "RepetitionTime", "MagneticFieldStrength"):
    EXAMPLES[f"CMP-MR-PHYS-{name}"] = ([{"SOPClassUID": MR, name: ""}], [{"SOPClassUID": MR}])
for name in ("InstanceCreationDate", "PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
    EXAMPLES[f"VAL-DA-{name}"] = ([{name: "20240230"}], [{name: "20240229"}])
for name in ("InstanceCreationTime", "StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime"):
    EXAMPLES[f"VAL-TM-{name}"] = ([{name: "2460"}], [{}])
for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "SOPClassUID"):
    EXAMPLES[f"VAL-UI-SYNTAX-{name}"] = ([{name: f"{ROOT}.01"}], [{}])
for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
    EXAMPLES[f"VAL-UI-ROOT-{name}"] = ([{name: "999.1.1"}], [{}])
PERMITTED = {"Laterality": "R", "ImageLaterality": "B", "PatientIdentityRemoved": "YES", "LongitudinalTemporalInformationModified": "MODIFIED",
             "BurnedInAnnotation": "NO", "RecognizableVisualFeatures": "YES", "LossyImageCompression": "00", "CompletionFlag": "PARTIAL",
             "VerificationFlag": "VERIFIED", "QualityControlImage": "BOTH", "PresentationIntentType": "FOR PROCESSING", "PlanarConfiguration": "1",
             "PregnancyStatus": "4", "ScanningSequence": "GR\\IR", "MRAcquisitionType": "3D"}
for name, good in PERMITTED.items():
    EXAMPLES[f"VAL-ENUM-{name}"] = ([{name: "9Z", "SOPClassUID": MR}], [{name: good, "SOPClassUID": MR}])
KNOWN = {"PatientPosition": ("UPRIGHT", CT, "FFDL"), "ConversionType": ("SCAN", CT, "DF"), "DetectorType": ("CCD", CT, "STORAGE"),
         "SequenceVariant": ("OTHER", MR, "SP\\MP"), "Units": ("SUV", PT, "BQML"), "CorrectedImage": ("DECY\\MAGIC", PT, "DECY\\ATTN\\SCAT")}
for name, (bad, sop_class, good) in KNOWN.items():
    EXAMPLES[f"VAL-TERM-{name}"] = ([{name: bad, "SOPClassUID": sop_class}], [{name: good, "SOPClassUID": sop_class}])
for name in ("BodyPartExamined", "ViewPosition", "ImageType", "PatientPosition", "Laterality", "ScanOptions"):
    EXAMPLES[f"VAL-CS-CHARS-{name}"] = ([{name: "small letters"}], [{}])
for name in ("PatientSize", "PatientWeight", "SliceThickness", "SpacingBetweenSlices", "SliceLocation", "KVP", "ExposureTime", "XRayTubeCurrent",
             "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "RepetitionTime", "EchoTime", "FlipAngle", "MagneticFieldStrength",
             "InstanceNumber", "NumberOfFrames"):
    EXAMPLES[f"VAL-DS-IS-{name}"] = ([{name: "1,5"}], [{}])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_finds_what_it_is_for_and_leaves_the_rest_alone(rule: Rule) -> None:
    assert rule.id in EXAMPLES, f"{rule.id} has no examples"
    found, left = EXAMPLES[rule.id]
    assert asked(rule, found)[1] > 0
    applies, fails = asked(rule, left)
    assert (applies > 0, fails) == (True, 0)


def test_no_example_is_of_a_rule_that_is_gone() -> None:
    assert set(EXAMPLES) == {rule.id for rule in RULES}
    assert len(RULES) == len({rule.id for rule in RULES})


def test_a_faultless_stack_has_no_finding() -> None:
    found = count(assess([frame(stack(EVEN)).lazy()], RULES))
    assert [rule.id for rule, fails in zip(found.rules, found.fails[0], strict=True) if fails] == []


SPARED: list[tuple[str, Row]] = [  # rules that must not speak of such an object
    ("CMP-UID-STUDY", {"SOPClassUID": HANGING, "StudyInstanceUID": None}),
    ("CMP-BODYPART", {"SOPClassUID": SEG, "Modality": "SEG", "BodyPartExamined": None}),
    ("CMP-GEOMETRY-ImagePositionPatient", {"SOPClassUID": SEG, "ImagePositionPatient": None}),
    ("CMP-CT-PHYS-KVP", {"ImageType": "DERIVED\\SECONDARY\\MPR", "KVP": None}),
    ("CMP-MR-PHYS-RepetitionTime", {"SOPClassUID": MR, "ScanningSequence": "EP", "SequenceVariant": "NONE", "RepetitionTime": None}),
    ("CMP-LATERALITY", {"BodyPartExamined": "LUNG", "Laterality": None}),  # a CT shows both lungs
    ("CMP-MG-VIEW", {**MAMMOGRAM, "ViewPosition": None, "complete": False}),  # null means unread
    *[(id, {**dict.fromkeys(("PatientID", "PatientSex", "PatientBirthDate", "PatientAge", "StudyDate", "Manufacturer", "BodyPartExamined",
                             "StudyDescription", "SeriesDescription", "PlanarConfiguration"), None), **COLOUR, "PlanarConfiguration": None, "complete": False})
      for id in ("CMP-PATID", "CMP-SEX", "CMP-BIRTH-OR-AGE", "CMP-STUDYDATE", "CMP-MANUF", "CMP-BODYPART", "CMP-DESC", "CPU-SPP-PI-PlanarConfiguration")],
    ("CPU-PIXLEN", {"TransferSyntaxUID": J2K, "file_size": 10}),
    ("CPU-PIXLEN", {"status": "recovered", "file_size": 10}),
    ("CPU-LOSSY", {"TransferSyntaxUID": J2K}),  # JPEG 2000 may be lossless
    ("CPU-SPACING-FOV", {"SOPClassUID": MR, "ImageType": "ORIGINAL\\PRIMARY\\M\\MOSAIC", "PixelSpacing": "3.2\\3.2"}),
    ("CPU-AGE", {"PatientBirthDate": "19000101"}),
    ("VAL-ENUM-ScanningSequence", {"SOPClassUID": str(uid.EnhancedMRImageStorage), "ScanningSequence": "SPIN ECHO"}),
]


@pytest.mark.parametrize(("id", "row"), SPARED, ids=[f"{id}-{i}" for i, (id, _) in enumerate(SPARED)])
def test_a_rule_is_not_asked_where_it_has_no_say(id: str, row: Row) -> None:
    rule = next(rule for rule in RULES if rule.id == id)
    assert asked(rule, [row]) == (0, 0)


def test_a_value_is_missing_only_where_every_header_below_was_read_to_its_end() -> None:
    rule = next(rule for rule in RULES if rule.id == "CMP-MANUF")
    unread, read = {"Manufacturer": None, "complete": False}, {"Manufacturer": None, "SOPInstanceUID": f"{ROOT}.1.1.2"}
    assert asked(rule, [read]) == (1, 1)
    assert asked(rule, [unread, read]) == (0, 0)


def test_a_rule_is_not_asked_of_a_table_that_lacks_what_is_known_of_files() -> None:
    rule = next(rule for rule in RULES if rule.id == "CPU-PIXLEN")
    assert rule.needs >= {"file_size", "status", "Rows"}
    assert assess([frame([{}]).lazy()], [rule]).rules
    for name in ("file_size", "status", "Rows"):
        assert not assess([frame([{}]).drop(name).lazy()], [rule]).rules


def test_the_body_part_is_asked_of_an_index_without_region_codes() -> None:
    rule = next(rule for rule in RULES if rule.id == "CMP-BODYPART")
    rows = frame([{"BodyPartExamined": None}]).drop("AnatomicRegionSequence_CodeValue")
    found = count(assess([rows.with_columns(instance_count=pl.lit(1)).drop("complete").lazy()], [rule], index=True))
    assert (int(found.applies[0, 0]), int(found.fails[0, 0])) == (1, 1)


@pytest.mark.parametrize("places", [EVEN[:4] * 2, [p for p in EVEN for _ in range(2)][:8]], ids=["two passes", "two echoes"])
def test_a_stack_acquired_twice_is_not_called_uneven(places: list[float]) -> None:
    rows = [{**row, "EchoTime": str(10 + i % 2)} for i, row in enumerate(stack(places, SOPClassUID=MR))]
    rule = next(rule for rule in RULES if rule.id == "CPU-SPACING-UNIFORM")
    assert asked(rule, rows) == (0, 0)


def test_order_and_shards_change_no_sum_of_a_stack() -> None:
    rows = frame(stack([place / 3 for place in KINKED]))
    whole = assess([rows.lazy()], computational.RULES).levels["series"]
    parts = assess([rows[5:].lazy(), rows[:5].reverse().lazy()], computational.RULES).levels["series"]
    assert whole.equals(parts)


def test_the_quick_number_is_the_standards_number() -> None:
    texts = ["1", "1.5", "-3", "+4", ".5", "5.", "1e3", "1E-3", "1,5", "", "abc", "nan", "inf", "-Infinity", "0x10", "1_000", "1.2.3", "e5", "--1", " 1", "1 ", "1e400"]
    rows = pl.DataFrame({"KVP": texts, "WindowCenter": texts})
    found = rows.select(make(["KVP|number", "WindowCenter|number"]))
    truth = rows.select(number(pl.col("KVP"))).to_series().to_list()
    assert found["KVP|number"].to_list() == truth
    assert found["WindowCenter|number"].to_list() == truth


def test_the_modalities_are_those_of_pydicoms_context_group() -> None:
    from pydicom.sr._cid_dict import cid_concepts
    from pydicom.sr._concepts_dict import concepts

    codes = {code for name in cid_concepts[33]["DCM"] for code in concepts["DCM"][name]}  # CID 33 Modality
    assert codes <= set(terms("Modality", "defined"))


def test_every_transfer_syntax_of_pydicom_is_in_the_table() -> None:
    from pydicom._uid_dict import UID_dictionary

    theirs = {u: bool(entry[3]) for u, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"}
    assert set(theirs) == set(transfer_syntaxes())
    assert {u for u, retired in theirs.items() if not retired} == set(transfer_syntaxes(retired=False))


@pytest.mark.slow
def test_the_real_table_has_its_frozen_findings(idc_table) -> None:
    table = pl.scan_parquet(idc_table).select("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "PatientAge", "PatientSex", "BodyPartExamined",
                                              IssuerOfPatientID="collection_id")
    wanted = {"VAL-AS": 49, "VAL-SEX": 170, "AMB-BODYPART": 835}
    found = count(assess([table], [rule for rule in RULES if rule.id in wanted], index=True))
    assert {rule.id: int(fails) for rule, fails in zip(found.rules, found.fails[0], strict=True)} == wanted
