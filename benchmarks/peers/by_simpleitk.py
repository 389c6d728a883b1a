"""SimpleITK: ReadImageInformation, without private tags."""

import SimpleITK as sitk
from common import TAGS, each, measure

KEYS = [f"{tag[:4]}|{tag[4:]}".lower() for tag in TAGS]
sitk.ProcessObject.SetGlobalWarningDisplay(False)
reader = sitk.ImageFileReader()
reader.SetImageIO("GDCMImageIO")
reader.LoadPrivateTagsOff()


def read(path):
    reader.SetFileName(path)
    reader.ReadImageInformation()
    return [reader.GetMetaData(key) if reader.HasMetaDataKey(key) else None for key in KEYS]


measure(each(read))
