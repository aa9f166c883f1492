"""The stream of training batches: a function of seed and iteration, so that it can start at any iteration."""

import logging
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetFromList, get_detection_dataset_dicts
from detectron2.data.build import trivial_batch_collator
from detectron2.data.samplers import RandomSubsetTrainingSampler, RepeatFactorTrainingSampler, TrainingSampler
from detectron2.utils import comm

from insight.data.mappers.detection import quarter_turns
from insight.errors import InputError

from .launch import check_batch

_logger = logging.getLogger(__name__)

SAMPLE, ITERATION = 1, 2  # purposes of derived seeds


def derive_seed(*parts: int) -> int:
    """Mix integers into a 32-bit seed."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


class BatchStream(torch.utils.data.Sampler):
    """Endless batches of (index, seed) for `SeededDataset`.

    The order of images and the seed of each image's augmentations depend only on `seed` and on the position in the
    stream, not on the number of loading processes or on where the training was interrupted.

    Args:
        indices: endless indices of this process's share of the data (a Detectron2 training sampler).
        batch_size: images per batch and process.
        seed: seed of the run, >= 0.
        group_of: maps (index, seed of its augmentations) to a group; a batch holds images of one group. None: any
            images are batched together.

    Attributes:
        start: iteration of the first batch.
    """

    def __init__(
        self,
        indices: Iterable[int],
        batch_size: int,
        seed: int,
        group_of: Callable[[int, int], Hashable] | None = None,
    ):
        self.indices, self.batch_size, self.seed, self.group_of = indices, batch_size, seed, group_of
        self.start = 0
        self._rank, self._world_size = comm.get_rank(), comm.get_world_size()

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        waiting = defaultdict(list)
        iteration = 0
        for k, index in enumerate(self.indices):
            place = k * self._world_size + self._rank
            group = self.group_of(index, derive_seed(self.seed, place, SAMPLE)) if self.group_of is not None else None
            batch = waiting[group]
            batch.append((index, place))
            if len(batch) < self.batch_size:
                continue
            if iteration >= self.start:
                yield [(i, derive_seed(self.seed, place, SAMPLE)) for i, place in batch]
            batch.clear()
            iteration += 1


class SeededDataset(torch.utils.data.Dataset):
    """Detectron2's dataset dicts through a mapper, with the seed of the augmentations in "sample_seed".

    Args:
        dataset: dataset dicts.
        mapper: maps a dataset dict to a model input.
    """

    def __init__(self, dataset: Sequence[dict], mapper: Callable[[dict], dict]):
        self.dataset, self.mapper = dataset, mapper

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> dict:
        index, seed = key
        return self.mapper({**self.dataset[index], "sample_seed": seed})


def build_train_loader(
    cfg: CfgNode, mapper: Callable[[dict], dict], seed: int, split: Callable[[list[dict]], list[dict]] | None = None
) -> torch.utils.data.DataLoader:
    """Build the loader of DATASETS.TRAIN, by Detectron2's DATALOADER and SOLVER.IMS_PER_BATCH keys.

    Args:
        cfg: the config.
        mapper: maps a dataset dict with "sample_seed" to a model input. With INPUT.ROTATE_90 and
            DATALOADER.ASPECT_RATIO_GROUPING it must rotate images by `quarter_turns(sample_seed)`, as
            `PromptDatasetMapper` does.
        seed: seed of the run, the same in every process.
        split: maps the images' dataset dicts to those of the samples; None: a sample is an image.

    Returns:
        An endless loader of lists of model inputs; set `loader.batch_sampler.start` to begin at another iteration.

    Raises:
        InputError: SOLVER.IMS_PER_BATCH does not divide among the processes, an unknown DATALOADER.SAMPLER_TRAIN, or
            no image with annotations.
    """
    world_size = comm.get_world_size()
    check_batch(cfg.SOLVER.IMS_PER_BATCH, world_size)
    try:
        dicts = get_detection_dataset_dicts(cfg.DATASETS.TRAIN, filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS)
    except AssertionError as error:
        if not str(error).startswith("No valid data"):
            raise
        raise InputError(f"DATASETS.TRAIN: {error} Images need annotations other than crowds") from error
    if split is not None:
        dicts = split(dicts)
        if not dicts:
            raise InputError(
                f"DATASETS.TRAIN, {', '.join(cfg.DATASETS.TRAIN)}: no annotation has a mask to learn from; "
                "`insight annotate` makes masks from boxes"
            )

    used = len(dicts) if cfg.DATALOADER.SAMPLER_TRAIN != "RandomSubsetTrainingSampler" else None
    if used:
        steps, batch = cfg.SOLVER.MAX_ITER, cfg.SOLVER.IMS_PER_BATCH
        _logger.info(f"{used} samples are trained on: {steps} steps of {batch} are {steps * batch / used:.1f} epochs")

    def landscape(index: int, sample_seed: int) -> bool:
        sides = dicts[index]["width"], dicts[index]["height"]
        rotated = cfg.INPUT.ROTATE_90 and quarter_turns(sample_seed) % 2
        width, height = sides[::-1] if rotated else sides
        return width > height

    # A batch of landscape and portrait images would be mostly padding.
    group_of = landscape if cfg.DATALOADER.ASPECT_RATIO_GROUPING else None
    stream = BatchStream(_sampler(cfg, dicts, seed), cfg.SOLVER.IMS_PER_BATCH // world_size, seed, group_of)
    return torch.utils.data.DataLoader(
        SeededDataset(DatasetFromList(dicts, copy=False), mapper),
        batch_sampler=stream,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=trivial_batch_collator,
    )


def _sampler(cfg: CfgNode, dicts: list[dict], seed: int) -> Iterable[int]:
    name = cfg.DATALOADER.SAMPLER_TRAIN
    if name == "TrainingSampler":
        return TrainingSampler(len(dicts), seed=seed)
    if name == "RepeatFactorTrainingSampler":
        factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
            dicts, cfg.DATALOADER.REPEAT_THRESHOLD, sqrt=cfg.DATALOADER.REPEAT_SQRT
        )
        return RepeatFactorTrainingSampler(factors, seed=seed)
    if name == "RandomSubsetTrainingSampler":
        ratio = cfg.DATALOADER.RANDOM_SUBSET_RATIO
        return RandomSubsetTrainingSampler(len(dicts), ratio, seed_shuffle=seed, seed_subset=seed)
    known = "TrainingSampler, RepeatFactorTrainingSampler, RandomSubsetTrainingSampler"
    raise InputError(f"DATALOADER.SAMPLER_TRAIN: expected one of {known}, got {name!r}")
