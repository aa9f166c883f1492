"""Windowed attention over a token grid that the window does not divide, without padding the grid."""

from collections.abc import Callable

import torch
from torch import Tensor


def attend_windows(tokens: Tensor, window: int, attend: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function to every window of a grid; windows at the right and lower border are cut off at the grid.

    SAM and TinyViT pad the grid to a multiple of the window instead, and compute on the padding: for 256 pixels a
    16 x 16 grid becomes 28 x 28, two thirds of it padding. As padding tokens are constant, the attention function can
    account for all of them with one constant key (`padding_logit`).

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
    """Compute the bias of one key that replaces all padding keys of a window.

    All padding keys share one key vector and one value vector and differ only in their position bias, so
    sum_j exp(q k + bias_j) = exp(q k + logsumexp_j bias_j): a single key with that bias gives the same softmax.

    Args:
        rows: (..., window) bias of each query for each row of keys of the whole window.
        columns: (..., window) the same for the columns; the bias of a key is the sum of both.
        height: number of rows of the window within the grid.
        width: number of columns of the window within the grid; not both equal to the window.

    Returns:
        (...) the logsumexp of the biases of the keys outside height x width.
    """
    below = rows[..., height:], columns
    beside = rows[..., :height], columns[..., width:]
    logits = [r.logsumexp(-1) + c.logsumexp(-1) for r, c in (below, beside) if r.shape[-1] and c.shape[-1]]
    return torch.stack(logits).logsumexp(0)


def _spans(length: int, window: int) -> list[tuple[int, int, int]]:
    """(start, end, window side) of the full windows and of the cut one, as far as they exist."""
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
