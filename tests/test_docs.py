"""The documents are right: links, commands, config keys, examples in Python, numbers."""

import ast
import contextlib
import functools
import importlib
import io
import json
import re
import runpy
import shutil
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("detectron2")
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from helpers.documents import AS_RUN, NAMES, ROOT, Command, code_blocks, commands, read_current
from helpers.model_folders import write_tiny_detector, write_tiny_sopseg
from helpers.rasters import ROTATED
from helpers.rasters import write as write_raster
from helpers.tiny import write_dataset
from helpers.tiny_prompt_rcnn import TINY
from helpers.tiny_sopseg import save_tiny_checkpoint

import insight.cli.main
import insight.hub.finding as finding
from insight.cli.main import build_parser
from insight.cli.parser import Parser
from insight.config import add_insight_config, find_config, load_config
from insight.errors import InsightError
from insight.tables import read_table, table_setups

# --- Names and links ------------------------------------------------------------------------------------------------


def keys(cfg: CfgNode, prefix: str = "") -> set[str]:
    found = set()
    for name, value in cfg.items():
        found |= keys(value, f"{prefix}{name}.") if isinstance(value, CfgNode) else {prefix + name}
    return found


def test_every_config_key_is_documented_with_its_default_and_none_is_invented():
    ours, detectron2s = get_cfg(), get_cfg()
    add_insight_config(ours)
    with contextlib.suppress(ModuleNotFoundError):
        from detectron2.projects.point_rend import add_pointrend_config

        add_pointrend_config(detectron2s)
    text = (ROOT / "docs/config.md").read_text()
    documented = dict(re.findall(r"^\| `([A-Z0-9_.]+)` \| ([^|]+) \|", text, re.MULTILINE))
    assert documented.keys() == keys(ours) - keys(detectron2s)
    documented |= {"MODEL.PROMPT.PIXEL_STD": str(ours.MODEL.PROMPT.PIXEL_STD)}  # "ImageNet's, BGR"
    assert {key: stated for key, stated in documented.items() if value_of(stated) != value_at(ours, key)} == {}


def value_of(stated: str) -> object:
    """The value that a table's cell states."""
    text = stated.strip("`")
    with contextlib.suppress(ValueError, SyntaxError):
        return ast.literal_eval(text)
    return "" if stated == "empty" else text


def value_at(cfg: CfgNode, key: str) -> object:
    """The value of a key; sequences as lists."""
    value = functools.reduce(getattr, key.split("."), cfg)
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("document", NAMES)
def test_files_that_documents_name_exist(document):
    text = read_current(document)
    links = [Path(document).parent / m for m in re.findall(r"\]\((?!http|#)([^)#]+)", text)]
    named = r"\b((?:configs|tools|benchmarks|scripts|docs|examples)/[\w./-]+\.(?:py|yaml|md|png|json))\b"
    missing = [str(p) for p in [*links, *map(Path, re.findall(named, text))] if not (ROOT / p).exists()]
    assert not missing


def exists(name: str) -> bool:
    """Whether a dotted name is that of a module or of what one holds."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        return all((found := getattr(found, part, None)) is not None for part in parts[count:])
    return False


@pytest.mark.parametrize("document", NAMES)
def test_python_names_that_documents_use_exist(document):
    named = re.findall(r"(?<![\w./-])insight(?:\.[A-Za-z_]\w*)+", read_current(document))
    assert [name for name in sorted({*named}) if not exists(name)] == []


def anchors(document: Path) -> set[str]:
    """What GitHub calls the headings of a document."""
    headings = re.findall(r"^#+ (.*)", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", NAMES)
def test_headings_that_documents_link_to_exist(document):
    here = ROOT / document
    links = re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", here.read_text())
    assert [(file, to) for file, to in links if to not in anchors(here.parent / file if file else here)] == []


def test_commands_of_earlier_commits_stand_in_results_alone():
    with_history = [d for d in NAMES if AS_RUN.search((ROOT / d).read_text())]
    assert with_history and all(d.startswith("docs/results/") for d in with_history)


@pytest.mark.parametrize("document", NAMES)
def test_make_targets_exist(document):
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    text = read_current(document)
    shell = "\n".join(block.text for block in code_blocks(text, "bash", "sh"))
    named = {*re.findall(r"^make ([a-z-]+)", shell, re.MULTILINE), *re.findall(r"`make ([a-z-]+)[^`]*`", text)}
    assert named <= set(targets)


# --- Commands -------------------------------------------------------------------------------------------------------


def check_command(command: Command) -> None:
    """Parse a command line without running it; resolve its configs, overrides and table.

    Raises:
        InsightError: a config, key, value or table that does not exist.
        AssertionError: arguments that the command does not take.
    """
    words = command.words[1:]
    if command.words[0] == "python":
        words = [*words_behind_tool(words[0]), *words[1:]]
    if not command.whole and _is_only_a_name(words):
        return
    message = io.StringIO()
    try:
        with contextlib.redirect_stderr(message):
            args = build_parser().parse(words)
    except SystemExit:
        lacks_arguments = re.search("arguments are required|expected at least one", message.getvalue())
        assert lacks_arguments and not command.whole, message.getvalue()
        return
    if "table" in args and not args.table.isupper():
        for setup in table_setups(args.table) if args.setup == "all" else [args.setup]:
            read_table(args.table, setup)
    if args.parser.forwards:
        return
    given = getattr(args, "config_file", [])
    shipped = [name for name in given if not name.isupper() and Path(name).name == name and not Path(name).suffix]
    for name in shipped:
        assert find_config(name).is_file()
    overrides = getattr(args, "opts", [])
    load_config(shipped if len(shipped) == len(given) else [], _loadable(overrides, bool(given)))


def _loadable(overrides: list[str], has_config: bool) -> list[str]:
    """Overrides without those that switch on a part of a model which a config that is not shipped would choose."""
    pairs = list(zip(overrides[::2], overrides[1::2]))
    assert len(overrides) % 2 == 0, f"{overrides[-1]} has no value"
    known = keys(load_config())
    for key, _ in pairs:
        assert key in known, f"{key}: no such key"
    return [word for key, value in pairs if "SOPSEG_BRANCH" not in key for word in (key, value)] if has_config else []


def _is_only_a_name(words: list[str]) -> bool:
    """Whether words name a command, or a group of them, that exists, without any arguments: not to be run as it is."""
    parser: Parser | None = build_parser()
    for word in words:
        groups = [a for a in parser._actions if hasattr(a, "choices") and isinstance(a.choices, dict)]
        if not groups or word not in groups[0].choices:
            return False
        parser = groups[0].choices[word]
    return True


def words_behind_tool(tool: str) -> list[str]:
    """What a script in tools/ gives to the command line before its own arguments."""
    seen = []
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(SystemExit):
        patch.setattr(insight.cli.main, "main", lambda words: seen.extend(words))
        patch.setattr(sys, "argv", [tool])
        runpy.run_path(str(ROOT / tool), run_name="__main__")
    assert seen, f"{tool} calls no command"
    return seen


@pytest.mark.parametrize("document", NAMES)
def test_commands_parse_and_their_configs_exist(document):
    wrong = []
    for command in commands(read_current(document)):
        try:
            check_command(command)
        except (InsightError, AssertionError) as error:
            wrong.append((" ".join(command.words), str(error)))
    assert not wrong


@pytest.mark.parametrize(
    "text",
    [
        "```bash\ninsight train --config-file nwpu_light \\\n  --nonsense\n```",
        "```bash\ninsight trian --config-file nwpu_light\n```",
        "```bash\ninsight train --config-file nwpu_lite\n```",
        "```bash\ninsight train --config-file nwpu_light MODEL.PROMPT.LPM.ENABELD True\n```",
        "```bash\ninsight train --config-file nwpu_light SOLVER.MAX_ITER\n```",
        "```bash\ninsight train --config-file nwpu_light SOLVER.MAX_ITER many\n```",
        '```bash\nM="--config-file output/a/config.yaml --wights b"\ninsight predict a.png $M --output c\n```',
        "```bash\npython tools/train_net.py --configs nwpu_light\n```",
        "To repeat: `insight table iai_99 --output tables`.",
        "To repeat: `insight measure jiter`.",
        "With `insight annotate --strictly`, it stops.",
        "```bash\ninsight predict a.png --config-file sopseg_light\n```",
    ],
)
def test_wrong_commands_are_noticed(text):
    (command,) = commands(text)
    with pytest.raises((InsightError, AssertionError)):
        check_command(command)


def test_every_guide_shows_a_command():
    assert all(list(commands(read_current(d))) for d in NAMES if d.startswith("docs/guides/") and "embed" not in d)
    assert len([command for d in NAMES for command in commands(read_current(d))]) > 40


# --- YAML -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", [d for d in NAMES if next(code_blocks(read_current(d), "yaml"), None)])
def test_yaml_blocks_are_configs_or_tables(document, tmp_path):
    for block in code_blocks(read_current(document), "yaml"):
        (tmp_path / "example.yaml").write_text(block.text)
        example = str(tmp_path / "example.yaml")
        if re.search("^rows:", block.text, re.MULTILINE):
            assert [len(read_table(example, setup).rows) for setup in table_setups(example)]
        else:
            load_config([example])


# --- Python ---------------------------------------------------------------------------------------------------------

PYTHON = [d for d in NAMES if next(code_blocks(read_current(d), "python"), None)]


@pytest.fixture(scope="module")
def playground(tmp_path_factory):
    """A folder with the files that the examples name: images, datasets, and tiny checkpoints with random weights."""
    folder = tmp_path_factory.mktemp("playground")
    pixels = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    for name in ("harbour.png", "port.png"):
        Image.fromarray(pixels).save(folder / name)
    write_raster(folder / "port.tif", pixels)
    layer = {"type": "FeatureCollection", "features": [], "crs": {"type": "name", "properties": {"name": "EPSG:32632"}}}
    corners = [ROTATED * corner for corner in ((10, 10), (40, 10), (40, 30), (10, 30), (10, 10))]
    outline = {"type": "Polygon", "coordinates": [corners]}
    layer["features"].append({"type": "Feature", "properties": {"berth": "A"}, "geometry": outline})
    (folder / "berths.geojson").write_text(json.dumps(layer))
    annotations, _ = write_dataset(folder)
    for name in ("train.json", "val.json"):
        shutil.copy(annotations, folder / name)
    for part in ("images", "labelTxt"):
        (folder / "dota/train" / part).mkdir(parents=True)
    Image.fromarray(pixels).save(folder / "dota/train/images/P0.png")
    (folder / "dota/train/labelTxt/P0.txt").write_text("10 10 40 10 40 30 10 30 ship 0\n")
    cfg = load_config(["scenes"], [*TINY, "MODEL.ROI_HEADS.NUM_CLASSES", 11]).clone()
    torch.manual_seed(0)
    tiny = build_model(cfg)
    weights = tiny.state_dict()
    for run in ("light", "trained"):
        (folder / "output" / run).mkdir(parents=True)
        (folder / "output" / run / "config.yaml").write_text(cfg.dump())
        torch.save({"model": weights}, folder / "output" / run / "model_final.pth")
    with pytest.MonkeyPatch.context() as patch:  # as long as the module's tests, "vit_b" is a tiny encoder
        save_tiny_checkpoint(folder / "sopseg.pth", patch, decoder="edge")
        save_tiny_checkpoint(folder / "sam_vit_b_01ec64.pth", patch)
        patch.setattr(finding, "SHIPPED", folder / "shipped")  # tiny models under the shipped ones' names
        write_tiny_sopseg(folder / "shipped" / "sopseg-vit-t", patch)
        about = {"class_names": tuple(f"kind {i}" for i in range(cfg.MODEL.ROI_HEADS.NUM_CLASSES))}
        for place in ("shipped/scenes-light", "models/mine"):
            write_tiny_detector(folder / place, cfg, tiny, **about)
        corners = np.array([[[10, 10], [40, 10], [40, 30], [10, 30]]], dtype=np.float32)
        _stand_in_for_detectors(patch, corners)
        (folder / "detector.yaml").write_text("VERSION: 2\n")
        yield folder


def _stand_in_for_detectors(patch, corners):
    """Detectors of other packages, which find one box without weights."""
    box, label, names = torch.tensor([[10.0, 10, 40, 30]]), torch.tensor([0]), ("ship",)
    patch.setitem(sys.modules, "ultralytics", types.SimpleNamespace(YOLO=lambda weights: lambda image: corners))
    if find_spec("supervision") is None:
        patch.setitem(sys.modules, "supervision", types.SimpleNamespace(Detections=types.SimpleNamespace))
    sample = types.SimpleNamespace(pred_instances=types.SimpleNamespace(bboxes=box, labels=label))
    detector = types.SimpleNamespace(dataset_meta={"classes": names})
    apis = types.SimpleNamespace(init_detector=lambda *_: detector, inference_detector=lambda *_: sample)
    patch.setitem(sys.modules, "mmdet", types.SimpleNamespace(apis=apis))
    patch.setitem(sys.modules, "mmdet.apis", apis)
    module = types.SimpleNamespace(eval=lambda: lambda images: [{"boxes": box, "labels": label}])
    patch.setattr("torchvision.models.detection.fasterrcnn_resnet50_fpn", lambda weights: module)
    found = Instances((96, 128), pred_boxes=Boxes(box), pred_classes=label)
    patch.setattr("detectron2.engine.DefaultPredictor", lambda cfg: lambda image: {"instances": found})


@pytest.mark.parametrize("document", PYTHON)
def test_python_blocks_run(document, playground, monkeypatch):
    monkeypatch.chdir(playground)
    monkeypatch.setenv("INSIGHT_DATA", str(playground / "data"))
    scope: dict = {}
    for block in code_blocks(read_current(document), "python"):
        lines = "\n" * (block.line - 1) + block.text  # so that a traceback names the line of the document
        exec(compile(lines, document, "exec"), scope)


def test_files_that_examples_write_are_right(playground, monkeypatch):
    test_python_blocks_run("README.md", playground, monkeypatch)
    written = json.loads((playground / "ships.json").read_text())
    assert len(written["annotations"]) > 0 and written["images"][0]["height"] == 320


# --- README ---------------------------------------------------------------------------------------------------------

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_is_short():
    assert len(README.splitlines()) <= 150


def test_numbers_of_the_readme_stand_in_the_pages_that_it_names():
    section = README.split("## Measured")[1].split("\n## ")[0]
    paragraphs = [
        part for text in section.strip().split("\n\n") for part in (text.splitlines() if text[0] == "|" else [text])
    ]
    checked = 0
    for paragraph in paragraphs:
        pages = re.findall(r"\((docs/results/[^)#]+)", paragraph)
        text = "".join((ROOT / page).read_text(encoding="utf-8") for page in pages)
        numbers = re.findall(r"\d+\.\d+", paragraph)
        assert [number for number in numbers if number not in text] == []
        checked += len(numbers)
    assert checked > 10


def test_parameters_in_the_readmes_table_of_models():
    rows = re.findall(r"^\| `([a-z0-9_ ]+)` \| [^|]+ \| ([\d.]+) M \|", README, re.MULTILINE)
    assert len(rows) >= 5
    for recipe, stated in rows:
        cfg = load_config(recipe.split(), ["MODEL.DEVICE", "cpu", "MODEL.TIMM.WEIGHTS", ""])
        counted = sum(p.numel() for p in build_model(cfg.clone()).parameters()) / 1e6
        assert counted == pytest.approx(float(stated), abs=0.06), recipe
