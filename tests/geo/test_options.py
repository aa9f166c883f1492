"""The options of a run over a raster are what its functions take as keywords."""

import inspect
from dataclasses import fields
from typing import Unpack, get_type_hints

import pytest

pytest.importorskip("rasterio")
pytest.importorskip("geopandas")

from insight.errors import InputError
from insight.geo import predict_raster, predict_rasters
from insight.geo.options import RasterKeywords, RasterOptions
from insight.geo.prompts import LayerPrompts


def test_keywords_are_the_fields_of_the_options():
    hints = [get_type_hints(kind, localns={"LayerPrompts": LayerPrompts}) for kind in (RasterKeywords, RasterOptions)]
    assert hints[0] == hints[1] and list(hints[0]) == [field.name for field in fields(RasterOptions)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"bands": "4,3"}, "bands: expected one band or three"),
        ({"rescale": "0"}, "rescale: expected LOW,HIGH with LOW < HIGH, for all bands or for each of 3"),
        ({"rescale": [[0, 1], [0, 1]]}, "rescale: expected LOW,HIGH"),
    ],
)
def test_what_suits_no_raster_is_refused_without_one(given, said):
    with pytest.raises(InputError, match=said):
        RasterOptions(**given)
    RasterOptions(bands=[4, 3, 2], rescale=[[0, 1], [0, 2], [0, 3]])
    RasterOptions(bands="nir", rescale="0,3000")


@pytest.mark.parametrize("predict", [predict_raster, predict_rasters])
def test_functions_name_their_keywords(predict):
    assert inspect.signature(predict).parameters["options"].annotation == Unpack[RasterKeywords]
