"""The models of a server, loaded when they are first asked."""

from collections.abc import Sequence
from typing import Any

from insight.errors import InputError
from insight.hub import ModelFolder, find
from insight.inference.prediction import Prediction
from insight.inference.sopseg_predictor import SOPSegPredictor
from insight.structures.rle import encode_crop

from .pixels import ArrayPixels, Pixels
from .refusal import Refusal
from .segmenter import Segmenter

# Class, score, mask (COCO's compressed RLE, or None) and box (XYXY, pixels).
Detection = tuple[str, float, dict[str, Any] | None, list[float]]
_WHOLE = 2048  # pixels: a detector sees an image up to this side at once, a larger one in tiles
_TILE, _OVERLAP = 1024, 256


class Models:
    """Models by name. All but the methods that look one up run in the worker's thread.

    Args:
        names: names or folders, see `insight.hub.find`.
        device: device to compute on; None for a GPU if there is one.
        crop_cache_bytes: bound on the encoded crops of each SOPSeg model.

    Raises:
        InsightError: an unknown or damaged model, or two of one name.
    """

    def __init__(self, names: Sequence[str], device: str | None, crop_cache_bytes: int):
        self._device, self._crop_cache_bytes = device, crop_cache_bytes
        self.folders: dict[str, ModelFolder] = {}
        for name in names:
            folder = find(name)
            if folder.name in self.folders:
                raise InputError(f"model: {folder.name} is given twice")
            self.folders[folder.name] = folder
        self._segmenters: dict[str, Segmenter] = {}
        self._detectors: dict[str, Any] = {}
        if (first := self._first("sopseg")) is not None:
            self.segmenter(first)  # so that a damaged one is noticed at the start

    @property
    def segmenters(self) -> list[Segmenter]:
        """Those that are loaded."""
        return list(self._segmenters.values())

    def choose(self, kind: str, name: str | None = None) -> str:
        """Return the name of a model.

        Args:
            kind: "sopseg" or "detector".
            name: as a client asks; None for the default.

        Raises:
            Refusal: there is none.
        """
        chosen = name or self._first(kind)
        if chosen is None:
            what = "answers prompts" if kind == "sopseg" else "finds objects"
            raise Refusal(422, f"model: this server has no model that {what}")
        if chosen not in self.folders:
            raise Refusal(404, f"model: unknown; this server has {', '.join(self.folders) or 'none'}")
        if self.folders[chosen].kind != kind:
            raise Refusal(422, f"model: {chosen} does not {'take prompts' if kind == 'sopseg' else 'find objects'}")
        return chosen

    def has(self, kind: str) -> bool:
        """Return whether there is a model of a kind."""
        return self._first(kind) is not None

    def _first(self, kind: str) -> str | None:
        return next((name for name, folder in self.folders.items() if folder.kind == kind), None)

    def segmenter(self, name: str) -> Segmenter:
        """Return a model for prompts."""
        if name not in self._segmenters:
            predictor = SOPSegPredictor.from_pretrained(self.folders[name], self._device)
            self._segmenters[name] = Segmenter(predictor, self._crop_cache_bytes)
        return self._segmenters[name]

    def detect(self, name: str, pixels: Pixels) -> list[Detection]:
        """Find the objects of an image.

        Args:
            name: of a detector.
            pixels: the image.

        Returns:
            For each object its class, score, mask (COCO's compressed RLE, or None) and box (XYXY, pixels).

        Raises:
            Refusal: Detectron2 is not installed, or the extra `geo` for a large image.
        """
        folder = self.folders[name]
        if name not in self._detectors:
            try:
                from insight.inference.build import load
            except ImportError as error:
                raise Refusal(501, "finding objects needs Detectron2: insight install-detectron2") from error
            self._detectors[name] = load(folder, self._device)
        model = self._detectors[name]
        height, width = pixels.size
        if max(height, width) > _WHOLE:
            return _in_tiles(model, pixels)
        array = pixels.array if isinstance(pixels, ArrayPixels) else pixels.read((0, 0, width, height))
        model.set_image(array)
        return _instances(model.detect())


def _instances(found: Prediction) -> list[Detection]:
    codes = list(found.masks) if found.masks is not None else [None] * len(found)
    return list(zip(found.class_names, found.scores.tolist(), codes, found.boxes.tolist()))


def _in_tiles(model: Any, pixels: Pixels) -> list[Detection]:
    try:
        from insight.geo.detect import TileDetection
        from insight.geo.tiles import TileGrid
    except ImportError as error:
        raise Refusal(501, "a large image needs the extra geo: pip install 'insight-seg[geo]'") from error
    height, width = pixels.size
    jobs = TileDetection(pixels, model, TileGrid((height, width), _TILE, _OVERLAP))  # type: ignore[arg-type]
    packed = {key: jobs.pack(key, jobs.answer(key, jobs.read(key))) for key in jobs.keys}
    objects: list[Detection] = []
    for found in jobs.found(packed):  # type: ignore[arg-type]
        for piece, class_id, score in zip(found.pieces, found.class_ids, found.scores):
            assert piece is not None  # as those of detections are
            code = encode_crop(piece.mask, (piece.x, piece.y), pixels.size)
            objects.append((jobs.categories[class_id], score, code, list(map(float, piece.box))))
    return objects
