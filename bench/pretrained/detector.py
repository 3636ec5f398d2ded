"""Object detectors of transformers from a folder: pictures to objects, with a class, a confidence, a box and perhaps a mask.

Detectors with boxes (DETR, RT-DETR, YOLOS, ...) and Mask2Former, the kind that GenEval was published with, whose boxes are
those of its masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.pretrained.hub import Place, described, settings
from bench.pretrained.preprocessing import form, weights_digest
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from PIL import Image
else:
    torch = lazy("torch")

Mask = NDArray[np.bool_]
WITH_MASKS = ("mask2former", "maskformer")
"""Kinds of models whose instances are masks."""


@dataclass(frozen=True, eq=False)
class Seen:
    """An object in a picture: ``box`` is left, top, right and bottom in pixels, ``mask [H, W]`` its pixels if known."""

    label: str
    confidence: float
    box: tuple[float, float, float, float]
    mask: Mask | None = None


class Detector:
    """A detector on a device; ``labels`` are the classes that it has."""

    def __init__(self, model: Any, images: Any, masks: bool, device: str) -> None:
        self._model, self._images = model.float().eval().to(device), images
        self._masks, self._device = masks, device
        self._names: dict[int, str] = model.config.id2label
        self.labels = frozenset(self._names.values())
        made = [settings(images), form(model.config), sorted(self._names.items())]
        digest = weights_digest(model.state_dict(), made)
        self.name = f"{model.config.model_type}-{digest} ({described(images)})"

    def __call__(self, pictures: Sequence[Image.Image], least: float) -> list[list[Seen]]:
        """The objects of each picture with more confidence than ``least``, the most confident first."""
        sizes = [(picture.height, picture.width) for picture in pictures]
        given = self._images(images=list(pictures), return_tensors="pt").to(self._device)
        with torch.no_grad():
            out = self._model(**given)
        found = self._instances(out, least, sizes) if self._masks else self._boxes(out, least, sizes)
        return [sorted(seen, key=lambda each: -each.confidence) for seen in found]

    def _boxes(self, out: Any, least: float, sizes: list[tuple[int, int]]) -> list[list[Seen]]:
        found = self._images.post_process_object_detection(out, threshold=least, target_sizes=sizes)
        return [
            [
                Seen(self._names[label], score, (box[0], box[1], box[2], box[3]))
                for label, score, box in zip(
                    *(one[part].tolist() for part in ("labels", "scores", "boxes")), strict=True
                )
            ]
            for one in found
        ]

    def _instances(self, out: Any, least: float, sizes: list[tuple[int, int]]) -> list[list[Seen]]:
        found = self._images.post_process_instance_segmentation(
            out, threshold=least, target_sizes=sizes, return_binary_maps=True
        )
        return [
            [
                Seen(self._names[about["label_id"]], about["score"], box_of(mask), mask)
                for about, mask in zip(
                    one["segments_info"], one["segmentation"].cpu().numpy() > 0, strict=False
                )
                if about["score"] > least and mask.any()  # a thin one may be gone at the picture's size
            ]
            for one in found
        ]


def box_of(mask: Mask) -> tuple[float, float, float, float]:
    """The smallest box around a mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def detector(where: str, device: str) -> Detector:
    """The detector in a folder or by its name in the user's cache. Raises :class:`UserError`."""
    place = Place(where, "--detector ", "object detection")
    place.check()
    masks = place.config().get("model_type") in WITH_MASKS
    kind = "AutoModelForUniversalSegmentation" if masks else "AutoModelForObjectDetection"
    model, images = place.load(kind, "AutoImageProcessor")
    if not masks and not hasattr(images, "post_process_object_detection"):
        raise UserError(
            f"--detector {where}: {type(images).__name__} of transformers gives no boxes of objects"
        )
    return Detector(model, images, masks, device)
