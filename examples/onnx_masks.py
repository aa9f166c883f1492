"""Masks from oriented boxes with ONNX Runtime, NumPy and Pillow alone.

    insight models onnx sopseg-vit-t edge
    python examples/onnx_masks.py edge image.png boxes.txt masks.png

A line of boxes.txt is a box: x and y of its four corners, in pixels. masks.png has 16 bits: every pixel of a mask has
the number of its box, from 1.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image
from PIL.Image import Resampling, Transform


def region_around(corners, small, expansion, max_size, min_size):
    """Origin and side of the square to magnify, image pixels. SOPSeg, Eq. 1 and 2."""
    longest = (extent := np.ptp(corners, axis=0)).max()
    slope = (max_size - expansion * small) / (max_size - small)
    side = expansion * longest if longest < small else slope * longest + (expansion - slope) * small
    side = float(max(side, longest, min_size))
    return corners.min(0) - (side - extent) / 2, side


def segment(folder, image, boxes):
    """Yield the mask of each box (4, 2), an image of mode "1", and the pixel where it begins."""
    encoder, decoder = (onnxruntime.InferenceSession(f"{folder}/{part}.onnx") for part in ("encoder", "decoder"))
    about = decoder.get_modelmeta().custom_metadata_map
    size, shifts = int(about["crop_size"]), (-0.25, 0, 0.25) if about["prompt"] == "oriented_box" else ()
    for corners in boxes:
        origin, side = region_around(corners, **json.loads(about["crop_schedule"]))
        start = np.floor(origin).astype(int)
        (x, y), scale = origin - start, size / side
        window = Image.new("RGB", (int(side) + 2,) * 2, (124, 116, 104))  # the mean colour, outside the image
        window.paste(image, tuple(-start))
        crop = window.resize((size, size), Resampling.BILINEAR, (x, y, x + side, y + side))
        corners = (corners - origin) * scale
        axis = max(corners[1] - corners[0], corners[3] - corners[0], key=np.linalg.norm)
        points = np.reshape([corners.mean(0) + shift * axis for shift in shifts], (-1, 2))  # Eq. 4 to 6
        inputs = {"crops": np.moveaxis(np.asarray(crop), 2, 0), "corners": corners, "points": points}
        inputs = {name: np.asarray([value], np.float32) for name, value in inputs.items()}
        inputs["labels"] = np.ones((1, len(points)), np.int64)
        inputs |= zip([part.name for part in encoder.get_outputs()], encoder.run(None, {"crops": inputs["crops"]}))
        logits, _ = decoder.run(None, {part.name: inputs[part.name] for part in decoder.get_inputs()})
        back = (scale, 0, -x * scale, 0, scale, -y * scale)
        seen = Image.fromarray(logits[0]).transform(window.size, Transform.AFFINE, back, Resampling.BILINEAR)
        yield Image.fromarray(np.asarray(seen) > 0), tuple(start)


if __name__ == "__main__":
    model, image, boxes, masks = sys.argv[1:]
    pixels, corners = Image.open(image).convert("RGB"), np.loadtxt(boxes, ndmin=2).reshape(-1, 4, 2)
    numbers = Image.new("I", pixels.size)
    for number, (mask, start) in enumerate(segment(model, pixels, corners), 1):
        numbers.paste(number, start, mask)
    Image.fromarray(np.asarray(numbers).astype(np.uint16)).save(masks)
