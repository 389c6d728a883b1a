"""Every engine gives the same rows; a file that kills, hangs or eats memory costs its own row, and nothing is left behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import polars as pl
import psutil
import pytest

from dicom_workbench.acquire import engines, guard, scan
from dicom_workbench.acquire.scan import Batch, plan, read_batch
from dicom_workbench.catalog import load_source
from dicom_workbench.standard.errors import UsageError, WorkbenchError
from dicom_workbench.store import Lake, ingest

ENGINES = ("serial", "processes", "dask", "spark")
BAD = {
    "die": ("unreadable", "worker died while reading it"),
    "hang": ("unreadable", "took longer than 6 s"),
    "eat": ("refused", "needs too much memory"),
}
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals exist only on POSIX")


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Path:
    """Twenty-four real files, one of them no DICOM."""
    folder = tmp_path_factory.mktemp("ward")
    for name in sorted(f for f in os.listdir(samples) if (samples / f).is_file() and (samples / f).stat().st_size < 200_000)[:24]:
        shutil.copy(samples / name, folder)
    return folder


@pytest.fixture(scope="module")
def clean(ward: Path) -> pl.DataFrame:
    """The rows as this process reads them, without any engine."""
    return pl.concat(read_batch(batch)[0] for batch in plan([ward])).sort("path")


@pytest.fixture(scope="module")
def context(java: str) -> Iterator[object]:
    """A SparkContext that belongs to somebody: the engine uses it and leaves it running."""
    pytest.importorskip("pyspark")
    job = engines.Job([], len, 2, None, guard.Terms(), guard.Crew(), "")
    with engines._spark_context(job) as context:
        yield context


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "dask":
        pytest.importorskip("distributed")
    if request.param == "spark":
        request.getfixturevalue("context")
    return request.param


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Dask cluster whose workers are processes of their own."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["dicom_workbench.acquire.scan"], "BATCH_FILES", 7)


def readers(of: psutil.Process | None = None) -> list[psutil.Process]:
    """The reader processes below this one."""
    found = []
    for process in (of or psutil.Process()).children(recursive=True):
        try:
            if "dicom_workbench.acquire.guard" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            pass
    return found


# --- the same everywhere ---------------------------------------------------------------------------------------------


def test_every_engine_gives_the_rows_that_plain_reading_gives(engine, ward, clean, small_batches):
    seen = []
    table = scan(ward, engine=engine, workers=2, progress=lambda done, total: seen.append((done, total)))
    assert table.drop("run_id").equals(clean.drop("run_id"))
    assert len(seen) == 4 and seen[-1] == (24, 24)


def test_every_engine_gives_the_same_source_version(engine, ward, write_source, tmp_path, small_batches):
    catalogue = write_source(ward)
    source = load_source(catalogue / "ward.toml")
    here = ingest(source, catalogue, Lake.open(tmp_path / "here"))
    there = ingest(source, catalogue, Lake.open(tmp_path / "there"), engine, 2)
    assert there == here and there.rows == 24


# --- files that do harm ----------------------------------------------------------------------------------------------


def test_bad_files_cost_their_own_rows(engine, ward, clean, monkeypatch, small_batches):
    names = clean.get_column("path").to_list()
    victims = dict(zip(BAD, (names[3], names[4], names[16]), strict=True))
    monkeypatch.setenv("DICOM_WORKBENCH_POISON", ",".join(f"{deed}:{name}" for deed, name in victims.items()))
    monkeypatch.setenv("DICOM_WORKBENCH_SECONDS_PER_FILE", "6")  # what eats must get to its limit first, on a busy machine too
    monkeypatch.setenv("DICOM_WORKBENCH_MEMORY_PER_WORKER", "400")
    started = time.monotonic()
    table = scan(ward, engine=engine, workers=2)
    assert time.monotonic() - started < 60
    bad = {path: (status, reason) for path, status, reason in table.select("path", "status", "reason").rows()
           if path in victims.values()}
    assert bad == {victims[deed]: outcome for deed, outcome in BAD.items()}
    rest = ~pl.col("path").is_in(list(victims.values()))
    assert table.filter(rest).drop("run_id").equals(clean.filter(rest).drop("run_id"))


def test_a_bad_file_is_a_row_of_the_lake(ward, write_source, tmp_path, monkeypatch):
    catalogue = write_source(ward)
    source, lake = load_source(catalogue / "ward.toml"), Lake.open(tmp_path / "lake")
    victim = min(os.listdir(ward))
    monkeypatch.setenv("DICOM_WORKBENCH_POISON", f"die:{victim}")
    done = ingest(source, catalogue, lake, "processes", 2)
    rows = lake.rows("ward").collect()
    assert done.rows == len(rows) == rows.get_column("path").n_unique() == 24
    assert rows.filter(pl.col("path") == victim).select("status", "reason").row(0) == BAD["die"]
    assert ingest(source, catalogue, lake).read == 0


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_bad_members_of_an_archive_cost_their_own_rows(kind, ward, tmp_path, monkeypatch):
    archive = Path(shutil.make_archive(str(tmp_path / "disk" / "disk"), kind, ward))
    clean = scan(archive.parent)
    names = sorted(os.listdir(ward))
    victims = dict(zip(BAD, (names[3], names[4], names[16]), strict=True))
    monkeypatch.setenv("DICOM_WORKBENCH_POISON", ",".join(f"{deed}:{name}" for deed, name in victims.items()))
    monkeypatch.setenv("DICOM_WORKBENCH_SECONDS_PER_FILE", "6")
    table = scan(archive.parent)
    of = {f"{archive.name}!{name}": BAD[deed] for deed, name in victims.items()}
    bad = pl.col("path").is_in(list(of))
    assert {path: (status, reason) for path, status, reason in table.filter(bad).select("path", "status", "reason").rows()} == of
    assert table.filter(~bad).drop("run_id").equals(clean.filter(~bad).drop("run_id"))


def takes_its_time(batch: Batch) -> int:
    for _ in guard.announced(batch.entries[:1]):
        for _ in range(8):
            time.sleep(0.25)
            guard.moved()
    return len(batch)


def test_a_large_archive_may_take_longer_than_a_file(ward, monkeypatch):
    monkeypatch.setenv("DICOM_WORKBENCH_SECONDS_PER_FILE", "1")
    assert list(engines.run(plan([ward]), takes_its_time)) == [24]


def dies_once(batch: Batch, flag: str) -> pl.DataFrame:
    if not os.path.exists(flag):
        Path(flag).touch()
        os._exit(1)
    return read_batch(batch)[0]


def test_a_reader_that_dies_once_costs_nothing(ward, clean, tmp_path):
    work = partial(dies_once, flag=str(tmp_path / "flag"))
    table = pl.concat(engines.run(plan([ward]), work)).sort("path")
    assert table.drop("run_id").equals(clean.drop("run_id"))


def dies_while_it_builds_the_table(batch: Batch, victim: str) -> pl.DataFrame:
    table = read_batch(batch)[0]
    if table.filter(pl.col("path") == victim, pl.col("parser").is_not_null()).height:
        os._exit(1)
    return table


def test_a_death_between_files_is_halved_down_to_the_file(ward, clean):
    victim = clean.filter(pl.col("parser").is_not_null()).get_column("path")[10]
    table = pl.concat(engines.run(plan([ward]), partial(dies_while_it_builds_the_table, victim=victim))).sort("path")
    assert table.filter(pl.col("path") == victim).select("status", "reason").row(0) == BAD["die"]
    rest = pl.col("path") != victim
    assert table.filter(rest).drop("run_id").equals(clean.filter(rest).drop("run_id"))


def always_dies(batch: Batch) -> None:
    os._exit(1)


def test_work_that_always_dies_ends_with_one_line(ward):
    with pytest.raises(WorkbenchError, match="although they read nothing"):
        list(engines.run(plan([ward]), always_dies))


def disk_full(batch: Batch) -> None:
    raise OSError(28, "No space left on device")


def test_what_the_work_raises_reaches_the_driver(engine, ward, small_batches):
    with pytest.raises(OSError, match="No space left"):
        list(engines.run(plan([ward]), _pickled_by_value(disk_full), engine, 2))


def _pickled_by_value(work):
    """Workers of a cluster cannot import this file."""
    import cloudpickle
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return work


# --- clusters --------------------------------------------------------------------------------------------------------


def test_a_dask_cluster_is_used_by_its_address(cluster, ward, clean, monkeypatch, small_batches):
    victim, before = clean.get_column("path")[5], set(readers())
    monkeypatch.setenv("DICOM_WORKBENCH_POISON", f"die:{victim}")
    table = scan(ward, engine="dask", address=cluster)
    assert table.filter(pl.col("path") == victim).select("status", "reason").row(0) == BAD["die"]
    rest = pl.col("path") != victim
    assert table.filter(rest).drop("run_id").equals(clean.filter(rest).drop("run_id"))
    assert set(readers()) <= before  # the readers of the cluster have been dismissed


def kills_its_worker(batch: Batch, driver: int) -> pl.DataFrame:
    if os.getppid() != driver:
        os.kill(os.getppid(), signal.SIGKILL)
    return read_batch(batch)[0]


@POSIX
def test_a_batch_that_dask_gives_up_is_read_here(cluster, ward, clean):
    work = _pickled_by_value(partial(kills_its_worker, driver=os.getpid()))
    table = pl.concat(engines.run(plan([ward]), work, "dask", address=cluster)).sort("path")
    assert table.drop("run_id").equals(clean.drop("run_id"))


@POSIX
def test_a_batch_that_spark_gives_up_is_read_here(context, ward, clean):
    work = _pickled_by_value(partial(kills_its_worker, driver=os.getpid()))
    table = pl.concat(engines.run(plan([ward]), work, "spark")).sort("path")
    assert table.drop("run_id").equals(clean.drop("run_id"))


SCRIPT = """
import psutil, sys
from dicom_workbench.acquire import scan
outside = set()
def look(done, total):
    for process in psutil.Process().children(recursive=True):
        for c in process.net_connections("inet"):
            ip = c.laddr.ip.removeprefix("::ffff:")
            if c.status == "LISTEN" and not ip.startswith("127.") and ip != "::1":
                outside.add(c.laddr)
scan(sys.argv[1], ["Modality"], engine=sys.argv[2], workers=1)
table = scan(sys.argv[1], engine=sys.argv[2], workers=2, progress=look)
print(len(table), sorted(outside), len(psutil.Process().children(recursive=True)))
"""


@pytest.mark.parametrize("name", [*ENGINES[:3], pytest.param("spark", marks=pytest.mark.slow)])
def test_a_script_without_main_guard_is_safe_quiet_local_and_leaves_nothing(name, ward, tmp_path, java):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, script, ward, name], capture_output=True, text=True, timeout=180, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("24 [] 0\n", "")


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENGINES[:3])
def test_a_run_that_is_given_up_leaves_no_reader(name, ward, small_batches, recwarn):
    before = set(readers())
    results = engines.run(plan([ward]), read_batch, name, 2)
    next(results)
    assert set(readers()) - before
    results.close()
    assert set(readers()) <= before
    assert [str(w.message) for w in recwarn] == []


def _driver(ward: Path, tmp_path: Path, engine: str) -> subprocess.Popen:
    """The command, hanging in a file."""
    environment = os.environ | {"DICOM_WORKBENCH_POISON": f"hang:{max(os.listdir(ward))}"}
    command = [sys.executable, "-c", "from dicom_workbench.cli import main; main()",
               "extract", str(ward), "-o", str(tmp_path / "t.parquet"), "--engine", engine, "--workers", "2"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _busy_readers(driver: subprocess.Popen) -> list[psutil.Process]:
    until = time.monotonic() + 60
    while time.monotonic() < until and driver.poll() is None:
        if found := readers(psutil.Process(driver.pid)):
            return found
        time.sleep(0.05)
    driver.kill()
    raise AssertionError(driver.communicate())


@POSIX
@pytest.mark.parametrize("name", ["serial", "processes", "dask"])
def test_ctrl_c_ends_the_command_and_its_readers(name, ward, tmp_path):
    driver = _driver(ward, tmp_path, name)
    found = _busy_readers(driver)
    driver.send_signal(signal.SIGINT)
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 130 and "Traceback" not in said
    assert psutil.wait_procs(found, timeout=20)[1] == []


@POSIX
def test_readers_leave_when_their_driver_is_killed(ward, tmp_path):
    driver = _driver(ward, tmp_path, "processes")
    found = _busy_readers(driver)
    driver.kill()
    driver.communicate()
    assert psutil.wait_procs(found, timeout=20)[1] == []


# --- a person's mistakes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "module"), [("dask", "distributed"), ("spark", "pyspark")])
def test_a_missing_extra_is_named(name, module, ward, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(WorkbenchError, match="not installed") as said:
        scan(ward, engine=name)
    assert 'pip install "dicom-workbench[engines]"' in str(said.value)


def test_missing_java_is_named(ward, monkeypatch):
    monkeypatch.setattr(pytest.importorskip("pyspark").SparkContext, "_active_spark_context", None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(WorkbenchError, match="needs Java"):
        scan(ward, engine="spark")


@pytest.mark.slow
def test_an_address_where_nobody_answers_is_named(ward):
    pytest.importorskip("distributed")
    with pytest.raises(UsageError, match="No Dask scheduler answers"):
        scan(ward, engine="dask", address="tcp://127.0.0.1:9")


def test_an_address_without_a_cluster_is_a_mistake(ward):
    with pytest.raises(UsageError, match="has no address"):
        scan(ward, engine="processes", address="tcp://127.0.0.1:9")


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan"])
def test_a_limit_has_to_be_a_number(value, ward, monkeypatch):
    monkeypatch.setenv("DICOM_WORKBENCH_SECONDS_PER_FILE", value)
    with pytest.raises(UsageError, match="SECONDS_PER_FILE"):
        scan(ward)
