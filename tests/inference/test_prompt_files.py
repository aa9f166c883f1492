import json

import pytest
import torch

from insight.inference.prompt_files import parse_boxes, read_boxes


def test_boxes_of_a_command_line():
    found = parse_boxes(["1,2,3,4", "-5, 0,10.5,1e2"])
    assert found.boxes.tolist() == [[1, 2, 3, 4], [-5, 0, 10.5, 100]] and found.corners.shape == (0, 4, 2)


def test_oriented_boxes_of_a_command_line():
    upright = [[0, 1], [6, 1], [6, 3], [0, 3]]
    found = parse_boxes([], ["3,2,6,2,0", "3,2,2,6,-90"])
    assert found.boxes.shape == (0, 4)
    for corners in found.corners:
        torch.testing.assert_close(corners[corners.sum(1).argsort()], torch.tensor(upright)[[0, 3, 1, 2]].float())
    assert parse_boxes(["1,2,3,4"], ["0,1,6,1,6,3,0,3"]).corners.tolist() == [upright]


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,4,5", "a,b,c,d", "", "1 2 3 4"])
def test_what_is_no_box_is_shown(text):
    with pytest.raises(ValueError, match=rf"^boxes: expected 4 numbers \(x1, y1, x2, y2\), .* got '{text}'"):
        parse_boxes([text])


@pytest.mark.parametrize("text", ["1,2,3,4", "1,2,3,4,5,6", "a,b,c,d,e", ""])
def test_what_is_no_oriented_box_is_shown(text):
    with pytest.raises(ValueError, match=rf"^oriented_boxes: expected 5 numbers \(.*\) or 8 numbers \(.* got '{text}'"):
        parse_boxes([], ["1,2,3,4,5", text])


def test_an_inverted_box_is_refused_before_any_image_is_read():
    with pytest.raises(ValueError, match=r"^boxes\[1\] = .* is inverted"):
        parse_boxes(["1,2,3,4", "3,2,1,4"])


def test_a_json_file_holds_boxes_for_all_or_by_file_name(tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text("[[1, 2, 3, 4]]")
    assert read_boxes(path).boxes.tolist() == [[1, 2, 3, 4]]
    path.write_text(json.dumps({"a.png": [[1, 2, 3, 4]], "b.png": []}))
    by_name = read_boxes(path)
    assert by_name["a.png"].boxes.tolist() == [[1, 2, 3, 4]] and by_name["b.png"].boxes.shape == (0, 4)
    path.write_text(json.dumps({"a.png": [[3, 2, 6, 2, 0]], "b.png": [[0, 1, 6, 1, 6, 3, 0, 3]]}))
    for found in read_boxes(path).values():
        assert found.corners.tolist() == [[[0, 1], [6, 1], [6, 3], [0, 3]]] and found.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    "content, said",
    [
        ("[[1, 2, 3, 4]", "boxes.json: not JSON"),
        ("7", "boxes.json: expected a list of boxes .* got int"),
        ("[1, 2, 3, 4]", r"boxes.json: boxes: expected a list of boxes, .* got \[1, 2, 3, 4\]"),
        ('{"a.png": [[1, 2, 3]]}', r"boxes.json: a.png: expected .* 4 \(x1, y1, x2, y2\), or 5 .* got \[\[1, 2, 3\]\]"),
        ('{"a.png": [[1, 2, 3, 4], [1, 2, 3, 4, 5]]}', "boxes.json: a.png: expected a list of boxes, all of 4"),
        ("[[1, 2, 3, 4, 5], [1, 2, 0, 4, 5]]", r"boxes.json: boxes\[1\] = .* has no area"),
        ('{"a.png": [[1, 2, "x", 4]]}', "boxes.json: a.png: expected"),
        ('{"a.png": [[0, 0, 1, 1], [1, 2, NaN, 4]]}', r"boxes.json: a.png\[1\] = .* not finite"),
        ("[[0.5, 0.5, 0.2, 0.1, 30]]", "boxes.json: boxes: expected pixels, got coordinates from 0 to 1 alone"),
        ('{"a.png": [[0, 0, 1, 1]]}', "boxes.json: a.png: expected pixels, got coordinates from 0 to 1 alone"),
        ('{"images": [], "annotations": [{"id": 1}]}', "boxes.json: is a COCO file, expected {'image file name'"),
        ('{"a.png": {"x": 1}}', "boxes.json: a.png: expected"),
    ],
)
def test_wrong_json_is_one_line(tmp_path, content, said):
    path = tmp_path / "boxes.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=said) as caught:
        read_boxes(path)
    assert "\n" not in str(caught.value)


def test_a_json_file_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "boxes.json").write_text("[[1, 2, 3, 4]]", encoding="utf-8-sig")
    assert read_boxes(tmp_path / "boxes.json").boxes.tolist() == [[1, 2, 3, 4]]


def test_lists_that_are_nested_too_deeply(tmp_path):
    (tmp_path / "boxes.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="boxes.json: its lists are nested too deeply"):
        read_boxes(tmp_path / "boxes.json")


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.json"):
        read_boxes(tmp_path / "absent.json")
