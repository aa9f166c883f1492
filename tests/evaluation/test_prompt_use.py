"""What a detector takes from its prompts: one that does what its prompt says, by hand."""

from types import SimpleNamespace

import pytest

pytest.importorskip("detectron2")

import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image
from torch import nn

from insight.evaluation.prompt_use import evaluate_prompt_use
from insight.inference.prediction import Prediction
from insight.modeling.prompt import PromptPooler, RegionPromptEncoder
from insight.modeling.prompt.local import LocalPrompt

NAME, SIZE = "test_prompt_use", (40, 60)
SQUARE, FAR = [10, 10, 20, 20], [40, 20, 50, 30]


@pytest.fixture
def dataset(tmp_path):
    """Two images: one has the square, the other the far one."""
    dicts = []
    for index, box in enumerate([SQUARE, FAR]):
        Image.new("RGB", (SIZE[1], SIZE[0])).save(tmp_path / f"{index}.png")
        annotation = {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0, "iscrowd": 0}
        entry = {"file_name": str(tmp_path / f"{index}.png"), "image_id": index, "height": SIZE[0], "width": SIZE[1]}
        dicts.append(entry | {"annotations": [annotation]})
    DatasetCatalog.register(NAME, lambda: dicts)
    MetadataCatalog.get(NAME).set(thing_classes=["square"])
    yield NAME
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


class Obedient:
    """Finds the square where its prompt is 1, the far one where it is 3, else nothing at the right place."""

    def __init__(self, prompted=True, masks=False, class_of_far=0):
        self.masks, self.class_of_far = masks, class_of_far
        self.model = nn.Module()
        if prompted:
            local = LocalPrompt(in_channels=3, crop_size=28, dim=4, patch_size=8, stride=4)
            self.model.encoder = RegionPromptEncoder(
                crop_size=28, pixel_mean=[0.0] * 3, pixel_std=[1.0] * 3, local=local, global_to_local=None
            )
            pooler = PromptPooler(lambda features, boxes: torch.zeros(1, 1, 1, 1), [1], 1)
            nn.init.ones_(pooler.fusion[0].weight)
            self.model.box_pooler = pooler
        self.prompts = iter([1.0, 3.0])

    def set_image(self, image, order):
        assert image.shape == (*SIZE, 3)
        self.prompt = torch.full((1, 1, 1, 1), next(self.prompts))

    def detect(self):
        context = SimpleNamespace(
            encoder=self.model.encoder,
            encode=lambda boxes: [self.prompt.clone()],
            relative=lambda boxes: boxes[0] / torch.tensor([SIZE[1], SIZE[0]] * 2),
        )
        proposal = {1.0: SQUARE, 3.0: FAR}[self.prompt.item()]
        told = self.model.box_pooler([context], [SimpleNamespace(tensor=torch.tensor([proposal]).float())]).item()
        box = {1.0: SQUARE, 3.0: FAR}.get(told, [0, 0, 5, 5])
        found = Instances(SIZE, pred_boxes=Boxes(torch.tensor([box], dtype=torch.float32)))
        found.scores, found.pred_classes = torch.tensor([0.9]), torch.tensor([self.class_of_far if box is FAR else 0])
        if self.masks:
            found.pred_masks = torch.ones(1, *SIZE, dtype=torch.bool)
        return Prediction.from_instances(found)


def test_each_change_is_in_force_while_it_is_measured(dataset):
    results = evaluate_prompt_use(Obedient(), dataset)
    # Silent is 0 twice. The mean is 1, right, then 2. Of the box before: itself, then the square for the far one.
    half = 100 * 51 / 101  # found one of two, the other of the same score is wrong and comes after
    assert results["box AP, as trained"] == pytest.approx(100)
    assert results["box AP, LPM silent"] == 0
    assert results["box AP, LPM mean"] == results["box AP, LPM of the box before"] == pytest.approx(half)
    # There is one class, but the boxes of the other class are found where it has two.
    assert results["box AP, LPM of a box of another class"] == pytest.approx(100)
    assert len(results) == 5


def test_the_prompt_of_another_class_is_that_of_the_ground_truth(dataset):
    DatasetCatalog.get(NAME)[1]["annotations"][0]["category_id"] = 1
    MetadataCatalog.get(NAME).thing_classes.append("far")
    results = evaluate_prompt_use(Obedient(class_of_far=1), dataset)
    # The far one gets the square's prompt, and is missed; the square has no other before it.
    assert results["box AP, as trained"] == pytest.approx(100)
    assert results["box AP, LPM of a box of another class"] <= 50


def test_a_data_set_without_masks_tests_boxes(dataset, caplog):
    assert evaluate_prompt_use(Obedient(masks=True), dataset) == evaluate_prompt_use(Obedient(), dataset)
    assert caplog.messages.count(f"{NAME}: no annotation has a mask: only boxes are evaluated") == 1


def test_a_model_without_prompts(dataset):
    with pytest.raises(ValueError, match="MODEL.PROMPT: expected LPM or GPM to be enabled"):
        evaluate_prompt_use(Obedient(prompted=False), dataset)
