"""HQ-SAM's decoder: a high-quality token over features fused from early and late layers."""

from torch import Tensor, nn

from insight.modeling.sopseg.layers import MLP, LayerNorm2d

from .prediction import DecoderInput, MaskPrediction, resize_logits
from .sam import SAMDecoder, dynamic_masks


class HQDecoder(SAMDecoder):
    """SAM's decoder with HQ-SAM's token and feature fusion; its logits are added to SAM's.

    Parameter names are HQ-SAM's.

    Args:
        shallow_channels: channels of the encoder's shallow features.
        dim: channels of a token.

    Source: Ke et al. 2023, Segment Anything in High Quality.
    """

    FROM_SCRATCH = ("hf_token", "hf_mlp", "compress_vit_feat", "embedding_encoder", "embedding_maskfeature")

    def __init__(self, shallow_channels: int, dim: int = 256) -> None:
        super().__init__(shallow_channels, dim)
        self.hf_token = nn.Embedding(1, dim)
        self.hf_mlp = MLP(dim, dim, dim // 8, depth=3)
        self.compress_vit_feat = _upsampler(shallow_channels, dim, dim // 8)
        self.embedding_encoder = _upsampler(dim, dim // 4, dim // 8)
        self.embedding_maskfeature = nn.Sequential(
            nn.Conv2d(dim // 8, dim // 4, kernel_size=3, padding=1),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.Conv2d(dim // 4, dim // 8, kernel_size=3, padding=1),
        )

    def forward(self, inputs: DecoderInput) -> MaskPrediction:
        """Predict one mask for each prompt.

        Args:
            inputs: crops, features and prompts.

        Returns:
            The sum of SAM's and the high-quality logits, with SAM's predicted IoU.
        """
        tokens = self.attend(inputs, self.hf_token.weight)
        upscaled = self.output_upscaling(tokens.image)
        fused = self.embedding_encoder(inputs.features.embedding) + self.compress_vit_feat(inputs.features.shallow)
        hq_features = self.embedding_maskfeature(upscaled) + inputs.of_prompt(fused)
        sam_mask = self._mask(self.output_hypernetworks_mlps[0], tokens.masks[:, :1], upscaled)
        mask = sam_mask + self._mask(self.hf_mlp, tokens.extra, hq_features)
        iou = self.iou_prediction_head(tokens.iou)[:, 0]
        return MaskPrediction(resize_logits(mask, inputs.crops), None, iou, {4: mask})

    @staticmethod
    def _mask(mlp: nn.Module, token: Tensor, features: Tensor) -> Tensor:
        return dynamic_masks(mlp(token), features)


def _upsampler(in_channels: int, hidden: int, out_channels: int) -> nn.Sequential:
    """Two transposed convolutions: four times the resolution."""
    return nn.Sequential(
        nn.ConvTranspose2d(in_channels, hidden, kernel_size=2, stride=2),
        LayerNorm2d(hidden),
        nn.GELU(),
        nn.ConvTranspose2d(hidden, out_channels, kernel_size=2, stride=2),
    )
