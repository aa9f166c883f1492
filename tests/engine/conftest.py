import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from helpers.tiny import CONFIG, PROMPTS, PROMPTS_FILE, write_dataset

from insight.config import load_config


@pytest.fixture(scope="session")
def rectangles(tmp_path_factory):
    """Name of a registered dataset."""
    json_file, images = write_dataset(tmp_path_factory.mktemp("rectangles"))
    register_coco_instances("rectangles", {}, str(json_file), str(images))
    yield "rectangles"
    DatasetCatalog.remove("rectangles")
    MetadataCatalog.remove("rectangles")


@pytest.fixture
def tiny_cfg(rectangles, tmp_path):
    """Config of a tiny Mask R-CNN on the rectangles."""
    cfg = load_config().clone()
    cfg.defrost()
    cfg.merge_from_other_cfg(type(cfg)(CONFIG))
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (rectangles,)
    cfg.OUTPUT_DIR = str(tmp_path / "output")
    return cfg


@pytest.fixture
def prompted_cfg(tiny_cfg):
    """The same with all of the prompt paradigm."""
    tiny_cfg.merge_from_file(str(PROMPTS_FILE))
    tiny_cfg.merge_from_other_cfg(type(tiny_cfg)({"MODEL": PROMPTS}))
    return tiny_cfg
