"""Charts from counts, in one theme, and explorers.

Names are loaded when they are asked for: the charts bring Altair, the explorers bring widgets, and many who import this
package need neither.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import charts
    from .catalog_board import CatalogBoard
    from .crossfilter import Crossfilter
    from .hierarchy import Hierarchy
    from .privacy_view import PrivacyView
    from .quality_board import QualityBoard
    from .series_review import SeriesReview

__all__ = ["CatalogBoard", "Crossfilter", "Hierarchy", "PrivacyView", "QualityBoard", "SeriesReview", "charts"]
_MODULES = {
    "CatalogBoard": "catalog_board",
    "Crossfilter": "crossfilter",
    "Hierarchy": "hierarchy",
    "PrivacyView": "privacy_view",
    "QualityBoard": "quality_board",
    "SeriesReview": "series_review",
}


def __getattr__(name: str) -> Any:
    if name == "charts":
        return import_module(f"{__name__}.charts")
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
