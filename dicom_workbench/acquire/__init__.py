"""Headers in: one file, many files on any engine, ready-made index tables."""

from .folder import list_files
from .header import read_header
from .scan import scan

__all__ = ["list_files", "read_header", "scan"]
