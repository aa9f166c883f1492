"""IoU of prompted masks as a Detectron2 evaluator."""

import json
import logging
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write
from insight.runtime.file_names import safe_name

from .boundary import BOUNDARY_RATIO
from .coco import require_masks
from .prompted import PromptedIoU


class PromptedEvaluator(DatasetEvaluator):
    """IoU and boundary IoU of prompted masks, one ground-truth mask per prompt.

    Works in one process or in several, each with a part of the images.

    Args:
        dataset_name: registered dataset with masks; it is loaded.
        output_dir: folder for DATASET_prompted.json, the metrics and the IoUs of every instance; None to write nothing.
        boundary_ratio: distance of boundary IoU as a fraction of the image's diagonal.

    Raises:
        InputError: the dataset has no masks.
    """

    def __init__(self, dataset_name: str, output_dir: str | Path | None = None, boundary_ratio: float = BOUNDARY_RATIO):
        require_masks(dataset_name)  # before anything is predicted; loading the dataset also sets its class names
        self.dataset_name = dataset_name
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.boundary_ratio = boundary_ratio
        self._logger = logging.getLogger(__name__)
        self.reset()

    def reset(self) -> None:
        """Clear all masks."""
        self._metric = self._new_metric()

    def process(self, inputs: Iterable[dict], outputs: Iterable[dict]) -> None:
        """Compare the masks of a batch.

        Args:
            inputs: with "image_id", "truth" (N COCO RLE at the size of the original image) and "classes" (N indices).
            outputs: with "instances" that have pred_masks, (N, H, W) bool or RLEMasks, in the order of the prompts.

        Raises:
            InputError: the numbers or the sizes of masks differ.
        """
        for given, output in zip(inputs, outputs):
            predicted = output["instances"].to("cpu").pred_masks
            try:
                self._metric.update(predicted, given["truth"], given["classes"], given["image_id"])
            except ValueError as error:
                raise InputError(f"image {given['image_id']} of {self.dataset_name}: {error}") from error

    def evaluate(self) -> OrderedDict:
        """Compute the metrics, in the main process.

        Returns:
            {"prompted": PromptedIoU.result()}; empty in processes other than the main one.
        """
        gathered = comm.gather(self._metric, dst=0)
        if not comm.is_main_process():
            return OrderedDict()
        metric = self._new_metric()
        for part in gathered:
            metric.merge(part)
        result = metric.result()
        self._logger.info(f"Prompted masks on {self.dataset_name}, in percent; {metric.report()}")
        if self.output_dir is not None:
            instances = [{**instance, "class": metric.class_names[instance["class"]]} for instance in metric.instances]
            content = {"boundary": metric.boundary_settings(), "metrics": result, "instances": instances}
            with atomic_write(self.output_dir / safe_name(self.dataset_name, "_prompted.json")) as file:
                json.dump(content, file, indent=1)
        return OrderedDict(prompted=result)

    def _new_metric(self) -> PromptedIoU:
        return PromptedIoU(MetadataCatalog.get(self.dataset_name).thing_classes, self.boundary_ratio)
