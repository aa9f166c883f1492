import itertools

import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from detectron2.data.samplers import TrainingSampler

from insight.data.mappers.detection import PromptDatasetMapper
from insight.engine.stream import BatchStream, SeededDataset, build_train_loader, derive_seed


def batches(stream, count):
    return list(itertools.islice(iter(stream), count))


def test_a_stream_that_starts_later_gives_the_rest_of_the_same_stream():
    groups = [0, 1, 1, 0, 0, 1, 0]
    for grouping in (None, lambda index, seed: groups[index]):
        whole = batches(BatchStream(TrainingSampler(7, seed=3), 2, 11, grouping), 20)
        later = BatchStream(TrainingSampler(7, seed=3), 2, 11, grouping)
        later.start = 13
        assert batches(later, 7) == whole[13:]


def test_batches_hold_images_of_one_group_and_miss_none():
    groups = [0, 1, 1, 0, 0, 1, 0, 0]
    stream = BatchStream(TrainingSampler(8, seed=0), 2, 0, lambda index, seed: groups[index])
    epochs = [index for batch in batches(stream, 40) for index, _ in batch]
    for first, second in zip(epochs[::2], epochs[1::2]):
        assert groups[first] == groups[second]
    counts = np.bincount(epochs, minlength=8)
    assert counts.sum() == 80 and counts.min() >= 9 and counts.max() <= 11


def test_processes_share_one_stream(monkeypatch):
    def of_rank(rank, world_size, count):
        monkeypatch.setattr("detectron2.utils.comm.get_rank", lambda: rank)
        monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: world_size)
        return [sample for batch in batches(BatchStream(TrainingSampler(5, seed=1), 1, 9), count) for sample in batch]

    alone = of_rank(0, 1, 10)
    shared = [sample for pair in zip(of_rank(0, 2, 5), of_rank(1, 2, 5)) for sample in pair]
    assert shared == alone  # indices and augmentation seeds
    assert len({seed for _, seed in alone}) == 10


def test_derived_seeds_differ_in_every_part():
    seeds = {derive_seed(*parts) for parts in itertools.product(range(8), range(8), (1, 2), range(2))}
    assert len(seeds) == 8 * 8 * 2 * 2


@pytest.mark.parametrize("workers", [0, 2])
def test_the_number_of_loading_processes_changes_nothing(tiny_cfg, workers):
    def mapper(sample):
        return sample["image_id"], sample["sample_seed"]

    tiny_cfg.DATALOADER.NUM_WORKERS = workers
    loader = build_train_loader(tiny_cfg, mapper, seed=5)
    got = list(itertools.islice(loader, 9))
    stream = BatchStream(TrainingSampler(6, seed=5), 2, 5, lambda index, seed: 1)
    assert got == [[(index + 1, seed) for index, seed in batch] for batch in batches(stream, 9)]


def test_the_dataset_is_not_changed_by_its_mapper():
    dataset = [{"a": 1}]
    assert SeededDataset(dataset, lambda sample: sample.pop("a") + sample["sample_seed"])[0, 41] == 42
    assert dataset == [{"a": 1}]


@pytest.mark.parametrize("name", ["RepeatFactorTrainingSampler", "RandomSubsetTrainingSampler"])
def test_detectron2s_other_samplers_stream_the_same_twice(tiny_cfg, name):
    tiny_cfg.DATALOADER.SAMPLER_TRAIN = name
    tiny_cfg.DATALOADER.REPEAT_THRESHOLD = 0.9
    tiny_cfg.DATALOADER.RANDOM_SUBSET_RATIO = 0.5
    first, second = (batches(build_train_loader(tiny_cfg, dict, seed=5).batch_sampler, 8) for _ in range(2))
    assert first == second
    if name == "RandomSubsetTrainingSampler":
        assert len({index for batch in first for index, _ in batch}) == 3


def test_wrong_values_name_the_key(tiny_cfg):
    tiny_cfg.SOLVER.IMS_PER_BATCH = 0
    with pytest.raises(ValueError, match="SOLVER.IMS_PER_BATCH is 0"):
        build_train_loader(tiny_cfg, dict, seed=0)
    tiny_cfg.SOLVER.IMS_PER_BATCH = 2
    tiny_cfg.DATALOADER.SAMPLER_TRAIN = "Other"
    with pytest.raises(ValueError, match="DATALOADER.SAMPLER_TRAIN: expected one of TrainingSampler, .* got 'Other'"):
        build_train_loader(tiny_cfg, dict, seed=0)


def test_images_of_crowds_alone_are_told_with_the_key(tiny_cfg, request):
    entry = {"file_name": "a.png", "image_id": 1, "width": 8, "height": 8, "annotations": [{"iscrowd": 1}]}
    DatasetCatalog.register("crowds", lambda: [entry])
    request.addfinalizer(lambda: DatasetCatalog.remove("crowds"))
    tiny_cfg.DATASETS.TRAIN, tiny_cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = ("crowds",), True
    with pytest.raises(
        ValueError,
        match="DATASETS.TRAIN: No valid data found in crowds. Images need annotations other than crowds",
    ):
        build_train_loader(tiny_cfg, dict, seed=0)


def test_a_split_that_leaves_nothing_is_told_with_the_data_set(tiny_cfg):
    with pytest.raises(ValueError, match=f"DATASETS.TRAIN, {tiny_cfg.DATASETS.TRAIN[0]}: no annotation has a mask"):
        build_train_loader(tiny_cfg, dict, seed=0, split=lambda dicts: [])


@pytest.mark.parametrize("crop", [False, True])
def test_a_batch_of_rotated_images_has_one_orientation(tiny_cfg, crop):
    """Quarter turns make portraits of landscapes; mixed in one batch half of it would be padding."""
    tiny_cfg.INPUT.ROTATE_90 = True
    tiny_cfg.INPUT.CROP.ENABLED, tiny_cfg.INPUT.CROP.SIZE = crop, [0.9, 0.9]
    loader = build_train_loader(tiny_cfg, PromptDatasetMapper(tiny_cfg, is_train=True), seed=5)
    orientations = [
        {bool(np.greater(*sample["image"].shape[1:])) for sample in batch} for batch in itertools.islice(loader, 12)
    ]
    assert all(len(found) == 1 for found in orientations)
    assert set.union(*orientations) == {False, True}
