"""The refusal of a request. Imports little, as the store does."""

from typing import Any

from starlette.exceptions import HTTPException

RETRY_SECONDS = 1


class Refusal(HTTPException):
    """A request that is not answered.

    Args:
        status: HTTP status.
        detail: one sentence for people.
        more: further fields of the reply.
    """

    def __init__(self, status: int, detail: str, **more: Any):
        headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else None
        super().__init__(status, detail, headers)
        self.more = more
