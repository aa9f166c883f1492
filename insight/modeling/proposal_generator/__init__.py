"""Proposal generators on Detectron2."""

from .prompt_rpn import PromptRPN

__all__ = ["PromptRPN"]
