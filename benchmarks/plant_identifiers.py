"""Copies of real files with identifiers planted in more than twenty kinds of places, and a ledger of what was planted.

    python benchmarks/plant_identifiers.py FOLDER [--from FOLDER ...] [--limit N]

Every token is a word, a date or a UID that exists nowhere else, so whoever finds it in an output has found a leak. Files
of one patient share the patient's tokens. The same input gives the same bytes. `PLACES` is the whole recipe: a new kind of
place is a new function. Other people's de-identifiers can be measured with the same copies and the same ledger.
"""

import argparse
import csv
import hashlib
import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
import pydicom.config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import UID

VOWELS, CONSONANTS = "AEIOU", "BDFGKLMNPRSTVZ"


@dataclass(frozen=True)
class Planted:
    "One row of the ledger."

    file: str
    place: str  # a key of PLACES
    where: str  # keyword or tag, for people
    kind: str   # word, date or uid
    token: str


@dataclass
class Mint:
    "Makes tokens, and remembers them."

    file: str
    person: str  # whatever tells this patient from others; never planted itself
    ledger: list[Planted] = field(default_factory=list)
    place: str = ""

    def _number(self, where: str, shared: bool) -> int:
        said = f"{self.person if shared else self.file}|{self.place}|{where}"
        return int.from_bytes(hashlib.sha256(said.encode()).digest()[:12], "big")

    def _told(self, where: str, kind: str, token: str) -> str:
        self.ledger.append(Planted(self.file, self.place, where, kind, token))
        return token

    def word(self, where: str, shared: bool = False) -> str:
        "Twelve letters that are no word, such as QUBAKEVOTIRA."
        number, letters = self._number(where, shared), "QU"
        for _ in range(5):
            number, consonant = divmod(number, len(CONSONANTS))
            number, vowel = divmod(number, len(VOWELS))
            letters += CONSONANTS[consonant] + VOWELS[vowel]
        return self._told(where, "word", letters)

    def date(self, where: str) -> str:
        "A day of the 18th century, where no real date lies."
        number = self._number(where, False)
        return self._told(where, "date", f"{1700 + number % 99:04}{1 + number // 99 % 12:02}{1 + number // 1188 % 28:02}")

    def uid(self, where: str) -> str:
        return self._told(where, "uid", f"1.3.99999.{self._number(where, False)}")


def _item(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


# Each function takes the data set and the mint, and plants. `mint.place` is its name in PLACES.


def patient(ds: Dataset, m: Mint) -> None:
    ds.PatientName = f"{m.word('family name', True)}^{m.word('given name', True)}"
    ds.PatientID = m.word("PatientID", True)
    ds.OtherPatientIDs = [m.word("OtherPatientIDs 1"), m.word("OtherPatientIDs 2")]
    ds.OtherPatientNames = m.word("OtherPatientNames")
    ds.PatientBirthName = m.word("PatientBirthName")
    ds.PatientMotherBirthName = m.word("PatientMotherBirthName")
    ds.PatientAddress = f"7 {m.word('PatientAddress')} Road, {m.word('PatientAddress, town')}"
    ds.PatientTelephoneNumbers = m.word("PatientTelephoneNumbers")
    ds.MedicalRecordLocator = m.word("MedicalRecordLocator")
    ds.MilitaryRank = m.word("MilitaryRank")
    ds.Occupation = m.word("Occupation")
    ds.PatientBirthDate = m.date("PatientBirthDate")
    ds.OtherPatientIDsSequence = Sequence([_item(PatientID=m.word("OtherPatientIDsSequence"), TypeOfPatientID="TEXT")])


def physicians(ds: Dataset, m: Mint) -> None:
    for keyword in ("ReferringPhysicianName", "PerformingPhysicianName", "NameOfPhysiciansReadingStudy", "PhysiciansOfRecord",
                    "OperatorsName", "RequestingPhysician", "ResponsiblePerson"):
        setattr(ds, keyword, f"{m.word(keyword)}^{m.word(keyword + ', given name')}")
    ds.ReferringPhysicianAddress = f"PO Box 1, {m.word('ReferringPhysicianAddress')}"
    ds.ReferringPhysicianTelephoneNumbers = m.word("ReferringPhysicianTelephoneNumbers")
    person = _item(CodeValue=m.word("person identification, code")[:16], CodingSchemeDesignator="99LOCAL",
                   CodeMeaning=m.word("person identification, meaning"))
    ds.ReferringPhysicianIdentificationSequence = Sequence([_item(
        PersonIdentificationCodeSequence=Sequence([person]), InstitutionName=m.word("person identification, institution"))])


def institution(ds: Dataset, m: Mint) -> None:
    for keyword in ("InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "DeviceSerialNumber",
                    "AccessionNumber", "StudyID", "PlateID", "DetectorID", "GantryID", "CassetteID", "AdmissionID",
                    "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest",
                    "PerformedProcedureStepID", "RequestedProcedureID", "PerformedStationAETitle", "CurrentPatientLocation"):
        setattr(ds, keyword, m.word(keyword))


def free_text(ds: Dataset, m: Mint) -> None:
    for keyword in ("StudyDescription", "SeriesDescription", "PatientComments", "ImageComments", "AdditionalPatientHistory",
                    "ProtocolName", "PerformedProcedureStepDescription", "AdmittingDiagnosesDescription", "MedicalAlerts",
                    "DerivationDescription", "ReasonForStudy", "StudyComments", "RequestedProcedureDescription", "VisitComments"):
        setattr(ds, keyword, f"CT CHEST {m.word(keyword)} 2 MM")


def private(ds: Dataset, m: Mint) -> None:
    group = 0x0033
    ds.add_new(Tag(group, 0x0010), "LO", m.word("private creator"))
    ds.add_new(Tag(group, 0x1001), "LO", m.word("private LO"))
    ds.add_new(Tag(group, 0x1002), "PN", m.word("private PN"))
    ds.add_new(Tag(group, 0x1003), "UN", m.word("private UN").encode())
    ds.add_new(Tag(group, 0x1004), "SQ", Sequence([_item(PatientName=m.word("private SQ, PatientName"), CodeMeaning=m.word("private SQ, CodeMeaning"))]))
    ds.add_new(Tag(group, 0x1005), "OB", m.word("private OB").encode())
    ds.add_new(Tag(group, 0x1006), "UI", m.uid("private UI"))
    ds.add_new(Tag(group, 0x1007), "DA", m.date("private DA"))


def listed_sequences(ds: Dataset, m: Mint) -> None:
    ds.RequestAttributesSequence = Sequence([_item(
        RequestedProcedureID=m.word("request, procedure ID"), RequestedProcedureDescription=m.word("request, description"),
        ScheduledProcedureStepID=m.word("request, step ID"), AccessionNumber=m.word("request, accession number"))])
    old = _item(PatientName=m.word("original attributes, name"), PatientID=m.word("original attributes, ID"), StudyDate=m.date("original attributes, date"))
    ds.OriginalAttributesSequence = Sequence([_item(
        SourceOfPreviousValues=m.word("original attributes, source"), AttributeModificationDateTime=m.date("original attributes, moment") + "101500",
        ModifyingSystem=m.word("original attributes, system"), ReasonForTheAttributeModification="COERCE",
        ModifiedAttributesSequence=Sequence([old]))])
    ds.ReferencedPatientSequence = Sequence([_item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.1.1", ReferencedSOPInstanceUID=m.uid("referenced patient"))])
    ds.ReferencedStudySequence = Sequence([_item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1", ReferencedSOPInstanceUID=m.uid("referenced study"))])


def unlisted_sequences(ds: Dataset, m: Mint) -> None:
    "Table E.1-1 names none of these sequences, but what stands inside."
    for keyword in ("AnatomicRegionSequence", "ReferencedSeriesSequence", "ViewCodeSequence"):
        item = ds[keyword].value[0] if keyword in ds and ds[keyword].value else _item()
        for inner in ("PatientName", "PatientID", "PatientComments", "InstitutionName", "ReferringPhysicianName", "AccessionNumber", "StationName"):
            setattr(item, inner, m.word(f"{keyword}, {inner}"))
        item.StudyDate = m.date(f"{keyword}, StudyDate")
        item.StudyInstanceUID = m.uid(f"{keyword}, StudyInstanceUID")
        item.add_new(0x00331001, "LO", m.word(f"{keyword}, private"))
        item.add_new(0x00189FF1, "LO", m.word(f"{keyword}, unknown"))
        if keyword not in ds or not ds[keyword].value:
            setattr(ds, keyword, Sequence([item]))


def deep(ds: Dataset, m: Mint, levels: int = 120) -> None:
    item = _item(PatientName=m.word("name at the bottom"), PatientID=m.word("ID at the bottom"), StudyDate=m.date("date at the bottom"),
                 SeriesInstanceUID=m.uid("UID at the bottom"), ImageComments=m.word("text at the bottom"))
    item.add_new(0x00331001, "LO", m.word("private at the bottom"))
    for _ in range(levels):
        item = _item(ReferencedSeriesSequence=Sequence([item]))
    ds.ReferencedInstanceSequence = Sequence([item])


def dates_and_uids(ds: Dataset, m: Mint) -> None:
    "At the top, in references and in rarely used elements."
    for keyword in ("InstanceCreationDate", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "DateOfSecondaryCapture",
                    "DateOfLastCalibration", "PerformedProcedureStepStartDate", "AdmittingDate"):
        setattr(ds, keyword, m.date(keyword))
    for keyword in ("AcquisitionDateTime", "InstanceCoercionDateTime", "DateTimeOfLastCalibration", "ExpectedCompletionDateTime"):
        setattr(ds, keyword, m.date(keyword) + "123456.000000")
    for keyword in ("InstanceCreatorUID", "DeviceUID", "TransactionUID", "SynchronizationFrameOfReferenceUID", "IrradiationEventUID",
                    "DimensionOrganizationUID", "ConcatenationUID"):
        setattr(ds, keyword, m.uid(keyword))
    image = _item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=m.uid("SourceImageSequence"))
    ds.SourceImageSequence = Sequence([*(ds.get("SourceImageSequence") or []), image])


def report(ds: Dataset, m: Mint) -> None:
    "Texts, names and dates of a structured report; only where there is one."
    if "ContentSequence" not in ds:
        return

    def content(code: str, meaning: str, kind: str, **value: object) -> Dataset:
        name = _item(CodeValue=code, CodingSchemeDesignator="DCM", CodeMeaning=meaning)
        return _item(RelationshipType="CONTAINS", ValueType=kind, ConceptNameCodeSequence=Sequence([name]), **value)

    inner = content("121071", "Finding", "TEXT", TextValue=f"Mass seen in Mr {m.word('TEXT, nested')}, 3 mm")
    ds.ContentSequence.extend([
        content("121071", "Finding", "TEXT", TextValue=f"Seen with {m.word('TEXT')} on the ward"),
        content("121008", "Person Observer Name", "PNAME", PersonName=m.word("PNAME")),
        content("121029", "Subject Name", "PNAME", PersonName=m.word("PNAME, subject")),
        content("121030", "Subject ID", "TEXT", TextValue=m.word("TEXT, subject ID")),
        content("121012", "Device Observer UID", "UIDREF", UID=m.uid("UIDREF")),
        content("111060", "Study Date", "DATE", Date=m.date("DATE")),
        content("111526", "DateTime Started", "DATETIME", DateTime=m.date("DATETIME") + "101500"),
        content("121070", "Findings", "CONTAINER", ContinuityOfContent="SEPARATE", ContentSequence=Sequence([inner])),
    ])


def annotations(ds: Dataset, m: Mint) -> None:
    "Graphics and waveforms carry text as well."
    ds.WaveformAnnotationSequence = Sequence([_item(UnformattedTextValue=m.word("waveform annotation"), AnnotationGroupNumber=1)])
    text = _item(UnformattedTextValue=m.word("graphic annotation"), BoundingBoxAnnotationUnits="PIXEL")
    ds.GraphicAnnotationSequence = Sequence([_item(GraphicLayer="NOTES", TextObjectSequence=Sequence([text]))])
    ds.ContentCreatorName = m.word("ContentCreatorName")
    ds.AcquisitionContextSequence = Sequence([_item(ValueType="TEXT", TextValue=m.word("acquisition context"))])


def file_meta(ds: Dataset, m: Mint) -> None:
    if not getattr(ds, "preamble", None):
        return
    ds.preamble = f"{m.word('preamble')} {m.word('preamble, again')}".encode().ljust(128, b"\0")
    for keyword in ("SourceApplicationEntityTitle", "SendingApplicationEntityTitle", "ReceivingApplicationEntityTitle", "ImplementationVersionName"):
        setattr(ds.file_meta, keyword, m.word(keyword))
    ds.file_meta.PrivateInformationCreatorUID = UID(m.uid("PrivateInformationCreatorUID"))
    ds.file_meta.PrivateInformation = m.word("PrivateInformation").encode()


def overlays(ds: Dataset, m: Mint) -> None:
    group = 0x601E
    ds.add_new(Tag(group, 0x0010), "US", 8)
    ds.add_new(Tag(group, 0x0011), "US", 16)
    ds.add_new(Tag(group, 0x0040), "CS", "G")
    ds.add_new(Tag(group, 0x0050), "SS", [1, 1])
    ds.add_new(Tag(group, 0x0100), "US", 1)
    ds.add_new(Tag(group, 0x0102), "US", 0)
    ds.add_new(Tag(group, 0x0022), "LO", m.word("OverlayDescription"))
    ds.add_new(Tag(group, 0x1500), "LO", m.word("OverlayLabel"))
    ds.add_new(Tag(group, 0x3000), "OW", m.word("OverlayData").encode().ljust(16, b"\0"))
    ds.add_new(Tag(group, 0x4000), "LT", m.word("OverlayComments"))


def curves(ds: Dataset, m: Mint) -> None:
    group = 0x501E
    ds.add_new(Tag(group, 0x0022), "LO", m.word("CurveDescription"))
    ds.add_new(Tag(group, 0x2500), "LO", m.word("CurveLabel"))
    ds.add_new(Tag(group, 0x3000), "OW", m.word("CurveData").encode())
    ds.add_new(Tag(group, 0x2600), "SQ", Sequence([_item(ReferencedSOPInstanceUID=m.uid("curve, reference"))]))


def as_unknown(ds: Dataset, m: Mint) -> None:
    "Attributes of the table, written with VR UN; one hides a sequence."
    for keyword, tag in (("CountryOfResidence", 0x00102150), ("RegionOfResidence", 0x00102152), ("CurrentObserverTrial", 0x0040A307),
                         ("NamesOfIntendedRecipientsOfResults", 0x00401010)):
        ds[tag] = DataElement(tag, "UN", m.word(keyword).encode())
    name = f"{m.word('name in UN')}".encode()
    inner = b"\x10\x00\x10\x00" + len(name).to_bytes(4, "little") + name
    ds[0x00081049] = DataElement(0x00081049, "UN", b"\xfe\xff\x00\xe0" + len(inner).to_bytes(4, "little") + inner)
    ds[0x00082228] = DataElement(0x00082228, "UN", b"\xfe\xff\x00\xe0" + len(inner).to_bytes(4, "little") + inner)


def unknown(ds: Dataset, m: Mint) -> None:
    "Public elements that no dictionary knows."
    ds.add_new(0x00109FF1, "LO", m.word("(0010,9FF1)"))
    ds.add_new(0x00189FF3, "UN", m.word("(0018,9FF3)").encode())
    ds.add_new(0x0040FFF5, "SQ", Sequence([_item(PatientName=m.word("(0040,FFF5), PatientName"), SeriesDescription=m.word("(0040,FFF5), SeriesDescription"))]))
    ds.add_new(0x30FA0010, "UT", m.word("(30FA,0010)"))


def group_4000(ds: Dataset, m: Mint) -> None:
    ds.add_new(0x40000010, "LT", m.word("Arbitrary"))
    ds.add_new(0x40004000, "LT", m.word("TextComments"))


def padding(ds: Dataset, m: Mint) -> None:
    ds.add_new(0xFFFCFFFC, "OB", m.word("DataSetTrailingPadding").encode())


def signatures(ds: Dataset, m: Mint) -> None:
    ds.DigitalSignaturesSequence = Sequence([_item(
        MACIDNumber=1, DigitalSignatureUID=m.uid("signature"), DigitalSignatureDateTime=m.date("signature") + "101500",
        CertificateType="X509_1993_SIG", CertificateOfSigner=m.word("certificate").encode(), Signature=m.word("signature value").encode())])


def interpretation(ds: Dataset, m: Mint) -> None:
    for keyword in ("InterpretationText", "InterpretationRecorder", "InterpretationAuthor", "ResultsComments", "Impressions", "ResultsID"):
        setattr(ds, keyword, m.word(keyword))


def document(ds: Dataset, m: Mint) -> None:
    ds.DocumentTitle = m.word("DocumentTitle")
    ds.EncapsulatedDocument = (b"%PDF-1.4 " + m.word("EncapsulatedDocument").encode()).ljust(64)
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"


def thumbnails(ds: Dataset, m: Mint) -> None:
    icon = _item(Rows=4, Columns=4, BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0, SamplesPerPixel=1,
                 PhotometricInterpretation="MONOCHROME2", PixelData=m.word("icon").encode().ljust(16, b"\0"), ImageComments=m.word("icon, comment"))
    icon["PixelData"].VR = "OB"
    ds.IconImageSequence = Sequence([icon])


def copies(ds: Dataset, m: Mint) -> None:
    "The patient's own name and ID in attributes that Table E.1-1 does not name."
    names = {p.where: p.token for p in m.ledger if p.place == "patient"}
    if not names:
        return
    ds.ReceiveCoilName = names["family name"]
    ds.ConvolutionKernel = f"B30 {names['given name'].lower()}"
    ds.FilterType = names["PatientID"]
    for where in ("family name", "given name", "PatientID"):
        m.ledger.append(Planted(m.file, m.place, f"copy of {where}", "word", names[where]))


PLACES: dict[str, Callable[[Dataset, Mint], None]] = {
    "patient": patient, "physicians": physicians, "institution, device, accession": institution, "free text": free_text,
    "private block": private, "listed sequences": listed_sequences, "unlisted sequences": unlisted_sequences, "120 levels deep": deep,
    "dates and UIDs": dates_and_uids, "structured report": report, "annotations": annotations, "file meta and preamble": file_meta,
    "overlays 60xx": overlays, "curves 50xx": curves, "known attribute as UN": as_unknown, "unknown public element": unknown,
    "group 4000": group_4000, "trailing padding": padding, "digital signature": signatures, "interpretation": interpretation,
    "icon image": thumbnails, "copies in kept attributes": copies, "encapsulated document": document,
}
APART = "encapsulated document"  # whoever sets such files aside would set all of them aside: so only every 40th has one
EVERY = 40


@contextmanager
def unknown_stays() -> Iterator[None]:
    "pydicom writes what is UN as UN, even where it knows better."
    before, pydicom.config.replace_un_with_known_vr = pydicom.config.replace_un_with_known_vr, False
    try:
        yield
    finally:
        pydicom.config.replace_un_with_known_vr = before


def person_of(ds: Dataset) -> str:
    "What makes a patient: issuer and ID, else the study."
    said = str(ds.get("PatientID") or "").strip()
    return f"{ds.get('IssuerOfPatientID', '')}|{said}" if said else f"study {ds.get('StudyInstanceUID', '')}"


def plant(
    content: bytes,                      # a DICOM file
    name: str,                           # tells its tokens from those of other files
    places: Iterable[str] | None = None,  # keys of PLACES; None: all but the one that is APART
) -> tuple[bytes, list[Planted]]:
    "A copy with identifiers in it, and what they are. Raises whatever pydicom raises for a file that it cannot write."
    with warnings.catch_warnings(), unknown_stays():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(io.BytesIO(content), force=True)
        if "SOPClassUID" not in ds:
            raise ValueError("no DICOM object")
        mint = Mint(name, person_of(ds))
        for place in places or [place for place in PLACES if place != APART]:
            mint.place = place
            PLACES[place](ds, mint)
        target = io.BytesIO()
        ds.save_as(target, enforce_file_format=False)
    return target.getvalue(), mint.ledger


def write_ledger(path: Path, rows: list[Planted]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(Planted.__dataclass_fields__)
        writer.writerows((r.file, r.place, r.where, r.kind, r.token) for r in rows)


def read_ledger(path: Path) -> list[Planted]:
    with path.open(newline="", encoding="utf-8") as stream:
        return [Planted(**row) for row in csv.DictReader(stream)]


def real_files(folders: list[Path]) -> Iterator[tuple[str, Path]]:
    "Everything that may be a DICOM object, with a name that says nothing."
    number = 0
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            content = path.open("rb").read(132)
            if content[128:] == b"DICM" or content[:2] == b"\x08\0":
                number += 1
                yield f"F{number:07}", path


def plant_folder(folders: list[Path], target: Path, limit: int = 0) -> dict[str, int]:
    "Write `planted/`, `ledger.csv` and `sources.csv`; how many files and tokens, and what could not be planted."
    counts, rows, sources = {"files": 0, "tokens": 0, "not planted": 0}, list[Planted](), list[tuple[str, str]]()
    (target / "planted").mkdir(parents=True, exist_ok=True)
    for name, path in real_files(folders):
        if limit and counts["files"] >= limit:
            break
        if path.name.startswith("DICOMDIR"):
            continue
        try:
            content, planted = plant(path.read_bytes(), name, PLACES if counts["files"] % EVERY == EVERY - 1 else None)
        except Exception:  # a file that pydicom cannot write: not for this yardstick
            counts["not planted"] += 1
            continue
        (target / "planted" / f"{name}.dcm").write_bytes(content)
        rows += planted
        sources.append((name, str(path)))
        counts["files"] += 1
    counts["tokens"] = len(rows)
    write_ledger(target / "ledger.csv", rows)
    with (target / "sources.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(sources)
    return counts


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("target", type=Path)
    arguments.add_argument("--from", dest="folders", nargs="*", type=Path)
    arguments.add_argument("--limit", type=int, default=0)
    options = arguments.parse_args()
    folders = options.folders or [Path(pydicom.__file__).parent / "data" / "test_files"]
    print(plant_folder(folders, options.target, options.limit))


if __name__ == "__main__":
    main()
