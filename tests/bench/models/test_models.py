"""The contract of networks: any plain module trains as E members, and an architecture is chosen by its name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.models import Plain, Shape, get, register
from bench.models.architecture import canonical, registry
from bench.models.flat import Flat
from bench.models.networks.mmdit import MMDiT
from bench.models.stacked import Stacked
from bench.plugins import main
from flowbench._core.errors import UserError

SHAPE = Shape(2, 32, 2, 4, 16, 3, text_length=5, text_width=24, pooled_width=16)


class Conv(nn.Module):
    """Two convolutions, scaled by time and pooled text."""

    def __init__(self, shape: Shape, kernel: int = 3) -> None:
        super().__init__()
        self.enter = nn.Conv2d(shape.channels, shape.width, kernel, padding=kernel // 2)
        self.condition = nn.Linear(shape.pooled_width + shape.text_width + 1, shape.width)
        self.leave = nn.Conv2d(shape.width, shape.channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor, clock: Tensor, tokens: Tensor, pooled: Tensor) -> Tensor:
        about = torch.cat([pooled, tokens.mean(1), clock[:, None]], dim=1)
        return self.leave(torch.relu(self.enter(x)) * self.condition(about)[..., None, None])


@pytest.fixture
def conv() -> str:
    @register("my/conv(kernel)")
    def conv(kernel: int = 3) -> Plain:
        """Two convolutions."""
        return Plain(lambda shape: Conv(shape, kernel), version="1")

    return "my/conv"


def inputs(members: int, batch: int = 4) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(shape, generator=generator)  # noqa: E731
    return (
        draw(members, batch, 3, 16, 16),
        draw(members, batch).sigmoid(),
        draw(batch, 5, 24),
        draw(batch, 16),
    )


def test_each_member_is_the_plain_module() -> None:
    network = Stacked(Conv, SHAPE, 3)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(parameter[0].numel()))
    x, clock, tokens, pooled = inputs(3)
    out = network(x, clock, tokens, pooled)
    plain = Conv(SHAPE)
    for e in range(3):
        own = {name.removeprefix("plain."): p[e] for name, p in network.named_parameters()}
        expected = functional_call(plain, own, (x[e], clock[e], tokens, pooled))
        torch.testing.assert_close(out[e], expected, rtol=1e-6, atol=1e-6)


def test_gradients_of_members_do_not_mix_and_reach_every_parameter() -> None:
    network = Stacked(Conv, SHAPE, 2)
    network.initialise(torch.Generator().manual_seed(0))
    network(*inputs(2))[0].square().sum().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert parameter.grad[0].abs().sum() > 0
        assert parameter.grad[1].abs().sum() == 0


def test_the_start_is_that_of_the_module_equal_for_all_members_and_by_the_seed() -> None:
    def start(seed: int) -> Tensor:
        network = Stacked(Conv, SHAPE, 2)
        network.initialise(torch.Generator().manual_seed(seed))
        return Flat(network).weights

    weights = start(0)
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights, start(0))
    assert not torch.equal(weights, start(1))
    before = torch.random.get_rng_state()
    start(0)
    assert torch.equal(before, torch.random.get_rng_state()), "the global generator stays as it was"


def test_members_are_views_of_one_matrix() -> None:
    network = Stacked(Conv, SHAPE, 2)
    flat = Flat(network)
    assert flat.weights.shape == (2, sum(p.numel() for p in Conv(SHAPE).parameters()))
    x, clock, tokens, pooled = inputs(2)
    flat.weights.zero_()
    assert network(x, clock, tokens, pooled).abs().sum() == 0


def test_counts_of_plain_modules(conv: str) -> None:
    shape = Shape(**{**SHAPE.__dict__, "architecture": conv})
    assert shape.parameters() == sum(p.numel() for p in Conv(SHAPE).parameters())
    convolutions = 2 * 2 * 16 * 16 * 32 * 3 * 9
    linear = 2 * 32 * (16 + 24 + 1)
    assert shape.flops(2) == 2 * (convolutions + linear)
    assert shape.activations() >= 2 * 32 * 16 * 16, (
        "the input of the second convolution, and that of the product"
    )


def test_an_architecture_is_chosen_by_name_with_options(conv: str) -> None:
    assert isinstance(SHAPE.build(2), MMDiT)
    assert canonical("my/conv:kernel=3") == "my/conv", "a default is left out"
    assert canonical("my/conv:kernel=5") == "my/conv:kernel=5"
    small, large = (Shape(**{**SHAPE.__dict__, "architecture": name}) for name in (conv, "my/conv:kernel=5"))
    assert large.parameters() > small.parameters()
    built = small.build(2)
    assert isinstance(built, Stacked)
    assert built.members == 2


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("mdit", "no model is called 'mdit'; did you mean 'mmdit'"),
        ("mmdit:depth=3", "mmdit has no option 'depth'; known: 'gelu', 'qk'"),
        ("my/conv:kernl=3", "my/conv has no option 'kernl'; did you mean 'kernel'"),
        ("my/conv:kernel", "'kernel' is no option=value"),
        ("my/conv:kernel=wide", "kernel=wide is no int"),
    ],
)
def test_mistakes_are_one_sentence(spec: str, sentence: str, conv: str) -> None:
    with pytest.raises(UserError, match=sentence):
        get(spec)


def test_the_check_of_a_network(conv: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "model", "mmdit", conv]) == 0
    assert "model mmdit: ok" in capsys.readouterr().out

    @register("my/noisy")
    def noisy() -> Plain:
        class Noisy(Conv):
            def forward(self, x: Tensor, clock: Tensor, tokens: Tensor, pooled: Tensor) -> Tensor:
                return super().forward(x + torch.randn_like(x), clock, tokens, pooled)

        return Plain(Noisy)

    @register("my/leaky")
    def leaky() -> Plain:
        class Leaky(Conv):
            def forward(self, x: Tensor, clock: Tensor, tokens: Tensor, pooled: Tensor) -> Tensor:
                return super().forward(x, clock, tokens, pooled) + x.mean()

        return Plain(Leaky)

    for name, why in (("my/noisy", "random"), ("my/leaky", "batch")):
        assert main(["check", "model", name]) == 2
        assert why in capsys.readouterr().err
    assert {"mmdit", "my/conv"} <= registry.entries.keys()
