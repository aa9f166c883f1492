"""Models from the Hugging Face hub, by the optional package huggingface_hub."""

import logging
from pathlib import Path

from insight.errors import MissingDependencyError

from .model_folder import CARD, CONFIG, WEIGHTS, ModelError

_logger = logging.getLogger(__name__)


def download(repository: str) -> Path:
    """Download a model, unless huggingface_hub has it in its cache already.

    Args:
        repository: owner/name.

    Returns:
        The folder, in huggingface_hub's cache.

    Raises:
        MissingDependencyError: huggingface_hub is not installed.
        ModelError: there is no such folder, and no such model can be reached.
    """
    try:
        from huggingface_hub import constants, snapshot_download
    except ModuleNotFoundError as error:
        if error.name != "huggingface_hub":
            raise
        raise MissingDependencyError(
            f"{repository}: no such folder, and a model of the Hugging Face hub needs huggingface_hub, which is not "
            "installed; run `pip install huggingface_hub`"
        ) from error
    _logger.info(f"Looking for {repository} on the Hugging Face hub")
    try:
        return Path(snapshot_download(repository, allow_patterns=[CONFIG, WEIGHTS, CARD]))
    except Exception as error:  # the errors of its HTTP library, which differ between its versions
        offline = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else type(error).__name__
        raise ModelError(
            f"{repository}: no such folder, and it cannot be downloaded from the Hugging Face hub ({offline})"
        ) from error
