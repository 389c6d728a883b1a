"""What every reader in this folder shares: the 55 attributes, the clock, and how values become text.

A reader's script gives `measure` one function: list of paths -> list of rows (a row is 55 values, or the exception
that the file raised). Only that function is timed; imports and the conversion to text are not. Needs nothing but
Python, since each reader lives in its own virtual environment.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

KEYWORDS = """SpecificCharacterSet ImageType SOPClassUID SOPInstanceUID StudyDate SeriesDate AcquisitionDate
ContentDate StudyTime AcquisitionTime AccessionNumber Modality Manufacturer InstitutionName ReferringPhysicianName
StationName StudyDescription SeriesDescription ManufacturerModelName PatientName PatientID PatientBirthDate PatientSex
PatientAge BodyPartExamined ScanningSequence SliceThickness KVP RepetitionTime EchoTime MagneticFieldStrength
DeviceSerialNumber SoftwareVersions ProtocolName ExposureTime XRayTubeCurrent Exposure ConvolutionKernel PatientPosition
StudyInstanceUID SeriesInstanceUID StudyID SeriesNumber InstanceNumber ImagePositionPatient ImageOrientationPatient
Laterality PhotometricInterpretation NumberOfFrames Rows Columns PixelSpacing BitsStored WindowCenter WindowWidth""".split()

TAGS = """00080005 00080008 00080016 00080018 00080020 00080021 00080022 00080023 00080030 00080032 00080050 00080060
00080070 00080080 00080090 00081010 00081030 0008103E 00081090 00100010 00100020 00100030 00100040 00101010 00180015
00180020 00180050 00180060 00180080 00180081 00180087 00181000 00181020 00181030 00181150 00181151 00181152 00181210
00185100 0020000D 0020000E 00200010 00200011 00200013 00200032 00200037 00200060 00280004 00280008 00280010 00280011
00280030 00280101 00281050 00281051""".split()  # of KEYWORDS, for readers without a dictionary

Row = Sequence[Any] | Exception


def each(read: Callable[[str], Sequence[Any]]) -> Callable[[list[str]], list[Row]]:
    """A reader of one file as a reader of many; an exception takes the place of the row."""

    def read_all(paths: list[str]) -> list[Row]:
        rows: list[Row] = []
        for path in paths:
            try:
                rows.append(read(path))
            except Exception as error:
                rows.append(error)
        return rows

    return read_all


def cpu_seconds() -> float:
    """CPU time, user and system, of this process and of the children that ended."""
    if resource is None:
        return time.process_time()
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def peak_megabytes() -> float:
    """Peak resident memory. VmHWM, since ru_maxrss of a child on Linux starts with its parent's."""
    try:
        line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    except (OSError, StopIteration):
        unit = 1024 if sys.platform != "darwin" else 1 << 20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit if resource else 0.0


def text(value: Any) -> str | None:
    """A reader's value as text: several values joined by a backslash, bytes as Latin-1."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, Sequence):
        return "\\".join(text(x) or "" for x in value)
    return str(value)


def measure(
    read: Callable[[Any], Sequence[Row]],
    chunk: int = 1000,
    prepare: Callable[[list[str]], Any] = list,  # what the reader wants instead of paths; not timed
    about: Callable[[], dict[str, Any]] = dict,  # what else to say at the end
) -> None:
    """Read the files listed in argv[1]; the result goes to argv[2] as JSON, the values to argv[3] unless it is ''."""
    listing, target, *values = [Path(a) for a in sys.argv[1:4] if a]
    paths = json.loads(listing.read_text())
    cpu = wall = 0.0
    exceptions: Counter[str] = Counter()
    out = values[0].open("w") if values else None
    for start in range(0, len(paths), chunk):
        part = prepare(paths[start : start + chunk])
        c, w = cpu_seconds(), time.perf_counter()
        rows = read(part)
        cpu, wall = cpu + cpu_seconds() - c, wall + time.perf_counter() - w
        exceptions.update(type(row).__name__ for row in rows if isinstance(row, Exception))
        for row in rows if out else ():
            out.write(json.dumps(None if isinstance(row, Exception) else [text(x) for x in row]) + "\n")
    result = {"files": len(paths), "cpu": cpu, "wall": wall, "rss": peak_megabytes(), "exceptions": exceptions}
    target.write_text(json.dumps(result | about()))
