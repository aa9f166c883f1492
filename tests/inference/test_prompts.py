import json

import pytest

from insight.inference.prompts import parse_boxes, read_boxes


def test_boxes_of_a_command_line():
    assert parse_boxes(["1,2,3,4", "-5, 0,10.5,1e2"]).tolist() == [[1, 2, 3, 4], [-5, 0, 10.5, 100]]


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,4,5", "a,b,c,d", "", "1 2 3 4"])
def test_what_is_no_box_is_shown(text):
    with pytest.raises(ValueError, match=f"^--boxes {text}: expected four numbers, x1,y1,x2,y2"):
        parse_boxes([text])


def test_an_inverted_box_is_refused_before_any_image_is_read():
    with pytest.raises(ValueError, match=r"--boxes\[1\] = .* is inverted"):
        parse_boxes(["1,2,3,4", "3,2,1,4"])


def test_a_json_file_holds_boxes_for_all_or_by_file_name(tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text("[[1, 2, 3, 4]]")
    assert read_boxes(path).tolist() == [[1, 2, 3, 4]]
    path.write_text(json.dumps({"a.png": [[1, 2, 3, 4]], "b.png": []}))
    by_name = read_boxes(path)
    assert by_name["a.png"].tolist() == [[1, 2, 3, 4]] and by_name["b.png"].shape == (0, 4)


@pytest.mark.parametrize(
    "content, said",
    [
        ("[[1, 2, 3, 4]", "boxes.json: not JSON"),
        ("7", "boxes.json: expected a list of boxes .* got int"),
        ("[1, 2, 3, 4]", r"boxes.json: boxes: expected shape \(N, 4\)"),
        ('{"a.png": [[1, 2, 3]]}', r"boxes.json: a.png: expected shape \(N, 4\) .*got \(1, 3\)"),
        ('{"a.png": [[1, 2, "x", 4]]}', "boxes.json: a.png: expected"),
        ('{"a.png": [[0, 0, 1, 1], [1, 2, NaN, 4]]}', r"boxes.json: a.png\[1\] = .* no finite number"),
        ('{"a.png": {"x": 1}}', "boxes.json: a.png: expected"),
    ],
)
def test_wrong_json_is_one_line(tmp_path, content, said):
    path = tmp_path / "boxes.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=said) as caught:
        read_boxes(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.json"):
        read_boxes(tmp_path / "absent.json")
