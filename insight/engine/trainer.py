"""Detectron2's trainer with insight's data, evaluator, optimizer and step, and exact resumption."""

import contextlib
import functools
import logging
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog, build_detection_test_loader
from detectron2.engine import DefaultTrainer, HookBase, TrainerBase, create_ddp_model, hooks
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import CommonMetricPrinter
from detectron2.utils.logger import setup_logger

from insight.checkpoint import CheckpointError
from insight.config import gives_masks, semantic_classes
from insight.data.datasets.coco import require_class_count, require_classes_of_model, require_same_classes
from insight.data.formats.label_maps import with_usable_label_maps
from insight.data.mappers.detection import PromptDatasetMapper
from insight.errors import InputError, InsightError
from insight.evaluation import CocoEvaluator
from insight.modeling.checkpointer import Checkpointer
from insight.modeling.prompt import projects_prompts
from insight.runtime.machine import describe_machine

from .heartbeat import Heartbeat
from .launch import scaled_to_processes
from .optimizer import build_optimizer
from .results import RESULTS, by_dataset, config_digest, write_config, write_results
from .step import TrainStep
from .stream import build_train_loader
from .validation import Validation, validation_subset

_WITH_ROI_HEADS = ("GeneralizedRCNN", "PromptRCNN")


class Trainer(DefaultTrainer):
    """Train and evaluate the detector that a config describes.

    With SEED set, an interrupted and resumed training gives the same losses as an uninterrupted one: the batch, the
    augmentations and the model's own random choices in each iteration are functions of SEED and the iteration.

    Args:
        cfg: the config.
    """

    def __init__(self, cfg: CfgNode):
        # Not DefaultTrainer's constructor, which supports mixed precision and several processes on GPUs only.
        TrainerBase.__init__(self)
        if not logging.getLogger("detectron2").isEnabledFor(logging.INFO):  # used as a library, without `prepared_run`
            setup_logger()
        self._given, self._made = cfg, describe_machine(torch.device(cfg.MODEL.DEVICE))
        cfg = scaled_to_processes(cfg, comm.get_world_size())
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
        """Build Detectron2's hooks, the validation and, in the main process, a heartbeat."""
        found = super().build_hooks()
        for hook in found:
            if isinstance(hook, hooks.PeriodicCheckpointer) and self.cfg.SOLVER.CHECKPOINTS_TO_KEEP:
                hook.max_to_keep = self.cfg.SOLVER.CHECKPOINTS_TO_KEEP
        period = self.validation_period(self.cfg, len(self.data_loader.dataset))
        if period:
            whole = self.cfg.TEST.EVAL_PERIOD > 0

            def measure() -> dict:
                return by_dataset(self.cfg, self._last_eval_results) if whole else self.validate(self.cfg, self.model)

            at = next(i for i, hook in enumerate(found) if isinstance(hook, hooks.EvalHook)) + 1
            found.insert(at, Validation(period, measure, self.checkpointer))
        heartbeat = [Heartbeat(CommonMetricPrinter(self.max_iter))] if comm.is_main_process() else []
        return found + heartbeat

    @classmethod
    def validation_period(cls, cfg: CfgNode, samples: int) -> int:
        """Return the number of iterations between validations: TEST.EVAL_PERIOD, or an epoch; 0 for none.

        Args:
            cfg: the config.
            samples: number of training samples.
        """
        if not cfg.DATASETS.TEST:
            return 0
        if cfg.TEST.EVAL_PERIOD > 0:
            return cfg.TEST.EVAL_PERIOD
        return max(1, -(-samples // cfg.SOLVER.IMS_PER_BATCH)) if cfg.TEST.VALIDATION_IMAGES else 0

    @classmethod
    def validate(cls, cfg: CfgNode, model: torch.nn.Module) -> dict:
        """Evaluate on TEST.VALIDATION_IMAGES images of each test set.

        Args:
            cfg: the config.
            model: the model.

        Returns:
            {dataset: {task: {metric: value}}}; empty in processes other than the main one.
        """
        results = {}
        with cls.evaluating(model):
            for name in dict.fromkeys(cfg.DATASETS.TEST):
                chosen = validation_subset(name, cfg.TEST.VALIDATION_IMAGES)
                evaluator = cls.build_evaluator(cfg, name)
                evaluator.output_dir = None
                evaluator.image_ids = {entry["image_id"] for entry in chosen}
                loader = build_detection_test_loader(
                    chosen, mapper=PromptDatasetMapper(cfg, is_train=False), num_workers=cfg.DATALOADER.NUM_WORKERS
                )
                results[name] = inference_on_dataset(model, loader, evaluator)
        return results if comm.is_main_process() else {}

    @staticmethod
    @contextlib.contextmanager
    def evaluating(model: torch.nn.Module) -> Iterator[None]:
        """Let the model give masks as run-length codes while the block runs, if it can."""
        able = [module for module in model.modules() if hasattr(module, "rle_masks")]
        for module in able:
            module.rle_masks = True
        try:
            yield
        finally:
            for module in able:
                module.rle_masks = False

    @classmethod
    def test(cls, cfg: CfgNode, model: torch.nn.Module, evaluators: list[DatasetEvaluator] | None = None) -> dict:
        """Evaluate as Detectron2, with masks as run-length codes."""
        with cls.evaluating(model):
            return super().test(cfg, model, evaluators)

    def train(self) -> dict:
        """Train to the last iteration and evaluate; write config.yaml and, at the end, results.json to OUTPUT_DIR.

        Returns:
            The results of the last evaluation, as `Trainer.test` returns them.
        """
        if comm.is_main_process():
            write_config(self._given)
        with _user_errors_without_traceback():
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

    def after_train(self) -> None:
        """Run Detectron2's hooks; after a failure without evaluation, so that the original error is reported."""
        if self.iter >= self.max_iter:
            super().after_train()
            return
        for hook in self._hooks:
            if not isinstance(hook, hooks.EvalHook):
                with contextlib.suppress(OSError):  # of a disk that is full already
                    hook.after_train()

    def resume_or_load(self, resume: bool = True) -> None:
        """Resume from the last checkpoint of OUTPUT_DIR, or start from MODEL.WEIGHTS.

        Args:
            resume: resume, if OUTPUT_DIR has a checkpoint.

        Raises:
            InputError: the checkpoint has been trained for more than SOLVER.MAX_ITER iterations.
        """
        super().resume_or_load(resume)
        self.data_loader.batch_sampler.start = self.start_iter
        earlier = Path(self.cfg.OUTPUT_DIR).glob(f"model_{7 * '[0-9]'}.pth")
        resumed = [str(path) for path in sorted(earlier) if int(path.stem[-7:]) < self.start_iter]
        for hook in self._hooks:
            if isinstance(hook, hooks.PeriodicCheckpointer):
                hook.recent_checkpoints = resumed  # which count among those to keep; another training's do not
        if self.start_iter < self.max_iter:
            return
        if self.start_iter > self.max_iter:
            raise InputError(
                f"SOLVER.MAX_ITER: expected at least {self.start_iter}, as many iterations as the checkpoint in "
                f"{self.cfg.OUTPUT_DIR} has been trained for, got {self.max_iter}"
            )
        logging.getLogger(__name__).warning(
            f"iteration {self.start_iter} of SOLVER.MAX_ITER {self.max_iter} is reached: there is nothing to train"
        )
        if not Path(self.cfg.OUTPUT_DIR, "model_final.pth").is_file():
            self.checkpointer.save("model_final", iteration=self.max_iter - 1)  # it was killed just before that

    def state_dict(self) -> dict:
        """Return Detectron2's state and the class names, so that a checkpoint can be used without its dataset."""
        names = MetadataCatalog.get(self.cfg.DATASETS.TRAIN[0]).get("thing_classes")
        return {**super().state_dict(), "class_names": names}

    def load_state_dict(self, state_dict: dict) -> None:
        """Continue a training run where it stopped.

        Args:
            state_dict: the output of `state_dict`.

        Raises:
            CheckpointError: the state is damaged or of another optimizer.
            InputError: the checkpoint was trained on other classes or another order of them.
        """
        if not isinstance(state_dict, dict) or not isinstance(state_dict.get("iteration"), int):
            raise CheckpointError(
                f"{self.cfg.OUTPUT_DIR}: the checkpoint's training state is damaged; train from scratch"
            )
        self.check_classes(self.cfg, self.cfg.DATASETS.TRAIN, trained=state_dict.get("class_names") or ())
        try:
            saved, ours = state_dict["_trainer"]["optimizer"], self._trainer.optimizer.state_dict()
            if _optimizer_kind(saved) != _optimizer_kind(ours):  # torch would fail in the first step alone
                raise ValueError(f"it is of another optimizer than SOLVER.OPTIMIZER {self.cfg.SOLVER.OPTIMIZER}")
            super().load_state_dict(state_dict)
        except (LookupError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{self.cfg.OUTPUT_DIR}: the checkpoint's training state does not fit the config ({error!r:.200}); "
                "resume with the config that the training was started with"
            ) from error

    @classmethod
    def check_config(cls, cfg: CfgNode) -> None:
        """Check before training what would otherwise fail at the end or not at all.

        Args:
            cfg: the config.

        Raises:
            InputError: no training set or no iteration; datasets whose classes differ from each other or in number from
                the model's; or invalid TEST keys.
            OSError: a dataset or one of its images is missing.
        """
        if not cfg.DATASETS.TRAIN:
            raise InputError("DATASETS.TRAIN: expected the name of at least one dataset, got none")
        if cfg.SOLVER.MAX_ITER < 1:
            raise InputError(f"SOLVER.MAX_ITER: expected at least 1, got {cfg.SOLVER.MAX_ITER}")
        cls.check_classes(cfg, [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])
        cls.check_evaluation(cfg)

    @classmethod
    def check_evaluation(cls, cfg: CfgNode) -> None:
        """Check before an evaluation what does not depend on the weights.

        Args:
            cfg: the config.

        Raises:
            InputError: test datasets whose classes differ from each other or in number from the model's; or invalid
                TEST keys.
            OSError: a dataset or one of its images is missing.
        """
        cls.check_classes(cfg, cfg.DATASETS.TEST)
        for name in cfg.DATASETS.TEST:
            DatasetCatalog.get(name)
            cls.build_evaluator(cfg, name)

    @classmethod
    def check_classes(cls, cfg: CfgNode, names: Sequence[str], trained: Sequence[str] = ()) -> None:
        """Check that a model and datasets have the same classes.

        Args:
            cfg: the config.
            names: names of the datasets.
            trained: names of the classes that the model was trained on, if known.

        Raises:
            InputError: the classes differ.
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
        """Build the optimizer, with MODEL.PROMPT.PROJECTION_LR_FACTOR on the rate of the prompts' projections."""
        factor = cfg.MODEL.PROMPT.PROJECTION_LR_FACTOR
        return build_optimizer(cfg, model, lr_factor=lambda name: factor if projects_prompts(name) else 1.0)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode, seed: int = 0) -> torch.utils.data.DataLoader:
        """Build the training loader; see `insight.engine.stream.build_train_loader`."""
        labels, strict = semantic_classes(cfg), cfg.DATASETS.BAD == "strict"
        needed = bool(cfg.MODEL.SCNET.SEMANTIC.NUM_CLASSES)
        split = functools.partial(with_usable_label_maps, num_classes=labels, strict=strict, needed=needed)
        return build_train_loader(cfg, PromptDatasetMapper(cfg, is_train=True), seed, split if labels else None)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> torch.utils.data.DataLoader:
        """Build Detectron2's test loader with insight's mapper."""
        return build_detection_test_loader(cfg, dataset_name, mapper=PromptDatasetMapper(cfg, is_train=False))

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        """Build the evaluator of COCO AP that the config's TEST keys ask for."""
        if cfg.TEST.BOUNDARY_AP and not gives_masks(cfg):
            logger = logging.getLogger(__name__)
            logger.warning("TEST.BOUNDARY_AP has no effect: MODEL.MASK_ON is False, so only boxes are evaluated")
        of_masks = ("segm", "boundary") if cfg.TEST.BOUNDARY_AP else ("segm",)
        return CocoEvaluator(
            dataset_name,
            output_dir=f"{cfg.OUTPUT_DIR}/inference",
            max_dets=cfg.TEST.MAX_DETS,
            area_profile=cfg.TEST.AREA_PROFILE,
            tasks=("bbox", *of_masks) if gives_masks(cfg) else ("bbox",),
            boundary_ratio=cfg.TEST.BOUNDARY_RATIO,
        )


def _optimizer_kind(state: dict) -> set[str]:
    """The setting that distinguishes SGD from Adam in a saved state; others vary between versions of torch."""
    return {"momentum", "betas"}.intersection(state["param_groups"][0])


@contextlib.contextmanager
def _user_errors_without_traceback() -> Iterator[None]:
    """Keep Detectron2's training loop from logging tracebacks of errors that the command line reports in one line."""
    logger = logging.getLogger("detectron2.engine.train_loop")

    def is_ours(record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], InsightError | OSError))

    logger.addFilter(is_ours)
    try:
        yield
    finally:
        logger.removeFilter(is_ours)
