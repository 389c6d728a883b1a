"""Who is imaged, over the whole of IDC (1,044,191 series): what do all tables cost, what the report, and are the numbers right?

    python benchmarks/population.py [--rounds 3] [--numbers]

Needs the extra [idc] and duckdb. Makes a workspace of its own, measures each round in a fresh process, computes the same tables
with DuckDB from the package's own Parquet file, and writes benchmarks/RESULTS_population.md. `--numbers`: only the comparison.

- Tables: CPU seconds (user and system, all threads) from opening the workspace to the last table, imports left out; peak memory of
  that process. The bars are those of issue 7: 3 s and 600 MB. The tables are every one of `analysis.population`.
- Report: the template `population` through `run_report`; seconds on the wall, CPU seconds of it and its kernel, and the largest sum
  of the memory of both. The bar is 60 s.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
CPU, MEMORY, WALL = 3.0, 600.0, 60.0  # seconds, MB, seconds
Rows = list[tuple[object, ...]]


def used(who: int = resource.RUSAGE_SELF) -> float:
    spent = resource.getrusage(who)
    return spent.ru_utime + spent.ru_stime


def peak_mb() -> float:
    """Of this process. Not ru_maxrss where it can be avoided: Linux hands the parent's on to a child that it starts."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def idc_file() -> Path:
    from importlib.metadata import distribution

    return Path(str(next(f for f in distribution("idc-index-data").files or [] if f.name == "idc_index.parquet").locate()))


def ingest_idc(workspace: Path) -> None:
    from dicom_workbench.catalog import Catalogue
    from dicom_workbench.store import Lake, ingest

    found = Catalogue.open(None)
    ingest(found.get("idc"), found.entry("idc").folder, Lake.open(workspace))


def our_tables(workspace: Path) -> dict[str, Rows]:
    """Every table of analysis.population over the series of IDC."""
    from dicom_workbench.analysis import population as p
    from dicom_workbench.analysis.profile import Views
    from dicom_workbench.store import Lake

    rows = p.study_rows(Views.of(Lake.open(workspace, create=False), "idc").series)
    p.dates_of(rows)
    tables = {
        "exclusions": p.exclusions(rows).select("excluded", "patients", "studies", "series", "images"),
        "by facility": p.by_facility(rows).select("facility", "patients", "studies", "series", "images"),
        "by modality": p.by_facility(rows, "modality").select("modality", "patients", "studies", "series", "images"),
        "age, sex and modality": p.age_by_sex(rows),
        "studies per patient": p.studies_per_patient(rows).select("age_group", "patients", "studies"),
        "most studies": p.most_studies(rows).select("modality", "place", "studies"),
        "repeated ionising": p.repeated_ionising(rows),
        "by year": p.by_period(rows).select("period", "modality", "patients", "studies"),
    }
    return {name: [tuple(None if v is None else v if isinstance(v, int) else str(v) for v in row) for row in table.iter_rows()] for name, table in tables.items()}


SQL = """
create temp table s as
select (collection_id, PatientID) p, StudyInstanceUID u, Modality m, collection_id f, nullif(trim(PatientSex), '') sex, instanceCount n, trim(PatientAge) a,
    case when regexp_matches(coalesce(PatientAge, ''), '^[ ]*[0-9]{3}[DWMY][ ]*$') then cast(left(trim(PatientAge), 3) as double)
         / case right(trim(PatientAge), 1) when 'D' then 365.25 when 'W' then 52.18 when 'M' then 12 else 1 end end age,
    try_cast(StudyDate as date) d,
    regexp_matches(concat_ws(' ', StudyDescription, SeriesDescription), '\\b(neonat\\w*|newborn|infant|paed\\w*|pedia\\w*|peds?|baby|child\\w*|nicu)\\b', 'i') child,
    case when m in ('SR','SEG','PR','KO','RTSTRUCT','RTPLAN','RTDOSE','RTRECORD','REG','ANN','M3D','DOC','RWV','FID','PLAN','HC','AU','FUSION','SMR','TEXTUREMAP') then 'derived object'
         when list_bool_or(list_transform([PatientID, collection_id, BodyPartExamined, StudyDescription, SeriesDescription],
              lambda x: regexp_matches(coalesce(x, ''), 'phantom|\\bdro\\b|_dro\\b|\\bdro_|quality (control|assurance)|\\bqa[ _]test|test object|victre', 'i'))) then 'phantom or test object'
         end why
from read_parquet('{file}');
create temp table tired as select p from s where why is null group by p having count(distinct u) > 100 and count(distinct u) > date_diff('day', min(d), max(d)) + 1;
update s set why = 'over 100 studies, more than one a day' where why is null and p in (select p from tired);
create temp table k as  -- one row a patient, study and modality
select p, u, m, min(sex) sex, min(d) d, case when bool_or(a = '000Y' and not child) then null else min(age) end age from s where why is null group by all;
create temp table g as select *, case when age < 0 or age >= 130 then null when age < 5 then '0–4' when age < 15 then '5–14' when age < 30 then '15–29' when age < 45 then '30–44'
    when age < 60 then '45–59' when age < 75 then '60–74' when age < 130 then '75 and over' end grp from k;
"""

QUERIES = {
    "exclusions": "select coalesce(why, 'counted'), count(distinct p), count(distinct u), count(*), sum(n)::bigint from s group by all",
    "by facility": "select f, count(distinct p), count(distinct u), count(*), sum(n)::bigint from s where why is null group by all",
    "by modality": "select m, count(distinct p), count(distinct u), count(*), sum(n)::bigint from s where why is null group by all",
    "age, sex and modality": "select grp, case when sex in ('F','M','O') then sex end x, m, count(distinct p), count(distinct u) from g group by all",
    "studies per patient": "select grp, count(distinct p), count(distinct u) from g group by all",
    "most studies": """select m, place, n from (select m, n, row_number() over (partition by m order by n desc) place
        from (select m, p, count(distinct u) n from k group by all)) where place <= 5""",
    "repeated ionising": """with t as (select p, u, min(d) d from k where m in ('CR','CT','DX','IO','MG','NM','PT','PX','RF','RG','XA') group by all),
        w as (select p, count(*) over (partition by p order by d range between interval 364 days preceding and current row) n from t where d is not null),
        b as (select p, max(n) n from w group by p)
        select 1, (select count(distinct p) from t) union all select x, (select count(*) from b where n >= x) from (values (2), (3), (5), (10), (20)) v(x)""",
    "by year": "select date_trunc('year', d)::date y, m, count(distinct p), count(distinct u) from k group by all",
}


def their_tables() -> tuple[dict[str, Rows], float]:
    """The same from DuckDB, written anew from the definitions; and its CPU seconds."""
    import duckdb

    con = duckdb.connect()
    con.execute("set threads = 2")
    start = used()
    con.execute(SQL.replace("{file}", str(idc_file())))
    found = {name: [tuple(None if v is None else v if isinstance(v, int) else str(v) for v in row) for row in con.execute(query).fetchall()] for name, query in QUERIES.items()}
    return found, used() - start


def differing(ours: dict[str, Rows], theirs: dict[str, Rows]) -> dict[str, int]:
    """Table -> rows that are in one only."""
    return {name: len({*map(repr, ours[name])} ^ {*map(repr, theirs[name])}) + abs(len(ours[name]) - len(theirs[name])) for name in QUERIES}


def child(what: str, workspace: Path) -> dict[str, float]:
    """One round in a process of its own."""
    answer = subprocess.run([sys.executable, __file__, "--child", what, str(workspace)], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found


def tables_round(workspace: Path) -> dict[str, float]:
    import dicom_workbench.analysis.population
    import dicom_workbench.analysis.profile
    import dicom_workbench.store  # noqa: F401  # imports are no part of the bar

    start = used()
    our_tables(workspace)
    return {"cpu": used() - start, "mb": peak_mb()}


def report_round(workspace: Path) -> dict[str, float]:
    import psutil

    from dicom_workbench.catalog import Catalogue
    from dicom_workbench.report import run_report
    from dicom_workbench.store import Lake

    peak, done = [0.0], threading.Event()

    def watch() -> None:
        own = psutil.Process()
        while not done.wait(0.2):
            total = 0
            for process in [own, *own.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue
            peak[0] = max(peak[0], total / 2**20)
    threading.Thread(target=watch, daemon=True).start()
    start, cpu = time.perf_counter(), used() + used(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as out:
        size = run_report(Lake.open(workspace, create=False), Catalogue.open(None).get("idc"), "population", out=out).html.stat().st_size
    done.set()
    return {"wall": time.perf_counter() - start, "cpu": used() + used(resource.RUSAGE_CHILDREN) - cpu, "mb": peak[0], "bytes": size}


def median(rounds: Iterable[dict[str, float]], what: str) -> float:
    return statistics.median(r[what] for r in rounds)


def write(tables: list[dict[str, float]], report: list[dict[str, float]], wrong: dict[str, int], ours: dict[str, Rows], duck: float) -> None:
    lines = [
        "# Who is imaged, over the whole of IDC: results", "",
        "Written by `python benchmarks/population.py`; do not edit. 1,044,191 series; medians of the rounds, peak memory is the largest.",
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, polars {version('polars')}, idc-index-data {version('idc-index-data')}, duckdb {version('duckdb')}.", "",
        "| what | seconds | CPU s | peak MB | bar |", "| --- | ---: | ---: | ---: | --- |",
        f"| all tables of `analysis.population`, from the store | – | {median(tables, 'cpu'):.1f} | {max(r['mb'] for r in tables):.0f} | {CPU:.0f} CPU s, {MEMORY:.0f} MB |",
        f"| the report `population`, with its kernel | {median(report, 'wall'):.0f} | {median(report, 'cpu'):.1f} | {max(r['mb'] for r in report):.0f} | {WALL:.0f} s |",
        f"| the same tables in DuckDB, from the Parquet file | – | {duck:.1f} | – | – |", "",
        "Every number beside DuckDB's, which computes from the package's own file by queries written from the definitions:", "",
        "| table | rows | rows that differ |", "| --- | ---: | ---: |", *[f"| {name} | {len(ours[name]):,} | {n} |" for name, n in wrong.items()], "",
    ]
    (HERE / "RESULTS_population.md").write_text("\n".join(lines), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--numbers", action="store_true")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps({"tables": tables_round, "report": report_round}[asked.child[0]](Path(asked.child[1]))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "workspace"
        ingest_idc(workspace)
        ours = our_tables(workspace)
        theirs, duck = their_tables()
        wrong = differing(ours, theirs)
        for name, n in wrong.items():
            print(f"{name}: {len(ours[name]):,} rows, {n} differ from DuckDB's")
        if asked.numbers:
            return 1 if any(wrong.values()) else 0
        tables = [child("tables", workspace) for _ in range(asked.rounds)]
        report = [child("report", workspace) for _ in range(asked.rounds)]
    write(tables, report, wrong, ours, duck)
    cpu, mb, wall = median(tables, "cpu"), max(r["mb"] for r in tables), median(report, "wall")
    print(f"tables {cpu:.2f} CPU s, {mb:.0f} MB; report {wall:.1f} s")
    return 1 if any(wrong.values()) or cpu > CPU or mb > MEMORY or wall > WALL else 0


if __name__ == "__main__":
    sys.exit(main())
