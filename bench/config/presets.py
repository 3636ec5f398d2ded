"""Experiments to start from, by name; every field can be overridden by an option."""

from __future__ import annotations

from bench.config.experiment import Evaluation, Grid, Images, Model, Training
from bench.config.sampling_settings import Setting
from flowbench._core.errors import UserError, nearest

HEADLINE = (
    "rf",
    "rf/lognorm(0.00,1.00)",
    "rf/mode(1.29)",
    "eps/linear",
    "v/cos",
    "edm(-1.20,1.20)",
)
"""Six well-known formulations: the study's winner and its family, and what came before."""

CLIP_L = "openai/clip-vit-large-patch14"
"""The study's extractor, and one of its three text encoders: names of the hub."""
TEXT = f"sd3:clip_l={CLIP_L},clip_g=laion/CLIP-ViT-bigG-14-laion2B-39B-b160k,t5=google/t5-v1_1-xxl"
"""The study's text encoders."""


def study(latents: str, train: int) -> Grid:
    """The study on latents of at most so many training images (arXiv 2403.03206, appendix B.3): batch 1,024, rate 1e-4 after
    1,000 steps, half precision, each text encoder dropped with probability .464, EMA of time constant 1e4 steps (there .99
    every 100 steps), six sampler settings with both weights, CLIP L/14. Depth, resolution and steps are not stated there:
    these are of its study of captions (depth 15, 250,000 steps) and of its scaling runs (256 pixels). The GELU is
    that of its published network, so that diffusers has a class for what is trained."""
    training = Training(
        steps=250_000,
        batch=1024,
        lr=1e-4,
        warmup=1_000,
        ema=0.04,
        dropout=0.0,
        drop_encoders=0.464,
        validations=50,
        validation_images=1_024,
        precision="bf16",
    )
    return Grid(
        formulations=("paper",),
        datasets=(f"encoded:{latents}",),
        model=Model(depth=15, architecture="mmdit:gelu=tanh"),
        images=Images(resolution=256, train=train, validation=40_504),
        training=training,
        evaluation=Evaluation(extractor=f"clip:{CLIP_L}"),
        text=TEXT,
    )


PRESETS: dict[str, Grid] = {
    "smoke": Grid(
        formulations=("rf/lognorm(0,1)", "eps/linear"),
        model=Model(depth=1, width=32, heads=1, patch=4),
        images=Images(train=512, validation=256),
        training=Training(steps=60, batch=32, warmup=10, validations=3, validation_images=64),
        evaluation=Evaluation(settings=(Setting(50, 1.0), Setting(5, 5.0)), samples=64),
    ),
    "quick": Grid(
        formulations=HEADLINE,
        datasets=("digits",),
        model=Model(depth=3, width=64, heads=1, patch=2),
        images=Images(resolution=8),
        training=Training(steps=900, batch=16, lr=1e-3, warmup=100, decay=0.3, validations=10),
        evaluation=Evaluation(
            settings=(Setting(5, 5.0), Setting(10, 5.0), Setting(25, 2.5)), weights=("ema",), samples=128
        ),
    ),
    "scaling": Grid(
        formulations=("rf/lognorm(0,1)",),
        model=Model(patch=4),
        images=Images(train=10_000, validation=2_000),
        training=Training(batch=8, lr=1e-3, warmup=50, validations=10),
        evaluation=Evaluation(
            settings=tuple(Setting(steps, 5.0) for steps in (50, 20, 10, 5)), weights=("ema",), samples=256
        ),
        depths=(1, 2, 3, 4, 5),
        budgets=(200, 400, 800),
    ),
    "autoencoders": Grid(
        formulations=("rf/lognorm(0,1)",),
        datasets=("encoded:latents/4", "encoded:latents/8", "encoded:latents/16"),
        images=Images(resolution=32),
        training=Training(steps=4_000, batch=32, lr=1e-3, warmup=100, validations=10),
        evaluation=Evaluation(settings=(Setting(25, 2.5),), weights=("ema",), samples=512),
        depths=(1, 2, 4),
    ),
    "architectures": Grid(
        formulations=("rf/lognorm(0,1)", "eps/linear"),
        datasets=("digits",),
        seeds=4,
        model=Model(depth=3, width=64, heads=1, patch=2),
        images=Images(resolution=8),
        training=Training(steps=900, batch=16, lr=1e-3, warmup=100, decay=0.3, validations=10),
        evaluation=Evaluation(settings=(Setting(10, 5.0), Setting(25, 2.5)), weights=("ema",), samples=128),
        networks=("mmdit", "dit", "crossdit", "uvit", "uvit_bao", "prx"),
    ),
    "published": Grid(formulations=("published",), datasets=("scenes",)),
    "paper": Grid(formulations=("paper",), datasets=("scenes", "digits")),
    "imagenet": study("imagenet", 1_281_167),
    "cc12m": study("cc12m", 12_423_374),
}
USUAL = "quick"
"""The preset of a command that names none."""
MINUTES = {"quick": 4.0}
"""Presets that train seed after seed for so many minutes, unless a number of seeds is asked for."""


def preset(name: str) -> Grid:
    """A preset by name. Raises :class:`UserError` with the nearest names."""
    if name not in PRESETS:
        raise UserError(f"unknown preset {name!r}: {nearest(name, PRESETS)}")
    return PRESETS[name]
