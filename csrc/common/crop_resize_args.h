// Checks the tensor arguments of crop_resize and converts them to plain arguments, on any device.
// insight/ops/crop_resize.py reports most errors earlier and in the user's terms; these checks keep a direct call of
// the op from reading out of bounds.
#pragma once

#include <optional>

#include "common/check.h"
#include "common/crop_resize.h"

namespace insight::crop_resize {

inline bool is_float(ScalarType type) {
  return type == ScalarType::Half || type == ScalarType::BFloat16 || type == ScalarType::Float ||
         type == ScalarType::Double;
}

inline ScalarType output_type(ScalarType image_type) {
  return image_type == ScalarType::Byte ? ScalarType::Float : image_type;
}

inline void check_boxes(const Tensor& boxes, const Tensor& image_index, const Tensor& data) {
  INSIGHT_CHECK_SHAPE(boxes.dim() == 2 && boxes.size(1) == 4, boxes, "(N, 4)");
  INSIGHT_CHECK_SHAPE(image_index.dim() == 1 && image_index.size(0) == boxes.size(0), image_index, "(N,)");
  STD_TORCH_CHECK(boxes.scalar_type() == ScalarType::Float, "boxes: expected float32, got ",
                  toString(boxes.scalar_type()));
  STD_TORCH_CHECK(image_index.scalar_type() == ScalarType::Long, "image_index: expected int64, got ",
                  toString(image_index.scalar_type()));
  STD_TORCH_CHECK(same_device(boxes, data) && same_device(image_index, data),
                  "boxes and image_index: expected the device of images, got another");
}

inline void check_channels(const std::optional<Tensor>& t, const char* name, const Tensor& data) {
  if (!t) return;
  STD_TORCH_CHECK(t->dim() == 1 && t->size(0) == data.size(1), name, ": expected shape (C,) = (", data.size(1),
                  ",), got ", shape_of(*t));
  STD_TORCH_CHECK(t->scalar_type() == ScalarType::Float, name, ": expected float32, got ", toString(t->scalar_type()));
  STD_TORCH_CHECK(same_device(*t, data), name, ": expected the device of images, got another");
}

inline void check_side(int64_t side, const char* name) {
  STD_TORCH_CHECK(side > 0 && side < (int64_t{1} << 31), name, ": expected an integer in [1, 2^31), got ", side);
}

inline void check_image_side(int64_t side, const char* name) {
  STD_TORCH_CHECK(side >= 0 && side < (int64_t{1} << 31), "images: ", name, ": expected an integer in [0, 2^31), got ",
                  side);
}

inline void check_forward(const Tensor& images, const Tensor& boxes, const Tensor& image_index, int64_t height,
                          int64_t width, const std::optional<Tensor>& mean, const std::optional<Tensor>& std) {
  INSIGHT_CHECK_SHAPE(images.dim() == 4, images, "(B, C, H, W)");
  STD_TORCH_CHECK(images.scalar_type() == ScalarType::Byte || is_float(images.scalar_type()),
                  "images: expected uint8 or floating point, got ", toString(images.scalar_type()));
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
  STD_TORCH_CHECK(is_float(grad.scalar_type()), "grad: expected floating point, got ", toString(grad.scalar_type()));
  STD_TORCH_CHECK(batch >= 0, "batch: expected 0 or more, got ", batch);
  check_image_side(image_height, "height");
  check_image_side(image_width, "width");
  check_side(grad.size(2), "height");
  check_side(grad.size(3), "width");
  check_boxes(boxes, image_index, grad);
  check_channels(std, "std", grad);
}

// Keeps contiguous copies of the small tensors alive while their addresses are in use.
class Arguments {
 public:
  Arguments(const Tensor& boxes, const Tensor& image_index, const std::optional<Tensor>& mean,
            const std::optional<Tensor>& std)
      : boxes_(torch::stable::contiguous(boxes)), image_index_(torch::stable::contiguous(image_index)) {
    if (mean) mean_ = torch::stable::contiguous(*mean);
    if (std) std_ = torch::stable::contiguous(*std);
  }

  const float* std() const { return std_ ? std_->const_data_ptr<float>() : nullptr; }

  Geometry geometry(int64_t batch, int64_t channels, int64_t image_height, int64_t image_width, int64_t height,
                    int64_t width, bool antialias) const {
    return Geometry{boxes_.const_data_ptr<float>(),
                    image_index_.const_data_ptr<int64_t>(),
                    boxes_.size(0),
                    batch,
                    channels,
                    image_height,
                    image_width,
                    height,
                    width,
                    antialias};
  }

  // out: (N, C, height, width), contiguous.
  Forward forward(const Tensor& images, const Tensor& out, bool antialias, double pad_value) const {
    Forward p{};
    p.geometry =
        geometry(images.size(0), images.size(1), images.size(2), images.size(3), out.size(2), out.size(3), antialias);
    p.images = images.const_data_ptr();
    p.stride_batch = images.stride(0);
    p.stride_channel = images.stride(1);
    p.stride_row = images.stride(2);
    p.stride_column = images.stride(3);
    p.out = out.mutable_data_ptr();
    p.mean = mean_ ? mean_->const_data_ptr<float>() : nullptr;
    p.std = std();
    p.pad_value = pad_value;
    return p;
  }

 private:
  Tensor boxes_, image_index_;
  std::optional<Tensor> mean_, std_;
};

}  // namespace insight::crop_resize
