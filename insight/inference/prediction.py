"""The result of every predictor."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from insight.data.formats.coco_writer import open_coco
from insight.errors import InputError
from insight.modeling.sopseg.image_masks import CropLogits
from insight.runtime.atomic_files import atomic_write
from insight.runtime.outputs import check_output_file
from insight.runtime.words import counted
from insight.structures.oriented_boxes import box_corners
from insight.structures.rle import RLEMasks, decode_crop, masks_to_rle, rle_box, select_indices
from insight.visualization.overlays import draw_instances

from .image_input import to_rgb

if TYPE_CHECKING:
    from affine import Affine
    from detectron2.structures import Instances
    from geopandas import GeoDataFrame


class Prediction:
    """N instances of an image: one for each prompt, in order, or the detections of a detector.

    All tensors are on the CPU. Indexing selects instances: an integer, a slice, or a list, array or tensor of integers
    or bools gives another `Prediction`; iterating yields one for each instance.

    Args:
        image_size: (height, width) of the image in pixels.
        boxes: (N, 4) float32 XYXY in pixels of the image.
        scores: (N,) float32.
        masks: N masks, or None if the model has none.
        oriented_boxes: (N, 4, 2) float32 corners XY in pixels of the image, or None.
        class_ids: (N,) int64 indices into `categories`; None for zeros.
        categories: names of the classes; ["object"] by default.
        prompt_ids: (N,) int64; None if there is one instance for each prompt.
        logits: logits of the masks, or None.

    Raises:
        InputError: the arguments differ in length.

    Attributes:
        masks: run-length encoded; `np.asarray(masks)` is (N, H, W) bool. None if the model has none.
        scores: (N,) float32. For SOPSeg, the predicted IoU of each mask; for a detector, the probability of the
            class.
        boxes: (N, 4) float32 XYXY: the prompt box, the box around a prompted oriented box, or, for points alone, the
            box around the mask.
        oriented_boxes: (N, 4, 2) float32 corners XY of the prompts, clockwise as displayed; NaN in rows whose prompt
            was not an oriented box. None if no prompt was.
        class_ids: (N,) int64 indices into `categories`.
        categories: names of the K classes.
        prompt_ids: (N,) int64, the index of each instance's prompt; with `multimask`, each three times.
        logits: `CropLogits` of the masks if they were requested, else None.
        image_size: (height, width) of the image in pixels.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        *,
        boxes: Tensor,
        scores: Tensor,
        masks: RLEMasks | None = None,
        oriented_boxes: Tensor | None = None,
        class_ids: Tensor | None = None,
        categories: Sequence[str] = ("object",),
        prompt_ids: Tensor | None = None,
        logits: CropLogits | None = None,
    ):
        count = len(boxes)
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.boxes, self.scores, self.masks, self.oriented_boxes = boxes, scores, masks, oriented_boxes
        self.class_ids = torch.zeros(count, dtype=torch.int64) if class_ids is None else class_ids
        self.categories = list(categories)
        self.prompt_ids = torch.arange(count) if prompt_ids is None else prompt_ids
        self.logits = logits
        for name in ("scores", "masks", "oriented_boxes", "class_ids", "prompt_ids"):
            value = getattr(self, name)
            if value is not None and len(value) != count:
                raise InputError(f"{name}: expected {count}, one for each box, got {len(value)}")

    @classmethod
    def from_instances(cls, instances: "Instances", categories: Sequence[str] = ("object",)) -> "Prediction":
        """Convert Detectron2's `Instances`.

        Args:
            instances: with pred_boxes, scores, pred_classes and, if there are masks, pred_masks (`RLEMasks` or (N, H,
                W) bool).
            categories: names of the classes.

        Returns:
            The same instances, in order.
        """
        instances = instances.to("cpu")
        masks = instances.pred_masks if instances.has("pred_masks") else None
        return cls(
            instances.image_size,
            boxes=instances.pred_boxes.tensor,
            scores=instances.scores,
            masks=RLEMasks.from_bitmaps(masks) if isinstance(masks, Tensor) else masks,
            class_ids=instances.pred_classes,
            categories=categories,
        )

    @property
    def class_names(self) -> list[str]:
        """The class name of each instance, N names."""
        return [self.categories[i] for i in self.class_ids.tolist()]

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator["Prediction"]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, item) -> "Prediction":
        index = select_indices(item, len(self))
        index = torch.tensor([index]) if isinstance(index, int) else index
        return Prediction(
            self.image_size,
            boxes=self.boxes[index],
            scores=self.scores[index],
            masks=None if self.masks is None else self.masks[index],
            oriented_boxes=None if self.oriented_boxes is None else self.oriented_boxes[index],
            class_ids=self.class_ids[index],
            categories=self.categories,
            prompt_ids=self.prompt_ids[index],
            logits=None if self.logits is None else CropLogits(*(part[index] for part in self.logits)),
        )

    def __repr__(self) -> str:
        height, width = self.image_size
        what = "without masks" if self.masks is None else "with masks"
        return f"Prediction({counted(len(self), 'instance')} {what} in {width} x {height} pixels)"

    def to_coco(self, image_id: int | str = 1) -> list[dict[str, Any]]:
        """Convert to COCO annotations.

        Args:
            image_id: id of the image.

        Returns:
            N JSON-serialisable dictionaries, with image_id, category_id (class id + 1), bbox (XYWH, rounded to 0.01
            pixels), area (of the mask, else of the box), iscrowd, score (rounded to 1e-5), segmentation (RLE) if there
            are masks, and oriented_box (8 coordinates of corners) where the prompt was one.
        """
        widths, heights = (self.boxes[:, 2:] - self.boxes[:, :2]).unbind(1)
        areas = widths * heights if self.masks is None else self.masks.areas()
        boxes = torch.stack([*self.boxes[:, :2].unbind(1), widths, heights], 1)
        annotations = [
            {
                "image_id": image_id,
                "category_id": class_id + 1,
                "bbox": [round(number, 2) for number in box],
                "score": round(score, 5),
                "area": round(area, 2),
                "iscrowd": 0,
            }
            for class_id, box, score, area in zip(
                self.class_ids.tolist(), boxes.tolist(), self.scores.tolist(), areas.tolist()
            )
        ]
        for annotation, code in zip(annotations, masks_to_rle(self.masks or [])):
            annotation["segmentation"] = code
        if self.oriented_boxes is not None:
            for annotation, corners in zip(annotations, self.oriented_boxes.flatten(1)):
                if corners.isfinite().all():
                    annotation["oriented_box"] = [round(number, 2) for number in corners.tolist()]
        return annotations

    def to_polygons(self) -> list[list[np.ndarray]]:
        """Outline the masks along their pixel edges; rasterised by COCO's rule, the outlines reproduce the masks.

        Returns:
            For each instance, an array (P, 2) int64 of corners XY in image pixels for each part of its mask. A part
            with a hole is cut in two through the hole.

        Raises:
            InputError: there are no masks.
        """
        return self._required_masks().polygons()

    def to_geodataframe(
        self, transform: "Affine | None" = None, crs: Any = None, *, simplify: float = 0.0, regularize: bool = False
    ) -> "GeoDataFrame":
        """Convert to a table of polygons on a map, which `insight.geo.writers.write_layer` writes to vector files.

        Args:
            transform: affine transform from pixels of the image to the map, as rasterio gives it; None for pixels.
            crs: the map's CRS in any form that pyproj takes; None if there is none.
            simplify, regularize: how to simplify outlines, see `insight.geo.polygons.mask_polygons`.

        Returns:
            N rows with the columns instance_id (from 1), class_id, class_name, score, area_m2, angle, length_m,
            width_m (see `insight.geo.features.feature_table`) and geometry: the outline of the mask, or without masks
            the box, oriented where the prompt was.

        Raises:
            MissingDependencyError: the extra `geo` is not installed.
            InputError: an unknown CRS.
        """
        from insight.geo.features import feature_table
        from insight.geo.polygons import box_polygons, mask_polygons

        if self.masks is None:
            corners = box_corners(self.boxes)
            if self.oriented_boxes is not None:
                corners = torch.where(self.oriented_boxes.isfinite(), self.oriented_boxes, corners)
            polygons = box_polygons(corners.double().numpy(), transform)
        else:
            polygons = mask_polygons(self.masks, transform, simplify=simplify, regularize=regularize)
        return feature_table(
            polygons,
            crs,
            class_ids=self.class_ids.tolist(),
            categories=self.categories,
            scores=self.scores.tolist(),
        )

    def to_instances(self) -> "Instances":
        """Convert to Detectron2's `Instances`.

        Returns:
            Instances with pred_boxes, scores, pred_classes and, if there are masks, pred_masks (`RLEMasks`).

        Raises:
            InputError: Detectron2 is not installed.
        """
        try:
            from detectron2.structures import Boxes, Instances
        except ImportError as error:
            raise InputError("to_instances: Detectron2 is not installed") from error
        instances = Instances(self.image_size, pred_boxes=Boxes(self.boxes.clone()))
        instances.scores, instances.pred_classes = self.scores, self.class_ids
        if self.masks is not None:
            instances.pred_masks = self.masks
        return instances

    def to_supervision(self) -> Any:
        """Convert to supervision's `Detections`.

        Returns:
            Detections with xyxy, confidence, class_id, mask (N, H, W) if there are masks, data["class_name"], and
            data["xyxyxyxy"] (N, 4, 2) if a prompt was an oriented box; rows of other prompts hold the corners of their
            box there.

        Raises:
            InputError: supervision is not installed.
        """
        try:
            from supervision import Detections
        except ImportError as error:
            raise InputError("to_supervision: supervision is not installed; run `pip install supervision`") from error
        data = {"class_name": np.array(self.class_names, dtype=str)}
        if self.oriented_boxes is not None:
            corners = torch.where(self.oriented_boxes.isfinite(), self.oriented_boxes, box_corners(self.boxes))
            data["xyxyxyxy"] = corners.numpy()
        return Detections(
            xyxy=self.boxes.numpy(),
            mask=None if self.masks is None else np.asarray(self.masks),
            confidence=self.scores.numpy(),
            class_id=self.class_ids.numpy(),
            data=data,
        )

    def save(self, path: str | os.PathLike, file_name: str = "") -> None:
        """Write the prediction to a file.

        Args:
            path: its suffix chooses the format: `.json` for a COCO file with this one image; `.png` for a 16-bit label
                map, in which instance i has the value i + 1 and the background 0; where instances overlap, the one with
                the highest score is on top.
            file_name: name of the image in a COCO file.

        Raises:
            InputError: an unknown suffix; or, for a label map, no masks or more than 65535 instances.
            OSError: the file cannot be written.
        """
        path = check_output_file(path, "path", (".json", ".png"))
        if path.suffix.lower() == ".json":
            write_coco(path, [(file_name, self.image_size, self.to_coco())], self.categories)
        else:
            picture = Image.fromarray(self.label_map())
            with atomic_write(path, "wb") as file:
                picture.save(file, format="png")

    def plot(self, image: Any, order: str = "RGB", *, scale: int = 0) -> np.ndarray:
        """Draw the instances over their image.

        Args:
            image: the image, in any form that the predictors accept.
            order: order of the channels of an array or tensor, "RGB" or "BGR".
            scale: how many times to enlarge the picture; 0 enlarges small images to about 1200 pixels.

        Returns:
            (scale * H, scale * W, 3) uint8 RGB, with masks, boxes (oriented where the prompt was), class names and
            scores; coloured by class if there are several classes, else by instance.

        Raises:
            OSError: the file cannot be read.
            InputError: the image does not have the size of this prediction's image.
        """
        pixels = to_rgb(image, order)
        if pixels.shape[:2] != self.image_size:
            got, expected = (f"{size[1]} x {size[0]}" for size in (pixels.shape[:2], self.image_size))
            raise InputError(f"image: expected the image of this prediction, {expected} pixels, got {got}")
        labels = [f"{name} {score:.2f}" for name, score in zip(self.class_names, self.scores.tolist())]
        colors = self.class_ids.tolist() if len(self.categories) > 1 else None
        return draw_instances(pixels, self.masks, self._drawn_boxes(), labels, colors, scale=scale)

    def _drawn_boxes(self) -> Sequence[np.ndarray]:
        """Boxes for drawing, oriented where the prompt was."""
        boxes = list(self.boxes.numpy())
        if self.oriented_boxes is not None:
            for i, corners in enumerate(self.oriented_boxes.flatten(1)):
                if corners.isfinite().all():
                    boxes[i] = corners.numpy()
        return boxes

    def label_map(self) -> np.ndarray:
        """Draw the masks as one image.

        Returns:
            (H, W) uint16: instance i has the value i + 1, the background 0; where instances overlap, the one with the
            highest score is on top.

        Raises:
            InputError: there are no masks, or more than 65535.
        """
        masks = self._required_masks()
        if len(self) > np.iinfo(np.uint16).max:
            raise InputError(f"path: a label map holds 65535 instances, got {len(self)}; save a .json file instead")
        labels = np.zeros(self.image_size, np.uint16)
        for i in self.scores.argsort(stable=True).tolist():
            x, y, width, height = rle_box(masks[i])
            mask = decode_crop(masks[i], (x, y, x + width, y + height))
            labels[y : y + height, x : x + width][mask] = i + 1
        return labels

    def _required_masks(self) -> RLEMasks:
        if self.masks is None:
            raise InputError("the prediction has no masks: its model predicts boxes only")
        return self.masks


def write_coco(
    path: str | os.PathLike,
    images: Iterable[tuple[str, tuple[int, int], list[dict[str, Any]]]],
    categories: Sequence[str],
) -> None:
    """Write predictions of several images as one COCO file; ids of images, annotations and categories count from 1.

    Args:
        path: the file.
        images: for each image its file name, its (height, width), and the output of `Prediction.to_coco`.
        categories: names of the classes.

    Raises:
        OSError: the file cannot be written.
    """
    with open_coco(path, categories) as coco:
        for file_name, (height, width), annotations in images:
            image_id = coco.add_image({"file_name": file_name, "height": height, "width": width})
            for annotation in annotations:
                coco.add({**annotation, "image_id": image_id})
