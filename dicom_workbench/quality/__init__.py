"""Rules as polars expressions, findings, and scores that say where every point went."""

from .findings import workspace_secret
from .rule import Rule
from .rules import RULES
from .run import Result, last_score, score_source, score_table
from .score import load_profile, profiles

__all__ = ["RULES", "Result", "Rule", "last_score", "load_profile", "profiles", "score_source", "score_table", "workspace_secret"]
