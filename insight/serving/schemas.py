"""The JSON of requests and answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

Point = tuple[FiniteFloat, FiniteFloat]
Ring = list[Point]
Box = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
Corners = tuple[Point, Point, Point, Point]
Angled = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
ClassName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
ObjectId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Label = Literal[0, 1]
Simplify = Annotated[FiniteFloat, Field(ge=0, le=100)]


def examples(*given: dict[str, Any]) -> ConfigDict:
    """Return the part of a model's configuration that has examples."""
    return ConfigDict(json_schema_extra={"examples": list(given)})


_OBJECT = {
    "class": "ship",
    "oriented_box": [[10, 20], [60, 10], [64, 30], [14, 40]],
    "polygons": [[[12, 22], [58, 12], [62, 29], [15, 38]]],
    "score": 0.91,
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class ObjectContent(_Strict):
    """An object of the page, in pixels of the image."""

    model_config = examples(_OBJECT)

    class_name: ClassName = Field(alias="class", description="name of its class")
    box: Box | None = Field(None, description="x1, y1, x2, y2")
    oriented_box: Corners | None = Field(None, description="four corners x, y, in order")
    points: list[Point] = Field([], max_length=1000)
    labels: list[Label] = Field([], description="1 on the object, 0 outside it, for each point")
    polygons: list[Ring] = Field([], description="rings, filled by the even-odd rule; holes follow their part")
    score: FiniteFloat | None = Field(None, ge=0, le=1)
    source: Literal["prompt", "detector", "manual"] = "prompt"
    state: Literal["accepted", "candidate"] = "accepted"

    @model_validator(mode="after")
    def _has_shape(self) -> "ObjectContent":
        if self.box is not None and self.oriented_box is not None:
            raise ValueError("box: expected a box or an oriented_box, got both")
        if len(self.points) != len(self.labels):
            raise ValueError(f"labels: expected {len(self.points)}, one for each point, got {len(self.labels)}")
        if self.box is None and self.oriented_box is None and not self.points and not self.polygons:
            raise ValueError("expected a box, an oriented_box, points or polygons, got none of them")
        return self


class NewObject(ObjectContent):
    """An object to add; a client may choose its id, so that a request sent twice adds one object."""

    id: ObjectId | None = None


class StoredObject(ObjectContent):
    """An object with its id and revision."""

    model_config = examples({"id": "3f2a", "revision": 7, **_OBJECT})

    id: str
    revision: int


class ImageInfo(BaseModel):
    """A served image."""

    id: str
    name: str
    width: int
    height: int
    max_zoom: int = Field(description="level of the tiles at which a pixel is a pixel")
    done: bool
    objects: int = Field(description="number of accepted objects")
    georeferenced: bool
    error: str | None = Field(None, description="why it cannot be shown")


class Project(BaseModel):
    """The served folder."""

    images: int
    done: int
    objects: int
    classes: list[str]
    model: str | None
    detector: str | None
    tile_size: int


class Classes(_Strict):
    """The classes, in their order."""

    model_config = examples({"classes": ["ship", "plane"]})

    classes: list[ClassName] = Field(max_length=10_000)

    @model_validator(mode="after")
    def _are_different(self) -> "Classes":
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: expected different names")
        return self


class Done(_Strict):
    """Whether an image is done."""

    model_config = examples({"done": True})

    done: bool


class SegmentRequest(_Strict):
    """The prompt of one object, in pixels of the image."""

    model_config = examples(
        {"oriented_box": [[10, 20], [60, 10], [64, 30], [14, 40]]},
        {"box": [10, 20, 50, 60], "points": [[30, 40], [12, 22]], "labels": [1, 0], "simplify": 0.75},
    )

    box: Box | None = None
    oriented_box: Corners | None = None
    points: list[Point] = []
    labels: list[Label] = []
    simplify: Simplify = Field(0.0, description="how far outlines may move to have fewer corners, pixels")
    model: str | None = None


class Segmented(BaseModel):
    """The mask of one object."""

    polygons: list[Ring]
    score: float = Field(description="predicted IoU")
    ms: float = Field(description="time that the server took")


class DetectRequest(_Strict):
    """What to find."""

    model_config = examples({"class": "ship"})

    model: str | None = None
    class_name: ClassName | None = Field(None, alias="class")
    simplify: Simplify = 0.0


class PredictRequest(_Strict):
    """Prompts of any number of objects in one image."""

    model_config = examples(
        {"image_id": "0123456789abcdef", "boxes": [[10, 20, 50, 60]], "classes": "ship"},
        {"image": "data:image/png;base64,iVBOR...", "oriented_boxes": [[40, 50, 30, 10, 15]], "format": "rle"},
        {"image": "iVBOR...", "points": [[[30, 40], [5, 5]]], "labels": [[1, 0]]},
    )

    model: str | None = Field(None, description="name of a model, see /v1/models")
    image: str | None = Field(None, description="base64 of an image file, or a data: URI")
    image_id: str | None = Field(None, description="id of a served image")
    image_url: str | None = Field(None, description="URL, if the server allows its beginning")
    boxes: list[Box] = Field([], description="x1, y1, x2, y2 in pixels")
    oriented_boxes: list[Angled | Corners] = Field(
        [], description="centre x, y, width, height, angle (degrees, counter-clockwise), or four corners"
    )
    points: list[list[Point]] = Field([], description="for each object its points, alone or one list for each box")
    labels: list[list[Label]] = Field([], description="1 on the object, 0 outside it")
    classes: ClassName | list[ClassName] | None = Field(None, description="recorded in the answer: one, or one each")
    format: Literal["polygons", "rle", "png", "geojson"] = "polygons"
    simplify: Simplify = 0.0


class Instance(BaseModel):
    """An answered prompt."""

    class_name: str = Field(alias="class")
    score: float
    box: Box
    polygons: list[Ring] | None = None
    rle: dict[str, Any] | None = None


class Prediction(BaseModel):
    """The answer to prompts, in their order: boxes, then oriented boxes, or points."""

    width: int
    height: int
    model: str
    ms: float
    instances: list[Instance]
