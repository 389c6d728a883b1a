"""De-identify a folder with another library and its defaults: python by_privacy.py NAME IN OUT. Prints one line of JSON.

One file at a time, so that a bad one costs only itself. CPU is user and system time of the loop, imports left out.
"""

import json
import logging
import resource
import shutil
import sys
import warnings
from pathlib import Path


def used() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def by_dicognito(target: Path):
    import pydicom
    from dicognito.anonymizer import Anonymizer

    anonymizer = Anonymizer(seed="a seed of the benchmark")

    def one(path: Path) -> None:
        ds = pydicom.dcmread(path)
        anonymizer.anonymize(ds)
        ds.save_as(target / path.name)

    return one


def by_dicom_anonymizer(target: Path):
    from dicomanonymizer import anonymize_dicom_file

    return lambda path: anonymize_dicom_file(str(path), str(target / path.name), {}, True)


def by_deid(target: Path):
    from deid.config import DeidRecipe
    from deid.dicom import get_identifiers, replace_identifiers

    recipe = DeidRecipe()

    def one(path: Path) -> None:
        ids = get_identifiers([str(path)])
        made = replace_identifiers([str(path)], deid=recipe, ids=ids, save=True, output_folder=str(target), overwrite=True, force=True)
        for name in made:
            if Path(name).name != path.name:
                shutil.move(name, target / path.name)

    return one


def main() -> None:
    name, source, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    target.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    one = {"dicognito": by_dicognito, "dicom-anonymizer": by_dicom_anonymizer, "deid": by_deid}[name](target)
    faults: dict[str, int] = {}
    start = used()
    paths = sorted(source.iterdir())
    for path in paths:
        try:
            one(path)
        except BaseException as error:  # some end the process; that is theirs to answer for
            faults[type(error).__name__] = faults.get(type(error).__name__, 0) + 1
            (target / path.name).unlink(missing_ok=True)
    print()
    print(json.dumps({"cpu": used() - start, "files": len(paths), "faults": faults}))


if __name__ == "__main__":
    main()
