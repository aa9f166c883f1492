"""Commands that run in the process of the test."""

import contextlib
import io
import logging
from typing import NamedTuple
from unittest import mock

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.logger import setup_logger

from insight.cli.main import main


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """What it wrote to standard error, without progress and warnings."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


def run_insight(command: str, *words) -> Done:
    """Run a command: `run_insight("data check", NAME)` is `insight data check NAME`."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
        mock.patch("signal.signal"),  # its handlers would outlive the command
    ):
        forget_logs()
        known = set(DatasetCatalog.list())
        code = main([*command.split(), *map(str, words)])
        for name in set(DatasetCatalog.list()) - known:  # the next command may give other files these names
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
        forget_logs()
    return Done(code, out.getvalue(), err.getvalue())


def forget_logs() -> None:
    """Undo Detectron2's `setup_logger`, which holds on to this command's standard output and OUTPUT_DIR."""
    setup_logger.cache_clear()
    for name in ("detectron2", "fvcore", "insight"):
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
            handler.close()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
