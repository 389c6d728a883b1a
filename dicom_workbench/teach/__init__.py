"""The synthetic hospital: as a table, as files, with planted defects, and with the answers an analysis has to find."""

from .answers import answers
from .hospital import make_table, write_hospital, write_table
from .plant import Planter
from .synth import PLANTERS, synth

__all__ = ["PLANTERS", "Planter", "answers", "make_table", "synth", "write_hospital", "write_table"]
