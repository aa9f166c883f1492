"""A folder with a valid input of every kind that a command reads, and the command lines that read them."""

import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import yaml
from PIL import Image

from insight.modeling.sopseg import build_sopseg

from .in_process import run_insight
from .tiny import CONFIG, PROMPTS, PROMPTS_FILE, write_dataset

DATASET = "workplace_rectangles"


class Input(NamedTuple):
    """A file that a command reads.

    Attributes:
        path: the file, relative to the workplace.
        kind: what is in it, such as yaml, coco, json, image, weights, csv, or lines (JSON, one a line).
        words: the command line that reads it, with @/ for the workplace and @OUT for the folder of the output.
    """

    path: str
    kind: str
    words: tuple[str, ...]


_MODEL = ("--config-file", "@/config.yaml", "--weights", "@/weights.pth", "--device", "cpu")
_TRAIN = ("train", "--config-file", "@/config.yaml", "OUTPUT_DIR", "@OUT", "SOLVER.MAX_ITER", "1")
_RESUME = ("train", "--config-file", "@/run/config.yaml", "--resume", "OUTPUT_DIR", "@/run", "SOLVER.MAX_ITER", "1")
_EVALUATE = ("evaluate", *_MODEL, "OUTPUT_DIR", "@OUT")
_PREDICT = ("predict", "@/data/images", *_MODEL, "--output", "@OUT")
_SAM = ("--weights", "@/sam.pth", "--input-size", "64", "--device", "cpu")
KEEP_ALL = ("--min-score=-1", "--min-in-box", "0", "--min-area-ratio", "0", "--max-area-ratio", "1e6",
            "--min-largest-part", "0")  # fmt: skip
_ANNOTATE = ("annotate", "@/data/instances.json", "--images", "@/data/images", *_SAM, *KEEP_ALL, "--output", "@OUT")
_AGAIN = (*_ANNOTATE[:-1], "@/annotated")
_REVIEW = (*_ANNOTATE[:4], "--output", "@/annotated", "--review", "@/annotated/review.csv")
_TABLE = ("table", "@/table.yaml", "--output", "@/tables")
_ANALYSE = ("analyse", "@/found.json", "--annotations", "@/data/instances.json", "--images", "@/data/images",
            "--output", "@OUT")  # fmt: skip
_COMPARE = ("compare", "--runs", "ours=@/run", "--device", "cpu", "--output", "@OUT")
_DATA = ("--config-file", "@/config.yaml")
_MEASURE = ("--output", "@OUT/measured.json")

INPUTS = (
    Input("config.yaml", "yaml", _TRAIN),
    Input("base.yaml", "yaml", _TRAIN),
    Input("data/instances.json", "coco", _TRAIN),
    Input("data/images/0.png", "image", _TRAIN),
    Input("weights.pth", "weights", (*_TRAIN, "MODEL.WEIGHTS", "@/weights.pth")),
    Input("run/config.yaml", "yaml", _RESUME),
    Input("run/last_checkpoint", "name", _RESUME),
    Input("run/model_final.pth", "weights", _RESUME),
    Input("config.yaml", "yaml", _EVALUATE),
    Input("weights.pth", "weights", _EVALUATE),
    Input("data/instances.json", "coco", _EVALUATE),
    Input("data/images/0.png", "image", _EVALUATE),
    Input("config.yaml", "yaml", _PREDICT),
    Input("weights.pth", "weights", _PREDICT),
    Input("data/images/0.png", "image", ("predict", "@/data/images/0.png", *_PREDICT[2:])),
    Input("boxes.json", "json", (*_PREDICT, "--boxes-json", "@/boxes.json")),
    Input("predicted/predictions.json.part", "journal", (*_PREDICT[:-1], "@/predicted")),
    Input("data/instances.json", "coco", _ANNOTATE),
    Input("data/images/0.png", "image", _ANNOTATE),
    Input("sam.pth", "weights", _ANNOTATE),
    Input("dota/labelTxt/0.txt", "text", ("annotate", "@/dota", *_SAM, "--output", "@OUT", "--strict")),
    Input("soda/Annotations/0.json", "json", ("annotate", "@/soda", *_SAM, "--output", "@OUT", "--strict")),
    Input("annotated/masks.journal", "journal", _AGAIN),
    Input("annotated/review.csv", "csv of a run", _AGAIN),
    Input("annotated/review.csv", "csv", _REVIEW),
    Input("annotated/masks.journal", "journal", _REVIEW),
    Input("table.yaml", "yaml", _TABLE),
    Input("config.yaml", "yaml", _TABLE),
    Input("found.json", "detections", _ANALYSE),
    Input("data/instances.json", "coco", _ANALYSE),
    Input("run/config.yaml", "yaml", _COMPARE),
    Input("run/model_final.pth", "weights", _COMPARE),
    Input(f"run/inference/{DATASET}_prompted.json", "json", (*_COMPARE, "--worst", "1")),
    Input("data/images/0.png", "image", (*_COMPARE, "--images", "0.png")),
    Input("config.yaml", "yaml", ("data", "check", DATASET, *_DATA)),
    Input("data/instances.json", "coco", ("data", "check", DATASET, *_DATA)),
    Input("data/images/0.png", "image", ("data", "check", DATASET, *_DATA)),
    Input("data/instances.json", "coco", ("data", "statistics", DATASET, *_DATA)),
    Input("data/instances.json", "coco", ("data", "show", DATASET, *_DATA, "--output", "@OUT")),
    Input("data/images/0.png", "image", ("data", "show", DATASET, *_DATA, "--output", "@OUT", "--count", "0")),
    Input("data/instances.json", "coco", ("data", "foreground", "@/data/instances.json", "--output", "@OUT")),
    Input("isaid/train/images/P1.png", "image", ("data", "prepare", "isaid", "@/isaid", "--output", "@OUT")),
    Input("isaid/train/images/P1_instance_id_RGB.png", "image",
          ("data", "prepare", "isaid", "@/isaid", "--output", "@OUT")),
    Input("sat_mtb/ship/01/seg/000001.json", "json", ("data", "prepare", "sat_mtb", "@/sat_mtb")),
    Input("prepared/.instances_train.json.source", "json",
          ("data", "prepare", "isaid", "@/isaid", "--output", "@/prepared")),
    Input("weights.pth", "weights", ("measure", "missed", *_MODEL, *_MEASURE)),
    Input("config.yaml", "yaml", ("measure", "jitter", *_MODEL, *_MEASURE)),
    Input("data/instances.json", "coco", ("measure", "prompt-use", *_MODEL, *_MEASURE)),
    Input("data/instances.json", "coco", ("measure", "proposals", *_MODEL, *_MEASURE)),
    Input("run/metrics.json", "lines", ("plot", "@/run", "--output", "@OUT/curves.png")),
    Input("config.yaml", "yaml", ("demo", "--train", "--config-file", "@/config.yaml", "--output", "@OUT")),
    Input("run/last_checkpoint", "name", ("demo", "--train", "--config-file", "@/run/config.yaml",
                                          "--output", "@/run")),
)  # fmt: skip


def make_workplace(folder: Path) -> Path:
    """Fill a folder with valid inputs: a dataset in four forms, a trained model, and what commands have left behind."""
    annotations, images = write_dataset(folder / "data", images=3)
    base = {"_BASE_": str(PROMPTS_FILE), **CONFIG, "MODEL": {**CONFIG["MODEL"], **PROMPTS}}
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    datasets = {"COCO": [[DATASET, str(annotations), str(images)]], "TRAIN": [DATASET], "TEST": [DATASET]}
    config = {"_BASE_": "base.yaml", "DATASETS": datasets, "OUTPUT_DIR": str(folder / "run")}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    _sound("train", "--config-file", folder / "config.yaml", "SOLVER.MAX_ITER", 1)
    shutil.copy(folder / "run" / "model_final.pth", folder / "weights.pth")
    truth = json.loads(annotations.read_text())
    measured = [{"image_id": a["image_id"], "iou": 0.5} for a in truth["annotations"]]
    (folder / "run" / "inference" / f"{DATASET}_prompted.json").write_text(json.dumps({"instances": measured}))
    found = [{key: a[key] for key in ("image_id", "category_id", "bbox")} for a in truth["annotations"][:3]]
    (folder / "found.json").write_text(json.dumps([{**a, "score": 0.5} for a in found]))
    (folder / "boxes.json").write_text(json.dumps({"0.png": [[5, 5, 30, 30]]}))
    table = {
        "title": "Rectangles",
        "rows": [{"name": "baseline", "config": "config.yaml"}],
        "columns": {"AP": f"{DATASET}/segm/AP"},
    }
    (folder / "table.yaml").write_text(yaml.safe_dump(table))
    (folder / "predicted").mkdir()
    (folder / "predicted" / "predictions.json.part").write_text('{"other": "settings"}\n')
    _oriented(folder, images)
    _publishers(folder)
    torch.manual_seed(0)
    torch.save(build_sopseg("vit_t", "sam").state_dict(), folder / "sam.pth")
    sam = ["--weights", folder / "sam.pth", "--input-size", 64, "--device", "cpu"]
    _sound("annotate", annotations, "--images", images, *sam, *KEEP_ALL, "--output", folder / "annotated")
    _sound("data prepare", "isaid", folder / "isaid", "--output", folder / "prepared")
    return folder


def copy_workplace(workplace: Path, folder: Path) -> None:
    """Copy a workplace; files are shared until they are replaced, and configs point into the copy."""
    shutil.copytree(workplace, folder, copy_function=os.link)
    for path in [*folder.glob("*.yaml"), folder / "run" / "config.yaml"]:
        replace(path, path.read_text().replace(str(workplace), str(folder)).encode())


def replace(path: Path, content: bytes) -> None:
    """Give a file of a copy another content, without touching the workplace it was copied from."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def words_of(one: Input, folder: Path, output: Path) -> list[str]:
    """The command line that reads an input of a workplace."""
    return [word.replace("@OUT", str(output)).replace("@/", f"{folder}/") for word in one.words]


def run_on(one: Input, folder: Path, output: Path):
    """Run the command that reads an input."""
    return run_insight(*words_of(one, folder, output))


def _sound(command: str, *words) -> None:
    done = run_insight(command, *words)
    assert done.code == 0, done


def _oriented(folder: Path, images: Path) -> None:
    for layout, names in (("dota", ("images", "labelTxt")), ("soda", ("Images", "Annotations"))):
        for name in names:
            (folder / layout / name).mkdir(parents=True)
        os.link(images / "0.png", folder / layout / names[0] / "0.png")
    (folder / "dota" / "labelTxt" / "0.txt").write_text("5 5 30 5 30 20 5 20 ship 0\n")
    one = {"poly": [5, 5, 30, 5, 30, 20, 5, 20], "category_id": 1}
    content = {"images": {"file_name": "0.png"}, "annotations": [one], "categories": [{"id": 1, "name": "ship"}]}
    (folder / "soda" / "Annotations" / "0.json").write_text(json.dumps(content))


def _publishers(folder: Path) -> None:
    """One image of iSAID and one frame of SAT-MTB."""
    train = folder / "isaid" / "train" / "images"
    train.mkdir(parents=True)
    ids, colours = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40, 3), np.uint8)
    ids[5:20, 5:20], colours[5:20, 5:20] = (0, 4, 232), (0, 0, 63)  # instance 1000, a ship
    for suffix, picture in (("", ids), ("_instance_id_RGB", ids[:, :, ::-1]), ("_instance_color_RGB", colours)):
        Image.fromarray(np.ascontiguousarray(picture)).save(train / f"P1{suffix}.png")
    frame = folder / "sat_mtb" / "ship" / "01"
    (frame / "img").mkdir(parents=True)
    (frame / "seg").mkdir()
    Image.new("RGB", (30, 20)).save(frame / "img" / "000001.png")
    content = {
        "images": [{"height": 20, "width": 30}],
        "categories": [{"id": 3, "name": "WA"}],
        "annotations": [{"id": 1, "category_id": 3, "bbox": [2, 3, 6, 6], "segmentation": [[2, 3, 8, 3, 8, 9, 2, 9]]}],
    }
    (frame / "seg" / "000001.json").write_text(json.dumps(content))
