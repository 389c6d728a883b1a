"""Reports: papermill templates over one source become a notebook, a self-contained page and a manifest."""

from . import blocks
from .many import AllReports, run_all
from .opening import Report, begin, versions
from .run import NotReported, ReportResult, index, run_report, templates

__all__ = ["AllReports", "NotReported", "Report", "ReportResult", "begin", "blocks", "index", "run_all", "run_report", "templates", "versions"]
