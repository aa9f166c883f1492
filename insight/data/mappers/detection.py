"""Mapper from a dataset dict to a detector's input, with the full-resolution image beside the resized one."""

import contextlib
import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import detection_utils
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Instances, PolygonMasks
from fvcore.transforms.transform import Transform

from insight.config import semantic_classes
from insight.data.entries import read_entry_image
from insight.data.formats.label_maps import read_label_map
from insight.errors import InputError


class Rotate90Transform(Transform):
    """Rotation by a multiple of 90 degrees, exact: no pixel is interpolated.

    Args:
        turns: quarter turns counter-clockwise, 0 to 3.
        height, width: of the image before it, pixels.
    """

    def __init__(self, turns: int, height: int, width: int):
        super().__init__()
        self.turns, self.height, self.width = turns % 4, height, width

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """Rotate an (H, W) or (H, W, C) array."""
        return np.rot90(img, self.turns)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Rotate (N, 2) points (x, y), pixel centres at half-integers."""
        x, y = coords[:, 0], coords[:, 1]
        rotated = ((x, y), (y, self.width - x), (self.width - x, self.height - y), (self.height - y, x))[self.turns]
        return np.stack(rotated, axis=1)

    def inverse(self) -> Transform:
        """Return the inverse rotation."""
        height, width = (self.width, self.height) if self.turns % 2 else (self.height, self.width)
        return Rotate90Transform(-self.turns, height, width)


class RandomRotate90(T.Augmentation):
    """Rotate by 0, 90, 180 or 270 degrees with equal chance."""

    def get_transform(self, image: np.ndarray) -> Transform:
        """Draw the rotation for an (H, W, C) image."""
        return Rotate90Transform(_draw_turns(), *image.shape[:2])


class AtLeastOnePixel(T.Augmentation):
    """A resize that keeps at least one pixel on each side of a thin image.

    Args:
        resize: the augmentation that returns a ResizeTransform.
    """

    def __init__(self, resize: T.Augmentation):
        super().__init__()
        self.resize = resize

    def get_transform(self, image: np.ndarray) -> Transform:
        """Return the resize for an (H, W, C) image."""
        resize = self.resize.get_transform(image)
        if isinstance(resize, T.ResizeTransform):
            resize.new_h, resize.new_w = max(1, resize.new_h), max(1, resize.new_w)
        return resize


def quarter_turns(seed: int) -> int:
    """Predict by how much INPUT.ROTATE_90 rotates an image in training, before the image is read.

    Args:
        seed: the dataset dict's "sample_seed".

    Returns:
        Quarter turns counter-clockwise, 0 to 3.
    """
    with _seeded(seed):
        return _draw_turns()


def _draw_turns() -> int:
    return np.random.randint(4)


class PromptDatasetMapper:
    """Detectron2's mapper, with all geometric augmentations before one final resize.

    A model input has, besides Detectron2's keys, "prompt_image": uint8 (3, H, W) in INPUT.FORMAT order, the image
    before the final resize; "image" and "instances" are in the frame after it. In training it has "sem_seg", uint8
    (H, W) in that frame, if the model has a semantic branch and the dataset dict a "sem_seg_file_name". If the dataset
    dict holds an int "sample_seed", the augmentations depend on it alone; otherwise on NumPy's global state.

    Args:
        is_train: whether to augment and to return "instances".
        geometry: augmentations before the final resize; they draw from `np.random`.
        resize: the final resize.
        image_format: channel order of the images, as in INPUT.FORMAT.
        mask_format: "polygon" or "bitmask"; None leaves masks out. An image with a mask in RLE gets bitmasks.
        prompt_image: whether to return "prompt_image".
        recompute_boxes: take the ground-truth boxes from the masks after augmentation; needed with crops.
        semantic_classes: labels of the model's semantic branch; 0 without one.
    """

    @configurable
    def __init__(
        self,
        is_train: bool,
        *,
        geometry: Sequence[T.Augmentation],
        resize: T.Augmentation,
        image_format: str,
        mask_format: str | None,
        prompt_image: bool,
        recompute_boxes: bool,
        semantic_classes: int = 0,
    ):
        if mask_format not in (None, "polygon", "bitmask"):
            raise InputError(f'mask_format (INPUT.MASK_FORMAT): expected "polygon" or "bitmask", got {mask_format!r}')
        self.is_train = is_train
        self.geometry = T.AugmentationList(geometry)
        self.resize = resize
        self.image_format = image_format
        self.mask_format = mask_format
        self.prompt_image = prompt_image
        self.recompute_boxes = recompute_boxes
        self.semantic_classes = semantic_classes

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict:
        """Return the arguments for a config."""
        if cfg.MODEL.LOAD_PROPOSALS:
            raise InputError(
                "MODEL.LOAD_PROPOSALS is True, but images are loaded here without proposals; set it to False"
            )
        resize, *flips = detection_utils.build_augmentation(cfg, is_train)
        geometry = []
        if is_train and cfg.INPUT.ROTATE_90:
            geometry.append(RandomRotate90())  # first of all that draws, as `quarter_turns` relies on
        if is_train and cfg.INPUT.CROP.ENABLED:
            geometry.append(T.RandomCrop(cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE))
        return {
            "is_train": is_train,
            "geometry": geometry + flips,
            "resize": AtLeastOnePixel(resize),
            "image_format": cfg.INPUT.FORMAT,
            "mask_format": cfg.INPUT.MASK_FORMAT if cfg.MODEL.MASK_ON else None,
            "prompt_image": cfg.MODEL.PROMPT.LPM.ENABLED
            or cfg.MODEL.PROMPT.GPM.ENABLED
            or (cfg.MODEL.SOPSEG_BRANCH.ENABLED and not is_train),
            "recompute_boxes": bool(geometry) and cfg.INPUT.CROP.ENABLED and cfg.MODEL.MASK_ON,
            "semantic_classes": semantic_classes(cfg),
        }

    def __call__(self, dataset_dict: dict) -> dict:
        """Map one dataset dict, without changing it.

        Raises:
            OSError: the image cannot be read.
            InputError: the image differs in size from the dataset dict, or its label map does not fit.
        """
        result = {k: v for k, v in dataset_dict.items() if k not in ("annotations", "sample_seed")}
        image = read_entry_image(dataset_dict, self.image_format)
        with _seeded(dataset_dict.get("sample_seed")):
            full = T.AugInput(image)
            geometry = self.geometry(full)
            resized = T.AugInput(full.image)
            transforms = geometry + self.resize(resized)
        result["image"] = _to_tensor(resized.image)
        if self.prompt_image:
            result["prompt_image"] = _to_tensor(full.image)
        if self.is_train and "annotations" in dataset_dict:
            result["instances"] = self._instances(dataset_dict, transforms, resized.image.shape[:2])
        if self.is_train and self.semantic_classes and "sem_seg_file_name" in dataset_dict:
            labels = read_label_map(dataset_dict["sem_seg_file_name"], image.shape[:2], self.semantic_classes)
            result["sem_seg"] = torch.from_numpy(np.ascontiguousarray(transforms.apply_segmentation(labels)))
        return result

    def _instances(self, dataset_dict: dict, transforms: T.TransformList, size: tuple[int, int]) -> Instances:
        annotations = [copy.deepcopy(a) for a in dataset_dict["annotations"] if not a.get("iscrowd", 0)]
        if self.mask_format is None:
            for annotation in annotations:
                annotation.pop("segmentation", None)
        rle = any(isinstance(a.get("segmentation"), dict) for a in annotations)
        mask_format = "bitmask" if rle else self.mask_format or "polygon"
        moved = [detection_utils.transform_instance_annotations(a, transforms, size) for a in annotations]
        instances = detection_utils.annotations_to_instances(moved, size, mask_format)
        if self.mask_format is not None and not instances.has("gt_masks"):
            if annotations:
                raise InputError(
                    f"{dataset_dict['file_name']}: annotations without segmentation; `insight annotate` makes masks of "
                    "boxes, MODEL.MASK_ON False trains on boxes alone"
                )
            instances.gt_masks = (
                PolygonMasks([]) if mask_format == "polygon" else BitMasks(torch.zeros((0, *size), dtype=torch.bool))
            )
        if self.recompute_boxes and len(instances):
            instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        return detection_utils.filter_empty_instances(instances)


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, C) array -> contiguous (C, H, W) tensor."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Seed NumPy's global generator, from which Detectron2's augmentations draw, and put it back afterwards."""
    if seed is None:
        yield
        return
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)
