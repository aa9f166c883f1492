"""Windowed attention over a token grid that the window does not divide, without padding the grid."""

from collections.abc import Callable

import torch
from torch import Tensor


def attend_windows(tokens: Tensor, window: int, attend: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function to every window of a grid; windows at the right and lower border are cut to the grid.

    SAM and TinyViT pad the grid up to a multiple of the window instead, and compute on the padding: at 256 pixels
    input a 16 x 16 grid becomes 28 x 28, two thirds of it padding. The padding tokens are constant, so the
    attention function can account for them with one constant key (`padding_logit`) and none need be computed.

    Args:
        tokens: (B, H, W, C).
        window: side of a window, tokens.
        attend: maps (M, h, w, C) to (M, h, w, D) for M windows of equal size, h <= window and w <= window.

    Returns:
        (B, H, W, D).
    """
    rows = []
    for top, bottom, h in _spans(tokens.shape[1], window):
        row = [
            _attend_region(tokens[:, top:bottom, left:right], h, w, attend)
            for left, right, w in _spans(tokens.shape[2], window)
        ]
        rows.append(torch.cat(row, 2))
    return torch.cat(rows, 1)


def padding_logit(rows: Tensor, columns: Tensor, height: int, width: int) -> Tensor:
    """The logit of one key that stands for all padding keys of a window.

    All padding keys share one key vector and one value vector and differ only in their position bias, so
    sum_j exp(q k + bias_j) = exp(q k + logsumexp_j bias_j): a single key with that bias gives the same softmax.

    Args:
        rows: (..., window) bias of each query for each row of keys of the whole window.
        columns: (..., window) the same for the columns; the bias of a key is the sum of both.
        height: rows of the window that hold tokens.
        width: columns of the window that hold tokens; not both equal to the window.

    Returns:
        (...) the log of the summed exponentials over the keys outside height x width.
    """
    below = rows[..., height:], columns
    beside = rows[..., :height], columns[..., width:]
    logits = [r.logsumexp(-1) + c.logsumexp(-1) for r, c in (below, beside) if r.shape[-1] and c.shape[-1]]
    return torch.stack(logits).logsumexp(0)


def _spans(length: int, window: int) -> list[tuple[int, int, int]]:
    """(start, end, window side) of the run of full windows and of the cut one, whichever exist."""
    full = length - length % window
    spans = [(0, full, window), (full, length, length - full)]
    return [span for span in spans if span[0] < span[1]]


def _attend_region(region: Tensor, h: int, w: int, attend: Callable[[Tensor], Tensor]) -> Tensor:
    b, height, width, c = region.shape
    rows, columns = height // h, width // w
    windows = region.reshape(b, rows, h, columns, w, c).transpose(2, 3).reshape(b * rows * columns, h, w, c)
    out = attend(windows)
    d = out.shape[-1]
    return out.reshape(b, rows, columns, h, w, d).transpose(2, 3).reshape(b, height, width, d)
