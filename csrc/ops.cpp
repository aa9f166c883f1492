// Schemas of all operators. Kernels are registered per backend in csrc/cpu/*.cpp and csrc/cuda/*.cu; autograd formulas,
// fake (meta) kernels and the PyTorch fallbacks in insight/ops/*.py.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(insight, m) {
  // images (B, C, H, W) uint8 or float; boxes (N, 4) float32 XYXY in pixels; image_index (N,) int64;
  // mean, std (C,) float32 or none. Returns (N, C, height, width).
  m.def(
      "crop_resize(Tensor images, Tensor boxes, Tensor image_index, SymInt height, SymInt width, "
      "Tensor? mean, Tensor? std, bool antialias, float pad_value) -> Tensor");
  // grad (N, C, height, width) -> gradient of images, (B, C, image_height, image_width).
  m.def(
      "crop_resize_backward(Tensor grad, Tensor boxes, Tensor image_index, SymInt batch, "
      "SymInt image_height, SymInt image_width, Tensor? std, bool antialias) -> Tensor");

  // local (N, T, D); global_tokens (B, G, D); image_index (N,) int64.
  // Returns the attended tokens (N, T, D) and the log-sum-exp of each row, (N, num_heads, T) float32.
  m.def(
      "global_to_local_attention(Tensor local, Tensor global_tokens, Tensor image_index, int num_heads) "
      "-> (Tensor, Tensor)");
  // Returns the gradients of local and of global_tokens.
  m.def(
      "global_to_local_attention_backward(Tensor grad, Tensor local, Tensor global_tokens, "
      "Tensor image_index, Tensor out, Tensor logsumexp, int num_heads) -> (Tensor, Tensor)");

  // proposals (N, 4), gt_boxes (M, 4), both float32 or both float64, XYXY; mean: divide by the number of proposals
  // kept. Returns the loss (scalar), the number of proposals kept (scalar int64) and the index of the ground-truth box
  // matched to each proposal, (N,) int64, -1 for proposals left out.
  m.def(
      "area_loss(Tensor proposals, Tensor gt_boxes, float iou_threshold, float eps, bool mean) "
      "-> (Tensor, Tensor, Tensor)");
  // grad: scalar, of the loss. Returns the gradient of proposals, (N, 4).
  m.def(
      "area_loss_backward(Tensor grad, Tensor proposals, Tensor gt_boxes, Tensor match, Tensor kept, "
      "float eps, bool mean) -> Tensor");
}
