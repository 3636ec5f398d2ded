"""Trains `tinyclip`: the recipe, the batches and the loss (the command is :mod:`bench.tinyclip`)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bench.config.seeds import seed_for
from bench.data import Dataset, load
from bench.encoders.tinyclip_model import DualEncoder, TinyCLIPConfig, bicubic
from bench.encoders.tinyclip_twins import Twins
from bench.encoders.tokenizer import Tokenizer
from flowbench._core.errors import UserError

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, apart from the data's content, torch's version and the threads.

    ``word_loss`` weighs an auxiliary loss, discarded with its head after training: which words the caption of
    a picture has. It lets the image tower see objects before the text tower can name them. ``max_scale``
    bounds the inverse temperature: the lower, the wider the gap in cosine between a caption and its twins.
    """

    data: tuple[str, ...] = ("shapes", "scenes", "digits")
    resolutions: tuple[int, ...] = (8, 16, 32)
    train: int = 40_000
    validation: int = 2_000
    steps: int = 2400
    batch: int = 256
    twins: int = 3
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    max_scale: float = 12.0
    word_loss: float = 0.5
    length: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Source:
    """One data set at one resolution, with its training captions as ids, and the image that is the ``owner`` of each."""

    data: Dataset
    resolution: int
    ids: Ids
    owner: NDArray[np.int64]
    images: Tensor = field(repr=False)


def load_sources(recipe: Recipe) -> tuple[list[list[Source]], Tokenizer]:
    """``sources[resolution][data]`` and the vocabulary of all training captions.

    Raises:
        UserError: data that cannot be loaded.
    """
    loaded = [
        [load(spec, resolution=r, train=recipe.train, validation=recipe.validation) for spec in recipe.data]
        for r in recipe.resolutions
    ]
    captions = [caption for row in loaded for data in row for caption in data.train.texts()]
    tokenizer = Tokenizer.fit(captions, recipe.length)

    def source(data: Dataset, resolution: int) -> Source:
        images = torch.from_numpy(data.train.reference[np.arange(len(data.train))])
        owner = np.repeat(np.arange(len(images)), [len(several) for several in data.train.every()])
        return Source(data, resolution, tokenizer.encode(data.train.texts()), owner, images)

    rows = zip(recipe.resolutions, loaded, strict=True)
    return [[source(data, resolution) for data in row] for resolution, row in rows], tokenizer


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures in [0, 255] as float32, shifted by up to one pixel (edges repeated), with a little noise.

    Generated pictures are slightly noisy and seldom exactly in place. Never flipped: captions name sides.
    """
    n, channels, height, width = images.shape
    padded = F.pad(images.float(), (1, 1, 1, 1), mode="replicate")
    dy, dx = torch.randint(0, 3, (2, n, 1), generator=generator)
    rows, columns = dy + torch.arange(height), dx + torch.arange(width)
    picked = padded[
        torch.arange(n)[:, None, None, None],
        torch.arange(channels)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
    spread = 12.0 * torch.rand(n, 1, 1, 1, generator=generator)
    return (picked + spread * torch.randn(picked.shape, generator=generator)).clamp(0, 255)


def distinct(ids: Ids, twins: Ids) -> tuple[Ids, NDArray[np.int64]]:
    """``(captions [U, L], target [B])`` of a batch's captions ``ids [B, L]``.

    ``captions`` are the distinct ones, then the distinct twins that equal none of them: a batch's own caption
    is never a negative for its picture. ``captions[target]`` is ``ids``.
    """
    own, target = np.unique(ids, axis=0, return_inverse=True)
    _, first = np.unique(np.concatenate([own, twins]), axis=0, return_index=True)
    new = np.sort(first[first >= len(own)]) - len(own)
    return np.concatenate([own, twins[new]]), target.reshape(-1)


def variety(source: Source) -> float:
    """The fourth root of a data set's pictures times its distinct captions: the root of its size where each picture has a
    caption of its own."""
    return float((len(source.ids) * len(np.unique(source.ids, axis=0))) ** 0.25)


class Batches:
    """Batches of a run: pictures ``[B, 3, R, R]``, their captions' ids ``[B, L]``, and those of
    :func:`distinct`.

    Each batch mixes all data sets, in proportion to their :func:`variety`, at one of the resolutions in turn.
    """

    def __init__(self, recipe: Recipe, sources: list[list[Source]], words: int, side: int) -> None:
        self.sources, self.count, self.side = sources, recipe.twins, side
        self.rng = np.random.default_rng(seed_for("tinyclip-batches", recipe.seed))
        self.noise = torch.Generator().manual_seed(seed_for("tinyclip-noise", recipe.seed))
        self.twins = [Twins(source.ids, words) for source in sources[0]]
        weights = np.array([variety(source) for source in sources[0]])
        self.shares = np.maximum(1, np.round(recipe.batch * weights / weights.sum())).astype(int)

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """``(pictures, ids, captions, target)`` of a step; steps must be asked for in order."""
        pictures, ids, negatives = [], [], []
        for source, twins, share in zip(
            self.sources[step % len(self.sources)], self.twins, self.shares, strict=True
        ):
            rows = self.rng.integers(len(source.ids), size=share)
            pictures.append(bicubic(augment(source.images[source.owner[rows]], self.noise), self.side))
            ids.append(source.ids[rows])
            negatives.append(twins.draw(np.unique(ids[-1], axis=0), self.count, self.rng))
        every = np.concatenate(ids)
        captions, target = distinct(every, np.concatenate(negatives))
        own, all_captions, targets = (torch.from_numpy(a) for a in (every, captions, target))
        return torch.cat(pictures), own, all_captions, targets


def contrastive_loss(image: Tensor, text: Tensor, target: Tensor, scale: Tensor | float) -> Tensor:
    """Symmetric InfoNCE where pictures may share a caption and further captions are negatives only.

    ``image [B, D]``; ``text [U, D]``, U distinct captions; ``target[b]`` is the caption of picture ``b``.
    With ``s = scale cos(image, text)`` it is half of ``-mean_b log softmax_u(s)[b, target b]`` plus half of
    the mean over the batch's captions ``u`` of ``-mean_{b of u} log softmax_b(s)[b, u]`` (the mean over
    positives stands outside the logarithm, as in SupCon, Khosla et al., arXiv 2004.11362, equation 2).
    """
    logits = scale * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    to_image = logits.log_softmax(0).gather(1, target[:, None])[:, 0]  # log p(picture b | its caption)
    weight = 1.0 / torch.bincount(target, minlength=text.shape[0])[target]  # each caption counts once
    return 0.5 * (F.cross_entropy(logits, target) - (weight * to_image).sum() / weight.sum())


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up over 5 % of the steps, then half a cosine down to zero."""
    warm = max(1, recipe.steps // 20)
    if step < warm:
        return recipe.learning_rate * (step + 1) / warm
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, recipe.steps - warm)))


def _optimizer(parameters: list[torch.nn.Parameter], recipe: Recipe) -> torch.optim.AdamW:
    """AdamW; weight decay on matrices only."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))


def train(
    recipe: Recipe,
    sources: list[list[Source]],
    tokenizer: Tokenizer,
    report: Callable[[str], None] = print,
) -> DualEncoder:
    """The trained encoder; deterministic for a recipe, its data, the version of torch and the number of
    threads.

    Raises:
        UserError: the loss is not finite.
    """
    torch.manual_seed(seed_for("tinyclip-init", recipe.seed))
    config = TinyCLIPConfig(words=len(tokenizer.words), length=tokenizer.length)
    model = DualEncoder(config)
    names = torch.nn.Linear(model.image.project.in_features, config.words)
    parameters = [*model.parameters(), *names.parameters()]
    optimizer = _optimizer(parameters, recipe)
    batches = Batches(recipe, sources, config.words, config.resolution)
    started = time.perf_counter()
    for step in range(recipe.steps):
        pictures, ids, captions, target = batches(step)
        image, hidden = model.image(pictures)
        scale = model.log_scale.exp().clamp(max=recipe.max_scale)
        loss = contrastive_loss(image, model.text(captions)[1], target, scale)
        present = torch.zeros(len(ids), config.words).scatter_(1, ids, 1.0)
        words = F.binary_cross_entropy_with_logits(names(hidden), present, reduction="none").sum(1).mean()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss + recipe.word_loss * words)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 100 == 99 or step == recipe.steps - 1:
            values = torch.stack([loss, words, scale]).tolist()
            if not math.isfinite(values[0]):
                raise UserError(f"tinyclip's training diverged before step {step + 1}: lower --learning-rate")
            shown = "loss {:.3f}  words {:.3f}  scale {:.1f}".format(*values)
            report(f"step {step + 1}/{recipe.steps}  {shown}  {time.perf_counter() - started:.0f} s")
    return model.eval()
