// Shapes and argument checks of global-to-local attention, shared by all devices.
#pragma once

#include <type_traits>

#include "common/check.h"

namespace insight::attention {

// local (N, T, D), global_tokens (B, G, D), image_index (N,), D = heads * d.
struct Problem {
  int64_t num_rois;  // N
  int64_t tokens;    // T, of an RoI
  int64_t images;    // B
  int64_t num_keys;  // G
  int64_t channels;  // D
  int64_t heads;
  int64_t d;  // of a head
};

// The type in which values of type T are accumulated, and in which their statistics are kept.
template <typename T>
using Compute = std::conditional_t<std::is_same_v<T, double>, double, float>;

inline ScalarType statistics_type(const Tensor& local) {
  return local.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

// Calls f with a value of the element type of a tensor. Each device has half types of its own.
template <typename Half, typename BFloat16, typename F>
void with_element_type(ScalarType type, const F& f) {
  switch (type) {
    case ScalarType::Float: return f(float());
    case ScalarType::Double: return f(double());
    case ScalarType::Half: return f(Half());
    case ScalarType::BFloat16: return f(BFloat16());
    default: STD_TORCH_CHECK(false, "local and global_tokens: expected float32, float64, float16 or bfloat16");
  }
}

// An uninitialised contiguous tensor with the shape of t, regardless of its strides.
inline Tensor like(const Tensor& t) { return torch::stable::new_empty(t, t.sizes()); }

inline Problem check_arguments(const Tensor& local, const Tensor& global_tokens, const Tensor& image_index,
                               int64_t num_heads) {
  INSIGHT_CHECK_SHAPE(local.dim() == 3, local, "(N, T, D)");
  INSIGHT_CHECK_SHAPE(global_tokens.dim() == 3, global_tokens, "(B, G, D)");
  INSIGHT_CHECK_SHAPE(image_index.dim() == 1 && image_index.size(0) == local.size(0), image_index, "(N,)");
  STD_TORCH_CHECK(local.size(2) == global_tokens.size(2), "local and global_tokens: expected the same D, got shapes ",
                  shape_of(local), " and ", shape_of(global_tokens));
  STD_TORCH_CHECK(num_heads > 0 && local.size(2) > 0 && local.size(2) % num_heads == 0,
                  "num_heads: expected a divisor of D = ", local.size(2), ", got ", num_heads);
  STD_TORCH_CHECK(local.scalar_type() == global_tokens.scalar_type(),
                  "local and global_tokens: expected the same dtype, got ", toString(local.scalar_type()), " and ",
                  toString(global_tokens.scalar_type()));
  STD_TORCH_CHECK(image_index.scalar_type() == ScalarType::Long, "image_index: expected int64, got ",
                  toString(image_index.scalar_type()));
  STD_TORCH_CHECK(same_device(global_tokens, local) && same_device(image_index, local),
                  "global_tokens and image_index: expected the device of local, got another");
  return {local.size(0), local.size(1), global_tokens.size(0),    global_tokens.size(1),
          local.size(2), num_heads,     local.size(2) / num_heads};
}

inline void check_saved_tensors(const Problem& p, const Tensor& grad, const Tensor& local, const Tensor& out,
                                const Tensor& logsumexp) {
  STD_TORCH_CHECK(same_device(grad, local) && same_device(out, local) && same_device(logsumexp, local),
                  "grad, out and logsumexp: expected the device of local, got another");
  for (const Tensor* t : {&grad, &out}) {
    STD_TORCH_CHECK(t->dim() == 3 && t->size(0) == p.num_rois && t->size(1) == p.tokens && t->size(2) == p.channels &&
                        t->scalar_type() == local.scalar_type(),
                    "grad and out: expected the shape and dtype of local ", shape_of(local), ", got ", shape_of(*t));
  }
  STD_TORCH_CHECK(logsumexp.dim() == 3 && logsumexp.size(0) == p.num_rois && logsumexp.size(1) == p.heads &&
                      logsumexp.size(2) == p.tokens && logsumexp.scalar_type() == statistics_type(local),
                  "logsumexp: expected the one returned by the forward op, got shape ", shape_of(logsumexp));
}

}  // namespace insight::attention
