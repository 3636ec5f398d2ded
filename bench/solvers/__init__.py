"""How images are drawn along a formulation's ODE: the contract of a solver, its registry, and one file a solver.

Imports no torch until a table is made, so that settings and plans can ask for names and count evaluations.
"""

from bench.solvers import ab2, ancestral, ddim, dpm2m, dpm2m_sde, euler, heun, unipc2  # noqa: F401  (importing registers the names)
from bench.solvers.check_solver import check
from bench.solvers.solver import Solver, Steps, follow, get, register, registry, texts

__all__ = ["Solver", "Steps", "check", "follow", "get", "register", "registry", "texts"]

registry.check = check
