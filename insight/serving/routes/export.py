"""Downloads of the accepted objects."""

import asyncio
import shutil
import tempfile
from enum import StrEnum
from pathlib import Path

from fastapi import APIRouter, BackgroundTasks
from fastapi.responses import FileResponse

from ..exports import FORMATS, export
from ..results_folder import export_results
from ..services import Shared

router = APIRouter(prefix="/api/export", tags=["export"])
Format = StrEnum("Format", {name.replace("-", "_"): name for name in FORMATS})  # type: ignore[misc]


@router.get("/{kind}", response_class=FileResponse)
async def download(kind: Format, shared: Shared, after: BackgroundTasks, image: str | None = None) -> FileResponse:
    """Return the accepted objects of all images, or of one, as a file or a zip of files."""
    store = shared.require_store()
    images = None if image is None else [shared.library.find(image)]

    def write() -> tuple[Path, Path]:
        folder = Path(tempfile.mkdtemp(prefix="insight-"))
        try:
            path = export(kind.value, shared.library, store, images, folder)
            if kind.value == "coco" and images is None and shared.settings.results is not None:
                export_results(Path(shared.settings.results), shared.library, store)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return folder, path

    folder, path = await asyncio.to_thread(write)
    after.add_task(shutil.rmtree, folder, ignore_errors=True)
    return FileResponse(path, filename=path.name, background=after)
