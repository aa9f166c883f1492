"""The prompt paradigm of Insight Any Instance: prompts of boxes, encoded from the image, are added to RoI features.

Nothing here needs Detectron2: `add_prompts` and `PromptPooler` work on the built modules that they are given.
"""

from .constant import ConstantPrompt
from .encoder import PromptContext, RegionPromptEncoder
from .global_to_local import GlobalTokens, GlobalToLocalPrompt
from .local import LocalPrompt
from .pooler import PROMPT_FEATURE, PromptPooler, add_prompts, projects_prompts
from .sampling import sample_box_prompts

__all__ = [
    "PROMPT_FEATURE",
    "ConstantPrompt",
    "GlobalTokens",
    "GlobalToLocalPrompt",
    "LocalPrompt",
    "PromptContext",
    "PromptPooler",
    "RegionPromptEncoder",
    "add_prompts",
    "projects_prompts",
    "sample_box_prompts",
]
