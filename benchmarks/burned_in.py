"""Made-up ultrasound with text burned into it: is every planted identifier gone, and is the rest as it was?

    python benchmarks/burned_in.py [--show FOLDER] [--seeds 3]

Six layouts, seven identifiers each. What is planted is known to the pixel: `Planted.text` is true where letters were
drawn. An identifier counts as gone if nothing is left inside its own rectangle but one flat value, which needs no
reader to judge; reading again is asked as well. Nobody in here exists.
"""

import argparse
import io
import resource
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

LAYOUTS = ("banner", "faint", "small", "coloured", "vertical", "bottom")
Box = tuple[int, int, int, int]  # left, top, right, bottom; the last two are the first column and row outside

IDENTIFIERS = (
    {"name": "MWANSA, CHIPO B", "id": "ZM-4471902", "born": "14.03.1961", "accession": "ACC 88120345",
     "taken": "27.10.2021 09:41", "institution": "KAFUE GENERAL HOSPITAL", "physician": "DR T. LUNGU"},
    {"name": "Tembo^Grace", "id": "NRC 219034/61/1", "born": "1984-12-09", "accession": "A0071529",
     "taken": "2023-02-18 16:05", "institution": "St Luke Mission Hosp", "physician": "Dr Phiri"},
    {"name": "Banda Moses", "id": "00917264", "born": "03/07/1952", "accession": "UTH-US-55193",
     "taken": "11/30/2019 11:22:47", "institution": "LUSAKA TEACHING HOSP", "physician": "Ref: K. Zulu"},
)
HARMLESS = ("MI 0.9", "TIs 0.4", "C5-2", "28 Hz", "11 cm", "Gn 60")


@dataclass
class Planted:
    "One frame, what was drawn into it, and where."

    frame: NDArray[np.uint8]  # rows x columns x 3, RGB
    bare: NDArray[np.uint8]   # the same without any text
    identifiers: dict[str, str]
    boxes: dict[str, Box] = field(default_factory=dict)

    @property
    def text(self) -> NDArray[np.bool_]:
        "True where a letter changed the picture."
        return (self.frame != self.bare).any(axis=-1)


def font(size: int) -> ImageFont.FreeTypeFont:
    "Pillow's own letters, so that every machine draws the same."
    return ImageFont.load_default(size)


def scan(rows: int, columns: int, seed: int, wide: bool = False) -> NDArray[np.uint8]:
    "A sector of speckle with a dark cyst in it, on black; wide: speckle up to the edges."
    dice = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:columns]
    depth, angle = np.hypot(y + rows * 0.05, x - columns / 2), np.arctan2(x - columns / 2, y + rows * 0.05)
    speckle = dice.rayleigh(1.0, (rows // 2 + 1, columns // 2 + 1)).repeat(2, 0).repeat(2, 1)[:rows, :columns]
    tissue = 60 * np.exp(-depth / rows) + 25 * (1 + np.sin(depth / 23) * np.cos(angle * 5))
    tissue[np.hypot(y - rows * 0.55, (x - columns * 0.45) * 0.8) < rows * 0.09] = 6
    grey = np.clip(tissue * speckle * 0.8, 0, 255)
    if not wide:
        grey[(np.abs(angle) > 0.62) | (depth < rows * 0.14) | (depth > rows * 0.9)] = 0
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)


def plant(
    layout: str,
    seed: int = 0,
    faint: int = 160,  # how bright the letters of that layout are, over speckle of 0 to 255
    still: int = 0,    # number of the frame in a film: other speckle, the same text
) -> Planted:
    "A frame of one layout."
    who = IDENTIFIERS[seed % len(IDENTIFIERS)]
    rows, columns = (768, 1024) if layout == "small" else (600, 800)
    bare = scan(rows, columns, seed + 1000 * still, wide=layout == "faint")
    if layout == "coloured":
        bare[:70] = (30, 60, 96)
    if layout == "bottom":
        bare[-64:] = (205, 205, 205)
    made = Planted(bare.copy(), bare, dict(who))
    for name, text, where, size, colour, turned in placed(layout, who, rows, columns, faint):
        write(made, name, text, where, size, colour, turned)
    return made


def placed(layout, who, rows, columns, faint):
    "What is written where: name, text, left and top, size, colour, quarter turns."
    white, spots = (255, 255, 255), []
    rest = list(HARMLESS)
    if layout == "banner":
        grid = [(8, 4), (330, 4), (560, 4), (8, 26), (330, 26), (560, 26), (8, 48)]
        spots = [(n, who[n], at, 17, white, 0) for n, at in zip(who, grid, strict=True)]
        spots += [("", t, (6, 110 + 22 * i), 15, white, 0) for i, t in enumerate(rest)]
    elif layout == "faint":
        spots = [(n, who[n], (24 + 360 * (i % 2), 40 + 74 * i), 20, (faint, faint, faint), 0) for i, n in enumerate(who)]
    elif layout == "small":
        spots = [(n, who[n], (12 + 250 * (i % 4), 6 + 14 * (i // 4)), 10, (225, 225, 225), 0) for i, n in enumerate(who)]
        spots += [("", t, (8, 80 + 14 * i), 10, white, 0) for i, t in enumerate(rest)]
    elif layout == "coloured":
        colours = [(255, 220, 40), (80, 230, 255), (255, 110, 90), (120, 255, 120), (255, 160, 250), white, (250, 190, 120)]
        grid = [(10, 4), (300, 4), (560, 4), (10, 26), (300, 26), (560, 26), (10, 48)]
        spots = [(n, who[n], at, 16, c, 0) for n, at, c in zip(who, grid, colours, strict=True)]
        spots += [("", t, (700, 300 + 22 * i), 15, (255, 255, 0), 0) for i, t in enumerate(rest)]
    elif layout == "vertical":
        grid = [(6, 20), (6, 320), (32, 20), (32, 320), (columns - 28, 20), (columns - 28, 330), (columns - 54, 20)]
        spots = [(n, who[n], at, 17, white, 1 if at[0] < 100 else 3) for n, at in zip(who, grid, strict=True)]
    elif layout == "bottom":
        grid = [(8, 2), (330, 2), (560, 2), (8, 22), (330, 22), (560, 22), (8, 42)]
        spots = [(n, who[n], (x, rows - 64 + y), 16, (10, 10, 10), 0) for n, (x, y) in zip(who, grid, strict=True)]
        spots += [("", t, (6, 20 + 22 * i), 15, white, 0) for i, t in enumerate(rest)]
    return spots


def write(made: Planted, name, text, where, size, colour, turned) -> None:
    "Draw one text; remember the rectangle of an identifier."
    _, _, right, bottom = font(size).getbbox(text)
    stamp = Image.new("L", (int(right) + 2, int(bottom) + 2))
    ImageDraw.Draw(stamp).text((0, 0), text, font=font(size), fill=255)
    ink = np.rot90(np.asarray(stamp, dtype=np.float64) / 255, turned)
    x, y = where
    place = made.frame[y : y + ink.shape[0], x : x + ink.shape[1]]
    ink = ink[: place.shape[0], : place.shape[1], None]
    place[...] = (place * (1 - ink) + np.array(colour) * ink).round().astype(np.uint8)
    rows, columns = np.nonzero((place != made.bare[y : y + ink.shape[0], x : x + ink.shape[1]]).any(axis=-1))
    if name:
        made.boxes[name] = (x + int(columns.min()), y + int(rows.min()), x + int(columns.max()) + 1, y + int(rows.max()) + 1)


# The same picture in all the ways that a file can hold it.
STORED = ("rgb", "planar", "grey8", "grey16", "inverted", "palette", "ybr", "implicit", "big", "deflated", "rle", "rle16", "jpeg", "jpeg2000", "jpegls")
DECODED = ("jpeg", "jpeg2000", "jpegls")  # come back uncompressed


def grey_of(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return frames.mean(axis=-1).round().astype(np.uint8)


def as_object(frames: NDArray[np.uint8], stored: str = "rgb", **more) -> bytes:
    "A whole file: frames x rows x columns x 3 as an ultrasound object."
    values, colour, bits = frames, "RGB", 8
    if stored in ("grey8", "grey16", "inverted", "palette", "rle16", "jpegls"):
        values, colour = grey_of(frames), "MONOCHROME2"
    if stored in ("grey16", "rle16", "inverted"):
        values, bits = values.astype(np.uint16) * 16 + 3, 12  # letters of 4083, tissue below
    if stored == "inverted":
        values, colour = 4095 - values, "MONOCHROME1"
    if stored == "palette":
        colour = "PALETTE COLOR"
    if stored == "ybr":
        values, colour = np.stack([np.asarray(Image.fromarray(f).convert("YCbCr")) for f in frames]), "YBR_FULL"
    ds = header(values, colour, bits, **more)
    if stored == "planar":
        values, ds.PlanarConfiguration = np.moveaxis(values, -1, 1), 1
    if stored == "palette":
        for name in ("Red", "Green", "Blue"):
            setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
            setattr(ds, f"{name}PaletteColorLookupTableData", (np.arange(256)[::-1] * 257).astype("<u2").tobytes())
        values = 255 - values  # index 255 is black: the darkest value is not the smallest
    syntax = {"implicit": ImplicitVRLittleEndian, "big": ExplicitVRBigEndian, "deflated": DeflatedExplicitVRLittleEndian}
    written(ds, values, stored)
    ds.file_meta.TransferSyntaxUID = syntax.get(stored, ds.file_meta.get("TransferSyntaxUID") or ExplicitVRLittleEndian)
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def header(values, colour: str, bits: int, **more) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID = UltrasoundMultiFrameImageStorage if len(values) > 1 else UltrasoundImageStorage
    ds.SOPInstanceUID = ds.StudyInstanceUID = ds.SeriesInstanceUID = generate_uid(entropy_srcs=["burned in"])
    ds.Modality, ds.ImageType, ds.Manufacturer = "US", ["ORIGINAL", "PRIMARY"], "Nobody"
    ds.PatientName, ds.PatientID = "Nobody^At all", "0"
    ds.Rows, ds.Columns, ds.NumberOfFrames = values.shape[1], values.shape[2], len(values)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = (3 if values.ndim == 4 else 1), colour
    if values.ndim == 4:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = (16 if bits > 8 else 8), bits, bits - 1, 0
    for name, value in more.items():
        setattr(ds, name, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    return ds


def written(ds: Dataset, values, stored: str) -> None:
    "Put pixels into a data set, compressed if need be."
    order = ">" if stored == "big" else "<"
    raw = values.astype(values.dtype.newbyteorder(order)).tobytes()
    ds.PixelData = raw + b"\0" * (len(raw) % 2)
    ds["PixelData"].VR = "OW" if ds.BitsAllocated > 8 else "OB"
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if stored in ("rle", "rle16"):
        ds.compress(RLELossless, encoding_plugin="pydicom")
    elif stored == "jpegls":
        ds.compress(JPEGLSLossless, encoding_plugin="pyjpegls")
    elif stored in ("jpeg", "jpeg2000"):
        pictures = []
        for frame in values:
            out = io.BytesIO()
            kind = {"format": "JPEG", "quality": 92, "subsampling": "4:2:2"} if stored == "jpeg" else {"format": "JPEG2000", "no_jp2": True}
            Image.fromarray(frame).save(out, **kind)
            pictures.append(out.getvalue())
        ds.PixelData = encapsulate(pictures)
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
        ds.PhotometricInterpretation = "YBR_FULL_422" if stored == "jpeg" else "YBR_RCT"
        ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if stored == "jpeg" else JPEG2000Lossless
        if stored == "jpeg":
            ds.LossyImageCompression, ds.LossyImageCompressionRatio, ds.LossyImageCompressionMethod = "01", "12", "ISO_10918_1"


# What became of it, judged without a reader.
def gone(made: Planted, after: NDArray, frame: int = 0) -> list[str]:
    "The identifiers of which anything is left: their rectangle is not one flat colour."
    left = []
    for name, (x0, y0, x1, y1) in made.boxes.items():
        place = after[frame, y0:y1, x0:x1].reshape((y1 - y0) * (x1 - x0), -1)
        if (place != place[0]).any():
            left.append(name)
    return left


def pixels_of(data: bytes) -> NDArray:
    "Frames x rows x columns (x 3), as pydicom shows them."
    ds = dcmread(io.BytesIO(data))
    return ds.pixel_array.reshape((int(ds.get("NumberOfFrames") or 1), ds.Rows, ds.Columns, -1))


def changed_outside(before: bytes, after: bytes, regions) -> int:
    "Pixels that differ although they are in no rectangle that was reported."
    differ = (pixels_of(before) != pixels_of(after)).any(axis=(0, 3))
    for left, top, right, bottom in regions:
        differ[top:bottom, left:right] = False
    return int(differ.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--show", help="a folder for pictures before and after")
    asked = parser.parse_args()
    from dicom_workbench.privacy.blank import clean_pixels

    def cleaned(data: bytes):
        begin = time.process_time()
        after, report = clean_pixels(data)
        return after, report, time.process_time() - begin

    print("layout      identifiers gone  pixels changed elsewhere  blanked  readings  CPU s")
    for layout in LAYOUTS:
        left = planted = elsewhere = readings = 0
        share = seconds = 0.0
        for seed in range(asked.seeds):
            made = plant(layout, seed)
            before = as_object(made.frame[None])
            after, report, spent = cleaned(before)
            assert after, report.reason
            left, planted = left + len(gone(made, pixels_of(after))), planted + len(made.boxes)
            elsewhere += changed_outside(before, after, report.regions)
            share, readings, seconds = share + report.share, readings + report.readings, seconds + spent
            if asked.show:
                both = np.hstack([made.frame, pixels_of(after)[0]])
                Image.fromarray(both).save(f"{asked.show}/{layout}_{seed}.png")
        n = asked.seeds
        print(f"{layout:12}{planted - left:4} of {planted:<10}{elsewhere:>12}{share / n:>20.1%}{readings / n:>9.1f}{seconds / n:>9.2f}")

    print("\nstored as   identifiers gone  pixels changed elsewhere  comes back as")
    made = plant("banner")
    for stored in STORED:
        before = as_object(made.frame[None], stored)
        after, report, spent = cleaned(before)
        assert after, (stored, report.reason)
        left = len(gone(made, pixels_of(after)))
        syntax = dcmread(io.BytesIO(after), stop_before_pixels=True).file_meta.TransferSyntaxUID.name
        print(f"{stored:12}{7 - left:4} of 7 {changed_outside(before, after, report.regions):>20}   {syntax}")

    print("\nhow faint (grey over speckle of 0 to 255): identifiers gone")
    for level in (130, 140, 150, 160, 175, 190):
        left = planted = 0
        for seed in range(asked.seeds):
            made = plant("faint", seed, level)
            after, report, spent = cleaned(as_object(made.frame[None]))
            left, planted = left + len(gone(made, pixels_of(after))), planted + len(made.boxes)
        print(f"{level:12}{planted - left:4} of {planted}")

    film = np.stack([plant("banner", 0, still=i).frame for i in range(20)])
    after, report, spent = cleaned(as_object(film))
    print(f"\na film of {len(film)} frames of 800 x 600: {spent:.1f} CPU s, {spent / len(film):.2f} a frame, {report.readings} readings")
    print(f"memory at most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
