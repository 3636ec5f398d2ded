"""Samplers made of samplers: ``shift``, ``clock``, ``mix`` and ``curriculum``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flowbench._core.errors import UserError
from samplers.sampler import Sampler, bisect
from samplers.sampler_registry import register
from samplers.study import positive

if TYPE_CHECKING:
    from torch import Tensor


@register("shift(alpha,X)")
def shift(alpha: float, X: Sampler = "uniform") -> Sampler:  # type: ignore[assignment]
    """t = alpha x / (1 + (alpha - 1) x) for x drawn from X, by default uniform: ``+ ln(alpha)`` in the logit.

    ``shift(alpha,lognorm(m,s))`` is ``lognorm(m + ln alpha,s)``. Resolution shift with ``alpha = sqrt(pixels
    / base pixels)``: Esser et al. 2024, arXiv 2403.03206, section 5.3.2; ``alpha = e^mu`` in Flux.

    Raises:
        UserError: if ``alpha <= 0``.
    """
    positive("shift", "alpha", alpha)

    def change(inner: Sampler) -> Sampler:
        def quantile(u: Tensor) -> Tensor:
            x = inner.quantile(u)
            return alpha * x / (1 + (alpha - 1) * x)

        def density(t: Tensor) -> Tensor:
            scale = alpha - (alpha - 1) * t  # x = t / scale, dx/dt = alpha / scale^2
            return inner.pdf(t / scale) * alpha / scale**2

        return Sampler(quantile, density)

    return X.lift(change)


@register("clock(X)")
def clock(X: Sampler) -> Sampler:
    """The clock s = b / (a + b) is drawn from X, and native time follows from the path: ``t = s^-1(X(u))``.

    So a law of the noise level is the same on every path: ``clock(lognorm(m,s))`` is sigma = b/a = exp(m + s N(0, 1)), and
    ``clock(laplace(mu,b))`` is Laplace in the log-SNR (Hang et al. 2024, arXiv 2407.03297) also where ``laplace`` alone
    would act on native time. On the straight path and on ``ve`` the clock is the native time. Noise levels that a path
    does not reach become its nearest.
    """
    return X.lift(lambda inner: replace(inner, by_clock=True))


@register("mix(p,X)")
def mix(p: float, X: Sampler) -> Sampler:
    """With probability p from X, else uniform: density ``p pi_X(t) + 1 - p``.

    As one quantile function: ``t = X(v)`` where ``v`` solves ``p v + (1 - p) X(v) = u``, so stratified ``u``
    stays stratified.

    Raises:
        UserError: if ``p`` is outside [0, 1].
    """
    if not 0 <= p <= 1:
        raise UserError(f"mix needs p in [0, 1], not {p:g}")
    if "mix(" in X.name:
        raise UserError(f"mix({p:g},{X.name}): write one mix, its share of X being the product of the two")

    def change(inner: Sampler) -> Sampler:
        def quantile(u: Tensor) -> Tensor:
            up = inner.increasing

            def rising(v: Tensor) -> Tensor:
                return inner.quantile(v if up else 1 - v)

            v = bisect(lambda v: p * v + (1 - p) * rising(v), u)
            if 1 - p < 1e-6:  # below, dividing by it would only amplify rounding
                return rising(v)
            return ((u - p * v) / (1 - p)).clamp(0, 1)  # X(v) would lose the tail where v is 1 in float64

        return Sampler(quantile, lambda t: p * inner.pdf(t) + (1 - p))

    return X.lift(change)


@register("curriculum(X,at,Y)")
def curriculum(X: Sampler, at: float, Y: Sampler = "uniform") -> Sampler:  # type: ignore[assignment]
    """X while less than the share ``at`` of the training is done, then Y.

    Curriculum sampling, arXiv 2603.12517 (logit-normal converges faster, uniform ends better).

    Raises:
        UserError: if ``at`` is outside (0, 1), or X or Y is itself a curriculum.
    """
    if not 0 < at < 1:
        raise UserError(f"curriculum needs at in (0, 1), not {at:g}")
    for part, place in ((X, "start"), (Y, "end")):
        if part.switch is not None:
            raise UserError(f"curriculum cannot {place} with another curriculum, {part.name!r}")
    return replace(X, switch=(at, Y))
