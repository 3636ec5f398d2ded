"""How the loss scales with compute, and what a larger model or a longer training buys.

`report` analyses a run folder that has one formulation at several depths and numbers of training steps.
"""

from analysis.scaling.scaling_runs import is_scaling
from analysis.scaling.scaling_tables import Scaling, report

__all__ = ["Scaling", "is_scaling", "report"]
