import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from insight.config import load_config
from insight.inference.predictor import PromptPredictor
from insight.runtime.locks import output_folder


@pytest.fixture
def predict(insight, project, trained, tmp_path):
    """The command with the trained model; writes to tmp_path/results."""

    def run(*args, weights=trained / "model_final.pth"):
        model = ["--config-file", project / "config.yaml", "--weights", weights, "--score-threshold", "0"]
        return insight("predict", *model, "--output", tmp_path / "results", *args)

    return run


@pytest.fixture
def images(project):
    return project / "rectangles" / "images"


def results(tmp_path):
    return COCO(str(tmp_path / "results" / "predictions.json"))


def test_help(insight):
    done = insight("predict", "--help")
    assert done.code == 0 and "--boxes-json" in done.out


def test_a_folder_without_prompts(predict, images, tmp_path):
    done = predict(images)
    assert done.code == 0, done.err
    coco = results(tmp_path)
    assert sorted(i["file_name"] for i in coco.dataset["images"]) == [f"{n}.png" for n in range(6)]
    assert [c["name"] for c in coco.dataset["categories"]] == ["square", "bar"]
    assert len(coco.dataset["annotations"]) > 0
    overlays = sorted((tmp_path / "results" / "overlays").iterdir())
    assert [p.name for p in overlays] == [f"{n}.png" for n in range(6)]
    picture, image = Image.open(overlays[0]), Image.open(images / "0.png")
    assert picture.width / image.width == picture.height / image.height >= 1  # small images are drawn enlarged
    assert not np.array_equal(np.asarray(picture), np.asarray(image.resize(picture.size)))
    assert sorted(p.name for p in (tmp_path / "results").iterdir()) == [".lock", "overlays", "predictions.json"]


def test_boxes_are_answered_in_their_order(predict, images, tmp_path):
    done = predict(images / "0.png", images / "1.png", "--boxes", "10,20,30,40", "--boxes", "-5,0,10,10")
    assert done.code == 0, done.err
    coco = results(tmp_path)
    for image in coco.dataset["images"]:
        boxes = [a["bbox"] for a in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))]
        assert boxes == [[10, 20, 20, 20], [-5, 0, 15, 10]]


def test_the_class_of_the_boxes_may_be_given(predict, images, tmp_path):
    found = {}
    for name in ("square", "bar"):
        done = predict(images / "0.png", "--boxes", "10,20,30,40", "--boxes", "-5,0,10,10", "--class", name)
        assert done.code == 0, done.err
        coco = results(tmp_path)
        names = {c["id"]: c["name"] for c in coco.dataset["categories"]}
        assert [names[a["category_id"]] for a in coco.dataset["annotations"]] == [name] * 2
        found[name] = [a["score"] for a in coco.dataset["annotations"]]
    assert all(0 < a + b <= 1 for a, b in zip(found["square"], found["bar"]))


def test_boxes_drawn_in_haste_are_corrected(predict, images, project, trained, tmp_path):
    boxes = [[10.0, 20, 30, 40], [40.0, 5, 52, 60]]
    given = [word for box in boxes for word in ("--boxes", ",".join(map(str, box)))]
    done = predict(images / "0.png", *given, "--correct-boxes", "1")
    assert done.code == 0, done.err
    found = np.array([a["bbox"] for a in results(tmp_path).dataset["annotations"]])
    found[:, 2:] += found[:, :2]
    weights = ["MODEL.WEIGHTS", str(trained / "model_final.pth")]
    predictor = PromptPredictor(load_config(project / "config.yaml", weights))
    predictor.set_image(images / "0.png")
    expected = predictor.predict(boxes=boxes, correct_boxes=1).boxes.numpy()
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert (np.abs(expected - boxes).max(axis=1) > 0.1).all()
    done = predict(images / "0.png", *given)  # another setting: answered anew
    assert [a["bbox"] for a in results(tmp_path).dataset["annotations"]] == [[10, 20, 20, 20], [40, 5, 12, 55]]


def test_overlays_show_the_corrected_box_and_the_oriented_one(predict, images, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "insight.inference.prediction.draw_instances", lambda *args, scale: drawn.append(args) or args[0]
    )
    oriented = [25, 30, 20, 8, 90]
    done = predict(images / "0.png", "--boxes", "10,20,30,40", "--oriented-boxes", ",".join(map(str, oriented)),
                   "--class", "bar", "--correct-boxes", "1")  # fmt: skip
    assert done.code == 0, done.err
    answered = results(tmp_path).dataset["annotations"]
    corner, size = answered[0]["bbox"][:2], answered[0]["bbox"][2:]
    assert corner != [10, 20]
    np.testing.assert_allclose(drawn[0][2][0], [*corner, corner[0] + size[0], corner[1] + size[1]], atol=0.02)
    corners = np.array(drawn[0][2][1]).reshape(4, 2)
    assert sorted(map(tuple, corners.round(3).tolist())) == [(21, 20), (21, 40), (29, 20), (29, 40)]


def test_boxes_by_file_name(predict, images, tmp_path, caplog):
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"1.png": [[1, 2, 11, 12]], "2.png": []}))
    done = predict(f"{images}/*.png", "--boxes-json", boxes)
    assert done.code == 0, done.err
    assert "skipped 4 images without boxes" in caplog.text
    coco = results(tmp_path)
    assert [i["file_name"] for i in coco.dataset["images"]] == ["1.png", "2.png"]
    assert [a["bbox"] for a in coco.dataset["annotations"]] == [[1, 2, 10, 10]]


def test_images_that_cannot_be_read_are_left_out_and_told(predict, images, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    shutil.copy(images / "0.png", folder / "good.png")
    (folder / "cut.png").write_bytes((images / "1.png").read_bytes()[:300])
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(folder / "deep.tif")
    done = predict(folder)
    assert done.code == 1
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert "cannot read image" in errors[0] and "cut.png" in errors[0] and "deep.tif: its pixels are" in errors[1]
    assert [i["file_name"] for i in results(tmp_path).dataset["images"]] == ["good.png"]
    assert "Traceback" not in done.out + done.err


def test_a_box_outside_one_of_the_images_is_told(predict, images, tmp_path):
    small = tmp_path / "small.png"
    Image.fromarray(np.zeros((10, 10, 3), np.uint8)).save(small)
    overlays = tmp_path / "results" / "overlays"
    assert predict(images / "0.png", small, "--boxes", "2,2,5,5").code == 0
    assert sorted(p.name for p in overlays.iterdir()) == ["0.png", "small.png"]
    done = predict(images / "0.png", small, "--boxes", "20,20,30,30")
    assert done.code == 1 and "overlays, without 1 that failed" in done.out
    assert [p.name for p in overlays.iterdir()] == ["0.png"]  # that of other boxes is gone
    assert "small.png: boxes[0] = [20.0, 20.0, 30.0, 30.0] lies outside the image, which is 10 x 10 pixels" in done.err


def test_where_every_image_fails_the_results_of_before_stay(predict, images, tmp_path):
    output = tmp_path / "results"
    assert predict(images / "0.png", "--boxes", "20,20,30,30").code == 0
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file() and path.name != ".lock"}
    done = predict(images / "0.png", images / "1.png", "--boxes", "500,500,600,600")
    assert done.code == 1 and "wrote" not in done.out
    assert done.err.endswith(f"error: all 2 images failed; nothing was written to {output}, earlier results stay\n")
    after = {path: path.read_bytes() for path in output.rglob("*") if path.is_file() and path.name != ".lock"}
    assert after == before


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["absent.png"], "absent.png: no such image file or folder"),
        (["EMPTY"], "the folder has no images"),
        (["0.png", "--boxes", "1,2,3"], "boxes: expected 4 numbers"),
        (["0.png", "--boxes", "9,9,1,1"], "boxes[0] = [9.0, 9.0, 1.0, 1.0] is inverted"),
        (["0.png", "--boxes-json", "absent.json"], "absent.json"),
        (["0.png", "--boxes-json", "WRONG"], "not JSON"),
        (
            ["0.png", "--boxes-json", "OTHER"],
            "other.json: no image is named 'other.png'; expected file names of images: '0.png'",
        ),
        (["0.png", "--boxes-json", "NONE"], "--boxes-json: "),
        (["0.png", "--boxes", "10", "20", "50", "60"], "--boxes: expected 4 numbers (x1, y1, x2, y2), separated by"),
        (["0.png", "--boxes", "0.1,0.2,0.3,0.4"], "--boxes: expected pixels, got coordinates from 0 to 1 alone"),
        (["0.png", "--boxes", "0.png"], "0.png, expected a vector file as --output (.gpkg"),
        (["0.png", "--gsd", "0.3"], "--gsd: is for rasters; expected a vector file as --output (.gpkg"),
        (["0.png", "--regularize"], "--regularize: is for rasters; expected a vector file as --output (.gpkg"),
        (["0.png", "--workers", "2"], "--workers: is for rasters; expected a vector file as --output (.gpkg"),
        (["0.png", "--boxes", "0.png", "--boxes", "1,2,3,4"], "--boxes: a layer holds all prompts; leave other boxes"),
        (
            ["0.png", "--boxes", "1,2,3,4", "--class", "circle"],
            "--class: unknown class 'circle'; the model's classes are square, bar",
        ),
        (["0.png", "--correct-boxes", "1"], "--correct-boxes: expected boxes to correct: --boxes, or --boxes-json"),
        (["0.png", "--oriented-boxes", "20,20,9,5,0", "--correct-boxes", "1"], "--correct-boxes: expected boxes"),
        (["0.png", "--boxes", "1,2,3,4", "--correct-boxes", "70"], "--correct-boxes: expected an IoU from 0 "),
        (["0.png", "--class", "square"], "--class: names the class of box prompts, but there are no prompts"),
        (["0.png", "--device", "tpu"], "--device: expected cpu, cuda or cuda:N, got tpu"),
        (["0.png", "--device", "cuda:99"], "--device: there is no GPU cuda:99"),
        (["0.png", "--score-threshold", "nan"], "--score-threshold: expected a number from 0 to 1, got nan"),
        (["0.png", "--score-threshold", "7"], "--score-threshold: expected a number from 0 to 1, got 7.0"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(predict, images, tmp_path, arguments, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "wrong.json").write_text("[1, 2")
    (tmp_path / "other.json").write_text('{"other.png": [[1, 2, 3, 4]]}')
    (tmp_path / "none.json").write_text('{"0.png": []}')
    places = {
        "0.png": images / "0.png",
        "NONE": tmp_path / "none.json",
        "EMPTY": tmp_path / "empty",
        "WRONG": tmp_path / "wrong.json",
        "OTHER": tmp_path / "other.json",
    }
    done = predict(*[places.get(a, a) for a in arguments])
    assert done.code == 2
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and said in errors[0]
    assert not (tmp_path / "results" / "predictions.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--boxes", "1,2,3,4", "--class", "circle"], "--class: unknown class 'circle'; the model's classes are ship"),
        (["--boxes-json", "other.json"], "other.json: no image is named 'other.png'"),
        (["--boxes-json", "none.json"], "--boxes-json: none.json holds no box; leave it out to detect objects"),
    ],
)
def test_a_mistake_is_told_before_the_model_is_read(insight, images, tmp_path, monkeypatch, arguments, said):
    monkeypatch.setattr("insight.inference.build.build_predictor", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.json").write_text('{"other.png": [[1, 2, 3, 4]]}')
    (tmp_path / "none.json").write_text("[]")
    done = insight("predict", images / "0.png", *arguments, "--model", "scenes-light", "--output", "results")
    assert done.code == 2 and f"error: {said}" in done.err


@pytest.mark.parametrize(
    ("names", "arguments", "said"),
    [
        (["none.png"], [], ["cannot read image none.png: it is truncated, corrupt"]),
        (["0.png"], ["--boxes", "900,900,999,999"], ["0.png: boxes[0] = [900.0, 900.0, 999.0, 999.0] lies outside"]),
        (
            ["none.png", "0.png"],
            ["--oriented-boxes", "900,900,9,5,30"],
            ["cannot read image none.png", "lies outside", "all 2 images failed; nothing was written to results"],
        ),
    ],
)
def test_images_of_which_none_can_be_used_are_reported_before_the_model_is_read(
    insight, images, tmp_path, monkeypatch, names, arguments, said
):
    monkeypatch.setattr("insight.inference.build.build_predictor", None)
    monkeypatch.chdir(tmp_path)
    shutil.copy(images / "0.png", "0.png")
    Path("none.png").touch()
    done = insight("predict", *names, *arguments, "--model", "scenes-light", "--output", "results")
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert done.code == 1 and len(errors) == len(said)
    assert all(part in line for part, line in zip(said, errors)) and not Path("results").exists()


def test_a_folder_in_use_is_reported_before_the_model_is_read(insight, images, tmp_path, monkeypatch):
    monkeypatch.setattr("insight.inference.build.build_predictor", None)
    with output_folder(tmp_path / "results"):
        done = insight("predict", images / "0.png", "--model", "scenes-light", "--output", tmp_path / "results")
    assert done.code == 2 and f"error: {tmp_path / 'results'}: process " in done.err


def test_a_checkpoint_that_is_none(predict, images, tmp_path):
    wrong = tmp_path / "wrong.pth"
    wrong.write_text("hello")
    done = predict(images / "0.png", weights=wrong)
    assert done.code == 2 and "wrong.pth: damaged, or not a weight file" in done.err
    assert predict(images / "0.png", weights=tmp_path / "absent.pth").code == 2


@pytest.fixture
def calls(monkeypatch):
    """Of the detector, an entry each; the third is killed."""
    detect = PromptPredictor.detect
    calls = []

    def dies(self):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return detect(self)

    monkeypatch.setattr(PromptPredictor, "detect", dies)
    return calls


def test_a_killed_run_goes_on_where_it_was(predict, images, tmp_path, calls):
    assert predict(images).code == 130
    assert not (tmp_path / "results" / "predictions.json").exists()
    assert predict(images).code == 0
    assert len(calls) == 3 + 4  # the third again, and the rest
    resumed = (tmp_path / "results" / "predictions.json").read_text()
    shutil.rmtree(tmp_path / "results")
    assert predict(images).code == 0
    assert (tmp_path / "results" / "predictions.json").read_text() == resumed


def test_what_a_killed_run_made_of_another_file_of_that_name_does_not_count(predict, images, tmp_path, calls):
    folders = [shutil.copytree(images, tmp_path / name) for name in ("pa", "pb")]
    (folders[1] / "0.png").unlink()
    for path in folders[1].glob("*.png"):
        Image.fromarray(np.array(Image.open(path))[::-1]).save(path)
    assert predict(folders[0]).code == 130  # has answered 0.png and 1.png
    assert predict(folders[1]).code == 0
    assert len(calls) == 3 + 5  # all of its own
    assert [i["file_name"] for i in results(tmp_path).dataset["images"]] == [f"{n}.png" for n in range(1, 6)]


def test_an_image_that_was_replaced_is_answered_anew(predict, images, tmp_path, calls):
    folder = shutil.copytree(images, tmp_path / "images")
    assert predict(folder).code == 130  # has answered 0.png and 1.png
    Image.fromarray(np.zeros((9, 7, 3), np.uint8)).save(folder / "0.png")
    assert predict(folder).code == 0
    assert len(calls) == 3 + 5  # all but 1.png
    assert [i["height"] for i in results(tmp_path).dataset["images"]][0] == 9
