"""What do all checks cost, and what do two general validators need for the row rules alone? One command, one table.

    python benchmarks/quality.py [--rows 1000000] [--large 5000000] [--rounds 3]

Makes two synthetic tables (`teach`), runs everything in a process of its own and writes benchmarks/RESULTS_quality.md.
- *hospital*: as `dicom-workbench synth` makes it: many chest films and ultrasound, 4 images a series.
- *archive*: the same with 16 slices where the hospital has one of CT, MR or PET: 40 images a series, as in real archives.
CPU seconds (user and system) of one process with POLARS_MAX_THREADS=1 count, imports left out, reading and casts
included; the wall clock of a shared machine does not.
"""

import argparse
import json
import os
import pickle
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
PEERS = {"pointblank": "1.1.1", "dataframely": "3.1.2"}
PART = 125_000


def used() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make_hospital(folder: Path, rows: int) -> None:
    from dicom_workbench.teach.hospital import write_table

    write_table(folder / "rows", rows // 9, 1, folder / "shapes")


def make_archive(hospital: Path, folder: Path, rows: int, slices: int = 16) -> None:
    import polars as pl

    (folder / "rows").mkdir(parents=True)
    shutil.copytree(hospital / "shapes", folder / "shapes")
    made, k = 0, pl.col("_k")
    for number, file in enumerate(sorted((hospital / "rows").glob("*.parquet"))):
        for block, part in enumerate(pl.read_parquet(file).iter_slices(12_000)):
            if made >= rows:
                return
            many = pl.when(pl.col("Modality").is_in(["CT", "MR", "PT"])).then(slices).otherwise(1)
            z = pl.col("ImagePositionPatient").str.extract(r"([^\\]*)$", 1).cast(pl.Float64, strict=False) + k * 0.25
            wide = part.with_columns(_k=pl.int_ranges(0, many)).explode("_k").with_columns(
                pl.when(k > 0).then(pl.concat_str(name, k, separator=".")).otherwise(name).alias(name) for name in ("SOPInstanceUID", "path")
            ).with_columns(
                InstanceNumber=(pl.col("InstanceNumber").cast(pl.Int64, strict=False) * slices + k).cast(pl.String),
                ImagePositionPatient=pl.col("ImagePositionPatient").str.extract(r"^(.*\\)", 1) + z.round(3).cast(pl.String),
                SliceLocation=(pl.col("SliceLocation").cast(pl.Float64, strict=False) + k * 0.25).round(3).cast(pl.String),
            ).drop("_k")
            wide.head(rows - made).write_parquet(folder / "rows" / f"{number:05d}-{block:05d}.parquet", compression="zstd")
            made += min(len(wide), rows - made)


def parts(folder: Path) -> list:
    "As quality.run.parts_of makes them: small shards together, large ones in slices."
    import polars as pl

    found, group, filled = [], [], 0
    for file in sorted((folder / "rows").glob("*.parquet")):
        rows = pl.scan_parquet(file).select(pl.len()).collect().item()
        if rows > PART:
            size = -(-rows // -(-rows // PART))
            found += [pl.scan_parquet(file).slice(start, size) for start in range(0, rows, size)]
            continue
        if group and filled + rows > PART:
            found.append(pl.scan_parquet(group))
            group, filled = [], 0
        group.append(file)
        filled += rows
    return [*found, *([pl.scan_parquet(group)] if group else [])]


def ours(folder: Path, keep: bool) -> dict:
    import polars as pl

    from dicom_workbench.quality.run import assess_table
    from dicom_workbench.quality.score import SCOPES, count, load_profile, rule_table, score, scores

    shapes = pl.read_parquet(folder / "shapes" / "*.parquet").unique("shape")
    profile, table = load_profile("research"), parts(folder)
    with tempfile.TemporaryDirectory() as kept:
        start = used()
        answers, _ = assess_table(table, shapes, keep=Path(kept) if keep else None)
        asked = used() - start
        found = {scope: scores(answers, profile, scope) for scope in SCOPES}
        rules = rule_table(count(answers), profile)
        whole = used() - start
    told = {"rows": int(answers.patterns["n"].sum()), "assess": asked, "cpu": whole, "mb": peak(), "rules": len(answers.rules),
            "row_rules": len(answers.row_rules), "series": len(found["series"]), "total": found["source"]["total"].item(),
            "failed": dict(rules.select("id", "violated").iter_rows())}
    counts = count(answers, "series")
    rows = [i % len(counts.applies) for i in range(10_000)]
    some = type(counts)(counts.rules, counts.scopes[rows], counts.applies[rows], counts.fails[rows], counts.entities[rows])
    again = []
    for _ in range(5):
        start = used()
        score(some, profile)
        again.append(used() - start)
    return told | {"rescore_ms": 1000 * statistics.median(again)}


def rules_for_peers(folder: Path, target: Path) -> list[str]:
    "The row rules that need no other row and no shape, as expressions that are true where a row passes."
    import polars as pl

    from dicom_workbench.quality.assess import applicable
    from dicom_workbench.quality.rule import make
    from dicom_workbench.quality.rules import RULES

    columns = pl.scan_parquet(folder / "rows" / "*.parquet").collect_schema().names()
    mine = [r for r in applicable(RULES, columns) if r.level == "instance" and not r.repeated]
    names = sorted({n for r in mine for e in (r.applies, r.fails) for n in e.meta.root_names()})
    raw = sorted({n.split("|")[0] for n in names})
    passes = {r.id: ~(r.applies.fill_null(False) & r.fails.fill_null(False)) for r in mine}
    target.write_bytes(pickle.dumps({
        "columns": raw, "make": [e.meta.serialize() for e in make(n for n in names if "|" in n)],
        "passes": {id: e.meta.serialize() for id, e in passes.items()},
    }))
    return [r.id for r in mine]


def child(*arguments: object, python: str = sys.executable, script: Path = Path(__file__)) -> dict:
    done = subprocess.run([python, script, *map(str, arguments)], capture_output=True, text=True,
                          env=os.environ | {"POLARS_MAX_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    if done.returncode:
        return {"fault": (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def peer_python() -> str:
    folder, wanted = HERE / "venvs" / "quality", [f"{n}=={v}" for n, v in PEERS.items()] + [f"polars=={version('polars')}"]
    python, stamp = folder / "bin" / "python", folder / "requirement.txt"
    if not (stamp.exists() and stamp.read_text() == "\n".join(wanted) and python.exists()):
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted], check=True, capture_output=True)
        stamp.write_text("\n".join(wanted))
    return str(python)


def table_line(name: str, runs: list[dict]) -> str:
    if any("fault" in r for r in runs):
        return f"| {name} | {next(r['fault'] for r in runs if 'fault' in r)} | | | |"
    cpu = statistics.median(r["cpu"] for r in runs)
    rows = runs[0]["rows"]
    return f"| {name} | {rows:,} | {cpu:.1f} | {cpu / rows * 1e6:.1f} | {max(r['mb'] for r in runs):,.0f} |"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--large", type=int, default=5_000_000, help="0: leave it out")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    asked = arguments.parse_args()
    if asked.child:
        what, folder, *rest = asked.child
        if what == "ours":
            print(json.dumps(ours(Path(folder), "keep" in rest)))
        elif what == "rules":
            print(json.dumps({"ids": rules_for_peers(Path(folder), Path(rest[0]))}))
        elif what == "hospital":
            make_hospital(Path(folder), int(rest[0]))
            print("{}")
        elif what == "archive":
            make_archive(Path(rest[0]), Path(folder), int(rest[1]))
            print("{}")
        return
    with tempfile.TemporaryDirectory() as d:
        lines, notes = measured(Path(d), asked.rows, asked.large, asked.rounds)
    text = "\n".join([*HEAD, *lines, "", *notes, ""])
    (HERE / "RESULTS_quality.md").write_text(text, encoding="utf-8")
    print(text)


HEAD = f"""# All checks of a table: results

Written by `python benchmarks/quality.py`; do not edit. CPU seconds of one process (user and system, reading and casts
included, imports left out) with POLARS_MAX_THREADS=1, medians of the rounds; peak memory of the process.
Linux {platform.machine()}, Python {platform.python_version()}, polars {version("polars")}.

| what | rows | CPU s | CPU µs a row | peak MB |
| --- | ---: | ---: | ---: | ---: |""".splitlines()


def measured(folder: Path, rows: int, large: int, rounds: int) -> tuple[list[str], list[str]]:
    lines, notes = [], []
    peers = peer_python()
    child("--child", "hospital", folder / "hospital", rows)
    child("--child", "archive", folder / "archive", folder / "hospital", rows)
    rules = child("--child", "rules", folder / "archive", folder / "rules")["ids"]
    for name in ("archive", "hospital"):
        runs: dict[str, list[dict]] = {}
        for _ in range(rounds):
            runs.setdefault("ours", []).append(child("--child", "ours", folder / name))
            for peer in PEERS if name == "archive" else ():
                script = HERE / "peers" / "by_quality.py"
                runs.setdefault(peer, []).append(child(peer, folder / name / "rows", folder / "rules", PART, python=peers, script=script))
        mine = runs["ours"][0]
        if "fault" in mine:
            return [*lines, table_line(name, runs["ours"])], notes
        per = mine["rows"] / mine["series"]
        lines.append(table_line(f"workbench, {name}: {mine['rules']} rules, scores of {mine['series']:,} series ({per:.0f} images each), studies, patients, years, source", runs["ours"]))
        kept = child("--child", "ours", folder / name, "keep")
        lines.append(table_line("the same, and the failing files written for drilling down", [kept]))
        notes.append(f"- {name}: 10,000 series scored anew from their counts in {mine['rescore_ms']:.0f} ms; score {mine['total']}.")
        for peer in PEERS if name == "archive" else ():
            lines.append(table_line(f"{peer} {PEERS[peer]}, {name}: the {len(rules)} row rules without scores", runs[peer]))
            if not any("fault" in r for r in runs[peer]):
                ratio = statistics.median(r["cpu"] / o["cpu"] for r, o in zip(runs[peer], runs["ours"], strict=True))
                other = [id for id in rules if runs[peer][0]["failed"][id] != mine["failed"][id]]
                notes.append(f"- {peer} needs {ratio:.2f} times our CPU time for the row rules alone; its counts differ in {len(other)} rules{': ' + ', '.join(other) if other else ''}.")
    if large:
        shutil.rmtree(folder / "archive")
        child("--child", "hospital", folder / "large", large // 8)  # 16 slices for one make about 9 times as many rows
        child("--child", "archive", folder / "archive", folder / "large", large)
        one = child("--child", "ours", folder / "archive")
        lines.append(table_line(f"workbench, archive: {one.get('series', 0):,} series", [one]))
    return lines, notes


if __name__ == "__main__":
    main()
