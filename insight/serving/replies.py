"""Errors of requests as one sentence: {"detail": ...}."""

import errno
import logging
import sqlite3
import sys
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from insight.errors import InsightError

from .refusal import Refusal

_logger = logging.getLogger(__name__)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def refusal_of(error: Exception) -> Refusal:
    """Return the reply to a client for an error.

    Args:
        error: InsightError and OSError are about the request; anything else is a bug, which is logged and not shown.
    """
    if isinstance(error, Refusal):
        return error
    if isinstance(error, sqlite3.Error):
        return _refusal_of_sqlite(error)
    torch = sys.modules.get("torch")  # not imported for its own sake
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return Refusal(503, "not enough memory for this request now; use a smaller image or fewer prompts")
    if isinstance(error, InsightError):
        return Refusal(422, " ".join(str(error).split()))
    if isinstance(error, OSError):
        _logger.warning("a file cannot be used", exc_info=error)
        full = error.errno in _NO_SPACE
        return Refusal(507 if full else 422, "no space left on the disk" if full else "the image cannot be read")
    _logger.error("a bug in insight", exc_info=error)
    return Refusal(500, "an internal error, which the server has logged")


def _refusal_of_sqlite(error: sqlite3.Error) -> Refusal:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL") or name == "SQLITE_IOERR_WRITE":
        return Refusal(507, "no space left for the annotations; nothing was changed")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Refusal(503, "another program has locked the annotations; try again")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return Refusal(507, "the annotations cannot be written here; nothing was changed")
    _logger.error("the database of the annotations failed", exc_info=error)
    return Refusal(500, "the database of the annotations failed, which the server has logged")


def add_handlers(app: FastAPI) -> None:
    """Make every error of an application a sentence."""

    def to_response(refusal: HTTPException) -> JSONResponse:
        content = {"detail": refusal.detail, **getattr(refusal, "more", {})}
        return JSONResponse(content, refusal.status_code, refusal.headers)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return to_response(error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return to_response(Refusal(422, sentence(error.errors())))

    async def failed(request: Request, error: Exception) -> Response:
        return to_response(refusal_of(error))

    async def hung_up(request: Request, error: Exception) -> Response:
        return Response(status_code=400)  # to nobody

    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ClientDisconnect, hung_up)
    for kind in (InsightError, OSError, sqlite3.Error, MemoryError, RuntimeError, Exception):
        app.add_exception_handler(kind, failed)


def sentence(errors: Any) -> str:
    """The first of pydantic's errors as "field: reason"."""
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    reason = first["msg"].removeprefix("Value error, ")
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{place}: {reason}{more}" if place else f"{reason}{more}"
