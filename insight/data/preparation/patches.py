"""Windows of the patches of a large image."""


def patch_windows(height: int, width: int, size: int = 800, overlap: int = 200) -> list[tuple[int, int, int, int]]:
    """Compute the windows of an image's patches, as iSAID's development kit cuts them.

    An image with a side no longer than `size` stays whole. Windows at the right and lower edge are shifted
    inwards, so that each has the full size.

    Args:
        height, width: size of the image, pixels.
        size: side of a patch, pixels.
        overlap: overlap of neighbouring patches, pixels; less than `size`.

    Returns:
        (y0, y1, x0, x1) of each patch, y1 and x1 exclusive, row by row.

    Source: iSAID development kit, preprocess/split.py.
    """
    if height <= size or width <= size:
        return [(0, height, 0, width)]
    return [(y, y + size, x, x + size) for y in _starts(height, size, overlap) for x in _starts(width, size, overlap)]


def _starts(length: int, size: int, overlap: int) -> list[int]:
    return sorted({min(start, length - size) for start in range(0, length, size - overlap)})
