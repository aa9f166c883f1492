"""The SOPSeg model: from magnified crops and prompts to masks at the crops' resolution."""

import torch
from torch import Tensor, nn

from insight.errors import InputError
from insight.structures.prompts import Prompts

from .decoders import DecoderInput, MaskPrediction, build_decoder
from .encoders import ImageFeatures, build_encoder
from .prompt_encoder import PromptEncoder

PIXEL_MEAN = (123.675, 116.28, 103.53)  # RGB, of pixel values 0 to 255; crops are normalised while they are cut
PIXEL_STD = (58.395, 57.12, 57.375)


class SOPSeg(nn.Module):
    """SAM with a choice of mask decoders; with SAM's own decoder it is SAM.

    The state dict has segment-anything's names; additions of the decoder are under `mask_decoder`.

    Args:
        image_encoder: from `build_encoder`.
        prompt_encoder: SAM's prompt encoder.
        mask_decoder: from `build_decoder`.

    Source: SOPSeg, Figure 1.
    """

    def __init__(self, image_encoder: nn.Module, prompt_encoder: PromptEncoder, mask_decoder: nn.Module) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    def freeze_encoders(self, trained_stages: int = 0) -> None:
        """Freeze the image and prompt encoders, as in the paper. Neither depends on training mode.

        An embedding of angles, which SAM has not, stays trainable.

        Args:
            trained_stages: number of last stages (of a ViT, blocks) of the image encoder that stay trainable, together
                with its neck; 0 in the paper.

        Raises:
            InputError: the encoder has fewer stages.
        """
        self.image_encoder.requires_grad_(False)
        self.prompt_encoder.requires_grad_(False)
        if self.prompt_encoder.angle_embed is not None:
            self.prompt_encoder.angle_embed.requires_grad_(True)
        stages = self.image_encoder.stages
        if not 0 <= trained_stages <= len(stages):
            raise InputError(
                f"trained_stages (MODEL.SOPSEG.TRAINED_STAGES): expected 0 to {len(stages)}, got {trained_stages}"
            )
        if trained_stages:
            stages[len(stages) - trained_stages :].requires_grad_(True)
            self.image_encoder.neck.requires_grad_(True)

    def for_inference(self, device: str | torch.device, dtype: torch.dtype | None = None) -> "SOPSeg":
        """Prepare the model for inference, in place: move, cast, set to evaluation mode.

        Args:
            device: the device to compute on.
            dtype: torch.float32 or torch.bfloat16; None keeps the dtype of the model.

        Returns:
            The model itself.
        """
        layout = torch.channels_last if torch.device(device).type == "cpu" else torch.preserve_format
        # On a CPU the encoder's convolutions are a fifth faster so (docs/results/speed.md).
        return self.to(device=device, dtype=dtype).to(memory_format=layout).eval()

    def forward(
        self,
        crops: Tensor,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        image_index: Tensor | None = None,
        corners: Tensor | None = None,
    ) -> MaskPrediction:
        """Segment the prompted objects; give boxes, points with labels, or both.

        Args:
            crops: (B, 3, H, W) float RGB, normalised with PIXEL_MEAN and PIXEL_STD; H and W multiples of 64 up to 1024.
            boxes: (N, 4) float XYXY, pixels of the crop.
            points: (N, P, 2) float XY, pixels of the crop.
            labels: (N, P) 1 foreground, 0 background, -1 no point.
            image_index: (N,) int64, the crop of each prompt. May be omitted if N = B (one prompt per crop, in order; no
                embedding is copied) or B = 1 (one crop for all prompts).
            corners: (N, 4, 2) float XY, pixels of the crop, of oriented boxes that boxes and points were made from.

        Returns:
            Mask and edge logits (N, 1, H, W), predicted IoU (N,) and the logits that the loss supervises.

        Raises:
            InputError: an argument of the wrong type or shape.
        """
        return self.decode(crops, self.encode(crops), Prompts(boxes, points, labels, corners=corners), image_index)

    def encode(self, crops: Tensor) -> ImageFeatures:
        """Compute the features of crops, which serve any number of prompts.

        Args:
            crops: (B, 3, H, W) as in forward.

        Returns:
            The image encoder's output.
        """
        return self.image_encoder(crops)

    def decode(
        self, crops: Tensor, features: ImageFeatures, prompts: Prompts, image_index: Tensor | None = None
    ) -> MaskPrediction:
        """Segment the prompted objects from encoded crops.

        Args:
            crops: (B, 3, H, W) as in forward.
            features: the output of `encode` for these crops.
            prompts: N prompts, pixels of the crop.
            image_index: as in forward.

        Returns:
            The output of forward.
        """
        return self.mask_decoder(self.decoder_input(crops, features, prompts, image_index))

    def decoder_input(
        self, crops: Tensor, features: ImageFeatures, prompts: Prompts, image_index: Tensor | None = None
    ) -> DecoderInput:
        """Embed prompts for the mask decoder. `decode` does so itself; `mask_decoder.multimask` needs it.

        Args:
            crops, features, prompts, image_index: as in decode.

        Returns:
            The input of the mask decoder.
        """
        size = tuple(crops.shape[2:])
        sparse, dense = self.prompt_encoder(size, *prompts)
        count, images = sparse.shape[0], crops.shape[0]  # `len` would fix the batch size in an export
        if image_index is None and count != images:
            if images != 1:
                raise InputError(
                    f"image_index: expected the crop of each of the {count} prompts, as there are {images} "
                    "crops; got none"
                )
            image_index = torch.zeros(count, dtype=torch.int64, device=crops.device)
        image_pe = self.prompt_encoder.dense_position_encoding(size)
        return DecoderInput(crops, features, image_pe, sparse, dense, image_index, prompts)


def build_sopseg(encoder: str = "vit_l", decoder: str = "edge") -> SOPSeg:
    """Build a SOPSeg model with random weights.

    Args:
        encoder: "vit_t", "vit_b", "vit_l" or "vit_h".
        decoder: "sam", "hq", "matting", "edge" (SOPSeg's own) or "fine" (ours).

    Returns:
        The model.

    Raises:
        InputError: an unknown name.
    """
    image_encoder = build_encoder(encoder)
    return SOPSeg(
        image_encoder,
        PromptEncoder(),
        build_decoder(decoder, image_encoder.shallow_channels, image_encoder.fine_channels),
    )
