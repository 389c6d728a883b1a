"""Does de-identification leave anything, break anything, and how fast is it? One command, the table of bars with our figure beside it.

    python benchmarks/privacy.py [--from FOLDER ...] [--peers dicognito dicom-anonymizer deid] [--no-validity]

Real files (default: shared/data/real, else pydicom's own) are copied twice, as they are and with identifiers planted
(plant_identifiers.py), and both are de-identified with profile basic. Who looks for leaks here knows the ledger and no DICOM:
it searches the bytes. Peers run with their defaults, in a virtual environment of their own. CPU seconds count; the wall
clock of a shared machine does not. Writes RESULTS_privacy.md.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import plant_identifiers as planter

PEERS = {"dicognito": "dicognito==0.19.0", "dicom-anonymizer": "dicom-anonymizer==2.1.0", "deid": "deid==0.4.13"}
SECRET = bytes(range(32))
WORDS = {"word": re.compile(rb"(?=(QU[A-Z]{10}))"), "date": re.compile(rb"(?=(17\d{6}))"), "uid": re.compile(rb"1\.3\.99999\.\d+")}


def used(who: int = resource.RUSAGE_SELF) -> float:
    own = resource.getrusage(who)
    return own.ru_utime + own.ru_stime


# ---- what is measured runs in processes of its own


def ours(source: Path, target: Path, options: list[str]) -> dict:
    "De-identify and verify one object after the other; output names are those of the input."
    import gc

    from dicom_workbench.privacy.deidentify import deidentify_object
    from dicom_workbench.privacy.keys import Key
    from dicom_workbench.privacy.policy import load_policy
    from dicom_workbench.privacy.verify import verify_object

    key, policy = Key(SECRET), load_policy("basic", options)
    target.mkdir(parents=True, exist_ok=True)
    told: dict = {"files": 0, "delivered": 0, "make": 0.0, "verify": 0.0, "quarantined": Counter(), "problems": Counter(), "withheld": 0}
    gc.disable()  # as the batch does
    for number, path in enumerate(sorted(source.iterdir())):
        told["files"] += 1
        start = used()
        data = path.read_bytes()
        outcome = deidentify_object(data, policy, key)
        made = used()
        told["make"] += made - start
        if outcome.status != "delivered":
            told["quarantined"][outcome.reason] += 1
            continue
        problems = verify_object(outcome.data, data, policy, key)
        told["verify"] += used() - made
        told["problems"].update({p.check for p in problems})
        told["withheld"] += bool(problems)
        told["delivered"] += not problems
        if not problems:
            (target / path.name).write_bytes(outcome.data)
        if number % 200 == 199:
            gc.collect()
    return told


def batch(source: str, target: str, workers: str, secret: str) -> dict:
    from dicom_workbench.privacy.batch import deidentify
    from dicom_workbench.privacy.keys import Key

    start, clock = used() + used(resource.RUSAGE_CHILDREN), time.perf_counter()
    result = deidentify(source.split(os.pathsep), target, key=Key(bytes.fromhex(secret)), workers=int(workers))
    cpu = used() + used(resource.RUSAGE_CHILDREN) - start
    return {"delivered": result.delivered, "quarantined": result.quarantined, "cpu": cpu, "wall": time.perf_counter() - clock}


def child(*arguments: object, python: str = sys.executable, script: Path = Path(__file__)) -> dict:
    done = subprocess.run([python, script, *map(str, arguments)], capture_output=True, text=True, errors="replace",
                          env=os.environ | {"POLARS_MAX_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"})
    if done.returncode:
        return {"fault": (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def peer_python(name: str) -> str:
    folder = HERE / "venvs" / f"privacy-{name}"
    python, stamp = folder / "bin" / "python", folder / "requirement.txt"
    if not (stamp.exists() and stamp.read_text() == PEERS[name] and python.exists()):
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", PEERS[name], "setuptools<81"], check=True, capture_output=True)
        stamp.write_text(PEERS[name])
    return str(python)


# ---- the corpus


def build(folders: list[Path], target: Path, limit: int) -> dict:
    "`plain/` and `planted/` with the same names, and the ledger."
    counts = planter.plant_folder(folders, target, limit)
    (target / "plain").mkdir(exist_ok=True)
    for line in (target / "sources.csv").read_text(encoding="utf-8").splitlines():
        name, path = line.split(",", 1)
        shutil.copy(path.strip('"'), target / "plain" / f"{name}.dcm")
    return counts


# ---- the judges


@dataclass
class Figures:
    "What a tool did to the corpus."

    files: int = 0
    out: int = 0
    tokens: int = 0
    left: int = 0
    places: dict[str, tuple[int, int]] = field(default_factory=dict)  # place -> left, of how many
    dates: int = 0        # files with an original date
    uids: int = 0         # files with an original UID
    kept: tuple[int, int] = (0, 0)
    pixels: tuple[int, int] = (0, 0)
    references: tuple[int, int] = (0, 0)  # that meet a file: in the outputs, in the originals
    gone: int = 0                         # references that were removed with what held them
    studies: str = ""
    series: str = ""
    worse: tuple[int, int] | None = None  # files with new errors of dciodvfy, of how many
    errors: Counter = field(default_factory=Counter)
    verdict: dict[str, int] = field(default_factory=dict)
    per_second: float = 0.0


def bytes_of(content: bytes) -> bytes:
    "The bytes in which words can be seen: a deflated data set inflated."
    from dicom_workbench.privacy.extents import Broken, read_extents

    try:
        reading = read_extents(content)
        return reading.data + reading.tail
    except Broken:
        return content


def judge_leaks(corpus: Path, out: Path, figures: Figures) -> None:
    rows = defaultdict(list)
    for row in planter.read_ledger(corpus / "ledger.csv"):
        rows[row.file].append(row)
    counts, left = Counter(), Counter()
    for path in sorted((corpus / "planted").iterdir()):
        figures.files += 1
        if not (out / path.name).is_file():
            continue
        figures.out += 1
        seen = bytes_of((out / path.name).read_bytes()).upper()
        found = {word.decode() for pattern in WORDS.values() for word in pattern.findall(seen)}
        for row in rows[path.stem]:
            counts[row.place] += 1
            left[row.place] += row.token in found
    figures.tokens, figures.left = sum(counts.values()), sum(left.values())
    figures.places = {place: (left[place], counts[place]) for place in planter.PLACES if counts[place]}


def judge_originals(source: Path, out: Path, figures: Figures) -> None:
    "Original dates and UIDs, wherever in the bytes outside bulk values."
    from pydicom.uid import UID_dictionary

    from dicom_workbench.privacy.extents import MEANINGS, Broken, read_extents
    from dicom_workbench.privacy.identifiers import Identifiers, find_identifiers
    from dicom_workbench.privacy.policy import load_policy

    policy = load_policy()
    for path in sorted(source.iterdir()):
        if not (out / path.name).is_file():
            continue
        try:
            before, after = read_extents(path.read_bytes()), read_extents((out / path.name).read_bytes())
        except Broken:
            continue
        wanted: dict[bytes, str] = {}
        for row in [*before.rows, *before.meta]:
            vr, value = MEANINGS[row.tag][0], before.raw(row).strip(b" \0")
            if vr in (b"DA", b"DT") and len(value) >= 8 and value[:8].isdigit() and value[:8] not in (b"19000101", b"00000000", b"00010101"):
                wanted[value[:8]] = "date"
            elif vr == b"UI" and (policy.action(row.tag, before.text(0x00080016)) == "uid" or row.tag == 0x00020003):
                wanted |= {v: "uid" for v in value.split(b"\\") if v and v.decode("latin-1") not in UID_dictionary}
        hits = [h for h in find_identifiers(after, Identifiers(wanted)) if h.where == "bytes"]
        # a date inside a new UID is chance; a date or UID of seven digits or less is no date
        dates = [h for h in hits if h.kind == "date" and not (h.place and MEANINGS[h.place.tag][0] == b"UI")]
        figures.dates += bool(dates)
        figures.uids += any(h.kind == "uid" for h in hits)


def places_of(reading) -> dict[tuple, bytes]:
    "Where an element is (tags and item numbers from the top) -> its value without padding."
    from dicom_workbench.privacy.extents import ITEM

    above: dict[int, tuple] = {-1: ()}
    found: dict[tuple, bytes] = {}
    for number, row in enumerate(reading.rows):
        place = above[number] = (*above[row.parent], row.number if row.tag == ITEM else row.tag)
        if row.vr not in (b"SQ", b"IT"):
            found[place] = reading.raw(row).rstrip(b" \0")
    return found


def judge_fidelity(source: Path, out: Path, figures: Figures) -> None:
    "Unlisted elements, pixels, references and grouping, on files without planted identifiers."
    from dicom_workbench.privacy.extents import Broken, read_extents
    from dicom_workbench.privacy.policy import load_policy

    policy = load_policy()
    kept, pixels, groups = Counter(), Counter(), {"studies": {}, "series": {}}
    references, names = ([], []), (set(), set())  # of the originals, of the outputs
    back: dict[str, dict[str, str]] = {"studies": {}, "series": {}}
    torn = Counter()
    for path in sorted(source.iterdir()):
        if not (out / path.name).is_file():
            continue
        try:
            before, after = read_extents(path.read_bytes()), read_extents((out / path.name).read_bytes())
        except Broken:
            kept["unreadable"] += 1
            continue
        sop_class, mine, theirs = before.text(0x00080016), places_of(before), places_of(after)
        names[0].add(before.text(0x00080018))
        names[1].add(after.text(0x00080018))
        for number, places in enumerate((mine, theirs)):
            references[number].extend(value.decode("latin-1") for place, value in places.items() if place[-1] == 0x00081155)
        for place, value in mine.items():
            tag, within = place[-1], tuple(place[:-1:2])
            if place == (0x7FE00010,):
                pixels["all"] += 1
                pixels["same"] += theirs.get(place) == value
            elif place[-1] == 0x00081155:
                pass
            elif tag >> 16 & 1 or not tag & 0xFFFF or policy.action(tag, sop_class, within) != "keep":
                continue
            elif all(not t >> 16 & 1 and policy.action(t, sop_class, within[:n]) == "keep" for n, t in enumerate(within)):
                kept["all"] += 1
                kept["same"] += theirs.get(place) == value
        for what, tag in (("studies", 0x0020000D), ("series", 0x0020000E)):
            old, new = before.text(tag), after.text(tag)
            if old and (groups[what].setdefault(old, new) != new or back[what].setdefault(new, old) != old or not new):
                torn[what] += 1
    figures.references = tuple(sum(uid in names[n] for uid in references[n]) for n in (1, 0))
    figures.gone = len(references[0]) - len(references[1])
    figures.kept, figures.pixels = (kept["same"], kept["all"]), (pixels["same"], pixels["all"])
    figures.studies = f"{len(groups['studies'])} studies, {torn['studies'] or 'none'} torn"
    figures.series = f"{len(groups['series'])} series, {torn['series'] or 'none'} torn"


def judge_validity(source: Path, out: Path, figures: Figures) -> None:
    from dicom_workbench.privacy.verify import new_errors

    if not shutil.which("dciodvfy"):
        return
    worse = files = 0
    for path in sorted(source.iterdir()):
        if (out / path.name).is_file():
            found = new_errors(out / path.name, path)
            files, worse = files + 1, worse + bool(found)
            figures.errors.update(found)
    figures.worse = worse, files


def judge(corpus: Path, planted_out: Path, plain_out: Path, validity: bool) -> Figures:
    figures = Figures()
    judge_leaks(corpus, planted_out, figures)
    judge_originals(corpus / "planted", planted_out, figures)
    judge_fidelity(corpus / "plain", plain_out, figures)
    if validity:
        judge_validity(corpus / "plain", plain_out, figures)
    return figures


def judge_verdict(planted_out: Path, figures: Figures) -> None:
    "What our verifier says of somebody's outputs, without the originals."
    from dicom_workbench.privacy.verify import verify

    verdict = verify(planted_out)
    figures.verdict = {"files": verdict.files, "with problems": len(verdict.problems), **verdict.counts()}


# ---- determinism, corrupt input, tables, pixels


def hashes(*folders: Path) -> dict[str, str]:
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and path.open("rb").read(132)[128:] == b"DICM" and path.name != "DICOMDIR":
                found[path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def determinism(corpus: Path, folder: Path) -> dict:
    key, other = SECRET.hex(), bytes(32).hex()
    half = [folder / "half1", folder / "half2"]
    for number, path in enumerate(sorted((corpus / "plain").iterdir())):
        half[number % 2].mkdir(parents=True, exist_ok=True)
        shutil.copy(path, half[number % 2])
    runs = {
        "one process": child("--child", "batch", corpus / "plain", folder / "a", 1, key),
        "two processes": child("--child", "batch", corpus / "plain", folder / "b", 2, key),
        "first half": child("--child", "batch", half[0], folder / "c", 1, key),
        "second half": child("--child", "batch", half[1], folder / "d", 2, key),
        "other key": child("--child", "batch", corpus / "plain", folder / "e", 2, other),
    }
    faults = {name: run["fault"] for name, run in runs.items() if "fault" in run}
    a, b, split, e = hashes(folder / "a"), hashes(folder / "b"), hashes(folder / "c", folder / "d"), hashes(folder / "e")
    return {"faults": faults, "runs": runs, "files": len(a), "processes": a == b, "split": a == split,
            "other": len(set(a.values()) & set(e.values())), "delivered": runs["one process"].get("delivered")}


def corrupt() -> tuple[int, int, list[str]]:
    "How many are classified as they should be."
    import privacy_corrupt
    import pydicom

    from dicom_workbench.privacy.deidentify import deidentify_object
    from dicom_workbench.privacy.keys import Key
    from dicom_workbench.privacy.policy import load_policy
    from dicom_workbench.privacy.verify import verify_object

    good = (Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm").read_bytes()
    cases, wrong, key, policy = privacy_corrupt.cases(good), [], Key(SECRET), load_policy()
    for name, case in cases.items():
        outcome = deidentify_object(case.content, policy, key)
        passes = outcome.status != "delivered" or not verify_object(outcome.data, case.content, policy, key)
        if outcome.status != case.expected or not passes:
            wrong.append(name)
    return len(cases) - len(wrong), len(cases), wrong


# ---- the table


def percent(k: int, n: int) -> str:
    return f"{100 * k / n:.2f} % ({k:,} of {n:,})" if n else "–"


def bars(figures: Figures, told: dict, plain: dict, fixed: dict, wrong: tuple[int, int, list[str]], speed: list[dict]) -> list[str]:
    one = statistics.median(s["delivered"] / (s["make"] + s["verify"]) for s in speed)
    alone = statistics.median(s["delivered"] / s["make"] for s in speed)
    checked = statistics.median(s["delivered"] / s["verify"] for s in speed)
    two, single = fixed["runs"]["two processes"], fixed["runs"]["one process"]
    pair = 2 * two["delivered"] / two["cpu"] if "cpu" in two else 0
    batch_one = single["delivered"] / single["cpu"] if "cpu" in single else 0
    same = fixed["processes"] and fixed["split"] and not fixed["faults"]
    worse = figures.worse
    rows = [
        ("planted identifiers left anywhere in the bytes", "0", "14 %", f"{figures.left:,} of {figures.tokens:,} in {figures.out} files"),
        ("files with original UIDs / dates left, nested, UN and meta included", "0", "0", f"{figures.uids} / {figures.dates}"),
        ("files with new dciodvfy errors", "0", "4 %", f"{worse[0]} of {worse[1]}" if worse else "not asked"),
        ("unlisted standard elements kept", "99.8 %", "100 %", percent(*figures.kept)),
        ("pixel bytes identical where not cleaned", "all", "100 %", f"{figures.pixels[0]} of {figures.pixels[1]}"),
        ("references that resolve", "all", "all", f"{figures.references[0]:,} of {figures.references[1]:,} ({figures.gone:,} references, most to files elsewhere, went with what held them)"),
        ("study and series grouping", "all", "all", f"{figures.studies}; {figures.series}"),
        ("same bytes for any process count and batch split; other key, other bytes", "all", "–", f"{'all' if same else 'NOT'} {fixed['files']} files; {fixed['other']} files the same under another key (nothing in them to replace: colour palettes of the standard)"),
        ("files per CPU-second, de-identified and verified", "150", "63", f"{one:.0f} (made {alone:.0f}, verified {checked:.0f}; whole batch {batch_one:.0f})"),
        ("with two processes", "250", "–", f"{pair:.0f} (whole batch; {two.get('wall', 0):.1f} s by the clock for {two.get('delivered')} files)"),
        ("corrupt inputs classified", "each", "none", f"{wrong[0]} of {wrong[1]}{': not ' + ', '.join(wrong[2]) if wrong[2] else ''}"),
        ("delivered and verified / set aside / withheld by the verifier: planted", "–", "–", f"{told['delivered']} / {sum(told['quarantined'].values())} / {told['withheld']}"),
        ("the same: as they are", "–", "–", f"{plain['delivered']} / {sum(plain['quarantined'].values())} / {plain['withheld']}"),
    ]
    return ["| measure | bar | best tool of the issue | ours |", "| --- | --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in rows)]


def yardstick(every: dict[str, Figures]) -> list[str]:
    head = ["| tool | files out | files per CPU-s | tokens left | original date left | original UID left | unlisted kept | pixels same | references | grouping | new dciodvfy errors | our verifier, without originals |",
            "| --- " + "| ---: " * 8 + "| --- | ---: | --- |"]
    lines = []
    for name, f in every.items():
        worse = f"{f.worse[0]}/{f.worse[1]}" if f.worse else "–"
        lines.append(f"| {name} | {f.out} of {f.files} | {f.per_second:.0f} | {percent(f.left, f.tokens).split(' (')[0]} | {f.dates} | {f.uids} | "
                     f"{percent(*f.kept).split(' (')[0]} | {f.pixels[0]}/{f.pixels[1]} | {f.references[0]}/{f.references[1]} | {f.studies}; {f.series} | {worse} | "
                     f"{f.verdict.get('with problems', '–')} of {f.verdict.get('files', '–')} condemned |")
    return head + lines


def by_place(every: dict[str, Figures]) -> list[str]:
    lines = ["| place, % of tokens left | " + " | ".join(every) + " |", "| --- " + "| ---: " * len(every) + "|"]
    for place in planter.PLACES:
        cells = []
        for f in every.values():
            left, of = f.places.get(place, (0, 0))
            cells.append(f"{100 * left / of:.0f}" if of else "–")
        lines.append(f"| {place} | {' | '.join(cells)} |")
    return lines


def default_folders() -> list[Path]:
    import pydicom

    shared = Path(os.environ.get("DICOM_WORKBENCH_SHARED") or HERE.parents[1] / "shared") / "data" / "real"
    return [shared] if shared.is_dir() else [Path(pydicom.__file__).parent / "data" / "test_files"]


def measure(folder: Path, asked: argparse.Namespace) -> list[str]:
    corpus = folder / "corpus"
    counts = build(asked.folders or default_folders(), corpus, asked.limit)
    told = child("--child", "ours", corpus / "planted", folder / "ours" / "planted")
    speed = [child("--child", "ours", corpus / "plain", folder / "ours" / "plain") for _ in range(asked.rounds)]
    for run in (told, *speed):
        if "fault" in run:
            raise SystemExit(run["fault"])
    mine = judge(corpus, folder / "ours" / "planted", folder / "ours" / "plain", not asked.no_validity)
    judge_verdict(folder / "ours" / "planted", mine)
    mine.per_second = statistics.median(s["delivered"] / (s["make"] + s["verify"]) for s in speed)
    every = {"ours, verified": mine}
    for peer in asked.peers:
        python, runs = peer_python(peer), []
        for kind in ("planted", "plain"):
            runs.append(child(peer, corpus / kind, folder / peer / kind, python=python, script=HERE / "peers" / "by_privacy.py"))
        if any("fault" in run for run in runs):
            print(peer, runs)
            continue
        theirs = every[PEERS[peer].replace("==", " ")] = judge(corpus, folder / peer / "planted", folder / peer / "plain", asked.peer_validity)
        judge_verdict(folder / peer / "planted", theirs)
        theirs.per_second = theirs.out / runs[0]["cpu"]
    fixed, wrong = determinism(corpus, folder / "batches"), corrupt()
    lines = [*HEAD, f"{counts['files']} real files (as they are, and with {counts['tokens']:,} tokens planted in {len(planter.PLACES)} kinds of places); "
             f"{counts['not planted']} more that pydicom cannot write were left out.", "", *bars(mine, told, speed[0], fixed, wrong, speed), ""]
    if len(every) > 1:
        lines += ["## The same yardstick for others, with their defaults", "", *yardstick(every), ""]
    lines += ["## Leaks by place", "", *by_place(every), "", "## Notes", ""]
    lines += [f"- set aside, planted: {n} × {reason}" for reason, n in Counter(told["quarantined"]).most_common()]
    lines += [f"- set aside, as they are: {n} × {reason}" for reason, n in Counter(speed[0]["quarantined"]).most_common()]
    lines += [f"- withheld by the verifier: {n} files, check {check}" for check, n in (Counter(told["problems"]) + Counter(speed[0]["problems"])).most_common()]
    lines += [f"- new error of dciodvfy in {n} files: {error}" for error, n in mine.errors.most_common(20)]
    lines += [f"- batch fault, {name}: {fault}" for name, fault in fixed["faults"].items()]
    return lines


HEAD = f"""# De-identification: results

Written by `python benchmarks/privacy.py`; do not edit. CPU seconds of user and system, reading and verifying included,
imports left out. 2 cores, Linux {platform.machine()}, Python {platform.python_version()}, pydicom {version("pydicom")}.
""".splitlines()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--from", dest="folders", nargs="*", type=Path)
    arguments.add_argument("--peers", nargs="*", choices=sorted(PEERS), default=[])
    arguments.add_argument("--limit", type=int, default=0)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--no-validity", action="store_true")
    arguments.add_argument("--peer-validity", action="store_true", help="dciodvfy for the peers as well: minutes each")
    arguments.add_argument("--keep", type=Path, help="a folder for corpus and outputs; else a temporary one")
    arguments.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.child:
        what, *rest = asked.child
        print(json.dumps(ours(Path(rest[0]), Path(rest[1]), rest[2:]) if what == "ours" else batch(*rest)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        text = "\n".join([*measure(folder, asked), ""])
    (HERE / "RESULTS_privacy.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
