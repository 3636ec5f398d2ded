"""Two formulations to compare with others: ``python -m bench.compare examples/late.py:late 'rf/lognorm(0,1)'``."""

from formulations import Formulation, register
from formulations.targets import velocity


@register("my/late(k)")
def late(k: float = 2.0) -> Formulation:
    """a = 1 - t, b = t^k; output the velocity: noise that enters late."""
    return Formulation(path=lambda t: (1 - t, t**k), target=velocity, sampler="lognorm(0,1)")


@register("my/copy")
def copy() -> Formulation:
    """Rectified flow with logit-normal timesteps under another name: no comparison may find it different."""
    return Formulation(path=lambda t: (1 - t, t), target=velocity, sampler="lognorm(0,1)")
