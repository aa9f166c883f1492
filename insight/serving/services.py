"""What the routes of one application share."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from .byte_cache import ByteCache
from .library import Library, ServedImage
from .metrics import Metrics
from .models import Detection, Models
from .pixels import Pixels
from .refusal import Refusal
from .segmenter import Mask, Prompt
from .settings import Settings
from .store import Store
from .worker import Worker


@dataclass
class Services:
    """The parts of a server.

    Attributes:
        label_studios: for projects of Label Studio its address and token, as it told them.
    """

    settings: Settings
    library: Library
    store: Store | None
    models: Models
    worker: Worker
    metrics: Metrics
    tiles: ByteCache[bytes]
    label_studios: dict[str, tuple[str, str]] = field(default_factory=dict)

    def require_store(self) -> Store:
        """Return the annotations.

        Raises:
            Refusal: the server serves no images.
        """
        if self.store is None:
            raise Refusal(404, "this server serves no images; start it with a folder")
        return self.store

    def require_few(self, prompts: list[Prompt]) -> None:
        """Refuse more prompts than the limit of a request."""
        weight, most = sum(prompt.weight for prompt in prompts), self.settings.limits.prompts
        if weight > most:
            raise Refusal(413, f"prompts: expected at most {most} boxes and points, got {weight}")

    async def segment(self, model: str, open_pixels: "PixelSource", prompts: list[Prompt]) -> tuple[list[Mask], Pixels]:
        """Answer prompts in the worker, together with the waiting ones of the same image.

        Args:
            model: name of a model for prompts.
            open_pixels: the image.
            prompts: N prompts.

        Returns:
            N masks and the image.

        Raises:
            Refusal, InsightError, OSError: the image or a prompt cannot be used.
        """
        self.require_few(prompts)

        def work(payloads: list[tuple[PixelSource, list[Prompt]]]) -> list:
            segmenter = self.models.segmenter(model)
            pixels = payloads[0][0]()
            results: list = []
            asked: list[Prompt] = []
            for _, mine in payloads:
                try:
                    for prompt in mine:
                        segmenter.check(pixels, prompt)
                except Exception as error:
                    results.append(error)
                else:
                    results.append(slice(len(asked), len(asked) + len(mine)))
                    asked.extend(mine)
            masks = segmenter.segment(pixels, asked)
            return [(masks[part], pixels) if isinstance(part, slice) else part for part in results]

        return await self.worker.run(("segment", model, open_pixels.key), work, (open_pixels, prompts))

    async def detect(self, model: str, open_pixels: "PixelSource") -> tuple[list[Detection], Pixels]:
        """Find objects in the worker, once for all requests that wait for those of the same image.

        Args:
            model: name of a detector.
            open_pixels: the image.

        Returns:
            The objects and the image.

        Raises:
            Refusal, InsightError, OSError: the image cannot be used.
        """

        def work(payloads: list[PixelSource]) -> list:
            pixels = payloads[0]()
            return [(self.models.detect(model, pixels), pixels)] * len(payloads)

        return await self.worker.run(("detect", model, open_pixels.key), work, open_pixels)

    def served(self, image: ServedImage) -> "PixelSource":
        """Return the pixels of a served image, for `segment`."""
        return PixelSource(image.id, lambda: self.library.open(image))


class PixelSource:
    """An image that is decoded when it is needed.

    Args:
        key: the same for requests about the same image.
        load: decodes it.
    """

    def __init__(self, key: str, load):
        self.key, self._load = key, load

    def __call__(self) -> Pixels:
        return self._load()


def services(request: Request) -> Services:
    """Return the services of a request's application."""
    return request.app.state.services


Shared = Annotated[Services, Depends(services)]
