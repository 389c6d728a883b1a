"""Does what we ship hold everything, and does it work from an empty folder?

python .ci/check_wheel.py                  build, look inside, install the wheel afresh, run the demo twice
python .ci/check_wheel.py --contents-only  build and look inside
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = {  # folder of the checkout -> folder in the wheel, files that must be in it
    "dicom_workbench": ("dicom_workbench", ("*.py", "*.csv", "*.toml", "*.typed", "*.html", "*.css", "*.js", "*.ipynb", "*.j2", "*.json")),
    "data_catalog": ("dicom_workbench/_catalog", ("*.toml",)),
    "reports/templates": ("dicom_workbench/_templates", ("*.ipynb",)),
    "nbs/tutorials": ("dicom_workbench/_tutorials", ("*.ipynb",)),
}
IMPORT_ALL = """
import importlib, pkgutil, dicom_workbench
for module in pkgutil.walk_packages(dicom_workbench.__path__, "dicom_workbench."):
    importlib.import_module(module.name)
print(dicom_workbench.__file__)
"""


def run(command: list[str | Path], cwd: Path, failure: str) -> str:
    """Standard output of a command; its own words and our remedy where it fails."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, env=environment())
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("WARNING")]
        sys.exit("\n".join([*said[-40:], failure]))
    return done.stdout


def environment() -> dict[str, str]:
    """Ours without what would let the installed package find this checkout."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH",) and not k.startswith("DICOM_WORKBENCH_")}


def build(target: Path) -> tuple[Path, Path]:
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", target, ROOT], ROOT,
        "The build failed: see [build-system] and [tool.hatch] in pyproject.toml.")
    return next(target.glob("*.whl")), next(target.glob("*.tar.gz"))


def files_that_ship() -> dict[str, str]:
    """Path in the wheel -> path in the checkout."""
    found = {}
    for here, (there, patterns) in SHIPPED.items():
        for pattern in patterns:
            for path in (ROOT / here).rglob(pattern):
                if not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts):
                    found[f"{there}/{path.relative_to(ROOT / here).as_posix()}"] = path.relative_to(ROOT).as_posix()
    return found


def check_contents(wheel: Path, sdist: Path) -> None:
    shipped = files_that_ship()
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    in_sdist = {name.partition("/")[2] for name in tarfile.open(sdist).getnames()}
    wrong = [f"{p} is not in the wheel: see force-include in pyproject.toml." for p in shipped if p not in in_wheel]
    wrong += [f"{p} is not in the sdist: see targets.sdist in pyproject.toml." for p in shipped.values() if p not in in_sdist]
    wrong += [f"{p} must not ship: delete it from the checkout." for p in in_wheel | in_sdist
              if any(word in p for word in (".ipynb_checkpoints", "__pycache__", ".nbpy", "reports/out"))]
    for folder in SHIPPED:
        if not any(p.startswith(folder + "/") for p in shipped.values()):
            wrong.append(f"{folder} has nothing that ships: is the checkout whole?")
    if wrong:
        sys.exit("\n".join(sorted(wrong)))
    print(f"{len(shipped)} files in the wheel ({wheel.stat().st_size / 1e6:.2f} MB) and the sdist")


def check_demo(python: Path, folder: Path, name: str) -> None:
    """`dicom-workbench demo` from an empty folder, with the package that this Python has installed."""
    folder.mkdir()
    origin = run([python, "-c", IMPORT_ALL], folder, f"{name}: a module cannot be imported: does [project] dependencies name all?")
    start = time.monotonic()
    said = run([python.parent / "dicom-workbench", "demo"], folder, f"{name}: `dicom-workbench demo` failed from an empty folder.")
    seconds = time.monotonic() - start
    if not list(folder.rglob("*.html")):
        sys.exit(f"{name}: the demo left no HTML report under its folder; it said: {said[-500:]}")
    from_checkout = str(ROOT) in origin
    if from_checkout != (name == "editable install"):
        sys.exit(f"{name}: the wrong package was tested ({origin.strip()}): is PYTHONPATH set?")
    print(f"{name}: demo in {seconds:.1f} s")


def check_installs(wheel: Path, work: Path) -> None:
    start = time.monotonic()
    run([sys.executable, "-m", "venv", work / "venv"], work, "No virtual environment: `apt-get install python3-venv`.")
    fresh = work / "venv" / "bin" / "python"
    run([fresh, "-m", "pip", "install", "-q", wheel], work, "The wheel cannot be installed: see [project] dependencies.")
    print(f"wheel: installed afresh in {time.monotonic() - start:.1f} s")
    check_demo(fresh, work / "from_wheel", "wheel")
    check_demo(Path(sys.executable), work / "from_editable", "editable install")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        built = build(Path(scratch))
        check_contents(*built)
        if "--contents-only" not in sys.argv:
            check_installs(built[0], Path(scratch))
