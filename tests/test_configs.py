"""The files of configs/: each can be read, none says again what it inherits, and every row has its file."""

from pathlib import Path

import pytest
import yaml

pytest.importorskip("detectron2")
from detectron2.config import CfgNode

from insight.config import load_config, semantic_classes
from insight.data.preparation.painted import ISAID

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
FILES = sorted(file for file in CONFIGS.rglob("*.yaml") if file.parent.name != "tables")
ROWS = ("baseline", "lpm", "gpm", "area", "insight")


def need_its_heads(file):
    if "pointrend" in str(file):
        pytest.importorskip("detectron2.projects.point_rend")


def leaves(node, prefix=""):
    found = {}
    for name, value in node.items():
        found |= leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(CONFIGS)))
def test_a_file_adds_to_what_it_inherits(file):
    need_its_heads(file)
    own = yaml.safe_load(file.read_text())
    bases = own.pop("_BASE_", [])
    inherited = {}
    for base in [bases] if isinstance(bases, str) else bases:
        inherited |= leaves(CfgNode.load_yaml_with_base(str(file.parent / base)))
    own = leaves(own)
    repeated = [key for key, value in own.items() if inherited.get(key) == value]
    assert repeated == []
    assert file.read_text().startswith("# ")
    is_part = "MODEL.META_ARCHITECTURE" not in inherited | own  # of a PromptRCNN
    load_config(str(file), ["MODEL.META_ARCHITECTURE", "PromptRCNN"] if is_part else [])


def test_the_recipe_of_sopsegs_paper():
    """Implementation Details: SAM-Large, frozen, AdamW, two rates, cosine, batches of 24, 32 epochs of iSAID."""
    cfg = load_config(str(CONFIGS / "sopseg/isaid_vit_l.yaml"))
    keys, solver = cfg.MODEL.SOPSEG, cfg.SOLVER
    assert (keys.ENCODER, keys.DECODER, keys.INPUT_SIZE, keys.TRAINED_STAGES) == ("vit_l", "edge", 256, 0)
    assert (solver.OPTIMIZER, solver.LR_SCHEDULER_NAME, solver.IMS_PER_BATCH) == ("AdamW", "WarmupCosineLR", 24)
    rates = [solver.BASE_LR, solver.BASE_LR * keys.SCRATCH_LR_FACTOR]
    assert rates == pytest.approx([5e-5, 1e-3])
    assert solver.MAX_ITER == 32 * solver.CHECKPOINT_PERIOD  # an epoch
    datasets = list(cfg.DATASETS.TRAIN), list(cfg.DATASETS.TEST)
    assert datasets == (["isaid_small_train"], ["isaid_small_val", "nwpu_vhr10_small_val"])  # Tables 1 and 2


@pytest.mark.parametrize(
    "model",
    [
        "mask_rcnn_r50_fpn",
        "cascade_mask_rcnn_r50_fpn",
        "isaid_mask_rcnn_r50_fpn",
        "scnet_r50_fpn",
        "pointrend_r50_fpn",
        "nwpu_light",
        "isaid_tiles_light",
    ],
)
def test_every_row_of_table_ii_differs_from_its_baseline_in_its_parts_only(model):
    need_its_heads(model)
    read = {row: leaves(load_config(str(CONFIGS / f"insight/{model}_{row}.yaml"))) for row in ROWS}

    def changed(row):
        return {key for key, value in read[row].items() if value != read["baseline"][key]}

    lpm, gpm, area = "MODEL.PROMPT.LPM.ENABLED", "MODEL.PROMPT.GPM.ENABLED", "MODEL.RPN.AREA_LOSS.ENABLED"
    rpn = "MODEL.PROPOSAL_GENERATOR.NAME"
    assert (changed("lpm"), changed("gpm"), changed("area")) == ({lpm}, {gpm}, {area, rpn})
    sampling = {"MODEL.PROMPT.SAMPLING.ENABLED", "MODEL.ROI_HEADS.PROPOSAL_APPEND_GT"}
    assert changed("insight") == {lpm, gpm, area, rpn} | sampling


MODULES = sorted(CONFIGS.glob("insight/*_modules.yaml"))
EVERYTHING = {file: file.with_name(file.name.replace("_modules", "_insight")) for file in MODULES}


def differing(file, other):
    """Keys whose values differ between two config files."""
    ours, theirs = (leaves(load_config(str(path))) for path in (file, other))
    return {key for key, value in ours.items() if value != theirs[key]}


@pytest.mark.parametrize("file", MODULES, ids=lambda f: f.stem)
def test_the_modules_differ_from_their_baseline_in_their_parts_only(file):
    need_its_heads(file)
    changed = differing(file, file.with_name(file.name.replace("_modules", "_baseline")))
    parts = {"LPM.ENABLED", "GPM.ENABLED", "AREA_LOSS.ENABLED", "PROPOSAL_GENERATOR.NAME"}
    assert {".".join(key.split(".")[-2:]) for key in changed} == parts


@pytest.mark.parametrize("file", [file for file in MODULES if EVERYTHING[file].exists()], ids=lambda f: f.stem)
def test_everything_is_the_modules_and_box_prompts(file):
    prompts = {"MODEL.PROMPT.SAMPLING.ENABLED", "MODEL.ROI_HEADS.PROPOSAL_APPEND_GT"}
    assert differing(file, EVERYTHING[file]) == prompts


def test_the_semantic_branch_on_isaid_tells_every_painted_class_and_background():
    with_branch, without = (
        load_config(str(CONFIGS / f"insight/isaid_scnet_r50_fpn_{row}.yaml")) for row in ("semantic_insight", "insight")
    )
    assert (semantic_classes(with_branch), semantic_classes(without)) == (len(ISAID.classes) + 1, 0)
    assert with_branch.DATASETS.TRAIN == ("isaid_train",)


def parts(file):
    """A config file and all that it inherits, each once."""
    found = {file.resolve(): None}
    bases = yaml.safe_load(file.read_text()).get("_BASE_", [])
    for base in [bases] if isinstance(bases, str) else bases:
        found |= dict.fromkeys(parts(file.parent / base))
    return list(found)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(CONFIGS)))
def test_no_value_stands_twice_in_what_a_config_is_made_of(file):
    stated = {}
    for part in parts(file):
        own = yaml.safe_load(part.read_text())
        own.pop("_BASE_", None)
        for key, value in leaves(own).items():
            stated.setdefault((key, repr(value)), []).append(part.name)
    assert {key: names for key, names in stated.items() if len(names) > 1} == {}


def test_the_two_mask_rcnns_share_what_they_have_in_common():
    light, large = (leaves(yaml.safe_load((CONFIGS / f"base/{name}.yaml").read_text()))
                    for name in ("light", "mask_rcnn_r50_fpn"))  # fmt: skip
    assert [key for key, value in light.items() if large.get(key) == value] == []


@pytest.mark.parametrize(
    "model", ["nwpu_light_modules", "mask_rcnn_r50_fpn_insight", "isaid_mask_rcnn_r50_fpn_insight"]
)
@pytest.mark.parametrize("side", [14, 42, 56])
def test_a_row_of_figure_8_differs_in_the_size_of_its_crop_and_has_as_many_patches(model, side):
    row, ours = (leaves(load_config(str(CONFIGS / f"insight/{model}{end}.yaml"))) for end in (f"_crop_{side}", ""))
    keys = [f"MODEL.PROMPT.{key}" for key in ("CROP_SIZE", "LPM.PATCH_SIZE", "LPM.STRIDE", "GPM.LOCAL_PATCH")]
    assert {key for key, value in row.items() if value != ours[key]} == set(keys)
    assert [row[key] / ours[key] for key in keys] == [side / 28] * 4
