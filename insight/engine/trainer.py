"""The trainer: Detectron2's, with our data, evaluator, optimizer and step, and exact resumption."""

import functools
import logging
import weakref
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog, build_detection_test_loader
from detectron2.engine import DefaultTrainer, HookBase, TrainerBase, create_ddp_model
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import CommonMetricPrinter
from detectron2.utils.logger import setup_logger

import insight.modeling.registration  # noqa: F401 (a config may come from another process)
from insight.config import gives_masks, semantic_classes
from insight.data.datasets.coco import require_class_count, require_classes_of_model, require_same_classes
from insight.data.formats.label_maps import with_usable_label_maps
from insight.data.mappers.detection import PromptDatasetMapper
from insight.evaluation import CocoEvaluator
from insight.modeling.checkpointer import Checkpointer
from insight.modeling.prompt import projects_prompts
from insight.runtime.machine import describe_machine

from .heartbeat import Heartbeat
from .optimizer import build_optimizer
from .results import RESULTS, by_dataset, config_digest, write_config, write_results
from .step import TrainStep
from .stream import build_train_loader

_WITH_ROI_HEADS = ("GeneralizedRCNN", "PromptRCNN")


class Trainer(DefaultTrainer):
    """Train and evaluate what a config describes.

    A training that was interrupted and resumed gives the same losses as one that was not, if SEED is set: the batch,
    the augmentations and the model's own random choices of each iteration follow from SEED and the iteration.

    Args:
        cfg: the config.
    """

    def __init__(self, cfg: CfgNode):
        # Not DefaultTrainer's own constructor: it knows mixed precision and several processes on GPUs only.
        TrainerBase.__init__(self)
        if not logging.getLogger("detectron2").isEnabledFor(logging.INFO):  # used as a library, without `setup`
            setup_logger()
        self._given, self._made = cfg, describe_machine(torch.device(cfg.MODEL.DEVICE))
        cfg = DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())
        self.cfg = cfg
        self.check_config(cfg)
        seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()
        seed_all_rng(seed)  # of the initial weights
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        loader = self.build_train_loader(cfg, seed)
        on_gpu = torch.device(cfg.MODEL.DEVICE).type == "cuda"
        if not on_gpu:  # a CPU trains faster so (docs/results/speed.md)
            model = model.to(memory_format=torch.channels_last)
        device_ids = [comm.get_local_rank()] if on_gpu else None
        model = create_ddp_model(model, broadcast_buffers=False, device_ids=device_ids)
        self._trainer = TrainStep(model, loader, optimizer, seed=seed, mixed_precision=cfg.SOLVER.AMP.ENABLED)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = Checkpointer(model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self))
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.register_hooks(self.build_hooks())

    def build_hooks(self) -> list[HookBase]:
        """Detectron2's hooks, and a sign of life."""
        heartbeat = [Heartbeat(CommonMetricPrinter(self.max_iter))] if comm.is_main_process() else []
        return super().build_hooks() + heartbeat

    def train(self) -> dict:
        """Train to the last iteration and evaluate; OUTPUT_DIR has config.yaml and, in the end, results.json.

        Returns:
            The results of the last evaluation, as `Trainer.test` gives them.
        """
        if comm.is_main_process():
            write_config(self._given)
        super().train()
        if comm.is_main_process():
            write_results(
                Path(self.cfg.OUTPUT_DIR, RESULTS),
                by_dataset(self.cfg, self._last_eval_results),
                config=config_digest(self._given),
                iteration=self.max_iter,
                made=self._made,
            )
        return self._last_eval_results

    def resume_or_load(self, resume: bool = True) -> None:
        """Go on from the last checkpoint of OUTPUT_DIR, or start from MODEL.WEIGHTS.

        Args:
            resume: go on, if OUTPUT_DIR has a checkpoint.
        """
        super().resume_or_load(resume)
        self.data_loader.batch_sampler.start = self.start_iter
        if self.start_iter >= self.max_iter:
            logger = logging.getLogger(__name__)
            logger.warning(f"Iteration {self.start_iter} of {self.max_iter} is reached: nothing to train")
        if self.start_iter == self.max_iter and not Path(self.cfg.OUTPUT_DIR, "model_final.pth").is_file():
            self.checkpointer.save("model_final", iteration=self.max_iter - 1)  # it was killed just before that

    def state_dict(self) -> dict:
        """Detectron2's state, and the class names, so that a checkpoint can be used without its data set."""
        names = MetadataCatalog.get(self.cfg.DATASETS.TRAIN[0]).get("thing_classes")
        return {**super().state_dict(), "class_names": names}

    def load_state_dict(self, state_dict: dict) -> None:
        """Take up a training where it stopped.

        Args:
            state_dict: of `state_dict`.

        Raises:
            ValueError: it was of other classes, or of these in another order.
        """
        self.check_classes(self.cfg, self.cfg.DATASETS.TRAIN, trained=state_dict.get("class_names") or ())
        super().load_state_dict(state_dict)

    @classmethod
    def check_config(cls, cfg: CfgNode) -> None:
        """Before a training: whatever would be found wrong only when it has ended, or not at all.

        Raises:
            OSError, ValueError: a data set or an image of it is not there; no training set, no iteration; data sets
                whose classes are not each other's or not as many as the model's; TEST keys that cannot be used.
        """
        if not cfg.DATASETS.TRAIN:
            raise ValueError("DATASETS.TRAIN is empty: name a data set, in a --config-file or behind the key")
        if cfg.SOLVER.MAX_ITER < 1:
            raise ValueError(f"SOLVER.MAX_ITER: expected at least 1, got {cfg.SOLVER.MAX_ITER}")
        cls.check_classes(cfg, [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])
        for name in cfg.DATASETS.TEST:
            DatasetCatalog.get(name)
            cls.build_evaluator(cfg, name)

    @classmethod
    def check_classes(cls, cfg: CfgNode, names: Sequence[str], trained: Sequence[str] = ()) -> None:
        """Whether a model and data sets have the same classes.

        Args:
            cfg: the config.
            names: of the data sets.
            trained: the classes that the model was trained on, if they are known.
        """
        require_same_classes(names)
        if cfg.MODEL.META_ARCHITECTURE in _WITH_ROI_HEADS:
            for name in names:
                require_class_count(cfg.MODEL.ROI_HEADS.NUM_CLASSES, name)
        if trained:
            for name in names:
                require_classes_of_model(trained, name)

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: torch.nn.Module) -> torch.optim.Optimizer:
        """One in which prompts' projections learn MODEL.PROMPT.PROJECTION_LR_FACTOR times as fast."""
        factor = cfg.MODEL.PROMPT.PROJECTION_LR_FACTOR
        return build_optimizer(cfg, model, lr_factor=lambda name: factor if projects_prompts(name) else 1.0)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode, seed: int = 0) -> torch.utils.data.DataLoader:
        """See `insight.engine.stream.build_train_loader`."""
        labels, strict = semantic_classes(cfg), cfg.DATASETS.BAD == "strict"
        needed = bool(cfg.MODEL.SCNET.SEMANTIC.NUM_CLASSES)
        split = functools.partial(with_usable_label_maps, num_classes=labels, strict=strict, needed=needed)
        return build_train_loader(cfg, PromptDatasetMapper(cfg, is_train=True), seed, split if labels else None)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> torch.utils.data.DataLoader:
        """Detectron2's loader of a test set, with our mapper."""
        return build_detection_test_loader(cfg, dataset_name, mapper=PromptDatasetMapper(cfg, is_train=False))

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        """COCO AP as the config's TEST keys have it."""
        if cfg.TEST.BOUNDARY_AP and not gives_masks(cfg):
            logger = logging.getLogger(__name__)
            logger.warning("TEST.BOUNDARY_AP: a model with MODEL.MASK_ON False has no masks; boxes alone are evaluated")
        of_masks = ("segm", "boundary") if cfg.TEST.BOUNDARY_AP else ("segm",)
        return CocoEvaluator(
            dataset_name,
            output_dir=f"{cfg.OUTPUT_DIR}/inference",
            max_dets=cfg.TEST.MAX_DETS,
            area_profile=cfg.TEST.AREA_PROFILE,
            tasks=("bbox", *of_masks) if gives_masks(cfg) else ("bbox",),
            boundary_ratio=cfg.TEST.BOUNDARY_RATIO,
        )
