// Argument checks whose messages name the argument, what was expected and what was got.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <string>

namespace insight {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline std::string shape_of(const Tensor& t) {
  std::string text = "(";
  for (int64_t i = 0; i < t.dim(); ++i) {
    text += (i ? ", " : "") + std::to_string(t.size(i));
  }
  return text + ")";
}

inline bool same_device(const Tensor& a, const Tensor& b) {
  return a.is_cuda() == b.is_cuda() && a.get_device_index() == b.get_device_index();
}

// INSIGHT_CHECK_SHAPE(boxes.dim() == 2 && boxes.size(1) == 4, boxes, "(N, 4)")
#define INSIGHT_CHECK_SHAPE(condition, tensor, expected) \
  STD_TORCH_CHECK(condition, #tensor ": expected shape " expected ", got ", ::insight::shape_of(tensor))

}  // namespace insight
