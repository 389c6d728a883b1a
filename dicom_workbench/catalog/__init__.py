"""One data source is one TOML file: what it is, whose it is, how to reach it, and the gate that says yes or no."""

from .catalogue import Catalogue
from .gate import Allow, Deny, gate, require
from .source import Source, load_source, location, source_hash

__all__ = ["Allow", "Catalogue", "Deny", "Source", "gate", "load_source", "location", "require", "source_hash"]
