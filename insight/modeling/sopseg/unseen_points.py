"""Prompts without the points that their crops do not show."""

import functools
from collections.abc import Callable, Iterator

from insight.structures.crop_plans import CropPlan, split_off_unseen_points
from insight.structures.prompts import Prompts


def without_unseen_points(segment: Callable[..., Iterator]) -> Callable[..., Iterator]:
    """Decorate `segment_objects` so that background points outside a prompt's crop do not influence its mask."""

    @functools.wraps(segment)
    def run(model, image, prompts: Prompts, plan: CropPlan, *args, **kwargs) -> Iterator:
        for rows, part, part_plan in split_off_unseen_points(prompts, plan):
            for found in segment(model, image, part, part_plan, *args, **kwargs):
                yield found._replace(index=rows.to(found.index.device)[found.index])
                del found

    return run
