"""Seeds that depend on the image alone."""

import zlib


def image_seed(image_id: int | str) -> int:
    """Derive a seed from an image's id, the same in every process and on every machine.

    Args:
        image_id: id in a COCO file: an integer or a string.

    Returns:
        The id itself if it is an integer that torch takes as a seed.
    """
    if isinstance(image_id, int) and -(2**63) <= image_id < 2**63:
        return image_id
    return zlib.crc32(str(image_id).encode(errors="surrogatepass"))
