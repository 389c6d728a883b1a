"""Archives are read where they lie: the same cells as from the folder, and no attack costs more than a row."""

import bz2
import gzip
import io
import lzma
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from dicom_workbench.acquire.row import FRAME
from dicom_workbench.acquire.scan import Batch, plan, read_batch, read_parts, scan, write_shards
from dicom_workbench.catalog import load_source
from dicom_workbench.store import Lake
from dicom_workbench.store import ingest as ingest_source

CASES = ("zip", "tar", "tar.gz", "tar.bz2", "tar.xz")


def table(path: Path, attributes: list[str] | None = None) -> pl.DataFrame:
    """As `scan`, in this process."""
    return pl.concat(read_batch(batch)[0] for batch in plan([path], attributes)).sort("path")


def told(path: Path) -> dict[str, tuple[str, str | None]]:
    "Path inside the archive ('' is the archive itself) -> status, reason."
    frame = table(path, ["Modality"])
    return {p.partition("!")[2]: (status, reason) for p, status, reason in frame.select("path", "status", "reason").rows()}


def pack(folder: Path, target: Path) -> Path:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as z:
            for file in files:
                z.write(file, file.relative_to(folder).as_posix())
    else:
        with tarfile.open(target, f"w:{target.suffix[1:]}" if target.suffix != ".tar" else "w") as t:
            t.add(folder, ".")
    return target


@pytest.fixture(scope="module")
def ct(samples: Path) -> bytes:
    return (samples / "CT_small.dcm").read_bytes()


@pytest.fixture(scope="module")
def folder_table(samples: Path) -> pl.DataFrame:
    return table(samples)


@pytest.mark.parametrize("case", ["zip", "tar", "tar.gz", "tar.xz"])
def test_an_archive_has_the_cells_of_its_folder(case: str, samples: Path, folder_table: pl.DataFrame, tmp_path: Path) -> None:
    packed = table(pack(samples, tmp_path / f"a.{case}"))
    same = [c for c in packed.columns if c not in ("path", "mtime_ns", "run_id", "parser")]  # members are read by pydicom
    packed = packed.with_columns(pl.col("path").str.replace(f"a.{case}!", "", literal=True)).sort("path")
    assert packed["path"].to_list() == folder_table["path"].to_list()
    for column in same:
        differ = packed["path"].filter(packed[column].ne_missing(folder_table[column]))
        assert differ.to_list() == [], column


def test_an_archive_in_a_folder_is_opened_and_its_members_carry_its_time(ct: bytes, tmp_path: Path) -> None:
    ward = tmp_path / "ward"
    ward.mkdir()
    (ward / "plain.dcm").write_bytes(ct)
    with zipfile.ZipFile(ward / "no_suffix", "w") as z:
        z.writestr("1.dcm", ct)
    os.utime(ward / "no_suffix", ns=(5, 5_000_000_000))
    frame = table(ward, ["Modality"])
    assert frame.select("path", "file_size", "status", "Modality").rows() == [
        ("no_suffix!1.dcm", len(ct), "ok", "CT"), ("plain.dcm", len(ct), "ok", "CT")]
    assert frame["mtime_ns"][0] == 5_000_000_000


def test_a_dicom_file_whose_preamble_looks_like_a_zip_is_a_dicom_file(ct: bytes, tmp_path: Path) -> None:
    (tmp_path / "both.dcm").write_bytes(b"PK\3\4" + ct[4:])
    assert table(tmp_path, ["Modality"]).select("path", "status").rows() == [("both.dcm", "ok")]


@pytest.mark.parametrize("case", ["zip", "tar.gz"])
def test_a_file_in_gzip_is_one_row_inside_and_outside(case: str, ct: bytes, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.dcm.gz").write_bytes(gzip.compress(ct))
    assert told(pack(tmp_path / "in", tmp_path / f"a.{case}")) == {"1.dcm.gz": ("recovered", "gzip-wrapped")}
    assert table(tmp_path / "in", [])["status"].to_list() == ["recovered"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs posix file names")
def test_names_that_are_not_utf8_survive(ct: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        z.writestr("Gr\xf6\xdfe!.dcm", ct)  # zipfile marks it as UTF-8
        z.writestr("XXXX.dcm", ct)
    raw = (tmp_path / "a.zip").read_bytes().replace(b"XXXX.dcm", b"Gr\x94\xe1.dcm")  # code page 437
    (tmp_path / "a.zip").write_bytes(raw)
    with tarfile.open(tmp_path / "a.tar", "w") as t:
        info = tarfile.TarInfo("caf\udce9.dcm")
        info.size = len(ct)
        t.addfile(info, io.BytesIO(ct))
    assert [n for n, (s, _) in told(tmp_path / "a.zip").items() if s == "ok"] == ["Gr\xf6\xdf.dcm", "Gr\xf6\xdfe%21.dcm"]
    assert told(tmp_path / "a.tar") == {"caf%E9.dcm": ("ok", None)}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_every_kind_of_tar(form: int, ct: bytes, tmp_path: Path) -> None:
    name = "/".join(["folder" * 5] * 3) + "/" + "n" * 60 + ".dcm"  # 157 bytes: too long for the field of a name
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as t:
        for n in (name, "short.dcm"):
            info = tarfile.TarInfo(n)
            info.size = len(ct)
            t.addfile(info, io.BytesIO(ct))
    assert told(tmp_path / "a.tar") == {name: ("ok", None), "short.dcm": ("ok", None)}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_method_of_a_zip_is_read_or_named(method: int, ct: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as z:
        z.writestr("1.dcm", ct)
    want = ("refused", "compressed in a way that is not read (method 14)") if method == zipfile.ZIP_LZMA else ("ok", None)
    assert told(tmp_path / "a.zip") == {"1.dcm": want}


def test_a_name_that_comes_again_is_another_row(ct: bytes, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as t:
        for _ in range(3):
            info = tarfile.TarInfo("1.dcm")
            info.size = len(ct)
            t.addfile(info, io.BytesIO(ct))
    assert list(told(tmp_path / "a.tar")) == ["1.dcm", "1.dcm!2", "1.dcm!3"]


@pytest.mark.parametrize("case", ["zip", "tar.gz"])
def test_an_archive_without_a_member_is_a_row(case: str, tmp_path: Path) -> None:
    if case == "zip":
        zipfile.ZipFile(tmp_path / "a.zip", "w").close()
    else:
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as t:
            info = tarfile.TarInfo("folder")
            info.type = tarfile.DIRTYPE
            t.addfile(info)
    assert told(tmp_path / f"a.{case}") == {"": ("not_dicom", "the archive is empty")}


@pytest.mark.parametrize("case", CASES)
def test_a_cut_archive_gives_what_can_be_read_and_a_row_of_its_own(case: str, samples: Path, tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm"):
        (inside / name).write_bytes((samples / name).read_bytes())
    whole = pack(inside, tmp_path / f"whole.{case}").read_bytes()
    (tmp_path / f"a.{case}").write_bytes(whole[:len(whole) * 4 // 5])
    rows = told(tmp_path / f"a.{case}")
    assert rows[""][0] == "truncated"
    if case != "tar.bz2":  # of which one block holds everything here
        assert next(status for name, (status, _) in rows.items() if name) == "ok"
    assert set(rows) <= {"", "CT_small.dcm", "MR_small.dcm", "rtplan.dcm"}
    assert all(status in ("ok", "truncated") for status, _ in rows.values())


@pytest.mark.skipif(sys.platform == "win32", reason="needs posix: Info-ZIP")
def test_a_streamed_zip_without_its_directory_is_read_member_by_member(ct: bytes, tmp_path: Path) -> None:
    out = io.BytesIO()

    class Pipe(io.RawIOBase):  # cannot go back, so the lengths follow the data
        def writable(self) -> bool:
            return True

        def write(self, data) -> int:  # type: ignore[no-untyped-def]
            return out.write(data)

    with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as z:
        for n in range(3):
            z.writestr(f"{n}.dcm", ct)
    whole = out.getvalue()
    (tmp_path / "a.zip").write_bytes(whole[:whole.index(b"PK\1\2")])
    assert [status for status, _ in told(tmp_path / "a.zip").values()] == ["truncated", "ok", "ok", "ok"]
    (tmp_path / "b.zip").write_bytes(whole[:whole.index(b"PK\1\2") // 2])
    assert [status for status, _ in told(tmp_path / "b.zip").values()] == ["truncated", "ok", "truncated"]


@pytest.mark.parametrize("at", range(20, 40_000, 1999))
def test_a_flipped_byte_never_raises_and_never_hides_the_archive(at: int, samples: Path, tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    for name in ("CT_small.dcm", "rtplan.dcm"):
        (inside / name).write_bytes((samples / name).read_bytes())
    for case in ("zip", "tar.gz", "tar"):
        raw = bytearray(pack(inside, tmp_path / f"a.{case}").read_bytes())
        raw[at % len(raw)] ^= 0xFF
        (tmp_path / f"a.{case}").write_bytes(raw)
        assert len(told(tmp_path / f"a.{case}")) >= 1


# Attacks. Packers refuse to write most of them, so they are written by hand.


def local(name: bytes, packed: int, size: int, method: int = 8) -> bytes:
    return struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, method, 0, 0, 0, packed, size, len(name), 0) + name


def central(name: bytes, packed: int, size: int, offset: int, method: int = 8, mode: int = 0, flags: int = 0) -> bytes:
    return struct.pack("<4s6H3L5H2L", b"PK\1\2", 0x31E, 20, flags, method, 0, 0, 0, packed, size, len(name), 0, 0, 0, 0, mode << 16, offset) + name


def ending(count: int, length: int, offset: int) -> bytes:
    return struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count & 0xFFFF, count & 0xFFFF, length, offset, 0)


def zeros(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()


def zip_of(members: list[tuple[bytes, bytes, int]]) -> bytes:
    data = directory = b""
    for name, body, size in members:
        directory += central(name, len(body), size, len(data))
        data += local(name, len(body), size) + body
    return data + directory + ending(len(members), len(directory), len(data))


def dense_zip(ct: bytes) -> bytes:
    return zip_of([(b"bomb.dcm", zeros(96 << 20), 96 << 20)])


def overlapping_zip(ct: bytes) -> bytes:
    body = zeros(64 << 20)
    data = local(b"0000", len(body), 64 << 20) + body
    directory = b"".join(central(b"%04d" % n, len(body), 64 << 20, 0) for n in range(5000))
    return data + directory + ending(5000, len(directory), len(data))


def many_dense_zip(ct: bytes) -> bytes:
    body = zeros(60 << 20)  # each just below what a single member is refused for
    return zip_of([(b"%04d.dcm" % n, body, 60 << 20) for n in range(200)])


def million_zip(ct: bytes) -> bytes:
    lines = [central(b"%07d" % n, 0, 0, n * 37, 0) for n in range(600_000)]
    data = b"".join(local(b"%07d" % n, 0, 0, 0) for n in range(600_000))
    directory = b"".join(lines)
    return data + directory + ending(10, len(directory), len(data))  # and says that there are ten


def million_tar(ct: bytes) -> bytes:
    blocks = [tarfile.TarInfo(f"{n:07}").tobuf(tarfile.USTAR_FORMAT) for n in range(20_000)]
    return gzip.compress(b"".join(blocks) + bytes(1024), 1)


def tar_bomb(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def made(ct: bytes) -> bytes:
        info = tarfile.TarInfo("bomb.dcm")
        info.size = 96 << 20
        return pack(info.tobuf() + bytes(96 << 20))

    return made


def long_name_tar(ct: bytes) -> bytes:
    info = tarfile.TarInfo("././@LongLink")
    info.size, info.type = 96 << 20, b"L"
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + b"a" * (96 << 20), 1)


def chained_tar(ct: bytes) -> bytes:
    info = tarfile.TarInfo("././@LongLink")
    info.size, info.type = 5, b"L"
    return gzip.compress((info.tobuf(tarfile.GNU_FORMAT) + b"abcde".ljust(512, b"\0")) * 50_000, 1)


def greedy_xz(ct: bytes) -> bytes:
    raw = lzma.compress(tarfile.TarInfo("1.dcm").tobuf() + bytes(1 << 20))
    head = bytearray(raw[12:24])
    head[4] = 40  # a dictionary of 4 GiB
    head[-4:] = struct.pack("<L", zlib.crc32(bytes(head[:-4])))
    return raw[:12] + bytes(head) + raw[24:]


def empty_streams(ct: bytes) -> bytes:
    return gzip.compress(tarfile.TarInfo("1.dcm").tobuf()) + gzip.compress(b"") * 200_000


def gzip_bomb(ct: bytes) -> bytes:
    return gzip.compress(bytes(96 << 20))


ATTACKS = {
    "dense.zip": (dense_zip, "bomb.dcm", "unpacks to more than 500 times its size"),
    "overlapping.zip": (overlapping_zip, "", "its members overlap"),
    "many_dense.zip": (many_dense_zip, "", "unpacks to more than 500 times its size"),
    "million.zip": (million_zip, "", "more members than the limit"),
    "million.tar.gz": (million_tar, "", "more members too short for DICOM than the limit"),
    "bomb.tar.gz": (tar_bomb(gzip.compress), "", "unpacks to more than 500 times its size"),
    "bomb.tar.bz2": (tar_bomb(bz2.compress), "", "unpacks to more than 500 times its size"),
    "bomb.tar.xz": (tar_bomb(lzma.compress), "", "unpacks to more than 500 times its size"),
    "long_name.tar.gz": (long_name_tar, "", "longer headers in the tar than the limit"),
    "chained.tar.gz": (chained_tar, "", "longer headers in the tar than the limit"),
    "greedy.tar.xz": (greedy_xz, "", "needs too much memory"),
    "streams.tar.gz": (empty_streams, "", "more empty streams than the limit"),
    "bomb.dcm.gz": (gzip_bomb, "", "unpacks to more bytes than the limit"),
}

MEASURED = """
import os, sys
from dicom_workbench.acquire.row import Entry
from dicom_workbench.acquire.scan import Batch, read_parts
root = sys.argv[1]
entries = tuple(Entry(name, os.stat(os.path.join(root, name)).st_size, 1) for name in sorted(os.listdir(root)))
for frame, _ in read_parts(Batch(root, entries, attributes=("Modality",))):
    for path, status, reason in frame.select("path", "status", "reason").rows():
        if status in ("refused", "ok"):
            print(path, status, reason, sep="|")
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only on linux: what a process needed at its peak")
def test_all_attacks_together_are_rows_in_200_mb_and_the_file_beside_them_is_read(ct: bytes, tmp_path: Path) -> None:
    for name, (make, _, _) in ATTACKS.items():
        (tmp_path / name).write_bytes(make(ct))
    (tmp_path / "zz.dcm").write_bytes(ct)
    done = subprocess.run([sys.executable, "-c", MEASURED, str(tmp_path)], capture_output=True, text=True, check=True,
                          env={**os.environ, "POLARS_MAX_THREADS": "1"}, timeout=120)
    *lines, peak = done.stdout.splitlines()
    rows = {path: (status, reason) for path, status, reason in (line.split("|") for line in lines)}
    for name, (_, member, reason) in ATTACKS.items():
        assert rows[f"{name}!{member}" if member else name] == ("refused", reason), name
    assert rows["zz.dcm"][0] == "ok"
    assert int(peak) < 200_000, "KiB of memory at the peak"


def test_names_that_lead_out_links_and_devices_are_refused_and_nothing_is_written(ct: bytes, tmp_path: Path) -> None:
    box = tmp_path / "a" / "b"
    box.mkdir(parents=True)
    with zipfile.ZipFile(box / "a.zip", "w") as z:
        for name in ("../up.dcm", "/abs.dcm", "C:\\win.dcm", "..\\..\\back.dcm", "x/../../y.dcm", "ok.dcm"):
            z.writestr(name, ct)
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        z.writestr(link, "/etc/passwd")
    with tarfile.open(box / "a.tar", "w") as t:
        for name, kind in (("../up.dcm", b"0"), ("soft", b"2"), ("hard", b"1"), ("dev", b"3"), ("pipe", b"6"), ("ok.dcm", b"0")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            info.size = len(ct) if kind == b"0" else 0
            t.addfile(info, io.BytesIO(ct))
    before = sorted(tmp_path.rglob("*"))
    rows = told(box / "a.zip")
    assert rows.pop("ok.dcm") == ("ok", None)
    assert rows.pop("link") == ("refused", "a link")
    assert set(rows.values()) == {("refused", "its name leads out of the archive")} and len(rows) == 5
    tarred = told(box / "a.tar")
    assert tarred == {
        "../up.dcm": ("refused", "its name leads out of the archive"), "soft": ("refused", "a link"), "hard": ("refused", "a link"),
        "dev": ("refused", "a device"), "pipe": ("refused", "a pipe"), "ok.dcm": ("ok", None)}
    assert sorted(tmp_path.rglob("*")) == before


def test_sparse_members_are_refused(tmp_path: Path, ct: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as t:
        info = tarfile.TarInfo("sparse.dcm")
        info.size, info.pax_headers = len(ct), {"GNU.sparse.major": "1", "GNU.sparse.name": "sparse.dcm"}
        t.addfile(info, io.BytesIO(ct))
    assert told(tmp_path / "a.tar") == {"sparse.dcm": ("refused", "a file with holes")}


def test_encrypted_members_are_refused_and_the_others_read(ct: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        z.writestr("1.dcm", ct)
        z.writestr("2.dcm", ct)
    raw = bytearray((tmp_path / "a.zip").read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(raw)
    assert told(tmp_path / "a.zip") == {"1.dcm": ("refused", "encrypted"), "2.dcm": ("ok", None)}


@pytest.mark.parametrize("outer", ["zip", "tar.gz"])
@pytest.mark.parametrize("inner", ["zip", "tar", "tar.gz", "tar.xz"])
def test_an_archive_in_an_archive_is_refused(outer: str, inner: str, ct: bytes, tmp_path: Path) -> None:
    for folder in ("deep", "in"):
        (tmp_path / folder).mkdir()
    (tmp_path / "deep" / "1.dcm").write_bytes(ct)
    pack(tmp_path / "deep", tmp_path / "in" / f"x.{inner}")
    (tmp_path / "in" / "ok.dcm").write_bytes(ct)
    assert told(pack(tmp_path / "in", tmp_path / f"a.{outer}")) == {
        "ok.dcm": ("ok", None), f"x.{inner}": ("refused", "an archive inside an archive")}


def test_cut_pixels_inside_an_archive_are_seen_without_unpacking_them(samples: Path, tmp_path: Path) -> None:
    jpeg = (samples / "JPEG2000.dcm").read_bytes()
    for case in ("zip", "tar.gz"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / "native.dcm").write_bytes((samples / "CT_small.dcm").read_bytes()[:-1000])
        (tmp_path / "in" / "cut.dcm").write_bytes(jpeg[:-1000])
        (tmp_path / "in" / "whole.dcm").write_bytes(jpeg)
        rows = told(pack(tmp_path / "in", tmp_path / f"a.{case}"))
        assert {name: status for name, (status, _) in rows.items()} == {"native.dcm": "truncated", "cut.dcm": "truncated", "whole.dcm": "ok"}


def test_a_kind_of_archive_that_is_not_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(600))
    (tmp_path / "b.bz2").write_bytes(bz2.compress(b"no tar" * 500))
    assert [(p, s, r) for p, s, r in table(tmp_path, []).select("path", "status", "reason").rows()] == [
        ("a.7z", "refused", "packed with 7z, which is not opened"), ("b.bz2", "refused", "packed with bzip2, without a tar in it")]


def test_where_and_attributes_hold_inside_archives(samples: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        z.write(samples / "CT_small.dcm", "ct.dcm")
        z.write(samples / "MR_small.dcm", "mr.dcm")
    batch = Batch(str(tmp_path), plan([tmp_path])[0].entries, attributes=("PatientID",), where=(("Modality", ("MR",)),))
    frame = read_batch(batch)[0].sort("path")
    assert frame.columns == [*FRAME, "PatientID"]
    assert frame.select("path", "status", "PatientID").rows() == [("a.zip!ct.dcm", "refused", None), ("a.zip!mr.dcm", "ok", "4MR1")]


def test_a_big_archive_comes_in_parts_and_becomes_several_shards(ct: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["dicom_workbench.acquire.scan"], "BATCH_FILES", 10)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        for n in range(35):
            z.writestr(f"{n:02}.dcm", ct)
    batch = plan([tmp_path / "a.zip"], ["Modality"])[0]
    assert [len(frame) for frame, _ in read_parts(batch)] == [10, 10, 10, 5]
    made = write_shards(batch, str(tmp_path / "rows"), str(tmp_path / "shapes"))
    assert (len(made.shards), made.rows, made.files, dict(made.statuses)) == (4, 35, 1, {"ok": 35})
    assert pl.read_parquet([tmp_path / "rows" / s for s in made.shards])["path"].n_unique() == 35
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "rows").iterdir()}
    assert write_shards(batch, str(tmp_path / "rows"), str(tmp_path / "shapes")) == made
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "rows").iterdir()} == stamps


def test_scan_opens_archives_in_its_workers(ct: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        z.writestr("1.dcm", ct)
    (tmp_path / "2.dcm").write_bytes(ct)
    seen: list[tuple[int, int]] = []
    frame = scan(tmp_path, ["Modality"], progress=lambda done, total: seen.append((done, total)))
    assert frame["path"].to_list() == ["2.dcm", "a.zip!1.dcm"] and seen[-1] == (2, 2)


# The store.


def ingested(lake: Lake, folder: Path, name: str = "ward"):  # type: ignore[no-untyped-def]
    return ingest_source(load_source(folder / f"{name}.toml"), folder, lake)


def rows_of(lake: Lake) -> list[tuple[str, str]]:
    return lake.rows("ward").select("path", "status").sort("path").collect().rows()


def test_an_unchanged_archive_is_not_opened_again_and_a_changed_one_replaces_its_rows(
    ct: bytes, samples: Path, tmp_path: Path, write_source: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with zipfile.ZipFile(data / "a.zip", "w") as z:
        for n in range(3):
            z.writestr(f"{n}.dcm", ct)
    (data / "plain.dcm").write_bytes(ct)
    catalogue, lake = write_source(data), Lake.open(tmp_path / "workspace")
    first = ingested(lake, catalogue)
    assert (first.rows, first.read, first.unchanged) == (4, 4, 0)
    before = (data / "a.zip").stat().st_atime_ns
    os.utime(data / "a.zip", ns=(before, (data / "a.zip").stat().st_mtime_ns))
    again = ingested(lake, catalogue)
    assert (again.read, again.unchanged, again.source_version) == (0, 4, first.source_version)
    with zipfile.ZipFile(data / "a.zip", "w") as z:
        z.write(samples / "MR_small.dcm", "1.dcm")
        z.writestr("9.dcm", ct)
    os.utime(data / "a.zip", ns=(1, 1))
    third = ingested(lake, catalogue)
    assert (third.read, third.unchanged, third.missing) == (2, 1, 2)
    assert rows_of(lake) == [("a.zip!0.dcm", "missing"), ("a.zip!1.dcm", "ok"), ("a.zip!2.dcm", "missing"), ("a.zip!9.dcm", "ok"), ("plain.dcm", "ok")]
    assert ingested(lake, catalogue).read == 0
    (data / "a.zip").unlink()
    last = ingested(lake, catalogue)
    assert (last.read, last.missing) == (0, 2)
    assert dict(rows_of(lake))["a.zip!9.dcm"] == "missing"


def test_a_source_of_kind_archive_is_one_archive_or_a_folder_of_them(ct: bytes, tmp_path: Path, write_source: Callable[..., Path]) -> None:
    (tmp_path / "data").mkdir()
    with zipfile.ZipFile(tmp_path / "data" / "a.zip", "w") as z:
        z.writestr("1.dcm", ct)
    for number, root in enumerate((tmp_path / "data" / "a.zip", tmp_path / "data")):
        catalogue = write_source(root)
        entry = catalogue / "ward.toml"
        entry.write_text(entry.read_text().replace('kind = "folder"', 'kind = "archive"'))
        lake = Lake.open(tmp_path / f"workspace{number}")
        assert ingested(lake, catalogue).rows == 1
        assert rows_of(lake) == [("a.zip!1.dcm", "ok")]



