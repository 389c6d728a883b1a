"""How often does the walk say something else than pydicom about a damaged file, without a word?

    python benchmarks/fuzz_walk.py [FOLDER ...] [--seconds 60] [--seed 1] [--show] [--plain]

Mutants of real headers (default: the files of pydicom and pydicom-data) are read by the walk and by the reference.
A difference is *silent* where the walk itself gave the row (parser scan), with status ok and complete, and a cell or the
status differs from pydicom's. The walk has learned the runs of the whole files before (--plain: it has not). Exceptions and hangs are counted too. Values are never printed, only column names.
"""

import argparse
import os
import random
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from dicom_workbench.acquire.batch import read_batch
from dicom_workbench.acquire.plan import compile_plan
from dicom_workbench.acquire.reference import read_with_pydicom

KINDS = ("flip1", "flip4", "length", "cut", "insert", "delete")
BODY = 3000  # bytes of the header that are damaged


def mutant(content: bytes, kind: str, dice: random.Random) -> bytes:
    "A damaged copy."
    b = bytearray(content)
    top = min(len(b) - 1, BODY)
    at = dice.randint(140, top)
    if kind == "cut":
        return bytes(b[: dice.randint(140, min(len(b), 8000))])
    if kind == "length":
        b[at] = 0xFF
    elif kind == "insert":
        b[at:at] = dice.randbytes(dice.randint(1, 8))
    elif kind == "delete":
        del b[at : at + dice.randint(1, 8)]
    else:
        for _ in range(int(kind[4:])):
            b[dice.randint(140, top)] = dice.randrange(256)
    return bytes(b)


def verdict(path: str, plan) -> tuple[str, list[str]]:
    "What became of one mutant; the columns that differ."
    try:
        row = read_batch([path], plan)[0].row(0, named=True)
    except Exception as error:
        return f"RAISES {type(error).__name__}", []
    reference = read_with_pydicom(path)
    facts = {"status": reference.status, "complete": reference.complete, "shape": reference.shape}
    facts |= {name: reference.values.get(name) for name in plan.columns}
    differ = [name for name, value in facts.items() if row[name] != value]
    if not differ:
        return "equal", []
    if row["parser"] != "scan":
        return "DIFFERS though pydicom read it", differ
    said = "silent" if row["status"] == "ok" and row["complete"] else "said"
    cells = [name for name in differ if name not in ("status", "complete", "shape")]
    return f"differs, {said}, " + ("cells" if cells else "status or shape only"), differ


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folders", nargs="*", type=Path)
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--kinds", default="flip1,flip4,length,cut,insert,delete")
    arguments.add_argument("--show", action="store_true", help="file, columns of each difference")
    arguments.add_argument("--plain", action="store_true", help="without learned runs")
    options = arguments.parse_args()
    folders = options.folders
    if not folders:
        import data_store
        import pydicom

        folders = [Path(pydicom.__file__).parent / "data", Path(data_store.__file__).parent / "data"]
    warnings.simplefilter("ignore")
    dice, plan = random.Random(options.seed), compile_plan()
    files = sorted(
        p for folder in folders for p in folder.rglob("*") if p.is_file() and 1000 < p.stat().st_size < 400_000
    )
    files = [p for p in files if p.read_bytes()[128:132] == b"DICM"]
    if options.plain:
        plan.learns = False
    for p in files:
        read_batch([str(p)] * 14, plan)
    print(f"{len(files)} files, {plan.runs} runs learned")
    counts: Counter[tuple[str, str]] = Counter()
    slowest, end = 0.0, time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "mutant.dcm")
        while time.monotonic() < end:
            base, kind = dice.choice(files), dice.choice(options.kinds.split(","))
            content = mutant(base.read_bytes(), kind, dice)
            Path(target).write_bytes(content)
            start = time.monotonic()
            what, columns = verdict(target, plan)
            slowest = max(slowest, time.monotonic() - start)
            counts[kind, what] += 1
            if options.show and columns:
                print(kind, base.name, what, columns[:6], len(columns))
    for kind in KINDS:
        total = sum(n for (k, _), n in counts.items() if k == kind)
        if not total:
            continue
        print(f"{kind}: {total} mutants")
        for (_, what), n in sorted((item for item in counts.items() if item[0][0] == kind), key=lambda item: -item[1]):
            print(f"  {n:6d}  {100 * n / total:6.2f} %  {what}")
    print(f"slowest mutant: {slowest:.2f} s (walk and reference together)")


if __name__ == "__main__":
    main()
