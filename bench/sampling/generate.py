"""Images from trained members: one update for every path and solver, guidance on the output, one noise for all members.

    x_{i+1} = sum_j A[i, j] x^_{i-j} + B[i, j] n^_{i-j} + S[i] z_i

with the clean images ``x^`` and the noises ``n^`` decoded from the (guided) outputs, A, B and S by :mod:`bench.solvers`.
CFG++ decodes n^ from the output without captions (Chung et al., arXiv 2406.08070).

How far each sample travels is measured on the way. In the coordinates of rectified flow, ``z = x_t / (a + b)`` over the
clock ``s = b / (a + b)``, every path moves by ``dz = (n^ - x^) ds``, so that the lengths of all formulations compare:

    path length = sum_k (s_k - s_{k+1}) |n^_k - x^_k|,   s = 0 after the last evaluation k

so it is the length of the ODE's path by the rectangles of the grid, whichever solver steps there. Of several evaluations at
one time only the last one counts, from whose state the solver continues; those between two times of the grid make finer
rectangles, and the sum converges to the same length.

For rectified flow this is ``sum |v dt|`` as in table 6 of arXiv 2403.03206. A straight path has ``s_0 |n - x|``; sampling
starts at ``s_0 = 1``, except where a path ends short of noise or the output cannot be decoded there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from typing import NamedTuple

import torch
from torch import Tensor

from bench import solvers
from bench.config.sampling_settings import Setting
from bench.config.seeds import seed_for
from bench.encoders.text import Captions, Text, drop
from bench.machine.resident import moved
from bench.models.flat import Flat, swapped
from bench.models.network import Network
from bench.sampling.times import times
from bench.training.batches import chunk
from bench.training.coefficients import at, predict, stack
from formulations import Coeffs, Formulation, split


class Sampled(NamedTuple):
    """Images, and how far each has come from its noise."""

    images: Tensor
    """``[E, n, C, H, W]``"""
    path_length: Tensor
    """``[E, n]``, float32, in units of the normalised images"""


def start_noise(name: str, count: int, shape: tuple[int, int, int]) -> Tensor:
    """The noise ``[count, C, H, W]`` from which caption i of a dataset starts: the same for every cell and setting."""
    generator = torch.Generator().manual_seed(seed_for("samples", name))
    return torch.randn((count, *shape), generator=generator)


def step_noise(start: Tensor, evaluations: int) -> Tensor:
    """The fresh noise ``[evaluations, n, *S]`` of samples that start at ``start [n, *S]``, float32.

    That of a sample is seeded by its start, so that it is the same for every cell and setting, however samples are cut into
    batches.
    """
    drawn = []
    for own in start.float().cpu():
        generator = torch.Generator().manual_seed(
            seed_for("steps", sha256(own.numpy().tobytes()).hexdigest())
        )
        drawn.append(torch.randn((evaluations, *own.shape), generator=generator))
    return torch.stack(drawn, dim=1)


class Outputs(NamedTuple):
    """The outputs ``[E, n, C, H, W]`` of an evaluation: one tensor twice but for CFG++."""

    image: Tensor
    """Decodes to x^."""
    noise: Tensor
    """Decodes to n^."""


class Course(NamedTuple):
    """What the steps of a setting are made of, for every member: N evaluations of the network, and the solver's tables."""

    here: Coeffs
    """``[E, N, 1]`` at the times of the evaluations"""
    image: Tensor
    """``[E, N, K]``: A, the factors of the newest K x^"""
    noise: Tensor
    """``[E, N, K]``: B, those of n^"""
    fresh: Tensor | None
    """``[E, N]``: S, the deviations of fresh noise; None for a solver of the ODE"""


def course(formulations: Sequence[Formulation], setting: Setting, device: torch.device) -> Course:
    """The steps of a setting; computed in float64, stored in float32."""
    solver = solvers.get(setting.solver)
    made = [solver(f, times(f, setting)) for f in formulations]
    here = stack([f.coeffs(m.times[:, None]) for f, m in zip(formulations, made, strict=True)], device)
    image, noise = (
        torch.stack(parts).float() for parts in ([m.image for m in made], [m.noise for m in made])
    )
    fresh = [m.fresh for m in made if m.fresh is not None]
    added = moved(torch.stack(fresh).float(), device) if fresh else None
    return Course(here, moved(image, device), moved(noise, device), added)


@torch.no_grad()
def generate(
    model: Network,
    flat: Flat,
    weights: Tensor,
    formulations: Sequence[Formulation],
    captions: Captions,
    rows: Tensor,
    noise: Tensor,
    setting: Setting,
    precision: str = "float32",
) -> Iterator[Sampled]:
    """Yield normalised images chunk by chunk for captions ``rows [N]`` and start noise ``[N, C, H, W]``.

    ``weights [E, P]`` are the members' parameters.
    """
    device = flat.weights.device
    steps = course(formulations, setting, device)
    with swapped(flat, weights):
        at_once = max(1, chunk(device, model.members) // setting.passes)
        for chosen in torch.arange(len(rows)).split(at_once):
            text = without(captions[rows[chosen]], captions, setting)
            network = partial(guided, model, text, captions.unconditional(len(chosen)), setting, precision)
            yield solve(network, steps, noise[chosen].to(device))


def without(text: Text, captions: Captions, setting: Setting) -> Text:
    """Tokens and pooled vectors of captions, of dropped networks those of a dropped caption."""
    if not setting.dropped:
        return text
    names = [part.name for part in captions.parts]
    dropped = torch.tensor([name in setting.dropped for name in names], device=text[0].device)
    return drop(*text, captions.parts, dropped.expand(len(text[0]), -1), captions.nothing)


def solve(network: Callable[[Tensor, Coeffs], Outputs], steps: Course, noise: Tensor) -> Sampled:
    """Take the ``steps`` from pure noise ``[n, C, H, W]`` to images; ``network`` gives the outputs for x_t at a time."""
    path, size = steps.here, len(noise)
    clock = path.b / (path.a + path.b)
    passed = clock - torch.cat([clock[:, 1:], torch.zeros_like(clock[:, :1])], dim=1)
    first = at(path, 0)
    x_t = torch.hypot(first.a, first.b)[..., None, None, None] * noise
    length = torch.zeros_like(x_t[:, :, 0, 0, 0])

    def decoded(k: int, x_t: Tensor) -> tuple[Tensor, Tensor]:
        here = Coeffs(*(part.expand(-1, size) for part in at(path, k)))
        found = network(x_t, here)
        clean, direction = split(found.image, x_t, here)
        if found.noise is not found.image:
            direction = split(found.noise, x_t, here)[1]
        length.add_(passed[:, k] * torch.linalg.vector_norm(direction - clean, dim=(2, 3, 4)))
        return clean, direction

    fresh = None if steps.fresh is None else moved(step_noise(noise, passed.shape[1]), noise.device)

    def drawn(k: int) -> Tensor:
        return torch.zeros_like(noise) if fresh is None else fresh[k]

    return Sampled(solvers.follow(steps, x_t, decoded, drawn), length)


def guided(
    model: Callable[..., Tensor],
    text: Text,
    nothing: Text,
    setting: Setting,
    precision: str,
    x_t: Tensor,
    c: Coeffs,
) -> Outputs:
    """``F0 + cfg (F - F0)`` with the outputs F for the captions and F0 for ``nothing``, in one doubled batch; F where the
    clock lies outside of the setting's limits. For CFG++ n^ is from F0."""
    tokens, pooled = text
    if setting.passes == 1:
        found = predict(model, x_t, c, tokens, pooled, precision)
        return Outputs(found, found)
    doubled = Coeffs(*(torch.cat([part, part], dim=1) for part in c))
    tokens, pooled = (torch.cat(both) for both in zip(text, nothing, strict=True))
    both = predict(model, torch.cat([x_t, x_t], dim=1), doubled, tokens, pooled, precision)
    conditional, unconditional = both.chunk(2, dim=1)
    cfg: float | Tensor = setting.cfg
    if setting.guided is not None:
        clock, (first, last) = c.b / (c.a + c.b), setting.guided
        inside = (clock >= first) & (clock <= last)
        cfg = torch.where(inside, setting.cfg, 1.0)[..., None, None, None]
    found = unconditional + cfg * (conditional - unconditional)
    return Outputs(found, unconditional if setting.rule == "cfg++" else found)
