"""Where training looks: one quantile function ``u -> t`` per timestep sampler (t = 0 data, t = 1 noise)."""

import flowbench  # noqa: F401  (looks whether it can run here)
from flowbench._core.plugin import load_plugin
from samplers import extra, logsnr, modifiers, resolution_shift, study  # noqa: F401  (importing registers the names)
from samplers.sampler import Sampler
from samplers.sampler_names import names
from samplers.sampler_registry import get, register

__all__ = ["Sampler", "get", "load_plugin", "names", "register"]
