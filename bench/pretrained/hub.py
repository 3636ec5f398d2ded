"""Models of transformers and diffusers from a folder, or by their name from the user's cache. Nothing is downloaded."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flowbench._core.errors import UserError

Library = Literal["transformers", "diffusers"]
STEMS = {
    "transformers": ("model.safetensors", "pytorch_model.bin"),
    "diffusers": ("diffusion_pytorch_model.safetensors",),
}
"""Files with a model's weights, the preferred first; with ``.index.json`` behind the name, one that names their parts."""
VOCABULARY = (
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
"""Files of tokenizers."""


@dataclass(frozen=True)
class Place:
    """Where a model is: a folder, or a name of the hub that is in the user's cache.

    Attributes:
        where: the folder or the name, ``org/model``, or ``org/model/vae`` for a model in a folder of that repository.
        spec: the encoder's name on the command line, or the option, for messages.
        what: the kind of model, for messages: ``CLIP``.
        library: the one that reads it.
    """

    where: str
    spec: str
    what: str
    library: Library = "transformers"

    def __post_init__(self) -> None:
        if self.where.startswith("~"):  # a shell expands it only at the beginning of a word
            object.__setattr__(self, "where", str(Path(self.where).expanduser()))

    @property
    def named(self) -> tuple[str, str]:
        """The repository of the hub, and the folder in it, empty for its top."""
        parts = self.where.strip("/").split("/")
        return "/".join(parts[:2]), "/".join(parts[2:])

    def file(self, name: str) -> Path | None:
        """A file of the model; None if it is not there."""
        if Path(self.where).is_dir():
            file = Path(self.where) / name
            return file if file.is_file() else None
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        repository, below = self.named
        try:
            found = try_to_load_from_cache(repository, f"{below}/{name}" if below else name)
        except HFValidationError:  # a path, and not there
            return None
        return Path(found) if isinstance(found, str) else None

    def check(self) -> None:
        """Raise `UserError` if the model is not there. Loads nothing."""
        weights = tuple(f"{stem}{index}" for stem in STEMS[self.library] for index in ("", ".index.json"))
        for names in (("config.json",), weights):
            if not any(self.file(name) for name in names):
                raise self.absent(FileNotFoundError(f"it has no {' and no '.join(names)}"))

    def config(self) -> dict[str, Any]:
        """The model's ``config.json``; empty if it cannot be read."""
        return self._read("config.json")

    def _read(self, name: str) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            if file := self.file(name):
                found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
                return found
        return {}

    def files(self) -> dict[str, Path]:
        """The files that decide what the model gives, by name: its weights, configuration and vocabulary, as far as they are
        there."""
        names = ["config.json", *VOCABULARY]
        for stem in STEMS[self.library]:
            index = f"{stem}.index.json"
            if any(map(self.file, (stem, index))):
                names += (
                    [stem] if self.file(stem) else [index, *self._read(index).get("weight_map", {}).values()]
                )
                break
        return {name: file for name in dict.fromkeys(names) if (file := self.file(name))}

    def load(self, model: str, *others: str) -> tuple[Any, ...]:
        """The model by the name of its class in the library, and ``others``, such as its tokenizer.

        Raises `UserError` if it is unreadable or lacks weights (the library would draw those at random).
        """
        library = importlib.import_module(self.library)

        config, local = self.file("config.json"), {"local_files_only": True}
        where = str(config.parent) if config else self.where
        try:
            with _quiet(library):
                made, info = getattr(library, model).from_pretrained(where, output_loading_info=True, **local)
                rest = [getattr(library, name).from_pretrained(where, **local) for name in others]
        except Exception as error:  # each library below raises its own kinds; the user needs one sentence
            raise self.absent(error) from error
        if absent := [*info["missing_keys"], *map(str, info.get("mismatched_keys") or [])]:
            lacks = f"it lacks weights, among them {sorted(absent)[0]!r}"
            raise UserError(f"{self.where!r} is not a whole {self.what} model: {lacks}")
        return (made, *rest)

    def absent(self, error: BaseException) -> UserError:
        """The sentence for a model that cannot be read."""
        if Path(self.where).is_dir():
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return UserError(
                f"the folder {self.where!r} holds no {self.what} model that {self.library} can read: {reason}"
            )
        repository, below = self.named
        fetched = f"{repository} --include '{below}/*'" if below else "NAME"
        form = self.spec + ("" if self.spec.endswith(("=", " ")) else ":") + "FOLDER"
        return UserError(
            f"no {self.what} weights {self.where!r}: it is no folder, and the name is not in your cache;"
            f" fetch it once with `hf download {fetched}`, or give {form}"
        )


def image_processor(kind: str = "CLIP") -> str:
    """The class of transformers that is an image processor of a kind on Pillow."""
    import transformers

    # transformers 5 has a Pillow and a torchvision version; before 5 the plain name was the Pillow one.
    on_pillow = f"{kind}ImageProcessorPil"
    return on_pillow if hasattr(transformers, on_pillow) else f"{kind}ImageProcessor"


def settings(images: Any) -> dict[str, Any]:
    """What an image processor does to pixels, as plain values."""
    names = ("size", "crop_size", "do_center_crop", "resample", "rescale_factor", "image_mean", "image_std")
    values = {name: getattr(images, name, None) for name in names}
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, str, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, int):
        return int(value)
    return {k: v for k, v in dict(value).items() if v is not None}


def described(images: Any) -> str:
    """E.g. ``pil-bicubic224-crop224``: library, filter, short side (or height x width), centre crop."""
    kept = settings(images)
    kinds = {kind.__name__ for kind in type(images).__mro__}
    backend = "torchvision" if kinds & {"TorchvisionBackend", "BaseImageProcessorFast"} else "pil"
    filters = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
    size, crop = kept["size"], kept["crop_size"]
    side = size.get("shortest_edge") or f"{size['height']}x{size['width']}"
    text = f"{backend}-{filters.get(kept['resample'], kept['resample'])}{side}"
    if kept["do_center_crop"]:
        square = crop["height"] == crop["width"]
        text += f"-crop{crop['height']}" if square else f"-crop{crop['height']}x{crop['width']}"
    return text


@contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """No progress bars and no advice while loading."""
    log = library.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
