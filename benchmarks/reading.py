"""How fast are headers read, and are the values right? One command, one table.

    python benchmarks/reading.py [--files 10000] [--quick] [--peers a,b] [--corpus DIR] [--rebuild] [--large]

Builds the corpus (corpus.py), one virtual environment per reader (benchmarks/venvs), runs every reader on the same
files three times in turns, compares each cell with pydicom, prints the table and writes benchmarks/RESULTS.md.
A reader that cannot be installed or crashes is a line of the table that says so.
"""

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from shutil import which

import corpus

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "peers"), str(HERE.parent)]
from common import KEYWORDS

from dicom_workbench.standard.attributes import ATTRIBUTES

NUMBERS = set("""SliceThickness KVP RepetitionTime EchoTime MagneticFieldStrength ExposureTime XRayTubeCurrent Exposure
SeriesNumber InstanceNumber ImagePositionPatient ImageOrientationPatient NumberOfFrames Rows Columns PixelSpacing BitsStored
WindowCenter WindowWidth""".split())  # fmt: skip

NAMES = {"PatientName", "ReferringPhysicianName"}
# Enhanced multi-frame: the workbench fills these from the functional groups, where a plain get finds nothing.
FILLED = {a.column for a in ATTRIBUTES if a.functional_group}
ENHANCED = ("eCT_Supplemental", "liver")  # the base files that have functional groups


@dataclass
class Reader:
    name: str
    script: str
    needs: str = ""  # requirement of its virtual environment; "" for this environment
    argument: str = ""
    program: str = ""  # a program that has to be there
    values: bool = True  # compared with pydicom
    causes: str = ""  # known reasons for differing cells and exceptions
    runs: list[dict] = field(default_factory=list)
    fault: str = ""
    differ: str = ""
    strict: str = ""
    worst: str = ""

    def us(self) -> float:
        return statistics.median(r["cpu"] / r["files"] * 1e6 for r in self.runs)

    def times(self, other: "Reader") -> float | None:
        """How many times the other's CPU time this reader needs: the median over the rounds."""
        if not self.runs or not other.runs:
            return None
        return statistics.median(a["cpu"] / b["cpu"] for a, b in zip(self.runs, other.runs, strict=False))


PYDICOM, OURS = "pydicom stop_before_pixels", "workbench, 55 columns"
READERS = [
    Reader("floor: open, 8 KiB, close", "by_floor.py", values=False),
    Reader(OURS, "by_ours.py"),
    Reader("workbench, all columns", "by_ours.py", argument="all"),
    Reader("fastdicom", "by_fastdicom.py", "fastdicom==0.1.0",
           causes="ISO 2022 names undecoded; DS becomes a float and loses its spelling"),
    Reader("fw-file-rs", "by_fw_file_rs.py", "fw-file-rs==0.9.1",
           causes="no deflated files; ISO 2022 names undecoded; DS becomes a float and loses its spelling"),
    Reader("python-gdcm Scanner", "by_gdcm.py", "python-gdcm==3.2.6",
           causes="no character sets but UTF-8; some deflated files not read, others without an error"),
    Reader("SimpleITK ReadImageInformation", "by_simpleitk.py", "SimpleITK==2.5.7",
           causes="refuses objects without pixels and some charsets' files; no character sets but UTF-8"),
    Reader("DCMTK dcmdump, 55 tags", "by_dcmdump.py", program="dcmdump",
           causes="+U8 rewrites SpecificCharacterSet; character sets it cannot convert: nothing printed"),
    Reader(PYDICOM, "by_pydicom.py", "pydicom==3.0.2", causes="the reference"),
    Reader("pydicom specific_tags", "by_pydicom.py", "pydicom==3.0.2", "specific_tags"),
    Reader("dicom-csv", "by_dicom_csv.py", "dicom-csv==0.5.1", causes="drops most attributes with several values"),
]  # fmt: skip


def environment(reader: Reader) -> str:
    """The python of a reader's virtual environment, made if needed; a failure is noted in `fault`."""
    if reader.program and not which(reader.program):
        reader.fault = f"not installed: no {reader.program} (Debian: apt-get install dcmtk)"
    if not reader.needs or reader.fault:
        return sys.executable
    folder = HERE / "venvs" / reader.needs.split("==")[0]
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp, log = folder / "requirement.txt", folder.with_suffix(".log")
    if not (stamp.exists() and stamp.read_text() == reader.needs and python.exists()):
        log.parent.mkdir(exist_ok=True)
        with log.open("w") as out:
            made = subprocess.run([sys.executable, "-m", "venv", "--clear", folder], stdout=out, stderr=out)
            pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", reader.needs]
            if made.returncode or subprocess.run(pip, stdout=out, stderr=out).returncode:
                reader.fault = f"not installed: pip could not install {reader.needs} here"
                return str(python)
        stamp.write_text(reader.needs)
    return str(python)


def run(python: str, script: Path, *arguments: object) -> str:
    """Run a script; its last line of complaint where it fails, else ''."""
    path = os.pathsep.join(filter(None, (str(HERE.parent), str(HERE / "peers"), os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(
            [python, script, *map(str, arguments)],
            capture_output=True, text=True, errors="replace", timeout=3600, env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "stopped after an hour"
    return "" if not done.returncode else (done.stderr.strip() or f"exit {done.returncode}").splitlines()[-1]


def once(reader: Reader, python: str, listing: Path, scratch: Path, values: Path | str = "") -> None:
    target = scratch / "result.json"
    fault = run(python, HERE / "peers" / reader.script, listing, target, values, *filter(None, [reader.argument]))
    if fault:
        reader.fault = f"failed: {fault}"
    else:
        reader.runs.append(json.loads(target.read_text()))


def plain(value: str | None, keyword: str) -> str:
    """A value as it is compared: padding gone, numbers by value, absent the same as empty, names without last `=`."""
    if keyword in NAMES:
        value = (value or "").rstrip("= \0")
    parts = [part.strip(" \0") for part in (value or "").split("\\")]
    if keyword in NUMBERS:
        for n, part in enumerate(parts):
            try:
                parts[n] = repr(float(part))
            except ValueError:
                pass
    return "\\".join(parts).rstrip("\\")


def exact(value: str | None) -> str | None:
    """As `plain`, but a number keeps its spelling and absent is not empty."""
    return value if value is None else "\\".join(part.strip(" \0") for part in value.split("\\"))


def rows_of(values: Path) -> Iterator[list[str | None] | None]:
    with values.open() as lines:
        yield from map(json.loads, lines)


def compare(reader: Reader, values: Path, reference: Path, bases: list[str]) -> None:
    cells = differ = strict = filled = 0
    own = reader.script == "by_ours.py"
    worst: Counter[tuple[str, str, str]] = Counter()
    for row, truth, base in zip(rows_of(values), rows_of(reference), bases, strict=True):
        if row is None or truth is None:
            continue
        for keyword, a, b in zip(KEYWORDS, row, truth, strict=True):
            cells += 1
            if own and b is None and keyword in FILLED and base.startswith(ENHANCED):
                filled += a is not None
                continue
            empty_number = a == "" and b is None and keyword in NUMBERS  # pydicom gives None for it
            strict += exact(a) != exact(b) and not empty_number
            if plain(a, keyword) != plain(b, keyword):
                differ += 1
                kind = "missing" if not plain(a, keyword) else "added" if not plain(b, keyword) else "other"
                worst[keyword, kind, base] += 1
    reader.differ = f"{differ:,} of {cells:,}" + (f" (+ {filled:,} filled)" if filled else "")
    reader.strict = f"{strict:,}"
    reader.worst = "; ".join(f"{k} {kind} in {base} ({n:,})" for (k, kind, base), n in worst.most_common(4))


def number(value: float | None, form: str = ".1f") -> str:
    return "–" if value is None else format(value, form)


HEAD = ["reader", "times as fast as pydicom", "CPU against ours", "CPU µs a file", "files per CPU second",
        "peak MB", "differing cells", "strictly", "exceptions"]  # fmt: skip


def table(readers: list[Reader]) -> list[list[str]]:
    by_name = {r.name: r for r in readers}
    reference, ours = by_name[PYDICOM], by_name.get(OURS)
    lines = []
    for r in readers:
        if not r.runs:
            lines.append([r.name, r.fault or "not run", *[""] * (len(HEAD) - 2)])
            continue
        speed = reference.times(r)
        last = r.runs[-1]
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in last["exceptions"].items())
        lines.append([
            r.name, f"× {number(speed)}", number(r.times(ours) if ours else None, ".2f"), f"{r.us():,.1f}",
            f"{1e6 / r.us():,.0f}", f"{max(x['rss'] for x in r.runs):,.0f}", r.differ, r.strict, kinds or "0",
        ])  # fmt: skip
    return lines


def as_text(lines: list[list[str]]) -> str:
    normal = [line for line in lines if line[2] or line is lines[0]]
    widths = [max(len(line[n]) for line in normal) for n in range(len(HEAD))]
    widths[0] = max(len(line[0]) for line in lines)
    return "\n".join("  ".join(c.ljust(w) if n == 0 else c.rjust(w) for n, (c, w) in enumerate(zip(line, widths, strict=True)))
                     .rstrip() for line in lines)  # fmt: skip


def as_markdown(lines: list[list[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(lines[0]) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], rule, *lines[1:]])


def against_floor(floor: Reader, ours: Reader) -> str:
    cost = ours.times(floor)
    return f"The workbench costs {cost:.1f} times open, 8 KiB pread and close." if cost else ""


def heavy(paths: list[str], bases: list[str], scratch: Path, reference: Reader) -> str:
    """The mean is moved by a few files with very many elements: say how much."""
    some = [path for path, base in zip(paths, bases, strict=True) if "frames" in base]
    if not some or not reference.runs:
        return ""
    target = scratch / "some.json"
    target.write_text(json.dumps(some))
    probe = Reader("heavy", reference.script, reference.needs)
    once(probe, environment(probe), target, scratch)
    if not probe.runs:
        return ""
    all_us, heavy_us, n = reference.us(), probe.us(), len(some)
    rest = (all_us * len(paths) - heavy_us * n) / (len(paths) - n)
    return (
        f"{n:,} enhanced objects with 18,000 elements each take pydicom {heavy_us:,.0f} µs; without them its mean is"
        f" {rest:,.0f} instead of {all_us:,.0f} µs."
    )


def more(listing: Path, paths: list[str], options: argparse.Namespace, scratch: Path, ours: Reader) -> list[str]:
    """The measurements of the workbench alone, one sentence each."""
    said = []
    if not ours.runs:
        return [f"The workbench's own measurements are left out: {ours.fault or 'it was not run'}."]
    last = ours.runs[-1]
    said.append(
        f"Parsers that read the corpus: {last['parser']}; status {last['status']}; incomplete {last['incomplete']}."
    )
    if not last["parser"].get("scan"):
        said.append("**No file was read by the fast scan: these figures are those of the workbench's pydicom reader.**")

    small = [str(p) for p in corpus.build(HERE / "corpus" / "1000", 1000, options.seed)]
    lists = [paths, small] + ([paths * max(1, 100_000 // len(paths))] if options.large else [])
    probes = [Reader(f"{len(some):,} files", "by_ours.py") for some in lists]
    for _ in range(options.rounds):  # in turns, since machines are slower in one minute than in the next
        for some, probe in zip(lists, probes, strict=True):
            (scratch / "some.json").write_text(json.dumps(some))
            once(probe, sys.executable, scratch / "some.json", scratch)
    for probe in probes:
        if not probe.runs:
            said.append(f"{probe.name}: {probe.fault}.")
            continue
        ratio = statistics.median(
            a["cpu"] / a["files"] / (b["cpu"] / b["files"]) for a, b in zip(probe.runs, probes[0].runs, strict=False)
        )
        said.append(
            f"{probe.name}: {ratio:.2f} times the cost a file of {len(paths):,} files ({probe.us():,.1f} µs),"
            f" peak {max(r['rss'] for r in probe.runs):,.0f} MB with all rows held."
        )

    target = scratch / "more.json"
    for what in ("processes", "rescan", "cold"):
        fault = run(sys.executable, HERE / "more.py", what, listing, target)
        found = {"skipped": fault} if fault else json.loads(target.read_text())
        if "ratio" in found:
            said.append(f"Two processes against one, warm workers, {found['files']:,} files: × {found['ratio']:.2f}.")
        if "us" in found:
            said.append(
                f"Listing and comparing an unchanged folder of {found['files']:,} files: {found['us']:.1f} µs CPU a file."
            )
        for name, rate in found.get("files_per_second", {}).items():
            said.append(
                f"{name}: {rate / found['files_per_second']['heads cold, plain']:.2f} × heads cold, plain ({rate:,.0f} files/s)."
            )
        if "skipped" in found:
            said.append(f"{what}: skipped, {found['skipped']}.")
    said.append(whole_header(scratch, small))
    return said


def whole_header(scratch: Path, paths: list[str]) -> str:
    """The table of all elements against pydicom's to_json_dict, on the small corpus."""
    target = scratch / "some.json"
    target.write_text(json.dumps(paths))
    pair = Reader("elements", "by_elements.py"), Reader("json", "by_pydicom.py", "pydicom==3.0.2", "json")
    pythons = [environment(r) for r in pair]
    for _ in range(3):
        for reader, python in zip(pair, pythons, strict=True):
            if not reader.fault:
                once(reader, python, target, scratch)
    ours, theirs = pair
    if not ours.runs:
        return f"Whole headers: skipped, {ours.fault}; pydicom's to_json_dict takes {theirs.us():,.0f} µs a file."
    return f"Whole headers as `elements`: × {theirs.times(ours):.1f} as fast as to_json_dict ({ours.us():,.0f} µs)."


def machine() -> str:
    names = ("pydicom", "pydicom-data", "polars")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}, {versions}"


def files_of(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Paths, and the base file each was cloned from. A folder that is no corpus is read as it is."""
    folder = options.corpus
    if corpus.is_foreign(folder) and not options.rebuild:
        paths = sorted(str(p) for p in folder.rglob("*") if p.is_file())
        return paths, [Path(p).relative_to(folder).parts[0] for p in paths]
    paths = [str(p) for p in corpus.build(folder, options.files, options.seed, options.rebuild)]
    with (folder / "files.csv").open(newline="") as lines:
        return paths, [" ".join(filter(None, (Path(r["base"]).name, r["change"]))) for r in csv.DictReader(lines)]


def chosen(names: str) -> list[Reader]:
    wanted = [n.strip().lower() for n in names.split(",") if n.strip()]
    always = (PYDICOM, OURS, READERS[0].name)
    unknown = [n for n in wanted if not any(n in r.name.lower() for r in READERS)]
    if unknown:
        raise SystemExit(f"No reader is called {', '.join(unknown)}. There are: {', '.join(r.name for r in READERS)}.")
    return [r for r in READERS if not wanted or r.name in always or any(n in r.name.lower() for n in wanted)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Header reading: speed, memory and correctness of every reader.")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="1,000 files, one round, no RESULTS.md")
    parser.add_argument("--peers", default="", help="names, or parts of names, separated by commas")
    parser.add_argument(
        "--corpus", type=Path, help="where the corpus is or is built; a folder of other files is read as it is"
    )
    parser.add_argument("--rebuild", action="store_true")
    parser.add_argument("--large", action="store_true", help="also 100,000 files (the list repeated)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.files = 1000 if options.quick else options.files
    options.rounds = 1 if options.quick else 3
    options.corpus = options.corpus or HERE / "corpus" / str(options.files)

    paths, bases = files_of(options)
    for path in paths:
        Path(path).read_bytes()  # a warm cache for everybody
    print(f"{len(paths):,} files in {options.corpus}; readers are set up …", file=sys.stderr)

    readers = chosen(options.peers)
    pythons = {r.name: environment(r) for r in readers}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        listing = scratch / "list.json"
        listing.write_text(json.dumps(paths))
        values = {r.name: scratch / f"{r.name.replace(' ', '_').replace(',', '')}.jsonl" for r in readers}
        for turn in range(options.rounds):
            for r in readers:
                if not r.fault:
                    print(f"round {turn + 1}: {r.name}", file=sys.stderr)
                    once(r, pythons[r.name], listing, scratch, "" if turn or not r.values else values[r.name])
        for r in readers:
            if r.values and r.runs and values[PYDICOM].exists():
                compare(r, values[r.name], values[PYDICOM], bases)
        own = next(r for r in readers if r.name == OURS)
        reference = next(r for r in readers if r.name == PYDICOM)
        notes = [
            against_floor(readers[0], own),
            heavy(paths, bases, scratch, reference),
            *more(listing, paths, options, scratch, own),
        ]
        notes = [note for note in notes if note]

    lines = [HEAD, *table(readers)]
    differences = [f"{r.name} differs most in: {r.worst}" for r in readers if r.worst]
    print(as_text(lines), "", *differences, "", *notes, sep="\n")
    if not options.quick and not options.peers and not corpus.is_foreign(options.corpus):
        (HERE / "RESULTS.md").write_text(report(lines, notes, readers, len(paths), options.rounds), encoding="utf-8")


def report(lines: list[list[str]], notes: list[str], readers: list[Reader], files: int, rounds: int) -> str:
    faults = [f"- {r.name}: {r.fault}" for r in readers if r.fault]
    differences = [f"- **{r.name}**: {r.causes + '. ' if r.causes else ''}Most: {r.worst}." for r in readers if r.worst]
    return f"""# Reading headers: results

Written by `python benchmarks/reading.py`; do not edit. {files:,} files, warm cache, one process, {rounds} rounds in
turns, medians of the ratios inside a round; CPU time (user and system) of the loop that reads, without imports.
{machine()}.

{as_markdown(lines)}

"Times as fast" and "against ours" are ratios of CPU time; trust these, not the microseconds. Every reader gives the same
55 attributes. The workbench's time includes a table of text; the others' values become text off the clock.

A cell differs if its text is not that of pydicom, after this: spaces and NULs around each value removed, numbers compared
by value, absent taken for empty, a name's empty last component ignored. "Strictly" keeps the spelling of numbers and
tells absent from empty. Files that raise an exception are not compared. "Filled" are cells that the workbench takes from
an enhanced object's functional groups, where a plain get has nothing: they are not checked here.

## The workbench alone
{chr(10).join("- " + note for note in notes)}

## Where values differ from pydicom
{chr(10).join(differences) or "Nowhere."}
{chr(10).join(["", "## Readers that did not run, or not to the end", *faults]) if faults else ""}"""


if __name__ == "__main__":
    main()
