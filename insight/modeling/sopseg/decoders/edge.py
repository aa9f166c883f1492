"""SOPSeg's decoder: masks and edges in parallel, then progressive refinement."""

import torch
from torch import Tensor, nn

from insight.modeling.sopseg.layers import MLP, upscaling

from .prediction import DecoderInput, MaskPrediction
from .refinement import ProgressiveRefinement
from .sam import SAMDecoder, dynamic_masks


class EdgeDecoder(SAMDecoder):
    """SAM's decoder with an edge token, a second upscaling for edges, and progressive refinement.

    SAM's IoU head stays in the state dict, frozen and unused like its other three masks, so that SAM's checkpoints load
    and SAM can load a trained decoder.

    Args:
        shallow_channels: channels of the encoder's shallow features.
        dim: channels of a token.

    Source: SOPSeg, Eq. 7 to 12.
    """

    FROM_SCRATCH = ("refinement",)

    def __init__(self, shallow_channels: int, dim: int = 256) -> None:
        super().__init__(shallow_channels, dim)
        self.edge_token = nn.Embedding(1, dim)
        self.edge_mlp = MLP(dim, dim, dim // 8, depth=3)
        self.edge_upscaling = upscaling(dim)
        self.refinement = self.build_refinement(shallow_channels, dim)
        self.iou_prediction_head.requires_grad_(False)

    def build_refinement(self, shallow_channels: int, dim: int) -> nn.Module:
        """Build the refinement, from the decoder's input, F_d and P_0 to logits by scale and the predicted IoU."""
        return ProgressiveRefinement(shallow_channels, dim)

    @torch.no_grad()
    def initialise_from_sam(self) -> None:
        """Copy the weights of SAM's first mask to the edge branch; call it after loading SAM's weights."""
        self.edge_token.weight.copy_(self.mask_tokens.weight[:1])
        self.edge_mlp.load_state_dict(self.output_hypernetworks_mlps[0].state_dict())
        self.edge_upscaling.load_state_dict(self.output_upscaling.state_dict())

    def forward(self, inputs: DecoderInput) -> MaskPrediction:
        """Predict one mask and its edge for each prompt.

        Args:
            inputs: crops, features and prompts.

        Returns:
            Mask and edge at the crop's resolution and the predicted IoU; stages at 1/4, 1/2 and 1/1.
        """
        tokens = self.attend(inputs, self.edge_token.weight)
        mask = self.low_res_masks(tokens, [0])
        edge = self._low_res_edges(tokens.extra, tokens.image)
        stages, iou = self.refinement(inputs, tokens.image, torch.cat([mask, edge], 1))
        return MaskPrediction(stages[1][:, :1], stages[1][:, 1:], iou, stages)

    def _low_res_edges(self, token: Tensor, image: Tensor) -> Tensor:
        return dynamic_masks(self.edge_mlp(token), self.edge_upscaling(image))
