"""A benchmark corpus: real headers of pydicom and pydicom-data, cloned into patients, studies and series.

    python benchmarks/corpus.py FOLDER [--files 10000] [--seed 1]

Each row of MIX is read once with pydicom, changed where the row says so, and cut into pieces around the elements
that differ from file to file (UIDs, dates, names, positions). A clone is those pieces joined again, so 10,000 files
take seconds. The same seed, pydicom and pydicom-data give the same bytes. MIX is the whole recipe: new base
files are new rows. `files.csv` in the folder says which row each file was cloned from.
"""

import argparse
import csv
import datetime
import hashlib
import io
import itertools
import json
import random
import shutil
import warnings
import zlib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from struct import Struct

import data_store  # what the PyPI package pydicom-data installs
import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

FOLDERS = [Path(pydicom.__file__).parent / "data", Path(data_store.__file__).parent / "data"]
DEFLATED = DeflatedExplicitVRLittleEndian

# weight (about files per 10,000) | base file | what is changed in it | rows and columns that are kept of the pixels (0: all)
MIX = [
    (1100, "test_files/CT_small.dcm", "", 96),
    (600, "test_files/dicomdirtests/98892001/CT5N/2062", "", 0),
    (500, "693_UNCR.dcm", "", 128),
    (400, "MR2_UNCR.dcm", "", 160),
    (300, "test_files/MR_small.dcm", "", 0),
    (200, "MR-SIEMENS-DICOM-WithOverlays.dcm", "", 160),
    (250, "OBXXXX1A.dcm", "", 200),
    (150, "US1_UNCR.dcm", "", 120),
    (100, "RG1_UNCR.dcm", "", 256),
    (100, "RG3_UNCR.dcm", "", 256),
    (80, "bad_sequence.dcm", "", 0),
    (130, "test_files/dicomdirtests/77654033/CR1/6154", "", 0),
    (100, "test_files/dicomdirtests/98892003/MR1/4919", "", 0),
    # explicit little endian with sequences and items of undefined length
    (900, "test_files/CT_small.dcm", "undefined", 96),
    (600, "test_files/dicomdirtests/98892001/CT5N/2062", "undefined", 0),
    (500, "MR-SIEMENS-DICOM-WithOverlays.dcm", "undefined csa", 160),
    (400, "MR2_UNCR.dcm", "undefined", 160),
    (250, "JPEG2000_UNC.dcm", "undefined", 160),
    (150, "693_UNCI.dcm", "undefined", 128),
    # implicit little endian
    (500, "test_files/CT_small.dcm", "implicit", 96),
    (400, "693_UNCR.dcm", "implicit undefined", 128),
    (300, "test_files/MR_small_implicit.dcm", "", 0),
    (200, "MR2_UNCR.dcm", "implicit undefined", 160),
    (50, "gdcm-US-ALOKA-16.dcm", "", 200),
    # JPEG 2000
    (300, "test_files/693_J2KI.dcm", "", 0),
    (200, "MR2_J2KI.dcm", "", 0),
    (150, "test_files/JPEG2000.dcm", "", 0),
    (100, "test_files/MR_small_jp2klossless.dcm", "", 0),
    (80, "US1_J2KI.dcm", "", 0),
    (40, "test_files/J2K_pixelrep_mismatch.dcm", "", 0),  # ISO 2022 IR 13 and IR 87
    # big endian
    (230, "test_files/MR_small_bigendian.dcm", "", 0),
    (120, "OBXXXX1A_expb.dcm", "", 200),
    (80, "SC_rgb_expb.dcm", "", 0),
    # deflated
    (140, "test_files/CT_small.dcm", "deflated", 96),
    (100, "693_UNCR.dcm", "deflated", 128),
    # character sets
    *((35, f"charset_files/chr{name}.dcm", "", 0)
      for name in "Arab FrenMulti Greek H31 H32 Hbrw I2 JapMulti KoreanMulti Russ X1 X2".split()),
    # enhanced multi-frame
    (80, "eCT_Supplemental.dcm", "", 32),
    (20, "eCT_Supplemental.dcm", "2600 frames", 8),  # 18,000 elements, as Philips' enhanced MR have
    # not imaging
    (60, "test_files/test-SR.dcm", "", 0),
    (40, "test_files/reportsi.dcm", "", 0),
    (40, "test_files/rtplan.dcm", "", 0),
    (20, "test_files/rtdose.dcm", "", 0),
    (20, "test_files/waveform_ecg.dcm", "", 0),
    (20, "test_files/liver_1frame.dcm", "", 0),
]  # fmt: skip

# What differs between clones. Only elements that the base file has, with a value, are written anew.
FIELDS = """SOPInstanceUID StudyDate SeriesDate AcquisitionDate ContentDate StudyTime SeriesTime AcquisitionTime
ContentTime AccessionNumber PatientName PatientID PatientBirthDate PatientAge StudyInstanceUID SeriesInstanceUID
StudyID SeriesNumber InstanceNumber ImagePositionPatient FrameOfReferenceUID SliceLocation""".split()
TAGS = {tag_for_keyword(keyword): keyword for keyword in FIELDS}
FAMILY = "Banda Bwalya Chanda Daka Kabwe Lungu Mbewe Mulenga Mwale Mwansa Ng'andu Phiri Sakala Tembo Zulu".split()
GIVEN = "Bupe Chileshe Chipo Inonge Kabelo Lubona Mutale Mwila Natasha Temwa Thandiwe Twaambo Wezi Womba".split()


UNIT = Struct("<I")


@dataclass
class Field:
    """An element that every clone writes anew: its tag (and VR), and how its length is packed."""

    keyword: str
    head: bytes
    length: Struct

    def written(self, values: dict[str, bytes]) -> bytes:
        value = values[self.keyword]
        value += (b"\0" if self.keyword.endswith("UID") else b" ") * (len(value) % 2)
        return self.head + self.length.pack(len(value)) + value


@dataclass
class Template:
    """One base file in pieces. A block is a group with its retired length element (gggg,0000), or has no such head."""

    meta: list[bytes | Field]
    blocks: list[tuple[bytes, list[bytes | Field]]]  # head up to the group length's value (or b""), pieces
    deflate: bool

    def clone(self, values: dict[str, bytes]) -> bytes:
        """The bytes of one file."""
        meta = _join(self.meta, values)
        body = b""
        for head, pieces in self.blocks:
            block = _join(pieces, values)
            body += head + UNIT.pack(len(block)) + block if head else block
        if self.deflate:
            squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            body = squeeze.compress(body) + squeeze.flush()
            body += b"\0" * (len(body) % 2)
        return bytes(128) + b"DICM\x02\0\0\0UL\4\0" + UNIT.pack(len(meta)) + meta + body


def _join(pieces: list[bytes | Field], values: dict[str, bytes]) -> bytes:
    return b"".join(p if isinstance(p, bytes) else p.written(values) for p in pieces)


@cache
def template(base: str, change: str, side: int) -> Template:
    """Read a base file, change it as its row of MIX says, and cut it into pieces."""
    path = next(p for p in (folder / base for folder in FOLDERS) if p.exists())
    data = path.read_bytes()
    if change:
        data = _changed(data, change.split())
    if side:
        data = _cropped(data, side)
    ds = pydicom.dcmread(io.BytesIO(data))
    start = 144 + UNIT.unpack_from(data, 140)[0]
    uid = data.index(b"\x02\0\x03\0UI", 144, start)
    behind = uid + 8 + Struct("<H").unpack_from(data, uid + 6)[0]
    meta = [data[144:uid], Field("SOPInstanceUID", data[uid : uid + 6], Struct("<H")), data[behind:start]]
    deflate = "deflated" in change.split()
    if deflate:
        meta[2] = meta[2].replace(_uid_element(ExplicitVRLittleEndian), _uid_element(DEFLATED))
        meta[0] = meta[0].replace(_uid_element(ExplicitVRLittleEndian), _uid_element(DEFLATED))
    return Template(meta, list(_blocks(ds, data, start)), deflate)


def _uid_element(uid: str) -> bytes:
    value = uid.encode() + b"\0" * (len(uid) % 2)
    return b"\x02\0\x10\0UI" + Struct("<H").pack(len(value)) + value


def _blocks(ds: Dataset, data: bytes, start: int) -> Iterator[tuple[bytes, list[bytes | Field]]]:
    """Cut the data set at its group lengths. Where a group ends is looked up: some base files say it wrong."""
    order = "<" if ds.original_encoding[1] else ">"
    lengths = [tag for tag in ds.keys() if tag.element == 0]
    assert order == "<" or not lengths, "group lengths in big endian are not rewritten"
    at = start
    for tag in lengths:
        head = _start_of(ds, tag)
        later = next((t for t in sorted(ds.keys()) if t.group > tag.group), None)
        last = len(data) if later is None else _start_of(ds, later)
        yield b"", list(_pieces(ds, data, at, head, order))
        yield data[head : head + 8], list(_pieces(ds, data, head + 12, last, order))
        at = last
    yield b"", list(_pieces(ds, data, at, len(data), order))


def _start_of(ds: Dataset, tag: BaseTag) -> int:
    """Where an element begins: its tag, not its value."""
    element = ds.get_item(tag)
    value = element.value_tell if isinstance(element, RawDataElement) else element.file_tell
    return value - (12 if element.VR in EXPLICIT_VR_LENGTH_32 and not ds.original_encoding[0] else 8)


def _pieces(ds: Dataset, data: bytes, first: int, last: int, order: str) -> Iterator[bytes | Field]:
    """Cut data[first:last] at the elements that clones write anew: those with a plain ASCII value."""
    length = Struct(order + ("I" if ds.original_encoding[0] else "H"))
    for tag in sorted(TAGS):
        raw = ds.get_item(tag) if tag in ds else None
        if raw is None or not raw.value or not raw.value.strip(b"\0 ") or not first <= raw.value_tell < last:
            continue
        if raw.value.isascii() and b"\x1b" not in raw.value:
            head = raw.value_tell - 8
            yield data[first:head]
            yield Field(TAGS[tag], data[head : raw.value_tell - length.size], length)
            first = raw.value_tell + raw.length
    yield data[first:last]


def _cropped(data: bytes, side: int) -> bytes:
    """The upper left corner's worth of native pixels, with Rows and Columns to match; all other bytes stay."""
    ds = pydicom.dcmread(io.BytesIO(data))
    pixels, order = ds.get_item("PixelData"), "<" if ds.original_encoding[1] else ">"
    at, old = pixels.value_tell, pixels.length
    frames = int(ds.get("NumberOfFrames") or 1)
    new = side * side * frames * ds.SamplesPerPixel * ds.BitsAllocated // 8
    assert new <= old, "the base file has fewer pixels"
    out = bytearray(data)
    for keyword in ("Rows", "Columns"):
        Struct(order + "H").pack_into(out, pydicom.dcmread(io.BytesIO(data)).get_item(keyword).value_tell, side)
    Struct(order + "I").pack_into(out, at - 4, new)
    return bytes(out[: at + new] + out[at + old :])


def _changed(data: bytes, words: list[str]) -> bytes:
    ds = pydicom.dcmread(io.BytesIO(data))
    if "frames" in words:
        frames = ds.PerFrameFunctionalGroupsSequence
        count = int(words[words.index("frames") - 1])
        ds.PerFrameFunctionalGroupsSequence = Sequence(deepcopy(frames[n % len(frames)]) for n in range(count))
        ds.NumberOfFrames = count
    if "csa" in words:  # the place and the size of Siemens' private headers; the content is random
        block = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
        for offset, size in ((0x10, 12_000), (0x20, 60_000)):
            block.add_new(offset, "OB", b"SV10\4\3\2\1" + random.Random(size).randbytes(size))
    if "undefined" in words:
        _undefined_lengths(ds)
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if "implicit" in words else ds.file_meta.TransferSyntaxUID
    out = io.BytesIO()
    pydicom.dcmwrite(out, ds, implicit_vr="implicit" in words, little_endian=True, force_encoding=True)
    return out.getvalue()


def _undefined_lengths(ds: Dataset) -> None:
    """All sequences and items in undefined length; a data set without sequences gets the two most usual ones."""
    if not any(e.VR == "SQ" for e in ds):
        request, image = Dataset(), Dataset()
        request.ScheduledProcedureStepDescription, request.ScheduledProcedureStepID = "Benchmark", "1"
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = ds.SOPClassUID, "2.25.1"
        ds.ReferencedImageSequence = [image, deepcopy(image), deepcopy(image)]
        ds.RequestAttributesSequence = [request]
    for element in ds:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                if any(e.VR == "SQ" for e in item):
                    _undefined_lengths(item)


def shares(files: int) -> list[int]:
    """How many files each row of MIX gets: largest remainders, so that they add up to `files`."""
    exact = [row[0] * files / sum(r[0] for r in MIX) for row in MIX]
    counts = [int(x) for x in exact]
    by_rest = sorted(range(len(MIX)), key=lambda n: (counts[n] - exact[n], n))
    for n in by_rest[: files - sum(counts)]:
        counts[n] += 1
    return counts


def _uid(rng: random.Random) -> bytes:
    return b"2.25.%d" % rng.getrandbits(128)


def _day(date: datetime.date) -> bytes:
    return date.strftime("%Y%m%d").encode()


def patients(rng: random.Random) -> Iterator[dict[str, bytes]]:
    for number in itertools.count(1):
        born = datetime.date(1930, 1, 1) + datetime.timedelta(days=rng.randrange(30_000))
        yield {
            "PatientID": b"B%06d" % number,
            "PatientName": f"{rng.choice(FAMILY)}^{rng.choice(GIVEN)}".encode(),
            "PatientBirthDate": _day(born),
        }


def study(rng: random.Random, patient: dict[str, bytes]) -> dict[str, bytes]:
    day = datetime.date(2015, 1, 1) + datetime.timedelta(days=rng.randrange(3_000))
    time = b"%02d%02d%02d" % (rng.randrange(24), rng.randrange(60), rng.randrange(60))
    dates = dict.fromkeys(("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"), _day(day))
    times = dict.fromkeys(("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime"), time)
    age = max(day.year - int(patient["PatientBirthDate"][:4]), 0)
    number = b"%d" % rng.randrange(1, 10_000_000)
    ids = {
        "StudyInstanceUID": _uid(rng),
        "StudyID": number[-4:],
        "AccessionNumber": number,
        "PatientAge": b"%03dY" % age,
    }
    return patient | dates | times | ids


def instances(rng: random.Random, series: dict[str, bytes], count: int) -> Iterator[dict[str, bytes]]:
    x, y, z, step = -200 * rng.random(), -200 * rng.random(), 100 * rng.random(), rng.choice((1, 1.25, 3, 5))
    for number in range(1, count + 1):
        yield series | {
            "SOPInstanceUID": _uid(rng),
            "InstanceNumber": b"%d" % number,
            "ImagePositionPatient": b"%.3f\\%.3f\\%.2f" % (x, y, z),
            "SliceLocation": b"%.2f" % z,
            "AcquisitionTime": series["StudyTime"] + b".%03d" % (number % 1000),
        }
        z += step


def plan(files: int, seed: int) -> Iterator[tuple[str, int, dict[str, bytes]]]:
    """Relative path, row of MIX and values of every file: series of 15 to 60, studies of 1 to 4, patients of 1 to 3."""
    rng = random.Random(seed)
    batches = []
    for row, left in enumerate(shares(files)):
        while left:
            take = min(left, rng.randint(15, 60))
            batches.append((row, take))
            left -= take
    rng.shuffle(batches)
    people, studies_left, series_left = patients(rng), 0, 0
    person = examination = {}
    p = t = s = 0
    for row, count in batches:
        if not series_left:
            if not studies_left:
                person, studies_left, p, t = next(people), rng.randint(1, 3), p + 1, 0
            examination, series_left, t, s = study(rng, person), rng.randint(1, 4), t + 1, 0
            studies_left -= 1
        s, series_left = s + 1, series_left - 1
        ids = {"SeriesInstanceUID": _uid(rng), "SeriesNumber": b"%d" % s, "FrameOfReferenceUID": _uid(rng)}
        for n, values in enumerate(instances(rng, examination | ids, count), 1):
            yield f"P{p:05d}/ST{t:02d}/SE{s:02d}/IM{n:04d}.dcm", row, values


def is_foreign(folder: Path) -> bool:
    """Does somebody else's data lie in the folder? Such a folder is never written to."""
    return folder.exists() and any(folder.iterdir()) and not (folder / "corpus.json").exists()


def build(folder: Path, files: int = 10_000, seed: int = 1, rebuild: bool = False) -> list[Path]:
    """The corpus below `folder`, made if it is not there yet; the paths in the order in which they were made."""
    recipe = {
        "files": files,
        "seed": seed,
        "corpus.py": hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
        "pydicom": version("pydicom"),
        "pydicom-data": version("pydicom-data"),
    }
    stamp, listing = folder / "corpus.json", folder / "files.csv"
    if not rebuild and stamp.exists() and json.loads(stamp.read_text()) == recipe:
        with listing.open(newline="") as lines:
            return [folder / row["path"] for row in csv.DictReader(lines)]
    if is_foreign(folder):
        raise SystemExit(f"{folder} is not empty and holds no corpus: name another folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    stamp.write_text("{}")  # from here on the folder is ours, even if the build is interrupted
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the base files are odd on purpose
        templates = [template(*row[1:]) for row in MIX]
    paths = []
    with listing.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["path", "base", "change"])
        for name, row, values in plan(files, seed):
            path = folder / name
            if name.endswith("IM0001.dcm"):
                path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(templates[row].clone(values))
            writer.writerow([name, *MIX[row][1:3]])
            paths.append(path)
    stamp.write_text(json.dumps(recipe, indent=1))
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the benchmark corpus.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    made = build(options.folder, options.files, options.seed)
    print(f"{len(made):,} files, {sum(p.stat().st_size for p in made) / 1e6:,.0f} MB in {options.folder}")
