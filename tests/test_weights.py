import torch

from insight.weights import not_finite


def test_the_first_tensor_with_nan_or_infinity_is_named():
    for value in (torch.nan, torch.inf, -torch.inf):
        assert not_finite({"a": torch.ones(3), "b": torch.tensor([1, value]), "c": torch.tensor([value])}) == "b"
    assert not_finite({"a": torch.tensor([torch.inf, -torch.inf])}) == "a"
    assert not_finite({"a": torch.ones(3), "count": torch.tensor(3)}) is None


def test_finite_weights_whose_sum_overflows_are_finite():
    assert not_finite({"a": torch.full((9,), 3e38), "b": torch.full((9,), 6e4, dtype=torch.float16)}) is None
