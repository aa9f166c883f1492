"""SOPSegMetaArch through Detectron2's training loop, on rectangles."""

import json

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from helpers.tiny import write_dataset
from PIL import Image

from insight.checkpoint import CheckpointError
from insight.config import configs_folder
from insight.data.datasets import sat_mtb
from insight.data.preparation.sat_mtb import prepare_sat_mtb
from insight.engine import evaluate, trainer_class
from insight.engine.sopseg_trainer import SOPSegTrainer
from insight.errors import InputError
from insight.modeling.meta_arch import sopseg as face
from insight.modeling.sopseg import SOPSeg, load_sopseg
from insight.modeling.sopseg.decoders import build_decoder
from insight.modeling.sopseg.encoders import VIT_CONFIGS, ViTEncoder
from insight.modeling.sopseg.prompt_encoder import PromptEncoder
from insight.modeling.sopseg.prompt_form import in_form
from insight.structures.oriented_boxes import oriented_corners
from insight.structures.prompts import Prompts, oriented_prompts
from insight.tables import read_table
from insight.tables.runs import plan_runs


def build_small(encoder, decoder):
    image_encoder = ViTEncoder(48, 4, 3, (1, 3))
    return SOPSeg(image_encoder, PromptEncoder(), build_decoder(decoder, image_encoder.shallow_channels))


@pytest.fixture
def cfg(tiny_cfg, monkeypatch):
    monkeypatch.setattr(face, "build_sopseg", build_small)
    tiny_cfg.MODEL.META_ARCHITECTURE = "SOPSegMetaArch"
    tiny_cfg.INPUT.FORMAT = "RGB"
    tiny_cfg.MODEL.SOPSEG.INPUT_SIZE = 64
    tiny_cfg.SOLVER.OPTIMIZER = "AdamW"
    tiny_cfg.SOLVER.BASE_LR = 2e-4
    tiny_cfg.SOLVER.MAX_ITER = 30
    tiny_cfg.SOLVER.STEPS = []
    tiny_cfg.SOLVER.CHECKPOINT_PERIOD = 100
    tiny_cfg.SOLVER.IMS_PER_BATCH = 6
    return tiny_cfg


def test_learns_the_rectangles_and_evaluates_a_checkpoint_to_the_same(cfg):
    trainer = trainer_class(cfg)(cfg)
    assert isinstance(trainer, SOPSegTrainer)
    trainer.resume_or_load(False)
    before = SOPSegTrainer.test(cfg, trainer.model)["prompted"]["class mIoU"]
    frozen = {k: v.clone() for k, v in trainer.model.state_dict().items() if not k.startswith("mask_decoder")}
    after = trainer.train()["prompted"]
    assert after["class mIoU"] > max(before, 50)
    state = trainer.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in frozen.items())
    cfg.MODEL.WEIGHTS = f"{cfg.OUTPUT_DIR}/model_final.pth"
    assert evaluate(cfg)["prompted"] == after


def test_only_a_detector_needs_test_sets_of_the_classes_it_was_trained_on(cfg, tmp_path):
    json_file, images = write_dataset(tmp_path)
    content = json.loads(json_file.read_text())
    content["categories"][0]["name"] = "something else"
    json_file.write_text(json.dumps(content))
    register_coco_instances("renamed", {}, str(json_file), str(images))
    try:
        cfg.DATASETS.TEST = ("renamed",)
        trainer_class(cfg)(cfg)
        cfg.MODEL.META_ARCHITECTURE = "PromptRCNN"
        with pytest.raises(ValueError, match="rectangles and renamed have different classes"):
            trainer_class(cfg)(cfg)
    finally:
        DatasetCatalog.remove("renamed")
        MetadataCatalog.remove("renamed")


def test_the_loss_is_the_mean_over_objects_of_both_kinds_of_prompts(cfg):
    cfg.MODEL.SOPSEG.BOX_SHARE = 0.4
    trainer = trainer_class(cfg)(cfg)
    batch = next(iter(trainer.data_loader))
    kinds = [one["prompts"].points is None for one in batch]
    assert 0 < sum(kinds) < len(kinds)  # otherwise choose another share
    trainer.model.train()
    whole = trainer.model(batch)
    alone = [trainer.model([one]) for one in batch]
    for name, loss in whole.items():
        torch.testing.assert_close(loss, sum(one[name] for one in alone) / len(alone), rtol=1e-4, atol=1e-5)


def test_sam_is_evaluated_as_it_is(cfg, monkeypatch):
    monkeypatch.setattr(face, "load_sopseg", lambda weights, encoder, decoder: build_small(encoder, decoder))
    cfg.MODEL.SOPSEG.WEIGHTS, cfg.MODEL.SOPSEG.DECODER = "sam.pth", "sam"
    assert 0 <= evaluate(cfg)["prompted"]["mIoU"] <= 100
    cfg.MODEL.SOPSEG.DECODER = "edge"  # of which SAM's file holds a part only
    with pytest.raises(CheckpointError, match="MODEL.WEIGHTS is empty"):
        evaluate(cfg)


def test_a_trained_model_needs_sams_file_no_more(cfg):
    cfg.SOLVER.MAX_ITER = 1
    trainer = trainer_class(cfg)(cfg)
    trainer.resume_or_load(False)
    found = trainer.train()["prompted"]
    cfg.MODEL.SOPSEG.WEIGHTS = "moved/sam_vit_l.pth"
    with pytest.raises(CheckpointError, match="moved/sam_vit_l.pth: no such checkpoint"):
        evaluate(cfg)
    cfg.MODEL.WEIGHTS = f"{cfg.OUTPUT_DIR}/model_final.pth"
    assert evaluate(cfg)["prompted"] == found


def test_random_weights_are_told(cfg, caplog, monkeypatch):
    trainer_class(cfg).build_model(cfg)
    assert "MODEL.SOPSEG.WEIGHTS and MODEL.WEIGHTS are empty: all weights are random" in caplog.text
    caplog.clear()
    cfg.MODEL.WEIGHTS = "model.pth"
    trainer_class(cfg).build_model(cfg)
    assert "are empty" not in caplog.text


def test_whole_images_and_box_prompts(cfg):
    cfg.MODEL.SOPSEG.MAGNIFY = False
    cfg.MODEL.SOPSEG.PROMPT = "box"
    cfg.MODEL.SOPSEG.DECODER = "sam"
    cfg.SOLVER.MAX_ITER = 3
    trainer = trainer_class(cfg)(cfg)
    trainer.resume_or_load(False)
    assert 0 <= trainer.train()["prompted"]["mIoU"] <= 100


@pytest.mark.parametrize("decoder", ["hq", "matting", "edge", "fine"])
def test_what_sam_does_not_start_learns_faster(cfg, decoder):
    cfg.MODEL.SOPSEG.DECODER = decoder
    model = SOPSegTrainer.build_model(cfg)
    optimizer = SOPSegTrainer.build_optimizer(cfg, model)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    sam = set(build_small("", "sam").state_dict())
    edge_branch = ("mask_decoder.edge_token", "mask_decoder.edge_mlp", "mask_decoder.edge_upscaling")  # copies of SAM's
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert id(parameter) not in rates
        else:
            scratch = name not in sam and not name.startswith(edge_branch)
            assert rates[id(parameter)] == pytest.approx(2e-4 * (20 if scratch else 1)), name


def test_last_stages_can_be_trained(cfg):
    cfg.MODEL.SOPSEG.TRAINED_STAGES = 1
    model = SOPSegTrainer.build_model(cfg)
    trained = {n for n, p in model.image_encoder.named_parameters() if p.requires_grad}
    assert trained == {n for n in model.image_encoder.state_dict() if n.startswith(("blocks.3.", "neck."))}
    cfg.MODEL.SOPSEG.TRAINED_STAGES = 5
    with pytest.raises(ValueError, match=r"\(MODEL.SOPSEG.TRAINED_STAGES\): expected 0 to 4, got 5"):
        SOPSegTrainer.build_model(cfg)


@pytest.mark.slow
def test_a_checkpoint_is_one_of_load_sopseg(tiny_cfg, tmp_path):
    tiny_cfg.MODEL.META_ARCHITECTURE = "SOPSegMetaArch"
    tiny_cfg.INPUT.FORMAT = "RGB"
    tiny_cfg.MODEL.SOPSEG.ENCODER = "vit_t"
    tiny_cfg.MODEL.SOPSEG.INPUT_SIZE = 64
    tiny_cfg.SOLVER.OPTIMIZER = "AdamW"
    tiny_cfg.SOLVER.MAX_ITER = 1
    tiny_cfg.SOLVER.STEPS = []
    tiny_cfg.DATASETS.TEST = ()
    trainer = trainer_class(tiny_cfg)(tiny_cfg)
    trainer.resume_or_load(False)
    trainer.train()
    loaded = load_sopseg(f"{tiny_cfg.OUTPUT_DIR}/model_final.pth", "vit_t", "edge").state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in trainer.model.state_dict().items())


def test_table_2_on_sat_mtb(cfg, tmp_path, monkeypatch):
    """Frames of two fake videos, joined by `insight data prepare`, evaluated with the config part of Table 2."""
    for video, name in (("airplane/01", "WA"), ("ship/02", "C1"), ("train/03", "T")):
        for part in ("img", "seg"):
            (tmp_path / "sat_mtb" / video / part).mkdir(parents=True)
        Image.new("RGB", (60, 40), (90, 90, 90)).save(tmp_path / "sat_mtb" / video / "img" / "000001.png")
        frame = {
            "images": [{"height": 40, "width": 60}],
            "categories": [{"id": 3, "name": name, "supercategory": video.split("/")[0]}],
            "annotations": [
                {"id": 1, "category_id": 3, "bbox": [5, 6, 20, 3], "segmentation": [[5, 6, 25, 6, 25, 9, 5, 9]]}
            ],
        }
        (tmp_path / "sat_mtb" / video / "seg" / "000001.json").write_text(json.dumps(frame))
    prepare_sat_mtb(tmp_path / "sat_mtb")
    monkeypatch.setenv("INSIGHT_DATA", str(tmp_path))
    names = ("sat_mtb", "sat_mtb_small")

    def register_again():
        for name in names:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
        sat_mtb.register()

    register_again()
    try:
        cfg.merge_from_file(str(configs_folder() / "base" / "sat_mtb.yaml"))
        found = SOPSegTrainer.test(cfg, SOPSegTrainer.build_model(cfg))["prompted"]
    finally:
        monkeypatch.undo()
        register_again()
    assert found["instances"] == 2 and {"IoU-ship", "IoU-airplane"} <= set(found)  # trains are not tested on
    assert found["all boundary instances"] == 0  # 3 pixels wide; a distance is 1 pixel

    table = read_table("sopseg_2_sat_mtb", "isaid_tiles")
    runs = plan_runs(table, tmp_path, ["MODEL.SOPSEG.WEIGHTS", "some.pth"])
    assert [tuple(run.cfg.DATASETS.TEST) for run in runs] == [("sat_mtb_small",)] * 3
    for column in table.columns:
        dataset, task, metric = column.path
        assert (dataset, task) == ("sat_mtb_small", "prompted") and (metric in found or metric == "IoU-*")


def test_obsegs_tokens_are_trained_and_their_checkpoint_is_prompted_with_them(cfg, tmp_path, monkeypatch):
    cfg.MODEL.SOPSEG.DECODER, cfg.MODEL.SOPSEG.PROMPT_FORM, cfg.SOLVER.MAX_ITER = "sam", "tokens", 3
    trainer = SOPSegTrainer(cfg)
    trainer.resume_or_load(False)
    embedding = trainer.model.prompt_encoder.angle_embed.weight
    (group,) = [g for g in trainer.optimizer.param_groups if any(p is embedding for p in g["params"])]
    assert group["initial_lr"] == pytest.approx(cfg.SOLVER.BASE_LR * cfg.MODEL.SOPSEG.SCRATCH_LR_FACTOR)
    batch = next(iter(trainer.data_loader))
    sum(trainer.model([{**one, "prompts": Prompts(one["prompts"].boxes)} for one in batch]).values()).backward()
    assert not embedding.grad.any()  # but not None, for which other processes would wait
    trainer.optimizer.zero_grad()
    before = embedding.detach().clone()
    results = trainer.train()["prompted"]
    assert not torch.equal(embedding, before)
    path = f"{cfg.OUTPUT_DIR}/model_final.pth"
    cfg.MODEL.WEIGHTS = path
    assert evaluate(cfg)["prompted"] == results
    cfg.MODEL.SOPSEG.PROMPT_FORM = "points"
    with pytest.raises(CheckpointError, match="angle_embed"):
        evaluate(cfg)
    cfg.MODEL.SOPSEG.PROMPT_FORM = "words"
    with pytest.raises(InputError, match=r"MODEL\.SOPSEG\.PROMPT_FORM: expected points or tokens, got 'words'"):
        evaluate(cfg)

    monkeypatch.setitem(VIT_CONFIGS, "vit_b", (48, 4, 3, (1, 3)))
    model = load_sopseg(path)
    given = in_form(oriented_prompts(oriented_corners([[30, 30, 20, 8, 20]])), model)
    assert given.corners is not None  # although its decoder is SAM's
    assert in_form(given, model, "box").points is None
