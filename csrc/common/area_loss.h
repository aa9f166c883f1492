// The proposal area loss of one matched pair and its gradient, and the argument checks of the op.
#pragma once

#include "boxes.h"
#include "check.h"

namespace insight {

// ((Ap - Ag) / (Ag + eps))^2
template <typename T>
INSIGHT_HOST_DEVICE T area_error_squared(T area_proposal, T area_gt, T eps) {
  const T error = (area_proposal - area_gt) / (area_gt + eps);
  return error * error;
}

// Gradient of `scale * area_error_squared` with respect to the proposal, written to gradient[0..3].
// An inverted side has length zero wherever its ends are, so its gradient is zero; a side of length zero may grow.
template <typename T>
INSIGHT_HOST_DEVICE void area_error_gradient(const Box<T>& proposal, T area_gt, T eps, T scale, T* gradient) {
  const T width = extent(proposal.x1, proposal.x2);
  const T height = extent(proposal.y1, proposal.y2);
  const T normalizer = area_gt + eps;
  const T by_area = scale * T(2) * ((rounded_product(width, height) - area_gt) / normalizer) / normalizer;
  const T by_x = proposal.x2 >= proposal.x1 ? by_area * height : T(0);
  const T by_y = proposal.y2 >= proposal.y1 ? by_area * width : T(0);
  gradient[0] = -by_x;
  gradient[1] = -by_y;
  gradient[2] = by_x;
  gradient[3] = by_y;
}

inline void check_area_loss_boxes(const Tensor& proposals, const Tensor& gt_boxes) {
  INSIGHT_CHECK_SHAPE(proposals.dim() == 2 && proposals.size(1) == 4, proposals, "(N, 4)");
  INSIGHT_CHECK_SHAPE(gt_boxes.dim() == 2 && gt_boxes.size(1) == 4, gt_boxes, "(M, 4)");
  const ScalarType dtype = proposals.scalar_type();
  STD_TORCH_CHECK((dtype == ScalarType::Float || dtype == ScalarType::Double) && gt_boxes.scalar_type() == dtype,
                  "proposals and gt_boxes: expected both float32 or both float64, got ", toString(dtype), " and ",
                  toString(gt_boxes.scalar_type()));
  STD_TORCH_CHECK(same_device(gt_boxes, proposals), "gt_boxes: expected the device of proposals, got another");
}

inline void check_area_loss_backward(const Tensor& grad, const Tensor& proposals, const Tensor& gt_boxes,
                                     const Tensor& match, const Tensor& kept) {
  check_area_loss_boxes(proposals, gt_boxes);
  INSIGHT_CHECK_SHAPE(grad.dim() == 0, grad, "()");
  INSIGHT_CHECK_SHAPE(match.dim() == 1 && match.size(0) == proposals.size(0), match, "(N,)");
  INSIGHT_CHECK_SHAPE(kept.dim() == 0, kept, "()");
  STD_TORCH_CHECK(grad.scalar_type() == proposals.scalar_type(), "grad: expected the dtype of proposals, ",
                  toString(proposals.scalar_type()), ", got ", toString(grad.scalar_type()));
  STD_TORCH_CHECK(match.scalar_type() == ScalarType::Long && kept.scalar_type() == ScalarType::Long,
                  "match and kept: expected int64, got ", toString(match.scalar_type()), " and ",
                  toString(kept.scalar_type()));
  for (const Tensor& t : {grad, match, kept}) {
    STD_TORCH_CHECK(same_device(t, proposals), "grad, match and kept: expected the device of proposals, got another");
  }
}

}  // namespace insight
