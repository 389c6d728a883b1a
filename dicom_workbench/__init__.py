"""DICOM Workbench: folders, archives and PACS full of DICOM files become one trustworthy table."""

import os

__version__ = "0.1.0"

# The allocator of polars (jemalloc, on Linux) keeps freed memory for ten seconds. A laptop wants it back at once: about
# a sixth less at the peak of a table of a million rows, for no measurable time. Has to be said before polars is loaded.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:300,muzzy_decay_ms:300")
