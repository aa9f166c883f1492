"""Checkpoints that are whole or absent, and that say when they do not fit."""

import os
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode

from insight.runtime.atomic_files import atomic_write
from insight.weights import not_finite


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or of another model."""


class Checkpointer(DetectionCheckpointer):
    """Detectron2's checkpointer, made safe.

    A file appears under its name only when it is whole, and is named in `last_checkpoint` only after that. Files are
    read with `weights_only=True` (Detectron2's .pkl model-zoo files are pickles by nature and the one exception).

    What must fit: to resume, to evaluate and to predict, every parameter. To start a training from other weights, at
    least one tensor; layers that predict, or take, logits of another number of classes start afresh, what is not in the
    file stays initialised, both with a warning that lists it.

    Args:
        model: the model, bare or in DistributedDataParallel.
        save_dir: folder of the checkpoints.
        exact: whether every parameter must fit also where nothing is resumed: for evaluation and prediction.
        checkpointables: as Detectron2's.
    """

    def __init__(self, model: torch.nn.Module, save_dir: str = "", *, exact: bool = False, **checkpointables: Any):
        super().__init__(model, save_dir, **checkpointables)
        self.exact = exact
        self._loading = ("", exact)  # file, whether all must fit

    def save(self, name: str, **kwargs: Any) -> None:
        """Write `<save_dir>/<name>.pth`, then point `last_checkpoint` at it.

        Args:
            name: file name without its ending.
            kwargs: more to save, as in Detectron2.

        Raises:
            OSError: it could not be written; the last checkpoint is still valid.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        state = {key: part.state_dict() for key, part in self.checkpointables.items()}
        path = Path(self.save_dir, f"{name}.pth")
        self.logger.info(f"Saving checkpoint to {path}")
        try:
            with atomic_write(path, "wb") as file:
                torch.save({"model": self.model.state_dict(), **state, **kwargs}, file)
        except RuntimeError as error:  # what torch.save makes of a failed write
            raise OSError(f"{path}: cannot be written, is the disk full? ({str(error).splitlines()[0]})") from error
        self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Point `last_checkpoint` at a file of `save_dir`."""
        with atomic_write(Path(self.save_dir, "last_checkpoint")) as file:
            file.write(last_filename_basename)

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load a checkpoint.

        Args:
            path: the file, or a URL that Detectron2 resolves; empty loads nothing.
            checkpointables: which of the checkpointables to load; None means all: training is resumed.

        Returns:
            What else the file held.

        Raises:
            CheckpointError: the file is missing or damaged, does not fit the model, or holds NaN.
        """
        if not path and self.exact:
            raise CheckpointError("MODEL.WEIGHTS is empty: a model with random weights is of no use here; name a file")
        if _is_absent(path):
            raise CheckpointError(f"{path}: no such checkpoint{self._way_on(path)}")
        self._loading = (path, self.exact or checkpointables is None)
        try:
            more = super().load(path, checkpointables)
        except OSError as error:
            if "://" not in path:
                raise
            raise CheckpointError(f"{path}: cannot be had ({error}); name a file instead, or '' for none") from error
        finally:
            self._parsed_url_during_load = None  # super() leaves it set after an error, and then refuses to load again
        if path and (name := not_finite(self.model.state_dict())) is not None:
            raise CheckpointError(f"{path}: {name} holds NaN or infinity; did its training diverge?")
        return more

    def _load_file(self, filename: str) -> dict[str, Any]:
        try:
            return super()._load_file(filename)
        except OSError:
            raise
        except Exception as error:  # reading foreign bytes as a pickle or an archive may raise anything
            # Of torch's answer only the kind: it advises to read the file as a pickle, which may run what is in it.
            kind = type(error).__name__
            raise CheckpointError(
                f"{filename}: not a checkpoint, damaged, or unsafe to load ({kind}){self._way_on(filename)}"
            ) from error

    def _way_on(self, path: str) -> str:
        """What to do where the last checkpoint, if this is it, cannot be read."""
        if not self.save_dir or os.path.normpath(path) != os.path.normpath(self.get_checkpoint_file()):
            return ""
        others = [other for other in Path(self.save_dir).glob("model_*.pth") if other.name != Path(path).name]
        newest = max(others, key=lambda other: other.stat().st_mtime, default=None)
        advice = f": write another one's name there, such as {newest.name}" if newest else ""
        return f"; {Path(self.save_dir, 'last_checkpoint')} names it{advice}"

    def _torch_load(self, f: str) -> Any:
        return torch.load(f, map_location="cpu", weights_only=True)

    def _log_incompatible_keys(self, incompatible) -> None:
        path, exact = self._loading
        unknown = sorted(incompatible.unexpected_keys)
        reshaped = sorted(incompatible.incorrect_shapes)
        missing = sorted(set(incompatible.missing_keys) - {key for key, _, _ in reshaped})
        problems = []
        if missing and exact:
            problems.append(f"{len(missing)} parameters of the model are not in it ({_first(missing)})")
        if unknown and exact:
            problems.append(f"{len(unknown)} of its parameters are not in the model ({_first(unknown)})")
        counts = [(theirs[0] - 1, ours[0] - 1) for key, theirs, ours in reshaped if key.endswith("cls_score.bias")]
        if counts and exact:  # its last output is the background
            problems.append(f"it was trained for {counts[0][0]} classes, the model has {counts[0][1]}")
        refused = [entry for entry in reshaped if exact or not _hangs_on_classes(*entry)]
        if refused:
            shapes = [
                f"{key}: {tuple(theirs)} in the file, {tuple(ours)} in the model" for key, theirs, ours in refused
            ]
            problems.append(f"{len(refused)} have another shape ({_first(shapes)})")
        if len(missing) == len(self.model.state_dict()):
            problems = ["none of its parameters is in the model"]
        if problems:
            raise CheckpointError(
                f"{path} does not fit the model: {'; '.join(problems)}. "
                "Use the config (and MODEL.ROI_HEADS.NUM_CLASSES) that it was trained with"
            )
        super()._log_incompatible_keys(incompatible)


def require_weights(cfg: CfgNode, resume: bool = False) -> None:
    """Whether the files that a config names for its model are there: at once, and not when each is read.

    Args:
        cfg: the config. URLs are left to Detectron2.
        resume: OUTPUT_DIR's last checkpoint, if there is one, takes the place of MODEL.WEIGHTS.

    Raises:
        CheckpointError: a file is not there.
    """
    named = {}
    if not (resume and Path(cfg.OUTPUT_DIR, "last_checkpoint").is_file()):
        named["MODEL.WEIGHTS"] = cfg.MODEL.WEIGHTS
    if cfg.MODEL.META_ARCHITECTURE == "SOPSEG" and not cfg.MODEL.WEIGHTS:  # which hold all of the model
        named["MODEL.SOPSEG.WEIGHTS"] = cfg.MODEL.SOPSEG.WEIGHTS
    if cfg.MODEL.SOPSEG_BRANCH.ENABLED:
        named["MODEL.SOPSEG_BRANCH.WEIGHTS"] = cfg.MODEL.SOPSEG_BRANCH.WEIGHTS
    for key, path in named.items():
        if _is_absent(path):
            raise CheckpointError(f"{key}: {path}: no such checkpoint")


def _is_absent(path: str) -> bool:
    return bool(path) and "://" not in path and not os.path.isfile(path.partition("?")[0])


def _hangs_on_classes(key: str, theirs: tuple[int, ...], ours: tuple[int, ...]) -> bool:
    """Whether a parameter differs only because its layer predicts, or takes, logits of another number of classes."""
    if ".point_head." in key and len(theirs) == len(ours) > 1:  # PointRend's, which take a coarse mask's logits too
        return theirs[0] == ours[0] or theirs[1] - theirs[0] == ours[1] - ours[0]
    return "predict" in key and theirs[1:] == ours[1:]


def _first(entries: list[str], shown: int = 3) -> str:
    return ", ".join(entries[:shown]) + (", ..." if len(entries) > shown else "")
