"""Random draws that depend on the image alone."""

import zlib


def image_seed(image_id: int | str) -> int:
    """A seed for an image, the same in every process and on every machine.

    Args:
        image_id: of a COCO file, where ids may be text.

    Returns:
        The id itself if it is a number.
    """
    return zlib.crc32(image_id.encode()) if isinstance(image_id, str) else image_id
