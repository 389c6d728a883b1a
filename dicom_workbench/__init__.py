"""DICOM Workbench: folders, archives and PACS full of DICOM files become one trustworthy table."""

__version__ = "0.1.0"
