"""What an experiment is, as frozen dataclasses; :mod:`bench.config.identity` makes the ids of cells.

A *cell* is one training: a formulation, a dataset, a model, a seed and a recipe, from scratch or from the weights of another
cell, its parent: it is then a later *stage*. Its id is a hash of the canonical JSON of those of its fields that differ from
the defaults; the full configuration lies with the results, so that a default that changes later is noticed
(:mod:`bench.runfolder.store`). How a cell was packed, compiled or launched is no part of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from bench.config import kept_weights
from bench.config.identity import COLUMN, LATER, MEASURES, OPTIMISER, identity, marked, shared
from bench.config.kept_weights import Weights
from bench.config.limits import choice, divides, positive, within
from bench.config.sampling_settings import ControlSetting, Setting
from flowbench._core.errors import UserError

STUDY_SETTINGS = tuple(
    Setting(*each) for each in ((50, 1.0), (50, 2.5), (50, 5.0), (5, 5.0), (10, 5.0), (25, 5.0))
)
"""The six sampler settings of arXiv 2403.03206, appendix B.3."""
VALIDATION = "validation"
"""The reference of FID that every dataset has."""


@dataclass(frozen=True)
class Model:
    """The network and its size: ``width`` defaults to 64 depth and ``heads`` to depth, as in the study; ``architecture`` is
    its name with options (:mod:`bench.models.architecture`)."""

    depth: int = 4
    width: int | None = None
    heads: int | None = None
    patch: int = 2
    architecture: str = field(default="mmdit", metadata=LATER)

    def __post_init__(self) -> None:
        positive(self, "depth", "patch")
        width, heads = self.sizes
        if width <= 0 or heads <= 0:
            raise UserError(f"--width {width} and --heads {heads}: must be greater than 0")
        if width % (4 * heads):
            raise UserError(
                f"the model's width {width} must be a positive multiple of 4 heads = {4 * heads}: "
                f"the nearest is --width {max(1, round(width / (4 * max(heads, 1)))) * 4 * max(heads, 1)}"
            )

    @property
    def sizes(self) -> tuple[int, int]:
        """Width and heads with the defaults filled in."""
        width = 64 * self.depth if self.width is None else self.width
        usual = self.depth if self.width is None else max(1, width // 64)
        return width, usual if self.heads is None else self.heads


@dataclass(frozen=True)
class Images:
    """How the images of a dataset are made: edge in pixels, and the sizes of the two splits."""

    resolution: int = 16
    train: int = 20_000
    validation: int = 2_000

    def __post_init__(self) -> None:
        positive(self, "resolution", "train", "validation")


@dataclass(frozen=True)
class Training:
    """The recipe: an optimiser with linear warm-up, float32 EMA, caption dropout, validation at eight noise levels.

    ``objective`` is what is minimised (:mod:`bench.objectives`).
    ``dropout`` is the probability that a sample loses its caption; with ``drop_encoders`` it loses what each network of a
    joined text encoder gives of it, each on its own: .464 in the study, where .1 then lose all three.
    ``dropped`` is what stands for it, in training and as the unconditional input of guidance: ``zeros``, as in the study, or
    what the encoder gives for the ``empty`` caption.
    ``ema`` is the time constant of the EMA as a fraction of the run: the study's is 1e4 steps, of a length that it does
    not state; its scaling runs have 5e5. ``decay`` is the fraction at the end of the run over which the learning rate falls
    linearly to zero. ``gradients`` says what is done to each member's before the optimiser: ``plain`` nothing, as in the
    study, ``normalised`` scales them to norm 1, ``clip:X`` to at most X (:func:`bench.training.trainer.scale`).
    ``milestones`` are fractions of the run after which the weights are kept, too, to draw images with
    (:mod:`bench.config.kept_weights`).
    """

    steps: int = 20_000
    batch: int = 64
    objective: str = field(default="flow", metadata=LATER)
    lr: float = 5e-4
    optimiser: str = field(default="adamw", metadata=LATER)
    betas: tuple[float, ...] = field(default=(0.9, 0.999), metadata=OPTIMISER)
    gradients: str = "plain"
    warmup: int = 200
    decay: float = 0.0
    weight_decay: float = field(default=0.0, metadata=OPTIMISER)
    ema: float = 0.02
    dropout: float = 0.1
    drop_encoders: float = field(default=0.0, metadata=LATER)
    dropped: Literal["zeros", "empty"] = field(default="zeros", metadata=LATER)
    validations: int = 20
    validation_images: int = 256
    precision: Literal["float32", "bf16"] = "float32"
    milestones: tuple[float, ...] = field(default=(), metadata=LATER)

    def __post_init__(self) -> None:
        positive(self, "steps", "batch", "lr", "ema", "validations")
        object.__setattr__(self, "milestones", kept_weights.milestones(self.milestones))
        for name, low, high in (
            ("decay", 0, 1),
            ("dropout", 0, 1),
            ("drop_encoders", 0, 1),
            ("weight_decay", 0, 1e9),
            ("warmup", 0, 1e12),
        ):
            within(self, name, low, high)
        if self.validation_images < 8 or self.validation_images % 8:
            closest = max(8, round(self.validation_images / 8) * 8)
            raise UserError(
                f"--validation-batch {self.validation_images} must be a positive multiple of 8, one part for each "
                f"noise level: the nearest is {closest}"
            )
        choice(self, "precision", ("float32", "bf16"))
        choice(self, "dropped", ("zeros", "empty"))
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            given = " ".join(f"{beta:g}" for beta in self.betas)
            raise UserError(
                f"--betas {given}: must be two numbers in [0, 1), the nearest usual ones are 0.9 0.999"
            )
        _ = self.clip

    @property
    def clip(self) -> float | None:
        """The norm that ``gradients`` are scaled to at most: X of ``clip:X``, else None. Raises :class:`UserError`."""
        word, _, norm = self.gradients.partition(":")
        if self.gradients in ("plain", "normalised"):
            return None
        try:
            if word == "clip" and 0 < float(norm) < float("inf"):
                return float(norm)
        except ValueError:
            pass
        raise UserError(
            f"--gradients {self.gradients!r}: choose plain, normalised or clip:X with a norm X, for example clip:1"
        )


@dataclass(frozen=True)
class Evaluation:
    """How trained cells are sampled and measured; changing it re-measures, and never re-trains.

    ``weights`` are those to sample with, by name (:mod:`bench.config.kept_weights`): ``ema``, ``raw``, or both, and further
    ones of milestones of the training, which come after them.
    ``start`` is b / a where all paths begin to be sampled; ``native``: each by its own rule (:mod:`formulations.grids`).
    ``reference`` is what FID compares with: the validation images, or a file (:mod:`bench.metrics.reference_file`).
    ``metrics`` are those beyond the shipped ones as ``NAME@DIGEST`` (:mod:`bench.metrics.run_metrics`): columns of the
    table, whose values name their own recipe, so that runs that share the others' recipe are compared with and without them.
    """

    settings: tuple[Setting, ...] = field(default=STUDY_SETTINGS, metadata=COLUMN)
    weights: tuple[str, ...] = field(default=("ema", "raw"), metadata=COLUMN)
    samples: int = 1_000
    start: float | Literal["native"] = "native"
    extractor: str = field(default="tinyclip", metadata=MEASURES)
    reference: str = field(default=VALIDATION, metadata=MEASURES | LATER)
    metrics: tuple[str, ...] = field(default=(), metadata=COLUMN | LATER)

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise UserError(f"--samples {self.samples}: a Fréchet distance needs at least 2 samples")
        if self.start != "native":
            positive(self, "start")
        if not self.settings:
            raise UserError("--settings must name at least one sampler setting")
        twice = next((s.key for s in self.settings if self.settings.count(s) > 1), None)
        if twice:
            raise UserError(f"--settings names {twice} twice: leave one of them out")
        named = sorted(map(kept_weights.canonical, self.weights), key=self._early)
        object.__setattr__(self, "weights", tuple(named))
        if not named or self._early(named[0]) or len(set(named)) < len(named):
            raise UserError("--weights must name ema, raw or both, and none twice")

    @staticmethod
    def _early(weights: str) -> bool:
        return kept_weights.milestone(weights) is not None

    @property
    def controls(self) -> tuple[ControlSetting, ...]:
        """Every sampler setting with every kind of weights."""
        return tuple(
            ControlSetting(**asdict(s), weights=weights) for weights in self.weights for s in self.settings
        )

    @property
    def id(self) -> str:
        """Hash of this recipe; the measurements of a cell are stored under it."""
        return identity(self)

    @property
    def sampling(self) -> str:
        """Hash of what the images depend on; another extractor measures the same images."""
        usual: dict[str, Any] = {f.name: f.default for f in fields(self) if marked(f, COLUMN, MEASURES)}
        return identity(replace(self, **usual))

    @property
    def recipe(self) -> dict[str, Any]:
        """All that must be equal where measurements are compared: every field but those that are columns of the table."""
        return shared(self)


@dataclass(frozen=True)
class Init:
    """The weights of another cell, its parent, from which a cell's training begins."""

    cell: Cell
    weights: Weights = "ema"


@dataclass(frozen=True)
class Cell:
    """One training, see the module's docstring. ``text`` names the frozen text encoder that conditions the model; without
    ``init`` the training begins from scratch."""

    formulation: str = field(metadata=COLUMN)
    dataset: str = field(metadata=COLUMN)
    seed: int = field(default=0, metadata=COLUMN)
    model: Model = field(default_factory=Model)
    images: Images = field(default_factory=Images)
    training: Training = field(default_factory=Training)
    text: str = "tinyclip"
    init: Init | None = field(default=None, metadata=LATER)

    @property
    def id(self) -> str:
        """12 hexadecimal digits of sha256 over the canonical JSON of the fields that are not default."""
        return identity(self)

    @property
    def ancestors(self) -> tuple[Cell, ...]:
        """The cells that its training builds on, the first one first."""
        return (*self.init.cell.ancestors, self.init.cell) if self.init else ()

    @property
    def alike(self) -> Cell:
        """What it shares with the same cell of another formulation."""
        init = self.init and replace(self.init, cell=self.init.cell.alike)
        return replace(self, formulation="", init=init)

    @property
    def recipe(self) -> dict[str, Any]:
        """All that must be equal where trainings are compared: every field but those that are columns of the table. Of a
        parent its dataset, too, if that is another one."""
        kept = shared(self)
        if self.init:
            other = self.init.cell.dataset != self.dataset
            before = {**self.init.cell.recipe, **({"dataset": self.init.cell.dataset} if other else {})}
            kept["init"] = {"weights": self.init.weights, "cell": before}
        return kept


Equal = Literal["size", "parameters", "flops"]
"""In what several networks are equal."""
MOST_SEEDS = 1_000
"""Seeds of a grid at most; a confirmation has the seeds from there on (:mod:`bench.driver.confirm`)."""


@dataclass(frozen=True)
class Stage:
    """A stage of training before the last one: its recipe, and which of its weights the next stage begins with."""

    training: Training = field(default_factory=Training)
    images: Images = field(default_factory=Images)
    dataset: str | None = None
    """None: that of the next stage."""
    weights: Weights = "ema"
    """Which the next stage begins with."""


@dataclass(frozen=True)
class Grid:
    """A whole experiment: every formulation (crossed with every sampler, if any) on every dataset with every seed.

    ``networks``, or ``depths`` and ``budgets`` (training steps), replace ``model.architecture``, ``model.depth`` and
    ``training.steps`` and are crossed with all the rest; repeats are dropped, and a single one becomes the model's or the
    training's. Networks are ``equal`` in size (depth, width and heads), or get the width with which they have as many
    parameters as the first, or as many operations (:mod:`bench.planning.network_sizes`). Seeds are
    ``first_seed .. first_seed + seeds - 1``. Datasets, images and training are those of the last stage, ``earlier`` has the
    stages before it (:mod:`bench.config.stages`).
    """

    formulations: tuple[str, ...] = ("paper",)
    samplers: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ("shapes",)
    seeds: int = 1
    model: Model = field(default_factory=Model)
    images: Images = field(default_factory=Images)
    training: Training = field(default_factory=Training)
    evaluation: Evaluation = field(default_factory=Evaluation)
    text: str = "tinyclip"
    depths: tuple[int, ...] = ()
    budgets: tuple[int, ...] = ()
    networks: tuple[str, ...] = field(default=(), metadata=LATER)
    equal: Equal = field(default="size", metadata=LATER)
    first_seed: int = 0
    earlier: tuple[Stage, ...] = field(default=(), metadata=LATER)

    def __post_init__(self) -> None:
        positive(self, "seeds")
        if self.seeds > MOST_SEEDS:
            raise UserError(f"--seeds {self.seeds}: at most {MOST_SEEDS}")
        object.__setattr__(self, "datasets", tuple(dict.fromkeys(self.datasets)))
        if not self.formulations or not self.datasets:
            raise UserError("a grid needs at least one formulation and one dataset")
        divides(self.model.patch, self.images.resolution, "--resolution")
        if self.earlier and len(set(self.budgets)) > 1:
            raise UserError("--budgets and --stage: choose one, stages have their own steps")
        choice(self, "equal", get_args(Equal))
        self._axis("networks", "model", "architecture")
        self._axis("depths", "model", "depth")
        self._axis("budgets", "training", "steps")
        if self.equal != "size" and not self.networks:
            raise UserError(
                f"--equal {self.equal} is for several networks: name them with --networks, or give --equal size"
            )
        for name, single in (("depths", "depth"), ("budgets", "steps")):
            if self.networks and getattr(self, name):
                raise UserError(
                    f"--networks and --{name}: networks are compared at one --{single}, and how one of them scales is a run "
                    f"of its own: choose one --{single}, or one --model"
                )

    def _axis(self, name: str, part: str, target: str) -> None:
        """Check the values of a sweep: each sets the field ``target`` of the configuration's ``part``."""
        values, usual = tuple(dict.fromkeys(getattr(self, name))), getattr(self, part)
        if bad := [value for value in values if isinstance(value, int) and value < 1]:
            raise UserError(f"--{name} {bad[0]}: must be whole numbers greater than 0")
        for value in values:
            try:
                made = replace(usual, **{target: value})
            except UserError as error:  # a width that fits one depth need not fit another
                raise UserError(f"--{name} {value}: {error}") from None
            if len(values) == 1:
                object.__setattr__(self, part, made)
        object.__setattr__(self, name, values if len(values) > 1 else ())

    @property
    def models(self) -> tuple[Model, ...]:
        """One for each network, with the width and heads of the model, or one for each depth."""
        networks = tuple(replace(self.model, architecture=name) for name in self.networks)
        return networks or tuple(replace(self.model, depth=depth) for depth in self.depths) or (self.model,)

    @property
    def swept(self) -> bool:
        """Whether trainings differ in network, depth or steps."""
        return bool(self.networks or self.depths or self.budgets)

    def check_not_swept(self, what: str) -> None:
        """Raises :class:`UserError` if trainings differ in network, depth or steps, and ``what`` is for equal ones."""
        if self.swept:
            raise UserError(
                f"{what} is for one network, depth and number of steps: choose with --model, --depth and --steps"
            )

    @property
    def trainings(self) -> tuple[Training, ...]:
        """One for each budget."""
        return tuple(replace(self.training, steps=steps) for steps in self.budgets) or (self.training,)

    @property
    def further_texts(self) -> tuple[str, ...]:
        """What is encoded besides the captions of the data: the empty one, if a training needs it."""
        every = (self.training, *(stage.training for stage in self.earlier))
        return ("",) if any(training.dropped == "empty" for training in every) else ()

    @property
    def every_seed(self) -> range:
        """Its seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)
