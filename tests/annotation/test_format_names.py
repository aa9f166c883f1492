"""Names of formats are those that are read and written."""

import pytest

from insight.annotation.conversion import FORMATS
from insight.annotation.exports import _NAMES
from insight.annotation.format_names import EXPORTS, READABLE, WRITABLE, format_by_suffix, parse_exports
from insight.errors import InputError


def test_every_format_has_its_reader_and_writer():
    assert tuple(name for name, one in FORMATS.items() if one.read) == READABLE
    assert tuple(name for name, one in FORMATS.items() if one.write) == WRITABLE
    assert ("coco", *_NAMES) == EXPORTS


@pytest.mark.parametrize(
    ("name", "expected"), [("a.JSON", "coco"), ("a.xml", "cvat"), ("b/a.gpkg", "vector"), ("a.shp", "vector")]
)
def test_a_suffix_stands_for_a_format(name, expected):
    assert format_by_suffix(name) == expected


def test_other_suffixes_need_a_name():
    with pytest.raises(
        InputError, match="output: the format of a.kml is not recognised by its suffix; name it, one of coco"
    ):
        format_by_suffix("a.kml")


def test_names_of_exports():
    assert parse_exports("coco") == [] and parse_exports("coco, yolo-seg,gpkg,gpkg") == ["yolo-seg", "gpkg"]
    with pytest.raises(InputError, match="to: unknown format 'yolo'; expected coco, yolo-seg"):
        parse_exports("yolo")
