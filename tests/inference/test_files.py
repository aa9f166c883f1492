"""Prediction on files: what their results and pictures are called."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from insight.errors import InputError
from insight.inference.files import predict_files
from insight.inference.prediction import Prediction
from insight.inference.prompt_files import BoxPrompts
from insight.runtime.locks import output_folder
from insight.structures.rle import RLEMasks


class Looker:
    """Answers every image with one box that tells how bright it is."""

    class_names = ["object"]

    def __init__(self):
        self.asked = []

    def answer(self, image, prompts):
        self.asked.append((int(image[0, 0, 0]), prompts))
        bitmap = torch.zeros(1, *image.shape[:2], dtype=torch.bool)
        bitmap[0, :2, :3] = True
        score = torch.tensor([image[0, 0, 0] / 255], dtype=torch.float32)
        box = torch.tensor([[0.0, 0, 3, 2]])
        return Prediction(image.shape[:2], boxes=box, scores=score, masks=RLEMasks.from_bitmaps(bitmap))


def write(path, brightness):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 9, 3), brightness, np.uint8)).save(path, format="png")
    return path


def answers(folder):
    """By the name of its image, the brightness that an answer told."""
    content = json.loads((folder / "predictions.json").read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    return {names[a["image_id"]]: round(a["score"] * 255) for a in content["annotations"]}


def pictures(folder):
    return sorted(os.fsencode(p.relative_to(folder / "overlays")) for p in (folder / "overlays").rglob("*.png"))


def test_two_images_of_one_name_are_told_apart_by_their_folders(tmp_path):
    images = [write(tmp_path / "in" / name, i + 1) for i, name in enumerate(("a/x.png", "b/x.png", "b/y.png", "x.jpg"))]
    count, failures = predict_files(Looker(), images, tmp_path / "out")
    assert count == 4 and not failures
    assert answers(tmp_path / "out") == {"a/x.png": 1, "b/x.png": 2, "y.png": 3, "x.jpg": 4}
    assert pictures(tmp_path / "out") == [b"a/x.png", b"b/x.png", b"x.png", b"y.png"]
    predictor, box = Looker(), BoxPrompts(torch.tensor([[0.0, 0, 3, 2]]), torch.zeros(0, 4, 2))
    predict_files(predictor, images, tmp_path / "out", {"b/x.png": box})
    assert predictor.asked == [(2, box)] and answers(tmp_path / "out") == {"b/x.png": 2}
    with pytest.raises(
        InputError,
        match="prompts: no image is named 'x.png'; expected file names of images: 'a/x.png', 'b/x.png', .*'y.png'",
    ):
        predict_files(predictor, images, tmp_path / "out", {"x.png": box})
    with pytest.raises(InputError, match="images: .*x.png is given twice"):
        predict_files(predictor, [images[0], images[0]], tmp_path / "out")


def test_names_that_differ_in_their_suffix_alone(tmp_path):
    images = [write(tmp_path / name, i + 1) for i, name in enumerate(("x.png", "x.tif"))]
    predict_files(Looker(), images, tmp_path / "out")
    assert answers(tmp_path / "out") == {"x.png": 1, "x.tif": 2}
    assert pictures(tmp_path / "out") == [b"x.png.png", b"x.tif.png"]


def test_names_near_the_file_systems_limit(tmp_path):
    long = "é" * 125  # 250 bytes
    names = [f"{long}.png", f"{long[:-1]}a.png", "short.png"]
    images = [write(tmp_path / name, i + 1) for i, name in enumerate(names)]
    count, failures = predict_files(Looker(), images, tmp_path / "out")
    assert count == 3 and not failures and answers(tmp_path / "out") == dict(zip(names, (1, 2, 3)))
    found = pictures(tmp_path / "out")
    assert len(found) == 3 and max(map(len, found)) <= 255 and b"short.png" in found


def test_names_that_are_not_utf_8(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    image = write(tmp_path / name, 7)
    count, failures = predict_files(Looker(), [image], tmp_path / "out")
    assert count == 1 and not failures
    assert answers(tmp_path / "out") == {name: 7} and pictures(tmp_path / "out") == [b"caf\xe9.png"]


def test_an_image_that_cannot_be_used_is_skipped(tmp_path):
    good, bad = write(tmp_path / "good.png", 5), tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    count, failures = predict_files(Looker(), [good, bad], tmp_path / "out")
    assert count == 1 and list(failures) == [bad] and "bad.png" in failures[bad]
    assert answers(tmp_path / "out") == {"good.png": 5} and pictures(tmp_path / "out") == [b"good.png"]


def test_a_bug_of_a_predictor_is_no_failure_of_an_image(tmp_path):
    class Broken(Looker):
        def answer(self, image, prompts):
            raise ValueError("could not broadcast")

    with pytest.raises(ValueError, match="could not broadcast"):
        predict_files(Broken(), [write(tmp_path / "a.png", 10)], tmp_path / "out")


class Stops(Looker):
    """Is interrupted at the second image."""

    def answer(self, image, prompts):
        if self.asked:
            raise KeyboardInterrupt
        return super().answer(image, prompts)


def test_a_resumed_run_answers_what_has_changed_and_nothing_else(tmp_path):
    images = [write(tmp_path / f"{i}.png", 10 * i) for i in range(3)]
    with pytest.raises(KeyboardInterrupt):
        predict_files(Stops(), images, tmp_path / "out")
    os.utime(images[0])  # the same pixels, touched
    again = Looker()
    predict_files(again, images, tmp_path / "out")
    assert [brightness for brightness, _ in again.asked] == [10, 20]
    with pytest.raises(KeyboardInterrupt):
        predict_files(Stops(), images, tmp_path / "out")
    state = images[0].stat()
    write(images[0], 7)
    os.utime(images[0], ns=(state.st_atime_ns, state.st_mtime_ns))  # replaced in place
    again = Looker()
    predict_files(again, images, tmp_path / "out")
    assert [brightness for brightness, _ in again.asked] == [7, 10, 20]
    assert answers(tmp_path / "out") == {"0.png": 7, "1.png": 10, "2.png": 20}


def test_two_runs_do_not_share_a_folder(tmp_path):
    image = write(tmp_path / "x.png", 1)
    with output_folder(tmp_path / "out"), pytest.raises(BlockingIOError, match="out: process .* is writing there"):
        predict_files(Looker(), [image], tmp_path / "out")
    assert predict_files(Looker(), [image], tmp_path / "out") == (1, {})
