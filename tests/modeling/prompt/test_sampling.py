import pytest
import torch

from insight.modeling.prompt import sample_box_prompts

SIZE = (300, 400)


def boxes(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(n, 2, generator=generator) * torch.tensor([350.0, 250.0])
    return torch.cat([corner, corner + 5 + torch.rand(n, 2, generator=generator) * 45], dim=1)


def test_boxes_stay_inside_the_image_and_are_not_empty():
    edge = torch.tensor([[0.0, 0, 400, 300], [390, 290, 400, 300], [50, 50, 50, 90]])
    for seed in range(20):
        torch.manual_seed(seed)
        prompts = sample_box_prompts(edge, 1.0, 0.4, SIZE)
        assert len(prompts) == 2  # the empty one is dropped
        assert (prompts >= 0).all() and (prompts <= torch.tensor([400.0, 300, 400, 300])).all()
        assert (prompts[:, 2:] > prompts[:, :2]).all()


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_about_the_fraction_is_chosen(fraction):
    torch.manual_seed(0)
    assert len(sample_box_prompts(boxes(5000), fraction, 0.1, SIZE)) / 5000 == pytest.approx(fraction, abs=0.03)


def test_a_seed_repeats_the_draw():
    draws = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        draws.append(sample_box_prompts(boxes(50), 0.5, 0.1, SIZE))
    assert torch.equal(draws[0], draws[1])
    assert draws[0].shape != draws[2].shape or not torch.equal(draws[0], draws[2])


def test_no_boxes_give_no_prompts():
    assert sample_box_prompts(torch.zeros(0, 4), 1.0, 0.1, SIZE).shape == (0, 4)
