"""The run-length code of Label Studio's brush: four equal channels of 8 bits, in rows.

Source: label_studio_sdk's converter/brush.py, whose code is that of the JavaScript package rle-pack.
"""

from collections.abc import Sequence

import numpy as np

from insight.errors import InputError

_CHANNELS, _WORD = 4, 8
_SIZES = (4, 8, 12, 16)  # bits of a run's length, of which each run names one


def encode_brush(mask: np.ndarray) -> list[int]:
    """Encode a mask.

    Args:
        mask: (H, W) bool, of the whole image.

    Returns:
        Bytes.
    """
    flat = np.asarray(mask, bool).ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.concatenate([starts, [flat.size]])) * _CHANNELS
    bits = [f"{flat.size * _CHANNELS:032b}", f"{_WORD - 1:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    for value, length in zip(flat[starts].tolist(), lengths.tolist()):
        while length:
            run = min(length, 1 << _SIZES[-1])
            kind = next(i for i, size in enumerate(_SIZES) if run <= 1 << size)
            bits.append(f"1{kind:02b}{run - 1:0{_SIZES[kind]}b}{255 * value:0{_WORD}b}")
            length -= run
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def decode_brush(code: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Decode a mask.

    Args:
        code: bytes.
        size: (height, width) of the image in pixels.

    Returns:
        (height, width) bool: where the last channel is not 0.

    Raises:
        InputError: the code is damaged or of another size.
    """
    height, width = size
    total = height * width * _CHANNELS
    try:
        bits = "".join(f"{byte:08b}" for byte in bytes(code))
        count, word = int(bits[:32], 2), int(bits[32:37], 2) + 1
        sizes = [int(bits[37 + 4 * i : 41 + 4 * i], 2) + 1 for i in range(4)]
        if count != total:
            raise InputError(f"rle: expected {total} values for an image of {width} x {height}, got {count}")
        values, place, at = np.zeros(count, bool), 53, 0
        while at < count:
            is_run, length_bits = bits[place] == "1", sizes[int(bits[place + 1 : place + 3], 2)]
            place += 3
            end = at + 1 + int(bits[place : place + length_bits], 2)
            place += length_bits
            if is_run:
                values[at:end] = int(bits[place : place + word], 2) > 0
                place += word
            else:
                for i in range(at, min(end, count)):
                    values[i] = int(bits[place : place + word], 2) > 0
                    place += word
            at = end
    except (ValueError, IndexError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("rle: damaged brush of Label Studio") from error
    return values.reshape(height, width, _CHANNELS)[..., -1]
