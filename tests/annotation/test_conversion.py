"""Conversion between annotation formats, compared with supervision, pycocotools and plain parsers of each format."""

import base64
import io
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from insight.annotation.conversion import convert, recognise
from insight.data.formats.images import encode_png
from insight.errors import InputError

SIZES = {"a.png": (80, 100), "sub/b.png": (60, 90)}  # height, width
ROTATED = [40.0, 10, 56, 22, 50, 30, 34, 18]  # a rectangle, clockwise as displayed from its first corner


def _masks() -> dict[str, np.ndarray]:
    masks = {name: np.zeros(SIZES["a.png"], bool) for name in ("whole", "hole", "parts")}
    masks["whole"][5:20, 5:25] = True
    masks["whole"][5:10, 5:10] = False
    masks["hole"][30:60, 30:70] = True
    masks["hole"][40:50, 45:55] = False
    masks["parts"][65:75, 10:30] = True
    masks["parts"][70:78, 60:90] = True
    return masks


def _rle(mask: np.ndarray) -> dict:
    code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": code["counts"].decode()}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A COCO file, and the folder of its images."""
    folder = tmp_path_factory.mktemp("dataset")
    for name, (height, width) in SIZES.items():
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(folder / "images" / name)
    images = [
        {"id": i, "file_name": name, "height": size[0], "width": size[1]}
        for i, (name, size) in enumerate(SIZES.items(), 1)
    ]
    objects = [
        {"image_id": 1, "category_id": kind, "bbox": coco_mask.toBbox(_rle(mask)).tolist(), "segmentation": _rle(mask)}
        for kind, mask in zip((3, 5, 5), _masks().values())
    ]
    objects[0]["score"] = 0.75
    polygon = [10.5, 10, 50, 12.25, 40, 40]
    objects += [
        {"image_id": 2, "category_id": 3, "bbox": [34, 10, 22, 20], "oriented_box": ROTATED},
        {"image_id": 2, "category_id": 5, "bbox": [60, 20, 20, 10]},
        {"image_id": 2, "category_id": 5, "bbox": [10.5, 10, 39.5, 30], "segmentation": [polygon]},
    ]
    content = {
        "images": images,
        "categories": [{"id": 3, "name": "ship"}, {"id": 5, "name": "storage tank & <co>"}],
        "annotations": [{"id": i, "iscrowd": 0, "area": 1, **fields} for i, fields in enumerate(objects, 1)],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    return folder / "instances.json", folder / "images"


def _to(dataset, output: Path, target: str):
    return convert(dataset[0], output, target_format=target, image_root=dataset[1])


def _back(folder: Path, tmp_path: Path, **more) -> COCO:
    convert(folder, tmp_path / "back.json", **more)
    return COCO(str(tmp_path / "back.json"))


def _by_image(coco: COCO) -> dict[str, list[tuple[str, dict]]]:
    found = {Path(image["file_name"]).name: [] for image in coco.dataset["images"]}
    for annotation in coco.dataset["annotations"]:
        name = Path(coco.imgs[annotation["image_id"]]["file_name"]).name
        found[name].append((coco.cats[annotation["category_id"]]["name"], annotation))
    return found


def _filled(mask: np.ndarray) -> np.ndarray:
    mask = mask.copy()
    if mask[35, 50]:
        mask[40:50, 45:55] = True
    return mask


def test_yolo_seg(dataset, tmp_path):
    supervision = pytest.importorskip("supervision")
    done = _to(dataset, tmp_path / "yolo", "yolo-seg")
    assert done.losses == {
        "scores left out": 1,
        "holes filled": 1,
        "objects of several parts joined by lines": 1,
        "boxes written as polygons": 2,
    }
    assert (done.images, done.objects) == (2, 6)
    yolo = tmp_path / "yolo"
    assert (yolo / "images/sub/b.png").samefile(dataset[1] / "sub/b.png")
    lines = [line.split() for line in (yolo / "labels/a.txt").read_text().splitlines()]
    assert [line[0] for line in lines] == ["0", "1", "1"]
    for line, mask in zip(lines, _masks().values()):
        points = np.array(line[1:], float).reshape(-1, 2) * (100, 80)
        drawn = coco_mask.decode(coco_mask.frPyObjects([points.ravel().tolist()], 80, 100))[..., 0].astype(bool)
        np.testing.assert_array_equal(drawn, _filled(mask))
    read = supervision.DetectionDataset.from_yolo(
        str(yolo / "images"), str(yolo / "labels"), str(yolo / "data.yaml"), force_masks=True
    )
    assert read.classes == ["ship", "storage tank & <co>"]
    found = next(detections for path, _, detections in read if path.endswith("a.png"))
    for mask, expected in zip(found.mask, _masks().values()):  # its rasters include the far edges
        assert (mask & _filled(expected)).sum() > 0.99 * _filled(expected).sum()
    back = _by_image(_back(yolo, tmp_path, source_format="yolo-seg"))
    assert [name for name, _ in back["b.png"]] == ["ship", "storage tank & <co>", "storage tank & <co>"]
    np.testing.assert_allclose(back["b.png"][2][1]["segmentation"][0], [10.5, 10, 50, 12.25, 40, 40], atol=1e-5)
    assert recognise(yolo) == "yolo-seg"


def test_yolo_obb(dataset, tmp_path):
    supervision = pytest.importorskip("supervision")
    done = _to(dataset, tmp_path / "yolo", "yolo-obb")
    assert done.losses == {
        "scores left out": 1,
        "masks replaced by boxes": 4,
        "horizontal boxes written as oriented ones": 1,
    }
    yolo = tmp_path / "yolo"
    first = (yolo / "labels/sub/b.txt").read_text().splitlines()[0].split()
    expected = (np.array(ROTATED).reshape(4, 2) / (90, 60)).ravel()
    assert first[0] == "0" and len(first) == 9
    np.testing.assert_allclose(np.array(first[1:], float), expected, atol=1e-8)
    read = supervision.DetectionDataset.from_yolo(
        str(yolo / "images/sub"), str(yolo / "labels/sub"), str(yolo / "data.yaml"), is_obb=True
    )
    ((_, _, found),) = read
    np.testing.assert_allclose(
        sorted(found.data["xyxyxyxy"][0].tolist()), sorted(np.reshape(ROTATED, (4, 2)).tolist()), atol=1e-3
    )
    assert recognise(yolo) == "yolo-obb"
    back = _by_image(_back(yolo, tmp_path))
    got = np.reshape(back["b.png"][0][1]["oriented_box"], (4, 2))
    np.testing.assert_allclose(sorted(got.tolist()), sorted(np.reshape(ROTATED, (4, 2)).tolist()), atol=1e-4)
    assert len(back["a.png"]) == 3


@pytest.mark.parametrize("target", ["dota", "soda-a"])
def test_dota_and_soda_a(dataset, tmp_path, target):
    done = _to(dataset, tmp_path / "boxes", target)
    assert done.losses["masks replaced by boxes"] == 4 and recognise(tmp_path / "boxes") == target
    if target == "dota":
        words = (tmp_path / "boxes/labelTxt/sub/b.txt").read_text().splitlines()[0].split()
        assert words[8:] == ["ship", "0"] and done.losses["classes whose spaces became hyphens"] == 1
        got = np.array(words[:8], float)
    else:
        entry = json.loads((tmp_path / "boxes/Annotations/sub/b.json").read_text())
        assert entry["categories"][entry["annotations"][0]["category_id"]]["name"] == "ship"
        got = np.array(entry["annotations"][0]["poly"])
        assert entry["annotations"][0]["area"] == pytest.approx(20 * np.hypot(6, 8), abs=0.1)
    assert sorted(got.reshape(4, 2).tolist()) == sorted(np.reshape(ROTATED, (4, 2)).tolist())
    back = _by_image(_back(tmp_path / "boxes", tmp_path))
    assert [a["bbox"] for _, a in back["b.png"]][1] == [60, 20, 20, 10] and len(back["a.png"]) == 3


def test_labelme(dataset, tmp_path):
    done = _to(dataset, tmp_path / "labelme", "labelme")
    assert done.losses == {"scores left out": 1}
    path = tmp_path / "labelme/sub/b.json"
    entry = json.loads(path.read_text())
    assert (path.parent / entry["imagePath"]).samefile(dataset[1] / "sub/b.png")
    assert (entry["imageHeight"], entry["imageWidth"]) == SIZES["sub/b.png"]
    assert [shape["shape_type"] for shape in entry["shapes"]] == ["oriented_rectangle", "rectangle", "polygon"]
    assert entry["shapes"][1]["points"] == [[60, 20], [80, 30]]
    shapes = json.loads((tmp_path / "labelme/a.json").read_text())["shapes"]
    assert [shape["shape_type"] for shape in shapes] == ["polygon", "mask", "mask"]
    for shape, mask in zip(shapes[1:], list(_masks().values())[1:]):
        (x1, y1), (x2, y2) = np.array(shape["points"], int)
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"])))) > 0
        np.testing.assert_array_equal(mask[y1 : y2 + 1, x1 : x2 + 1], pixels)
        assert pixels.sum() == mask.sum()
    coco = _back(tmp_path / "labelme", tmp_path)
    assert recognise(tmp_path / "labelme") == "labelme"
    _assert_masks_and_boxes_are_back(coco)


def test_label_studio(dataset, tmp_path):
    done = _to(dataset, tmp_path / "tasks.json", "label-studio")
    assert done.losses == {"scores left out": 1}
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert [task["data"]["image"] for task in tasks] == [
        "/data/local-files/?d=a.png", "/data/local-files/?d=sub/b.png"
    ]  # fmt: skip
    regions = [region for task in tasks for region in task["annotations"][0]["result"]]
    kinds = ["polygonlabels", "brushlabels", "brushlabels", "rectanglelabels", "rectanglelabels", "polygonlabels"]
    assert [region["type"] for region in regions] == [region["from_name"] for region in regions] == kinds
    rotated = regions[3]["value"]
    assert rotated["rotation"] == pytest.approx(np.degrees(np.arctan2(12, 16)))  # clockwise about the first corner
    assert (rotated["x"] * 0.9, rotated["y"] * 0.6, rotated["width"] * 0.9) == pytest.approx((40, 10, 20))
    config = ElementTree.parse(tmp_path / "tasks.config.xml").getroot()
    for tag in ("RectangleLabels", "PolygonLabels", "BrushLabels"):
        assert [one.get("value") for one in config.find(tag)] == ["ship", "storage tank & <co>"]
    assert recognise(tmp_path / "tasks.json") == "label-studio"
    _assert_masks_and_boxes_are_back(_back(tmp_path / "tasks.json", tmp_path))


def test_label_studio_brush_by_its_own_decoder(dataset, tmp_path):
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    _to(dataset, tmp_path / "tasks.json", "label-studio")
    regions = json.loads((tmp_path / "tasks.json").read_text())[0]["annotations"][0]["result"]
    for region, mask in zip(regions[1:], list(_masks().values())[1:]):
        decoded = brush.decode_rle(region["value"]["rle"]).reshape(80, 100, 4)
        np.testing.assert_array_equal(decoded, np.repeat(mask[..., None] * 255, 4, 2))


def _assert_masks_and_boxes_are_back(coco: COCO) -> None:
    back = _by_image(coco)
    for (_, annotation), mask in zip(back["a.png"], _masks().values(), strict=True):
        np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), mask)
        assert annotation["area"] == mask.sum()
    (ship, rotated), (_, box), (_, polygon) = back["b.png"]
    assert ship == "ship" and box["bbox"] == pytest.approx([60, 20, 20, 10])
    corners = np.array(rotated["oriented_box"])
    if len(corners) == 5:  # centre x, centre y, width, height, angle counter-clockwise
        assert corners == pytest.approx([45, 20, 20, np.hypot(6, 8), -np.degrees(np.arctan2(12, 16)) % 360], abs=1e-6)
    else:
        assert sorted(corners.reshape(4, 2).tolist()) == sorted(np.reshape(ROTATED, (4, 2)).tolist())
    np.testing.assert_allclose(polygon["segmentation"][0], [10.5, 10, 50, 12.25, 40, 40], atol=1e-9)


def test_cvat(dataset, tmp_path):
    done = _to(dataset, tmp_path / "annotations.xml", "cvat")
    assert done.losses == {"scores left out": 1}
    first, second = ElementTree.parse(tmp_path / "annotations.xml").getroot().findall("image")
    assert (second.get("name"), second.get("width"), second.get("height")) == ("sub/b.png", "90", "60")
    assert [shape.tag for shape in (*first, *second)] == ["polygon", "mask", "mask", "box", "box", "polygon"]
    for shape, mask in zip(first[1:], list(_masks().values())[1:]):
        x, y, width, height = (int(shape.get(key)) for key in ("left", "top", "width", "height"))
        pixels, value = [], False
        for run in shape.get("rle").split(","):
            pixels += [value] * int(run)
            value = not value
        np.testing.assert_array_equal(mask[y : y + height, x : x + width], np.reshape(pixels, (height, width)))
    rotated = {key: float(second[0].get(key)) for key in ("xtl", "ytl", "xbr", "ybr", "rotation")}
    centre = (rotated["xtl"] + rotated["xbr"]) / 2, (rotated["ytl"] + rotated["ybr"]) / 2
    assert centre == pytest.approx((45, 20), abs=0.01) and rotated["xbr"] - rotated["xtl"] == pytest.approx(
        20, abs=0.01
    )
    assert rotated["rotation"] == pytest.approx(np.degrees(np.arctan2(12, 16)), abs=1e-3)
    assert second[0].get("label") == "ship" and second[1].get("label") == "storage tank & <co>"
    assert second[1].get("rotation") is None


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".parquet"])
def test_vector_layers(dataset, tmp_path, suffix):
    geopandas, rasterio = pytest.importorskip("geopandas"), pytest.importorskip("rasterio")
    transforms = {"a.png": rasterio.Affine(0.5, 0, 480_000, 0, -0.5, 5_700_000),
                  "sub/b.png": rasterio.Affine(0.5, 0.2, 480_900, 0.2, -0.5, 5_700_000)}  # fmt: skip
    for name, (height, width) in SIZES.items():
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": height, "width": width}
        with rasterio.open(path, "w", crs="EPSG:32631", transform=transforms[name], **profile):
            pass
    output = tmp_path / f"objects{suffix}"
    done = convert(dataset[0], output, image_root=tmp_path / "images")
    assert done.target_format == "vector" and done.losses == {}
    table = geopandas.read_parquet(output) if suffix == ".parquet" else geopandas.read_file(output, layer=0)
    table = table.to_crs(32631)
    assert table.image.tolist() == ["a.png"] * 3 + ["sub/b.png"] * 3 and table.instance_id.tolist() == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    assert table.score.tolist()[0] == 0.75 and table.score.isna().sum() == 5
    for geometry, mask in zip(table.geometry, _masks().values()):
        drawn = rasterio.features.rasterize([geometry], out_shape=(80, 100), transform=transforms["a.png"])
        np.testing.assert_array_equal(drawn, mask)
    source = f"{output}|layername=objects" if suffix == ".gpkg" else output
    back = _by_image(_back(source, tmp_path, image_root=tmp_path / "images"))
    for (_, annotation), mask in zip(back["a.png"], _masks().values()):
        decoded = COCO.annToMask(_size_only(80, 100), annotation).astype(bool)
        np.testing.assert_array_equal(decoded, mask)
    assert [name for name, _ in back["b.png"]] == ["ship", "storage tank & <co>", "storage tank & <co>"]
    with pytest.raises(InputError, match="a.png: has no CRS, which a vector layer needs"):
        convert(dataset[0], tmp_path / "none.gpkg", image_root=dataset[1])
    with pytest.raises(InputError, match="images: expected the folder of the images"):
        convert(dataset[0], tmp_path / "none.gpkg")


def _size_only(height: int, width: int) -> COCO:
    coco = COCO()
    coco.imgs = {i: {"height": height, "width": width} for i in (1, 2)}
    return coco


def test_yolo_boxes_and_names(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((50, 100, 3), np.uint8)).save(tmp_path / "images/a.png")
    (tmp_path / "labels/a.txt").write_text("1 0.5 0.5 0.2 0.4\n\n")
    (tmp_path / "classes.txt").write_text("plane\nship\n")
    assert recognise(tmp_path) == "yolo"
    coco = _back(tmp_path, tmp_path)
    assert _by_image(coco)["a.png"][0][0] == "ship" and coco.dataset["annotations"][0]["bbox"] == [40, 15, 20, 20]
    (tmp_path / "twice/labels").mkdir(parents=True)
    (tmp_path / "twice/classes.txt").write_text("ship\nplane\nship\n")  # one class by two numbers
    (tmp_path / "twice/labels/a.txt").write_text("0 0.5 0.5 0.2 0.4\n1 0.5 0.5 0.2 0.4\n2 0.5 0.5 0.2 0.4\n")
    convert(tmp_path / "twice", tmp_path / "twice.json", source_format="yolo", image_root=tmp_path / "images")
    content = json.loads((tmp_path / "twice.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert [names[a["category_id"]] for a in content["annotations"]] == ["ship", "plane", "ship"] and len(names) == 2
    (tmp_path / "labels/a.txt").write_text("2 0.5 0.5 0.2 0.4\n")
    with pytest.raises(InputError, match="a.txt: class 2 has no name; the dataset names 0, 1"):
        convert(tmp_path, tmp_path / "back.json")
    (tmp_path / "labels/a.txt").write_text("1 0.5 0.5 0.2\n")
    with pytest.raises(InputError, match="a.txt, line 1: expected class x y width height, got '1 0.5 0.5 0.2'"):
        convert(tmp_path, tmp_path / "back.json", source_format="yolo")
    (tmp_path / "images/a.png").unlink()
    with pytest.raises(InputError, match="images: no image for 1 label files"):
        convert(tmp_path, tmp_path / "back.json", source_format="yolo")


def test_wrong_arguments(dataset, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        convert(tmp_path / "none", tmp_path / "a.json")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a.txt").touch()
    with pytest.raises(InputError, match="its format is not recognised; name it, one of coco"):
        convert(tmp_path / "full", tmp_path / "a.json")
    with pytest.raises(InputError, match="is not recognised by its suffix; name it, one of coco"):
        convert(dataset[0], tmp_path / "a")
    with pytest.raises(InputError, match="output: expected a new or empty folder, but .*full holds files"):
        convert(dataset[0], tmp_path / "full", target_format="dota")
    for images in (None, dataset[0].parent / "images"):
        with pytest.raises(InputError, match="output: .* holds .*, which is read; choose another folder"):
            convert(dataset[0], dataset[0].parent, target_format="dota", image_root=images, replace=True)
    assert dataset[0].is_file() and (dataset[0].parent / "images/a.png").is_file()
    with pytest.raises(InputError, match="format: 'cvat' cannot be read; expected one of coco"):
        convert(dataset[0], tmp_path / "a.json", source_format="cvat")
    with pytest.raises(InputError, match="is the source; choose another name"):
        convert(dataset[0], dataset[0])
    (tmp_path / "bad.json").write_text('{"shapes": []}')
    with pytest.raises(InputError, match="bad.json: not in LabelMe's JSON format"):
        convert(tmp_path, tmp_path / "a.json", source_format="labelme")
    png = base64.b64encode(encode_png(np.ones((2, 2), np.uint8))).decode()
    shapes = [{"label": "ship", "shape_type": "mask", "points": [], "mask": png}]
    content = {"shapes": shapes, "imagePath": "a.png", "imageWidth": 80, "imageHeight": 60}
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="bad.json: not in LabelMe's JSON format"):
        convert(tmp_path, tmp_path / "a.json", source_format="labelme")
    assert {path.name for path in tmp_path.iterdir()} == {"full", "bad.json"}


def test_command(dataset, tmp_path, capsys):
    from insight.cli.main import main

    code = main(["convert", str(dataset[0]), str(tmp_path / "yolo"), "--to", "yolo-seg", "--images", str(dataset[1])])
    assert code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"wrote 6 objects of 2 images from coco as yolo-seg: {tmp_path}/yolo"
    assert "  holes filled: 1" in lines
