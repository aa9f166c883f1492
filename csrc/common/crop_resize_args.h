// Checks of crop_resize's tensors, the same for every device. insight/ops/crop_resize.py says most of it earlier and in
// the user's terms; these keep a direct call of the op from reading wild memory.
#pragma once

#include <optional>

#include "common/check.h"

namespace insight::crop_resize {

inline bool is_float(ScalarType type) {
  return type == ScalarType::Half || type == ScalarType::BFloat16 || type == ScalarType::Float ||
         type == ScalarType::Double;
}

inline ScalarType output_type(ScalarType image_type) {
  return image_type == ScalarType::Byte ? ScalarType::Float : image_type;
}

inline std::optional<Tensor> contiguous(const std::optional<Tensor>& t) {
  return t ? std::optional<Tensor>(torch::stable::contiguous(*t)) : std::nullopt;
}

inline bool same_device(const Tensor& a, const Tensor& b) {
  return a.is_cuda() == b.is_cuda() && a.get_device_index() == b.get_device_index();
}

inline void check_boxes(const Tensor& boxes, const Tensor& image_index, const Tensor& data) {
  INSIGHT_CHECK_SHAPE(boxes.dim() == 2 && boxes.size(1) == 4, boxes, "(N, 4)");
  INSIGHT_CHECK_SHAPE(image_index.dim() == 1 && image_index.size(0) == boxes.size(0), image_index, "(N,)");
  STD_TORCH_CHECK(boxes.scalar_type() == ScalarType::Float, "boxes must be float32");
  STD_TORCH_CHECK(image_index.scalar_type() == ScalarType::Long, "image_index must be int64");
  STD_TORCH_CHECK(same_device(boxes, data) && same_device(image_index, data),
                  "boxes and image_index must be on the device of the images");
}

inline void check_channels(const std::optional<Tensor>& t, const char* name, const Tensor& data) {
  if (!t) return;
  STD_TORCH_CHECK(t->dim() == 1 && t->size(0) == data.size(1), name, " must have shape (C,) = (", data.size(1), ",), got ",
                  shape_of(*t));
  STD_TORCH_CHECK(t->scalar_type() == ScalarType::Float, name, " must be float32");
  STD_TORCH_CHECK(same_device(*t, data), name, " must be on the device of the images");
}

inline void check_side(int64_t side, const char* name) {
  STD_TORCH_CHECK(side > 0 && side < (int64_t{1} << 31), name, " must lie in [1, 2^31), got ", side);
}

inline void check_image_side(int64_t side, const char* name) {
  STD_TORCH_CHECK(side >= 0 && side < (int64_t{1} << 31), "images: ", name, " must lie in [0, 2^31), got ", side);
}

inline void check_forward(const Tensor& images, const Tensor& boxes, const Tensor& image_index, int64_t height,
                          int64_t width, const std::optional<Tensor>& mean, const std::optional<Tensor>& std) {
  INSIGHT_CHECK_SHAPE(images.dim() == 4, images, "(B, C, H, W)");
  STD_TORCH_CHECK(images.scalar_type() == ScalarType::Byte || is_float(images.scalar_type()),
                  "images must be uint8 or floating point");
  check_image_side(images.size(2), "height");
  check_image_side(images.size(3), "width");
  check_side(height, "height");
  check_side(width, "width");
  check_boxes(boxes, image_index, images);
  check_channels(mean, "mean", images);
  check_channels(std, "std", images);
}

inline void check_backward(const Tensor& grad, const Tensor& boxes, const Tensor& image_index, int64_t batch,
                           int64_t image_height, int64_t image_width, const std::optional<Tensor>& std) {
  INSIGHT_CHECK_SHAPE(grad.dim() == 4 && grad.size(0) == boxes.size(0), grad, "(N, C, height, width)");
  STD_TORCH_CHECK(is_float(grad.scalar_type()), "grad must be floating point");
  STD_TORCH_CHECK(batch >= 0, "batch must not be negative, got ", batch);
  check_image_side(image_height, "height");
  check_image_side(image_width, "width");
  check_side(grad.size(2), "height");
  check_side(grad.size(3), "width");
  check_boxes(boxes, image_index, grad);
  check_channels(std, "std", grad);
}

}  // namespace insight::crop_resize
