"""The options of a run over a raster are what its functions take as keywords."""

import inspect
from dataclasses import fields
from typing import Unpack, get_type_hints

import pytest

pytest.importorskip("rasterio")
pytest.importorskip("geopandas")

from insight.geo import predict_raster, predict_rasters
from insight.geo.options import RasterKeywords, RasterOptions
from insight.geo.prompts import LayerPrompts


def test_keywords_are_the_fields_of_the_options():
    hints = [get_type_hints(kind, localns={"LayerPrompts": LayerPrompts}) for kind in (RasterKeywords, RasterOptions)]
    assert hints[0] == hints[1] and list(hints[0]) == [field.name for field in fields(RasterOptions)]


@pytest.mark.parametrize("predict", [predict_raster, predict_rasters])
def test_functions_name_their_keywords(predict):
    assert inspect.signature(predict).parameters["options"].annotation == Unpack[RasterKeywords]
