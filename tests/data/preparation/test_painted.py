"""iSAID and HRSID out of painted instances: drawn here, and the real ones."""

import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import portalocker
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from insight.data.preparation import resumable
from insight.data.preparation.painted import HRSID, ISAID, prepare_hrsid, prepare_isaid


def paint(folder, name, size, instances, rng):
    """Write an image and its two pictures. Instances: (id, class index or None, (y0, y1, x0, x1))."""
    folder.mkdir(parents=True, exist_ok=True)
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    ids, colours = np.zeros((*size, 3), np.uint8), np.zeros((*size, 3), np.uint8)
    for number, label, (y0, y1, x0, x1) in instances:
        ids[y0:y1, x0:x1] = (number % 256, number // 256 % 256, number // 65536)
        colours[y0:y1, x0:x1] = (0, 0, 0) if label is None else ISAID.colours[label]
    for suffix, picture in (("", image), ("_instance_id_RGB", ids), ("_instance_color_RGB", colours)):
        cv2.imwrite(str(folder / f"{name}{suffix}.png"), picture[:, :, ::-1])
    return image


@pytest.fixture
def small(tmp_path):
    """Two training images, of which one is cut in four, and a test image; at a patch of 40 and an overlap of 10."""
    rng = np.random.default_rng(0)
    source = tmp_path / "isaid"
    objects = [
        (1000, 0, (2, 12, 3, 20)),
        (65536 * 3 + 7, 14, (20, 45, 25, 38)),  # in all four
        (70000, 8, (48, 50, 48, 50)),
        (71000, 8, (30, 31, 0, 2)),  # two pixels
        (72000, None, (0, 2, 0, 2)),
        (999, 8, (14, 16, 14, 16)),  # such ids are background
    ]
    paint(source / "train" / "images", "P10", (50, 52), objects, rng)
    paint(source / "train" / "images", "P9", (30, 60), [(1000, 4, (0, 30, 0, 60))], rng)
    (source / "test" / "images").mkdir(parents=True)
    cv2.imwrite(str(source / "test" / "images" / "P1.png"), rng.integers(0, 256, (45, 45, 3), np.uint8))
    return source, objects


def test_patches_and_masks_are_those_of_the_pictures(small, tmp_path):
    source, _ = small
    output = tmp_path / "out"
    counts = prepare_isaid(source, output, size=40, overlap=10)
    assert counts["test"] == {"images": 4, "annotations": 0}
    train = counts["train"]
    # P9 stays whole, with one. Of P10, ship and harbor are in 4 patches, the vehicle in 1, the two pixels in 2.
    assert train == {"images": 5, "annotations": 10, "pieces too small": 2, "instances without class": 1}
    coco = COCO(str(output / "instances_train.json"))
    assert [i["file_name"] for i in coco.dataset["images"]] == [
        "P9.png", "P10_0_40_0_40.png", "P10_0_40_12_52.png", "P10_10_50_0_40.png", "P10_10_50_12_52.png"
    ]  # fmt: skip
    assert [c["name"] for c in coco.dataset["categories"]] == list(ISAID.classes)
    original = {name: cv2.imread(str(source / "train" / "images" / f"{name}.png")) for name in ("P9", "P10")}
    ids = cv2.imread(str(source / "train" / "images" / "P10_instance_id_RGB.png")).astype(int) @ (65536, 256, 1)
    for image in coco.dataset["images"]:
        name, *window = image["file_name"].removesuffix(".png").split("_")
        y0, y1, x0, x1 = map(int, window or (0, 30, 0, 60))
        patch = cv2.imread(str(output / "train" / image["file_name"]))
        assert np.array_equal(patch, original[name][y0:y1, x0:x1])
        assert (image["height"], image["width"]) == patch.shape[:2]
        labels = cv2.imread(str(output / "train" / image["sem_seg_file_name"]), cv2.IMREAD_UNCHANGED)
        colours = np.array([*ISAID.colours, (0, 0, 0)], np.uint8)[labels][:, :, ::-1]
        drawn = cv2.imread(str(source / "train" / "images" / f"{name}_instance_color_RGB.png"))[y0:y1, x0:x1]
        if name == "P10":
            drawn = drawn * (ids[y0:y1, x0:x1] >= 1000)[..., None]  # 999 is no instance
        assert np.array_equal(colours, drawn)
        for annotation in coco.imgToAnns[image["id"]]:
            mask = coco.annToMask(annotation).astype(bool)
            assert annotation["area"] == mask.sum() and annotation["iscrowd"] == 0
            assert (
                annotation["bbox"]
                == coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))).tolist()
            )
            if name == "P10":
                number = {1: 1000, 15: 65536 * 3 + 7, 9: 70000}[annotation["category_id"]]
                assert np.array_equal(mask, ids[y0:y1, x0:x1] == number)


def test_a_second_run_does_nothing_and_a_killed_one_goes_on(small, tmp_path, monkeypatch):
    source, _ = small
    output, whole = tmp_path / "out", tmp_path / "whole"
    expected = prepare_isaid(source, whole, size=40, overlap=10)
    shutil.copytree(source / "train", source / "val")
    kept = source / "val" / "images" / "P10.png"
    content = kept.read_bytes()
    kept.write_bytes(content[:200])  # stops the run after P9 of val
    with pytest.raises(OSError, match="P10.png: it is truncated"):
        prepare_isaid(source, output, size=40, overlap=10)
    assert (output / "instances_train.json").read_bytes() == (whole / "instances_train.json").read_bytes()
    assert not (output / "instances_val.json").exists()
    kept.write_bytes(content)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.png")}
    assert "P9.png" in {path.name for path in before if path.parent.name == "val"}
    counts = prepare_isaid(source, output, size=40, overlap=10)
    assert counts["train"] == counts["val"] == expected["train"]
    assert (output / "instances_val.json").read_bytes() == (whole / "instances_train.json").read_bytes()
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert not list(output.glob(".*.parts"))

    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    monkeypatch.setattr("insight.data.preparation.resumable.map_in_processes", None)
    assert prepare_isaid(source, output, size=40, overlap=10) == counts
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before


def test_what_was_deleted_is_made_again(small, tmp_path):
    source, _ = small
    output = tmp_path / "out"
    counts = prepare_isaid(source, output, size=40, overlap=10)
    before = {path: path.read_bytes() for path in output.rglob("*.*") if path.is_file()}
    for gone in ("train/P9.png", "train/labels/P10_0_40_12_52.png"):
        (output / gone).unlink()
        assert prepare_isaid(source, output, size=40, overlap=10) == counts
        assert {path: path.read_bytes() for path in output.rglob("*.*") if path.is_file()} == before

    broken = source / "train" / "images" / "P10.png"
    content = broken.read_bytes()
    (output / "instances_train.json").unlink()
    broken.write_bytes(content[:200])  # stops the run after P9
    with pytest.raises(OSError, match="P10.png: it is truncated"):
        prepare_isaid(source, output, size=40, overlap=10)
    (output / "train" / "labels" / "P9.png").unlink()
    broken.write_bytes(content)
    assert prepare_isaid(source, output, size=40, overlap=10) == counts
    after = {path: path.read_bytes() for path in output.rglob("*.*") if path.is_file()}
    records = {path for path in before if path.name.endswith(".source")}  # hold the time of P10's file
    assert after.keys() == before.keys() and all(after[path] == before[path] for path in before.keys() - records)


def test_a_strict_run_does_not_take_what_one_that_skipped_has_left(small, tmp_path):
    source, _ = small
    broken = source / "train" / "images" / "P10.png"
    content = broken.read_bytes()
    broken.write_bytes(content[:200])
    skipped = prepare_isaid(source, tmp_path / "out", size=40, overlap=10, skip_bad=True)
    assert skipped["train"] == {"images": 1, "annotations": 1, "unusable images": 1}
    assert prepare_isaid(source, tmp_path / "out", size=40, overlap=10, skip_bad=True) == skipped
    for _ in range(2):
        with pytest.raises(OSError, match="P10.png: it is truncated"):
            prepare_isaid(source, tmp_path / "out", size=40, overlap=10)
    broken.write_bytes(content)
    assert "unusable images" not in prepare_isaid(source, tmp_path / "out", size=40, overlap=10)["train"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_kill_the_result_is_the_same(tmp_path):
    source, rng = tmp_path / "isaid", np.random.default_rng(0)
    for i in range(40):
        paint(source / "train", f"P{i}", (50, 52), [(1000, 0, (2, 12, 3, 20)), (1001, 8, (30, 40, 10, 40))], rng)
    expected = prepare_isaid(source, tmp_path / "whole", size=40, overlap=10)

    def run():
        os.setsid()
        prepare_isaid(source, tmp_path / "out", size=40, overlap=10)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    parts = tmp_path / "out" / ".instances_train.json.parts"
    deadline = time.monotonic() + 120
    while not (parts.is_dir() and len(os.listdir(parts)) > 2):
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    assert not (tmp_path / "out" / "instances_train.json").exists() and len(os.listdir(parts)) < 40
    assert prepare_isaid(source, tmp_path / "out", size=40, overlap=10) == expected
    for path in (tmp_path / "whole").rglob("*.*[gn]"):
        assert (tmp_path / "out" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()


def test_two_at_once_write_one_whole_file(small, tmp_path, monkeypatch):
    source, _ = small
    output = tmp_path / "out"
    output.mkdir()
    monkeypatch.setattr(resumable, "_PATIENCE", 0.1)
    message = "out/instances_train.json: another preparation is writing it; wait until"
    lock = portalocker.Lock(output / ".instances_train.json.lock", timeout=0)
    with lock, pytest.raises(OSError, match=message):
        prepare_isaid(source, output, size=40, overlap=10)
    assert [path.name for path in output.iterdir()] == [".instances_train.json.lock"]
    counts = prepare_isaid(source, output, size=40, overlap=10)
    assert counts["train"]["images"] == 5
    (output / "instances_train.json").unlink()

    def convert_and_lose(work, sources, *_):
        yield from map(work, sources)
        (output / ".instances_train.json.parts" / "P10.json").unlink()

    with monkeypatch.context() as patch:
        patch.setattr(resumable, "map_in_processes", convert_and_lose)
        with pytest.raises(ValueError, match="each image must have its part.*; 1 is wrong: .*P10.json"):
            prepare_isaid(source, output, size=40, overlap=10)
    assert not (output / "instances_train.json").exists()
    assert prepare_isaid(source, output, size=40, overlap=10) == counts


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked, with what is patched here, on Linux only")
def test_a_full_disk_is_no_bad_image(small, tmp_path, monkeypatch):
    source, _ = small
    sync = os.fsync

    def full(descriptor):
        if "/P10_" in os.readlink(f"/proc/self/fd/{descriptor}").replace("/.P", "/P"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device: .*/out/train/P10_0_40_0_40.png"):
            prepare_isaid(source, tmp_path / "out", size=40, overlap=10, skip_bad=True)
    assert not (tmp_path / "out" / "instances_train.json").exists()
    assert "unusable images" not in prepare_isaid(source, tmp_path / "out", size=40, overlap=10, skip_bad=True)["train"]


def test_an_output_among_the_input_is_refused(small, tmp_path):
    source, _ = small
    hrsid = tmp_path / "out" / "all" / "labels"  # where label maps would replace images
    shutil.copytree(source / "train" / "images", hrsid)
    (tmp_path / "linked").symlink_to(source)
    (source / "test" / "link").symlink_to(tmp_path / "beside")
    (tmp_path / "beside").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for prepare, folder, output in (
        (prepare_isaid, source, source),
        (prepare_isaid, source, tmp_path / "linked"),
        (prepare_isaid, tmp_path / "linked", source / "test" / "new"),
        (prepare_isaid, source, tmp_path / "beside" / "new"),
        (prepare_hrsid, hrsid, hrsid),
        (prepare_hrsid, hrsid, hrsid / "new"),
        (prepare_hrsid, hrsid, tmp_path / "out"),
    ):
        with pytest.raises(ValueError) as caught:
            prepare(folder, output)
        message = str(caught.value)
        assert message.startswith(f"{output}: expected a folder outside the input, but ") and "\n" not in message
        assert sorted(tmp_path.rglob("*")) == before
    for _ in range(2):  # beside what is read, though in the folder that holds it
        assert prepare_isaid(source, source / "patches", size=40, overlap=10)["train"]["images"] == 5


def test_what_changed_is_done_again(small, tmp_path):
    source, objects = small
    prepare_isaid(source, tmp_path / "out", size=40, overlap=10)
    paint(source / "train" / "images", "P10", (50, 52), objects[:1], np.random.default_rng(1))
    assert prepare_isaid(source, tmp_path / "out", size=40, overlap=10)["train"] == {"images": 5, "annotations": 5}
    assert prepare_isaid(source, tmp_path / "out", size=60, overlap=10)["train"] == {"images": 2, "annotations": 2}


def test_bad_input_is_one_line_or_left_out(small, tmp_path, caplog):
    source, _ = small
    images, rng = source / "train" / "images", np.random.default_rng(0)
    for number in (11, 12):
        paint(images, f"P{number}", (20, 20), [(1000, 0, (2, 12, 3, 20))], rng)
    shutil.rmtree(source / "test")

    def both(message, left):
        with pytest.raises((ValueError, OSError)) as caught:
            prepare_isaid(source, tmp_path / "strict", size=40, overlap=10)
        assert message in str(caught.value) and "\n" not in str(caught.value)
        caplog.clear()
        counts = prepare_isaid(source, tmp_path / "skip", size=40, overlap=10, skip_bad=True)["train"]
        assert counts["images"] == left and message in caplog.text and "left out" in caplog.text
        return counts

    names = [f"P{i}_instance_id_RGB.png" for i in (9, 10, 11, 12)]
    for name in names:
        (images / name).rename(tmp_path / name)
    with pytest.raises(
        ValueError, match="train: 4 pictures of instances are missing: P9_.*, P11_.*, ...; skip_bad=True leaves"
    ):
        prepare_isaid(source, tmp_path / "strict", size=40, overlap=10)
    assert all(f"train: pictures of instances are missing: {name}\n" in caplog.text for name in names)
    for name in names[1:]:
        (tmp_path / name).rename(images / name)
    counts = both("train: 1 pictures of instances are missing: P9_instance_id_RGB.png", 6)
    assert counts["images without their pictures"] == 1
    (images / "P9.png").unlink()
    (images / "P9_instance_color_RGB.png").rename(images / "P8_instance_id_RGB.png")
    counts = both("train: 1 pictures of instances have no image: P8_instance_id_RGB.png", 6)
    assert counts["pictures without image"] == 1 and "images without their pictures" not in counts
    (images / "P8_instance_id_RGB.png").unlink()
    cv2.imwrite(str(images / "P11_instance_color_RGB.png"), np.full((20, 20, 3), 9, np.uint8))
    counts = both("color_RGB.png: 170 pixels of instances have the colour of no class, first (9, 9, 9)", 5)
    assert counts["unusable images"] == 1
    cv2.imwrite(str(images / "P11.png"), np.zeros((20, 21, 3), np.uint8))
    cv2.imwrite(str(images / "P11_instance_color_RGB.png"), np.zeros((20, 20, 3), np.uint8))
    both("P11_instance_id_RGB.png: is 20 x 20 pixels, its image 21 x 20", 5)
    cv2.imwrite(str(images / "P11_instance_color_RGB.png"), np.zeros((22, 20, 3), np.uint8))
    both("P11_instance_color_RGB.png: expected pictures of one size, got 20 x 20 and 20 x 22", 5)
    shutil.copytree(images, source / "train" / "again")
    with pytest.raises(ValueError, match="two files are named P10.png"):
        prepare_isaid(source, tmp_path / "strict")
    with pytest.raises(ValueError, match="expected train/, val/ or test/"):
        prepare_isaid(images, tmp_path / "strict")
    for prepare in (prepare_isaid, prepare_hrsid):
        with pytest.raises(FileNotFoundError, match="no such folder: .*none"):
            prepare(tmp_path / "none", tmp_path / "strict")


def test_a_split_without_a_usable_image_is_an_error_when_skipping_too(small, tmp_path):
    source, _ = small
    (source / "val").mkdir()
    for name in ("P1", "P2"):
        paint(source / "val", name, (20, 20), [], np.random.default_rng(0))
    (source / "val" / "P1_instance_id_RGB.png").unlink()
    for number in (1, 2):
        (source / "val" / f"P{number}_instance_color_RGB.png").unlink()
    message = (
        "val: none of 2 images has its two pictures, NAME_instance_id_RGB.png and NAME_instance_color_RGB.png: P1, P2$"
    )
    with pytest.raises(ValueError, match=message):
        prepare_isaid(source, tmp_path / "out", size=40, overlap=10, skip_bad=True)
    with pytest.raises(ValueError, match=message):
        prepare_hrsid(source / "val", tmp_path / "out", skip_bad=True)
    assert not (tmp_path / "out").exists()


def test_needs_no_detectron2():
    code = "import sys; sys.modules['detectron2'] = None; import insight.data.preparation.painted"
    subprocess.run([sys.executable, "-c", code], check=True)


def ids_of(folder, name):
    return cv2.imread(str(folder / f"{name}_instance_id_RGB.png")).astype(int) @ (65536, 256, 1)


@pytest.mark.real_data
def test_the_real_isaid_image(real_data, tmp_path):
    source = tmp_path / "isaid" / "train" / "images"
    source.parent.mkdir(parents=True)
    source.symlink_to(real_data / "isaid_raw")
    counts = prepare_isaid(tmp_path / "isaid", tmp_path / "out")["train"]
    ids = ids_of(real_data / "isaid_raw", "P0005")
    colours = cv2.imread(str(source / "P0005_instance_color_RGB.png"))[:, :, ::-1]
    assert len(np.unique(ids)) == 1 + 131
    coco = COCO(str(tmp_path / "out" / "instances_train.json"))
    seen, count = set(), 0
    for image in coco.dataset["images"]:
        y0, y1, x0, x1 = map(int, image["file_name"].removesuffix(".png").split("_")[1:])
        patch = ids[y0:y1, x0:x1]
        labels = cv2.imread(str(tmp_path / "out" / "train" / image["sem_seg_file_name"]), cv2.IMREAD_UNCHANGED)
        palette = np.array([*ISAID.colours, (0, 0, 0)], np.uint8)
        assert np.array_equal(palette[labels], colours[y0:y1, x0:x1])
        expected = {}  # as the development kit finds them
        for number in np.unique(patch[patch >= 1000]):
            outlines, _ = cv2.findContours((patch == number).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            if min(len(o) * 2 for o in outlines) > 4:
                expected[number] = (patch == number).sum()
        count += len(expected)
        annotations = coco.imgToAnns[image["id"]]
        for annotation in annotations:
            mask = coco.annToMask(annotation).astype(bool)
            number = np.unique(patch[mask])
            assert len(number) == 1 and np.array_equal(mask, patch == number[0])
            assert expected.pop(number[0]) == annotation["area"] == mask.sum()
            colour = ISAID.colours[annotation["category_id"] - 1]
            assert (colours[y0:y1, x0:x1][mask] == colour).all()
            seen.add(number[0])
        assert not expected
    assert len(seen) == 131 and len(coco.dataset["images"]) == 4
    assert counts["annotations"] == count


@pytest.mark.real_data
def test_the_real_hrsid_images(real_data, tmp_path):
    assert prepare_hrsid(real_data / "hrsid", tmp_path / "out") == {"all": {"images": 2, "annotations": 132}}
    coco = COCO(str(tmp_path / "out" / "instances_all.json"))
    assert [c["name"] for c in coco.dataset["categories"]] == list(HRSID.classes)
    for image, ships in zip(coco.dataset["images"], (10, 122), strict=True):
        name = image["file_name"]
        assert (tmp_path / "out" / "all" / name).read_bytes() == (real_data / "hrsid" / name).read_bytes()
        ids = ids_of(real_data / "hrsid", name.removesuffix(".png"))
        numbers = set()
        for annotation in coco.imgToAnns[image["id"]]:
            mask = coco.annToMask(annotation).astype(bool)
            numbers.add(int(ids[mask][0]))
            assert np.array_equal(mask, ids == ids[mask][0])
        assert len(numbers) == len(coco.imgToAnns[image["id"]]) == ships and 0 not in numbers
