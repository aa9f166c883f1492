"""The files of configs/: each can be read, none repeats what it inherits, and they resolve to what they always did."""

import dataclasses
import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml

pytest.importorskip("detectron2")
from detectron2.config import CfgNode

from insight.config import configs_folder, dump_config, load_config, semantic_classes, shipped_configs
from insight.data.preparation.painted import ISAID
from insight.tables import read_table, table_setups
from insight.tables.runs import plan_runs

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
FILES = sorted(file for file in CONFIGS.rglob("*.yaml") if file.parent.name != "tables")
GOLDEN = json.loads((Path(__file__).parent / "configs_golden.json").read_text())
RENAMED = {"SOPSegMetaArch": "SOPSEG"}  # MODEL.META_ARCHITECTURE since the record was made


def need_its_heads(*names):
    if any("pointrend" in str(name) for name in names):
        pytest.importorskip("detectron2.projects.point_rend")


def leaves(node, prefix=""):
    found = {}
    for name, value in node.items():
        found |= leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def digest(cfg):
    content = yaml.safe_load(dump_config(cfg))
    del content["OUTPUT_DIR"], content["MODEL"]["DEVICE"]
    newer = {"PROMPT_FORM": "points", "CUT_SHARE": 0.0, "OUTLINE_ERROR": 0.0, "BLUR": 0.0}  # than the record
    assert {key: content["MODEL"]["SOPSEG"].pop(key) for key in newer} == newer
    name = content["MODEL"]["META_ARCHITECTURE"]
    content["MODEL"]["META_ARCHITECTURE"] = RENAMED.get(name, name)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def test_the_shipped_configs_are_those_of_the_checkout_and_their_names_differ():
    assert configs_folder() == CONFIGS
    assert sorted(shipped_configs().values()) == FILES  # no name hides another
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in shipped_configs())  # unlike a KEY of an override
    assert len(list(CONFIGS.rglob("*.yaml"))) <= 80  # choices are parts and rows, not files


@pytest.mark.parametrize("names", GOLDEN["configs"], ids=lambda names: names.replace(" ", "+"))
def test_recipes_and_parts_resolve_to_the_configs_of_old(names):
    need_its_heads(names)
    assert digest(load_config(names.split(), ["MODEL.DEVICE", "cpu"])) == GOLDEN["configs"][names]


@pytest.mark.parametrize("name", GOLDEN["tables"])
def test_the_rows_of_a_table_resolve_to_the_configs_of_old(name, tmp_path):
    rows = GOLDEN["tables"][name]
    need_its_heads(*(row.lower() for row in rows))
    file = max((path.stem for path in CONFIGS.glob("tables/*.yaml") if name.startswith(f"{path.stem}_")), key=len)
    setup = name.removeprefix(f"{file}_")
    assert setup in table_setups(file)
    table = read_table(file, setup)
    table = dataclasses.replace(table, seeds=table.seeds[:1])
    runs = plan_runs(table, tmp_path, [value for key in table.needs for value in (key, "some.pth")])
    digests = {run.row.name: digest(run.cfg) for run in runs}
    assert {name: digests[name] for name in rows} == rows  # rows added since have no record


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


@pytest.mark.parametrize("file", [file for file in FILES if file.parent.name != "base"], ids=lambda f: f.stem)
def test_detectron2_reads_a_recipe_as_load_config_does(file):
    need_its_heads(file)
    cfg = load_config(file, ["MODEL.DEVICE", "cpu"])
    theirs = load_config((), ["MODEL.DEVICE", "cpu"]).clone()
    theirs.defrost()
    theirs.merge_from_file(str(file))
    theirs.MODEL.DEVICE = "cpu"
    assert yaml.safe_load(theirs.dump()) == yaml.safe_load(cfg.dump())


def test_the_recipe_of_sopsegs_paper():
    """Implementation Details: SAM-Large, frozen, AdamW, two rates, cosine, batches of 24, 32 epochs of iSAID."""
    cfg = load_config("sopseg_isaid_vit_l")
    keys, solver = cfg.MODEL.SOPSEG, cfg.SOLVER
    assert (keys.ENCODER, keys.DECODER, keys.INPUT_SIZE, keys.TRAINED_STAGES) == ("vit_l", "edge", 256, 0)
    assert (solver.OPTIMIZER, solver.LR_SCHEDULER_NAME, solver.IMS_PER_BATCH) == ("AdamW", "WarmupCosineLR", 24)
    rates = [solver.BASE_LR, solver.BASE_LR * keys.SCRATCH_LR_FACTOR]
    assert rates == pytest.approx([5e-5, 1e-3])
    assert solver.MAX_ITER == 32 * solver.CHECKPOINT_PERIOD  # an epoch
    datasets = list(cfg.DATASETS.TRAIN), list(cfg.DATASETS.TEST)
    assert datasets == (["isaid_small_train"], ["isaid_small_val", "nwpu_vhr10_small_val"])  # Tables 1 and 2


MODELS = [
    ["mask_rcnn_r50_fpn"],
    ["cascade_mask_rcnn_r50_fpn"],
    ["mask_rcnn_r50_fpn", "isaid"],
    ["scnet_r50_fpn"],
    ["pointrend_r50_fpn"],
    ["nwpu_light"],
    ["isaid_tiles_light"],
]


@pytest.mark.parametrize("model", MODELS, ids="+".join)
def test_a_part_changes_its_own_keys_only(model):
    need_its_heads(*model)
    before = leaves(load_config(model))

    def changed(*parts):
        return {key for key, value in leaves(load_config([*model, *parts])).items() if value != before[key]}

    lpm, gpm, area = "MODEL.PROMPT.LPM.ENABLED", "MODEL.PROMPT.GPM.ENABLED", "MODEL.RPN.AREA_LOSS.ENABLED"
    rpn = "MODEL.PROPOSAL_GENERATOR.NAME"
    assert (changed("lpm"), changed("gpm"), changed("area_loss")) == ({lpm}, {gpm}, {area, rpn})
    assert changed("lpm", "gpm", "area_loss") == changed("modules") == {lpm, gpm, area, rpn}
    sampling = {"MODEL.PROMPT.SAMPLING.ENABLED", "MODEL.ROI_HEADS.PROPOSAL_APPEND_GT"}
    assert changed("box_prompts") == {rpn} | sampling
    assert changed("modules", "box_prompts") == changed("insight") == {lpm, gpm, area, rpn} | sampling


@pytest.mark.parametrize("model", ["mask_rcnn", "cascade_mask_rcnn", "scnet", "pointrend"])
def test_a_whole_recipe_is_its_parts(model):
    need_its_heads(model)
    assert leaves(load_config(f"{model}_r50_fpn_insight")) == leaves(load_config([f"{model}_r50_fpn", "insight"]))


def test_the_semantic_branch_on_isaid_tells_every_painted_class_and_background():
    without = load_config(["scnet_r50_fpn", "isaid", "insight"])
    with_branch = load_config(["scnet_r50_fpn", "isaid", "insight", "scnet_semantic"])
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
    files = CONFIGS / "base/light.yaml", CONFIGS / "insight/mask_rcnn_r50_fpn.yaml"
    light, large = (leaves(yaml.safe_load(file.read_text())) for file in files)
    assert [key for key, value in light.items() if large.get(key) == value] == []


@pytest.mark.parametrize("side", [14, 42, 56])
def test_a_row_of_figure_8_differs_in_the_size_of_its_crop_and_has_as_many_patches(side):
    row, ours = (leaves(load_config(["nwpu_light", "modules", *part])) for part in ([f"crop_{side}"], []))
    keys = [f"MODEL.PROMPT.{key}" for key in ("CROP_SIZE", "LPM.PATCH_SIZE", "LPM.STRIDE", "GPM.LOCAL_PATCH")]
    assert {key for key, value in row.items() if value != ours[key]} == set(keys)
    assert [row[key] / ours[key] for key in keys] == [side / 28] * 4
