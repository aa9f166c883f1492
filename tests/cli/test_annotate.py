"""`insight annotate`, from boxes to a file that a detector trains on."""

import json
import re
import signal
import time

import pytest
import torch
import yaml
from helpers.tiny import CLASSES, CONFIG, write_dataset
from PIL import Image
from pycocotools.coco import COCO

from insight.hub.finding import SHIPPED
from insight.modeling.sopseg import build_sopseg
from insight.runtime.locks import output_folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A SAM with random weights, whose masks are nonsense."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(build_sopseg("vit_t", "sam").state_dict(), path)
    return path


@pytest.fixture
def boxes(tmp_path):
    """A COCO file of boxes, and its images."""
    path, images = write_dataset(tmp_path / "boxes", images=3)
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    path.write_text(json.dumps(content))
    return path, images


# All that is not empty.
KEEP_ALL = [f"--{name}=0" for name in ("min-in-box", "min-area-ratio", "min-largest-part")]
KEEP_ALL += ["--min-score=-1", "--max-area-ratio=1000"]


@pytest.fixture
def annotate(insight, boxes, weights, tmp_path):
    def run(*args, path=boxes[0], options=("--images", boxes[1], "--weights", weights)):
        sizes = ["--input-size", 64, "--device", "cpu"]
        return insight("annotate", path, *options, "--output", tmp_path / "masks", *sizes, *args)

    return run


def test_help(insight):
    done = insight("annotate", "--help")
    assert done.code == 0 and "--min-score X" in done.out and "(default: 0.8)" in done.out


def test_the_page_is_opened(insight, tmp_path, monkeypatch):
    served = []
    monkeypatch.setattr("insight.serving.running.serve", lambda *given, **options: served.append((*given, options)))
    done = insight("annotate", "--ui", tmp_path, "--output", tmp_path / "masks", "--port", 8123, "--no-browser")
    assert done.code == 0, done.err
    ((settings, options),) = served
    assert (settings.sources, settings.results, settings.port) == ([str(tmp_path)], tmp_path / "masks", 8123)
    assert settings.models[0] == "sopseg-vit-t"
    assert options == {"open_browser": False}
    mine = str(SHIPPED / "sopseg-vit-t")  # a folder, as one of ours would be
    assert insight("annotate", "--ui", tmp_path, "--model", mine).code == 0
    assert served[1][0].models[0] == mine and served[1][1] == {"open_browser": True}
    assert settings.boxes is None


def test_the_page_gets_the_boxes_of_its_source(insight, boxes, tmp_path, monkeypatch):
    served = []
    monkeypatch.setattr("insight.serving.running.serve", lambda settings, **options: served.append(settings))
    path, images = boxes
    content = json.loads(path.read_text())
    name = content["categories"][0]["name"]
    done = insight("annotate", "--ui", path, "--images", images, "--classes", name)
    assert done.code == 0, done.err
    assert served[0].sources == [str(images)]
    assert [category["name"] for category in served[0].boxes.categories] == [name]
    label = (tmp_path / "dota" / "labelTxt" / "a.txt", tmp_path / "dota" / "images" / "a.png")
    for file in label:
        file.parent.mkdir(parents=True)
    label[0].write_text("1 1 9 1 9 9 1 9 plane 0\n")
    label[1].write_bytes(next(images.iterdir()).read_bytes())
    assert insight("annotate", "--ui", tmp_path / "dota").code == 0
    assert served[1].sources == [str(tmp_path / "dota")]
    assert [image.count for image in served[1].boxes.images] == [1]
    for option in (["--classes", name], ["--images", images]):
        done = insight("annotate", "--ui", images, *option)
        assert done.code == 2 and option[0] in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ui", "--weights", "sam.pth"], "--weights"),
        (["--ui", "--min-score", "0.5"], "--min-score"),
        (["--ui", "--to", "dota"], "--to"),
        (["--output", "masks", "--port", "8123"], "add --ui"),
        ([], "--output"),
    ],
)
def test_options_of_the_page_and_of_a_run_are_kept_apart(insight, tmp_path, options, said):
    done = insight("annotate", tmp_path, *options)
    assert done.code != 0 and said in done.err


def test_a_detector_trains_on_the_masks(annotate, insight, boxes, tmp_path):
    done = annotate(*KEEP_ALL)
    assert done.code == 0, done.err
    file = tmp_path / "masks" / "instances.json"
    found = COCO(str(file))
    assert f"kept {len(found.anns)} masks" in done.out and len(found.anns) > 0
    assert all(a["area"] == found.annToMask(a).sum() > 0 for a in found.anns.values())
    config = {
        **CONFIG,
        "DATASETS": {
            "COCO": [["annotated_rectangles", str(file), str(boxes[1])]],
            "TRAIN": ["annotated_rectangles"],
            "TEST": ["annotated_rectangles"],
        },
        "MODEL": {**CONFIG["MODEL"], "META_ARCHITECTURE": "GeneralizedRCNN"},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    trained = tmp_path / "trained"
    done = insight("train", "--config-file", tmp_path / "config.yaml", "OUTPUT_DIR", trained, "SOLVER.MAX_ITER", 2)
    assert done.code == 0, done.err
    metrics = [json.loads(line) for line in (trained / "metrics.json").read_text().splitlines()]
    assert any(entry.get("loss_mask", 0) > 0 for entry in metrics)


def test_a_run_that_keeps_nothing_says_why_and_fails(annotate):
    done = annotate("--min-score", "1", "--min-in-box", "0", "--min-area-ratio", "0", "--min-largest-part", "0")
    assert done.code == 1 and done.out.startswith("kept 0 masks, dropped ")
    (line,) = done.err.splitlines()
    assert line.startswith("error: no mask was kept: dropped ")
    assert line.endswith(" because the predicted IoU is low; --min-score sets the bound")


def test_labels_of_another_format_are_told_where_no_file_can_be_read(insight, tmp_path):
    for name in ("images", "labels"):
        (tmp_path / "yolo" / name).mkdir(parents=True)
    Image.new("RGB", (60, 40)).save(tmp_path / "yolo" / "images" / "a.png")
    (tmp_path / "yolo" / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")  # a box, not four corners
    (tmp_path / "yolo" / "data.yaml").write_text("names: [ship]\n")
    done = insight("annotate", tmp_path / "yolo", "--output", tmp_path / "masks")
    assert done.code == 1
    bad, none = done.err.splitlines()
    assert "a.txt, line 1: expected class x1 y1 x2 y2 x3 y3 x4 y4, got" in bad
    assert none.startswith("error: no mask was kept")


def test_bfloat16_is_told_and_not_mixed_with_float32(annotate, tmp_path):
    assert annotate(*KEEP_ALL, "--bf16").code == 0
    content = json.loads((tmp_path / "masks" / "instances.json").read_text())
    assert content["info"]["masks"]["dtype"] == "bfloat16" and content["annotations"]
    done = annotate(*KEEP_ALL)
    assert done.code == 2 and "masks of another run, with dtype bfloat16 instead of float32" in done.err


def test_review(annotate, boxes, tmp_path):
    assert annotate(*KEEP_ALL).code == 0
    review = tmp_path / "masks" / "review.csv"
    lines = review.read_text().splitlines()
    row = next(i for i, line in enumerate(lines) if line.endswith("keep"))
    lines[row] = lines[row].replace(",keep", ",drop")
    review.write_text("\n".join(lines) + "\n")
    before = len(COCO(str(tmp_path / "masks" / "instances.json")).anns)
    done = annotate("--review", review, options=("--images", boxes[1]))  # without weights
    assert done.code == 0, done.err
    assert len(COCO(str(tmp_path / "masks" / "instances.json")).anns) == before - 1


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_to_the_same_files(commands, weights, tmp_path):
    path, images = write_dataset(tmp_path / "boxes", images=30)

    def words(output):
        options = ("--images", images, "--weights", weights, "--input-size", 64, "--device", "cpu", *KEEP_ALL)
        return ["annotate", path, *options, "--output", output]

    assert commands.run(words(tmp_path / "whole")).code == 0
    killed, journal = commands.start(words(tmp_path / "killed")), tmp_path / "killed" / "masks.journal"
    while killed.running and not (journal.exists() and journal.read_bytes().count(b"\n") > 3):
        time.sleep(0.002)
    killed.signal(signal.SIGKILL)
    assert killed.wait(60) and killed.code is None, "it ended before it was killed: more images are needed"
    assert [file.name for file in (tmp_path / "killed").iterdir() if file.name != ".lock"] == ["masks.journal"]
    before = journal.read_bytes()
    assert commands.run(words(tmp_path / "killed")).code == 0
    whole, again = (
        {f.name: f.read_bytes() for f in (tmp_path / name).iterdir() if f.name != ".lock"}
        for name in ("whole", "killed")
    )
    assert again == whole
    assert journal.read_bytes().startswith(before[: before.rindex(b"\n") + 1])  # what was found was not made again


def test_a_bad_image_is_told_with_code_1(annotate, boxes):
    (boxes[1] / "1.png").write_bytes(b"no image")
    done = annotate("--classes", CLASSES[0])
    assert done.code == 1
    assert [line for line in done.err.splitlines() if re.match(r"error: cannot read image \S*1\.png: ", line)]
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--input-size", "100"], "--input-size: expected a multiple of 64 up to 1024, got 100"),
        (["--weights", "absent.pth"], "--weights: absent.pth: no such checkpoint"),
        (["--model", "sopseg-vit-t"], "--model: not allowed together with weights, which names another model"),
        (["--device", "tpu9"], "--device: expected cpu, cuda or cuda:N, got tpu9"),
        (["--classes", "plane"], "unknown classes (the categories are square, bar); 1 is wrong: plane"),
        (["--min-area-ratio", "2"], "--min-area-ratio: expected at most max_area_ratio 1.2, got 2.0"),
        (["--max-area-ratio", "-1"], "--max-area-ratio: expected at least 0, got -1.0"),
        (["--review", "absent.csv"], "--review: absent.csv: no such file"),
        (["--review", "a.csv", "--min-score", "0.2"], "--review: replaces the filters, so leave out --min-score"),
        (["--images", "absent"], "--images: absent: no such file or folder"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(annotate, tmp_path, arguments, said):
    done = annotate(*arguments)
    assert done.code == 2
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and said in errors[0]
    assert not (tmp_path / "masks" / "instances.json").exists()


def test_what_is_wrong_with_the_source_is_told_before_the_model_is_read(insight, boxes, tmp_path):
    path, images = boxes
    arguments = ("annotate", path, "--images", images, "--output", tmp_path / "masks")
    for options, said in ((["--to", "gpkg"], "has no CRS"), (["--classes", "plane"], "unknown classes")):
        done = insight(*arguments, *options)
        assert (done.code, done.out) == (2, "") and said in done.err  # the model's name would be printed first


def test_what_is_wrong_with_the_output_is_reported_before_the_model_is_read(insight, boxes, tmp_path):
    path, images = boxes
    arguments = ("annotate", path, "--images", images, "--output", tmp_path)
    review = tmp_path / "review.csv"
    for decision, said in (
        ("drop", "has 1 manual decision,"),
        ("yes", "line 2: decision: expected keep or drop"),
    ):
        review.write_text(f"image,id,class,score,reason,decision\na.png,1,ship,0.9,,{decision}\n")
        done = insight(*arguments)
        assert (done.code, done.out) == (2, "") and said in done.err
    review.unlink()
    with output_folder(tmp_path):
        done = insight(*arguments)
    assert (done.code, done.out) == (2, "") and "is writing there" in done.err


@pytest.mark.parametrize("options", [["--output", "masks"], ["--ui"]])
def test_images_that_are_all_elsewhere_are_reported_before_the_model_is_read(insight, boxes, tmp_path, options):
    path, _ = boxes
    (tmp_path / "others").mkdir()
    done = insight("annotate", path, "--images", tmp_path / "others", *options)
    said = f"error: --images: expected the images of {path}, but none of them is there: {tmp_path}/others/"
    assert (done.code, done.out) == (2, "") and done.err.startswith(said)


def test_exports(annotate, tmp_path):
    done = annotate(*KEEP_ALL, "--to", "yolo-seg,cvat")
    assert done.code == 0, done.err
    assert f"wrote {tmp_path}/masks/yolo-seg, " in done.out and ", scores left out: " in done.out
    assert (tmp_path / "masks/cvat.xml").is_file() and list((tmp_path / "masks/yolo-seg/labels").iterdir())
    done = annotate("--to", "yolo")
    assert done.code == 2 and "error: --to: unknown format 'yolo'; expected coco, yolo-seg" in done.err
