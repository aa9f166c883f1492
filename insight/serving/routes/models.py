"""The models of the server."""

from typing import Any

from fastapi import APIRouter

from ..refusal import Refusal
from ..services import Shared
from ..x_anylabeling import model_info

router = APIRouter(tags=["models"])


@router.get("/v1/models")
async def list_models(shared: Shared) -> dict[str, Any]:
    """List the models: `models` for any client, `data` in the form of X-AnyLabeling's remote server."""
    folders = shared.models.folders.values()
    return {
        "success": True,
        "models": [
            {
                "name": folder.name,
                "kind": folder.kind,
                "prompts": ["box", "oriented_box", "points"] if folder.kind == "sopseg" else [],
                "classes": list(folder.class_names),
                "license": folder.license,
            }
            for folder in folders
        ],
        "data": {folder.name: model_info(folder) for folder in folders},
    }


@router.get("/v1/models/{name}/info")
async def model(name: str, shared: Shared) -> dict[str, Any]:
    """Describe a model, in the form of X-AnyLabeling's remote server."""
    folder = shared.models.folders.get(name)
    if folder is None:
        raise Refusal(404, f"model: unknown; this server has {', '.join(shared.models.folders) or 'none'}")
    return {"success": True, "data": {"model_id": name, **model_info(folder)}}
