"""Optimisers: AdamW is torch's, Muon is the reference's, members are alone, and the check finds what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench import optimisers
from bench.config.experiment import Grid, Training
from bench.models.flat import Flat
from bench.models.networks.mmdit import MMDiT
from bench.models.shape import Shape
from bench.optimisers import Method
from bench.optimisers.check_optimiser import small_model
from bench.optimisers.muon import orthogonalised
from bench.planning.cells import cells_of
from bench.planning.requirements import Requirements
from flowbench._core.errors import UserError

from ..conftest import TINY

SHAPE = Shape(2, 32, 2, 4, 16, 3, text_length=4, text_width=16, pooled_width=8)
RECIPE = Training(betas=(0.8, 0.95), weight_decay=0.1)
NAMES = ("adamw", "muon")


def made(name: str, members: int = 1, recipe: Training = RECIPE) -> tuple[Flat, Any]:
    """The parameters of a network, and their optimiser."""
    model = MMDiT(SHAPE, members)
    model.initialise(torch.Generator().manual_seed(0))
    flat = Flat(model)
    return flat, optimisers.get(name).make(flat, recipe)


def gradients(step: int, columns: int, member: int = 0) -> Tensor:
    return torch.randn(columns, generator=torch.Generator().manual_seed(100 * member + step))


def rates(step: int) -> float:
    return 1e-2 * (1 + step % 3)


def reference_muon(w: Tensor, g: Tensor, kept: Tensor, lr: float, momentum: float, decay: float) -> None:
    """Of one matrix, as its authors write it."""
    kept.mul_(momentum).add_(g, alpha=1 - momentum)
    x = (1 - momentum) * g + momentum * kept
    x = x / x.norm()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    x = x.T if tall else x
    w.mul_(1 - lr * decay).sub_(lr * 0.2 * max(w.shape) ** 0.5 * x)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_moves_as_in_a_plain_reference(name: str) -> None:
    """Matrices of blocks by Muon written for one matrix, everything else by one AdamW of torch for each parameter."""
    flat, optimiser = made(name)
    alone = {n: torch.nn.Parameter(w[0].clone()) for n, w in flat.named(flat.weights).items()}
    matrices = flat.matrices(flat.weights) if name == "muon" else {}
    momenta = {n: torch.zeros_like(alone[n]) for n in matrices}
    others = [p for n, p in alone.items() if n not in matrices]
    usual = torch.optim.AdamW(others, betas=(0.8, 0.95), weight_decay=0.1, fused=False, foreach=False)
    for step in range(8):
        flat.grads[0] = gradients(step, flat.grads.shape[1])
        optimiser.step(rates(step))
        for n, g in flat.named(flat.grads).items():
            alone[n].grad = g[0].clone()
        usual.param_groups[0]["lr"] = rates(step)
        usual.step()
        with torch.no_grad():
            for n, kept in momenta.items():
                grad = alone[n].grad
                assert grad is not None
                reference_muon(alone[n], grad, kept, rates(step), 0.95, 0.1)
    for n, w in flat.named(flat.weights).items():
        torch.testing.assert_close(w[0], alone[n].detach(), rtol=1e-4, atol=1e-6, msg=n)


def test_the_matrices_of_blocks_are_parted_from_all_else() -> None:
    flat, _ = made("adamw", members=3)
    matrices, others = flat.matrices(flat.weights), flat.others(flat.weights)
    assert matrices.keys() | others.keys() == set(flat.names)
    assert not matrices.keys() & others.keys()
    assert len(matrices) == 2 * 8 - 3, (
        "qkv, out, up, down of two streams; the last text stream has keys and values only"
    )
    assert all(n.startswith("blocks.") and n.endswith(".weight") for n in matrices)
    assert matrices["blocks.0.image.up.weight"].shape == (3, 32, 128)
    assert {"patch.weight", "head.weight", "modulation.weight", "blocks.0.image.qk_scale"} <= others.keys()
    matrices["blocks.1.image.down.weight"].zero_()
    assert (flat.weights == 0).sum() > 3 * 32 * 128, "they are views"


@pytest.mark.parametrize("shape", [(2, 3, 32, 96), (1, 128, 32), (4, 17, 17)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    made = orthogonalised(x)
    values = torch.linalg.svdvals(made)
    assert made.shape == x.shape
    assert values.max() < 1.25
    assert values.mean() > 0.8
    if shape[-1] != shape[-2]:
        assert values.min() > 0.6, "but for a nearly singular matrix"
    u, _, vh = torch.linalg.svd(x, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(made.flatten(), (u @ vh).flatten(), dim=0) > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_members_of_a_pack_are_the_same_members_alone(name: str) -> None:
    flat, optimiser = made(name, members=3)
    alone = [made(name) for _ in range(3)]
    for step in range(6):
        for e, (one, its) in enumerate(alone):
            one.grads[0] = flat.grads[e] = 10.0**e * gradients(step, flat.grads.shape[1], e)
            its.step(rates(step))
        optimiser.step(rates(step))
    for e, (one, _) in enumerate(alone):
        torch.testing.assert_close(flat.weights[e], one.weights[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_member_without_numbers_leaves_the_others_alone(name: str) -> None:
    (flat, optimiser), (sound, its) = made(name, members=2), made(name)
    for step in range(3):
        flat.grads[0] = sound.grads[0] = gradients(step, flat.grads.shape[1])
        flat.grads[1] = float("nan")
        optimiser.step(1e-2)
        its.step(1e-2)
    torch.testing.assert_close(flat.weights[0], sound.weights[0], rtol=0, atol=1e-6)
    assert not flat.weights[1].isfinite().any()


@pytest.mark.parametrize("name", [*NAMES, "muon(0)"])
def test_built_in_optimisers_pass_the_check(name: str) -> None:
    method = optimisers.get(name)
    found = optimisers.check(method)
    assert len(found) == 6
    assert ("columns: each as if alone" in found) == method.elementwise == (name == "adamw")


class Plain:
    """Gradient descent, to be broken."""

    def __init__(self, flat: Flat, recipe: Training) -> None:
        self.flat, self.kept = flat, torch.zeros_like(flat.weights)

    def step(self, lr: float | Tensor) -> None:
        self.kept.copy_(self.flat.grads)
        self.flat.weights.sub_(lr * self.kept)

    def state(self) -> dict[str, Tensor]:
        return {"kept": self.kept}

    def resume(self, step: int) -> None: ...


def descend(self: Plain, lr: Any) -> None:
    self.flat.weights.sub_(lr * self.flat.grads)


def climbs(self: Plain, lr: Any) -> None:
    self.flat.weights.add_(lr * self.flat.grads)


def shares(self: Plain, lr: Any) -> None:
    self.flat.weights.sub_(lr * self.flat.grads / self.flat.grads.norm())


def mixes(self: Plain, lr: Any) -> None:
    self.flat.weights.sub_(lr * self.flat.grads / self.flat.grads.norm(dim=1, keepdim=True))


def counts(self: Plain, lr: Any) -> None:
    self.count = getattr(self, "count", 0) + 1
    self.flat.weights.sub_(lr / self.count * self.flat.grads)


def replaces(self: Plain, lr: Any) -> None:
    self.kept = self.flat.grads.clone()
    descend(self, lr)


def waits(self: Plain, lr: Any) -> None:
    self.flat.weights.add_(self.flat.grads, alpha=-lr)


def fails(self: Plain, lr: Any) -> None:
    raise KeyError("speed")


def without_axis(self: Plain) -> dict[str, Tensor]:
    return {"kept": self.kept[0]}


def taken(self: Plain) -> dict[str, Tensor]:
    return {"ema": self.kept}


BROKEN: dict[str, tuple[dict[str, Callable[..., Any]], str]] = {
    "climbs": ({"step": climbs}, "the loss of member 1 went from"),
    "shares": ({"step": shares}, "member 0 in a pack differs by"),
    "mixes": ({"step": mixes}, "'weights' of some columns differs without the others: it is not elementwise"),
    "counts": ({"step": counts}, "continued from its state, 'weights' is not"),
    "replaces": ({"step": replaces}, "'kept' is a new tensor after a step"),
    "waits": ({"step": waits}, "_local_scalar_dense in a step waits for the device"),
    "fails": ({"step": fails}, "KeyError: 'speed'"),
    "axis": ({"state": without_axis}, "must begin with the 2 members"),
    "taken": ({"state": taken}, "'ema', which is taken in a checkpoint"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_the_check_finds_what_is_wrong(how: str) -> None:
    changes, words = BROKEN[how]
    assert optimisers.check(Method(Plain, 1, elementwise=True, name="plain"))
    broken = Method(type("Broken", (Plain,), changes), 1, elementwise=how == "mixes", name="broken")
    with pytest.raises(UserError) as caught:
        optimisers.check(broken)
    assert words in str(caught.value)
    assert "'broken'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_probe_sees_an_edit_and_not_the_rounding() -> None:
    usual = optimisers.probe(optimisers.get("muon"))
    assert optimisers.same(usual, [[value * (1 + 1e-6) for value in row] for row in usual])
    for other in ("muon(0.94)", "adamw"):
        assert not optimisers.same(usual, optimisers.probe(optimisers.get(other)))


def test_names_are_canonical_in_cells_and_part_of_their_identity() -> None:
    def ids(optimiser: str) -> set[str]:
        grid = replace(TINY, training=replace(TINY.training, optimiser=optimiser))
        return {cell.id for cell in cells_of(grid)}

    assert ids("adamw") == {cell.id for cell in cells_of(TINY)}
    assert ids("muon") == ids("muon( .95 )") == ids("muon(0.950)")
    assert not ids("muon") & ids("muon(0.9)")
    assert not ids("muon") & ids("adamw")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("adamv", "no optimiser is called 'adamv'; did you mean 'adamw'?"),
        ("adamw(1)", "has 1 parameters, but the form is 'adamw'"),
        ("muon(1)", "muon's momentum 1 must be in [0, 1)"),
        ("muon(x)", "its parameters are numbers, the form is 'muon(momentum)'"),
    ],
)
def test_mistakes_in_a_name_are_one_sentence(name: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        cells_of(replace(TINY, training=replace(TINY.training, optimiser=name)))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def plain() -> Any:
    """An optimiser with a state of half the parameters that reads weight decay only."""
    optimisers.register("plain")(lambda: Method(Plain, copies=0.5, uses=("weight_decay",)))
    optimisers.get.cache_clear()
    yield "plain"
    del optimisers.registry.entries["plain"]
    optimisers.get.cache_clear()


def test_an_option_that_the_optimiser_ignores_is_refused(plain: str) -> None:
    def cells(**changes: Any) -> list[Any]:
        return cells_of(replace(TINY, training=replace(TINY.training, optimiser=plain, **changes)))

    assert cells(weight_decay=0.1)
    with pytest.raises(
        UserError, match=r"^--betas: the optimiser plain ignores it, and uses --weight-decay: leave it out"
    ):
        cells(betas=(0.9, 0.95))
    with pytest.raises(UserError, match="an optimiser cannot use 'beta'; did you mean 'betas'"):
        Method(Plain, 1, uses=("beta",))
    optimisers.register("wrong")(lambda: Plain)
    try:
        with pytest.raises(UserError, match="optimiser 'wrong' returned type, not a Method"):
            optimisers.get("wrong")
    finally:
        del optimisers.registry.entries["wrong"]


def test_estimates_of_memory_and_disk_follow_the_declaration(plain: str) -> None:
    def requirements(optimiser: str) -> Requirements:
        return Requirements(replace(TINY, training=replace(TINY.training, optimiser=optimiser)), "shapes")

    usual, less = requirements("adamw"), requirements(plain)
    count = usual.shape.parameters()
    assert usual.training_bytes() - less.training_bytes() == pytest.approx(4 * 1.5 * count)
    assert usual.parameter_bytes() == 36 * count
    assert usual.checkpoint_files - less.checkpoint_files == 2 * 4 * 1.5 * count


@pytest.mark.parametrize("name", NAMES)
def test_a_state_is_no_larger_than_declared(name: str) -> None:
    flat, optimiser = made(name, members=2)
    state = optimiser.state()
    assert all(value.shape[0] == 2 for value in state.values())
    size = sum(value.numel() for value in state.values()) / flat.weights.numel()
    assert 0.5 < size / optimisers.get(name).copies <= 1


def test_the_model_of_the_check_has_matrices_and_others() -> None:
    flat = Flat(small_model(2))
    assert flat.matrices(flat.weights).keys() == {"blocks.0.weight", "blocks.1.weight"}


def test_a_plan_imports_no_torch_for_them() -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom bench import optimisers\nfrom bench.config.experiment import Training\n"
        "optimisers.canonical(Training(optimiser='muon'))\nsys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_grid_keeps_what_it_was_before_there_was_a_choice(grid: Grid) -> None:
    from bench.config.identity import full, restore

    usual, other = full(grid), full(replace(grid, training=Training(optimiser="muon")))
    assert "optimiser" not in usual["training"]
    assert restore(Grid, usual) == grid
    assert other["training"]["optimiser"] == "muon"
    assert restore(Grid, other).training.optimiser == "muon"
