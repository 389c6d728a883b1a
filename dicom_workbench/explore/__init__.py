"""Charts from counts, in one theme, and explorers."""

from . import charts

__all__ = ["charts"]
