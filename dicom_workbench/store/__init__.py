"""The Delta Lake of a workspace: shards, commits, versions, and the four levels as lazy views."""

from . import levels
from .ingest import Ingested, ingest
from .lake import Lake
from .workspace import find_workspace, open_workspace

__all__ = ["Ingested", "Lake", "find_workspace", "ingest", "levels", "open_workspace"]
