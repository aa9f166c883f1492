"""Pictures that hold the class of every pixel."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from insight.modeling.roi_heads.scnet.semantic_labels import IGNORED


def read_label_map(path: str | os.PathLike, num_classes: int) -> np.ndarray:
    """Read a label map: one band of 8 bits, or a palette's indices; IGNORED marks pixels without a label.

    Args:
        path: the file.
        num_classes: labels are less than this.

    Returns:
        (H, W) uint8.

    Raises:
        OSError: it is missing, truncated or of an unknown format.
        ValueError: it has other bands, or labels of no class.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such label map: {path}")
    try:
        image = Image.open(path)
        image.load()
    except (OSError, SyntaxError) as error:  # SyntaxError: a broken PNG
        raise OSError(
            f"cannot read label map {path}: it is truncated, corrupt or of an unknown format ({error})"
        ) from error
    if image.mode not in ("L", "P"):
        raise ValueError(f"{path}: expected a label map of one band of 8 bits, got {image.mode}")
    labels = np.asarray(image)
    strange = np.unique(labels[(labels >= num_classes) & (labels != IGNORED)])
    if len(strange):
        raise ValueError(
            f"{path}: label {strange[0]} is no class: expected 0 to {num_classes - 1}, and {IGNORED} for none; "
            "MODEL.SCNET.SEMANTIC.NUM_CLASSES is the number of labels in files"
        )
    return labels
