"""Detectron2's checkpointer, made safe: atomic writes, no unpickling, and an error if a checkpoint does not fit."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode

from insight.checkpoint import (
    CheckpointError,
    read_checkpoint,
    read_class_names,
    require_finite,
    require_state_dict,
)
from insight.config import is_sopseg
from insight.runtime.atomic_files import atomic_write
from insight.runtime.words import counted


class Checkpointer(DetectionCheckpointer):
    """Detectron2's checkpointer, made safe.

    A file appears under its name only when it is complete, and only then does `last_checkpoint` name it. Files are read
    by `insight.checkpoint.read_checkpoint`, which executes nothing in them; files of Detectron2's model zoo
    (`.pkl`), of pycls (`.pyth`) and `.safetensors` load too.

    To resume, to evaluate and to predict, every parameter must fit. To start training from other weights, at least
    one tensor must: layers that depend on the number of classes are initialised if that number differs, and so are
    parameters that the file lacks, both with a warning that lists them.

    Args:
        model: the model, bare or in DistributedDataParallel.
        save_dir: folder of the checkpoints.
        exact: require every parameter to fit even where nothing is resumed: for evaluation and prediction.
        checkpointables: as in Detectron2.
    """

    def __init__(self, model: torch.nn.Module, save_dir: str = "", *, exact: bool = False, **checkpointables: Any):
        super().__init__(model, save_dir, **checkpointables)
        self.exact = exact
        self._loading = ("", exact)  # file, whether all must fit

    def save(self, name: str, *, is_last: bool = True, **kwargs: Any) -> None:
        """Write `<save_dir>/<name>.pth`, then point `last_checkpoint` at it.

        Args:
            name: file name without its suffix.
            is_last: False leaves `last_checkpoint` as it is.
            kwargs: more to save, as in Detectron2.

        Raises:
            OSError: the file cannot be written; the last checkpoint stays valid.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        state = {key: part.state_dict() for key, part in self.checkpointables.items()}
        path = Path(self.save_dir, f"{name}.pth")
        self.logger.info(f"Saving checkpoint to {path}")
        with atomic_write(path, "wb") as file:
            try:
                torch.save({"model": self.model.state_dict(), **state, **kwargs}, file)
            except RuntimeError as error:
                # A full disk, Ctrl-C or SIGTERM during a write: torch.save puts a failed assertion of its own over it.
                reason = error.__context__
                if isinstance(reason, OSError) or (reason and not isinstance(reason, Exception)):
                    raise reason from None
                raise
        if is_last:
            self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Point `last_checkpoint` at a file of `save_dir`."""
        with atomic_write(self._last_checkpoint) as file:
            file.write(last_filename_basename)

    def get_checkpoint_file(self) -> str:
        """Return the file that `last_checkpoint` names.

        Returns:
            Its path; empty if there is no `last_checkpoint`.

        Raises:
            CheckpointError: it holds anything but the name of a file of `save_dir`, from which alone a run is resumed.
        """
        if not self.has_checkpoint():
            return ""
        name = self._last_name()
        is_name = name.isprintable() and "\ufffd" not in name and len(name) < 256
        if name in ("", ".", "..") or Path(name).name != name or not is_name:
            raise CheckpointError(
                f"{self._last_checkpoint}: expected the name of a file beside it, got {name!r:.80}{self._advice()}"
            )
        return os.path.join(self.save_dir, name)

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load a checkpoint.

        Args:
            path: the file, or a URL that Detectron2 resolves; empty loads nothing.
            checkpointables: which of the checkpointables to load; None means all: training is resumed.

        Returns:
            The other content of the file.

        Raises:
            CheckpointError: the file is missing or damaged, does not fit the model, or holds NaN.
        """
        if not path and self.exact:
            raise CheckpointError("MODEL.WEIGHTS is empty: expected a checkpoint, as random weights give no results")
        if not path:
            self.logger.info("MODEL.WEIGHTS is empty: the model keeps the weights that it was built with")
            return {}
        if problem := _unusable(path):
            raise CheckpointError(f"{path}: {problem}{self._way_on(path)}")
        self._loading = (path, self.exact or checkpointables is None)
        try:
            more = super().load(path, checkpointables)
        except OSError as error:
            if "://" not in path:
                raise
            raise CheckpointError(
                f"{path}: cannot be downloaded ({error}); name a file instead, or '' for none"
            ) from error
        finally:
            self._parsed_url_during_load = None  # super() leaves it set after an error, and then refuses to load again
        require_finite(self.model.state_dict(), path)
        return more

    def _load_file(self, filename: str) -> dict[str, Any]:
        """Detectron2's reading of each kind of file, without its unpickling."""
        try:
            content = read_checkpoint(filename)
        except CheckpointError as error:
            raise CheckpointError(f"{error}{self._way_on(filename)}") from None
        heuristics = False
        suffix = Path(filename).suffix.lower()
        if suffix == ".pkl" and not {"model", "__author__"} <= content.keys():  # Caffe2, or Detectron
            weights = require_state_dict(content.get("blobs", content), filename)
            weights = {name: value for name, value in weights.items() if not name.endswith("_momentum")}
            content, heuristics = {"model": weights, "__author__": "Caffe2"}, True
        elif suffix == ".pyth" and "model_state" in content:
            weights = require_state_dict(content["model_state"], filename)
            weights = {name: value for name, value in weights.items() if not name.endswith("num_batches_tracked")}
            content, heuristics = {"model": weights, "__author__": "pycls"}, True
        elif "model" not in content:
            content = {"model": content}
            if suffix == ".safetensors" and (names := read_class_names(filename)):
                content["trainer"] = {"class_names": names}
        if suffix not in (".pkl", ".pyth"):
            heuristics = self._asks_for_heuristics()
        if heuristics:
            content["matching_heuristics"] = True
        require_state_dict(content["model"], filename)
        return content

    def _asks_for_heuristics(self) -> bool:
        """Whether the name that is loaded ends in Detectron2's `?matching_heuristics=True`."""
        queries = parse_qs(self._parsed_url_during_load.query)
        wanted = queries.pop("matching_heuristics", ["False"]) == ["True"]
        if queries:
            raise CheckpointError(f"{self._loading[0]}: expected ?matching_heuristics=True or nothing behind the name")
        return wanted

    @property
    def _last_checkpoint(self) -> Path:
        return Path(self.save_dir, "last_checkpoint")

    def _last_name(self) -> str:
        return self._last_checkpoint.read_bytes()[:4096].decode(errors="replace").strip()

    def _way_on(self, path: str) -> str:
        """What to do where a checkpoint cannot be read, if it is the one that `last_checkpoint` names."""
        if not (self.save_dir and self.has_checkpoint()):
            return ""
        if os.path.normpath(path) != os.path.normpath(os.path.join(self.save_dir, self._last_name())):
            return ""
        return f"; {self._last_checkpoint} names it{self._advice(Path(path).name)}"

    def _advice(self, unusable: str = "") -> str:
        others = [other for other in Path(self.save_dir).glob("model_*.pth") if other.name != unusable]
        newest = max(others, key=lambda other: other.stat().st_mtime, default=None)
        return f": write another one's name there, such as {newest.name}" if newest else ""

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
            problems.append(f"it was trained for {counted(counts[0][0], 'class')}, the model has {counts[0][1]}")
        refused = [entry for entry in reshaped if exact or not _depends_on_classes(*entry)]
        if refused:
            shapes = [
                f"{key}: {tuple(theirs)} in the file, {tuple(ours)} in the model" for key, theirs, ours in refused
            ]
            problems.append(f"{len(refused)} have another shape ({_first(shapes)})")
        if len(missing) == len(self.model.state_dict()):
            problems = ["none of its parameters is in the model"]
        if any("global_to_local.readout." in key for key in unknown):
            problems = ["its GPM is that of insight before the context of images could be used; train it again"]
        if problems:
            raise CheckpointError(
                f"{path} does not fit the model: {'; '.join(problems)}. "
                "Use the config (and MODEL.ROI_HEADS.NUM_CLASSES) that it was trained with"
            )
        super()._log_incompatible_keys(incompatible)


def require_weights(cfg: CfgNode, resume: bool = False) -> None:
    """Check that the weight files that a config names exist, before anything else is read.

    Args:
        cfg: the config; URLs are not checked.
        resume: OUTPUT_DIR's last checkpoint, if there is one, takes the place of MODEL.WEIGHTS.

    Raises:
        CheckpointError: a file does not exist.
    """
    named = {}
    if not (resume and Path(cfg.OUTPUT_DIR, "last_checkpoint").is_file()):
        named["MODEL.WEIGHTS"] = cfg.MODEL.WEIGHTS
    if is_sopseg(cfg) and not cfg.MODEL.WEIGHTS:  # which hold all of the model
        named["MODEL.SOPSEG.WEIGHTS"] = cfg.MODEL.SOPSEG.WEIGHTS
    if cfg.MODEL.SOPSEG_BRANCH.ENABLED:
        named["MODEL.SOPSEG_BRANCH.WEIGHTS"] = cfg.MODEL.SOPSEG_BRANCH.WEIGHTS
    for key, path in named.items():
        if problem := _unusable(path):
            raise CheckpointError(f"{key}: {path}: {problem}")


def _unusable(path: str) -> str:
    """What keeps a checkpoint from being read, as far as its name tells."""
    if not path or "://" in path:
        return ""
    path = path.partition("?")[0]  # of Detectron2's queries
    if os.path.isdir(path):
        return "expected a weight file, got a folder"
    return "" if os.path.isfile(path) else "no such checkpoint"


def _depends_on_classes(key: str, theirs: tuple[int, ...], ours: tuple[int, ...]) -> bool:
    """Whether a parameter differs only because its layer predicts, or takes, logits of another number of classes."""
    if ".point_head." in key and len(theirs) == len(ours) > 1:  # PointRend's, which take a coarse mask's logits too
        return theirs[0] == ours[0] or theirs[1] - theirs[0] == ours[1] - ours[0]
    return "predict" in key and theirs[1:] == ours[1:]


def _first(entries: list[str], shown: int = 3) -> str:
    return ", ".join(entries[:shown]) + (", ..." if len(entries) > shown else "")
