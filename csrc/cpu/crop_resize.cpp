// crop_resize on the CPU: checks, choice of kernel by image type and instruction set, threads.
#include "cpu/crop_resize.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>

#include "common/check.h"
#include "common/crop_resize_args.h"
#include "cpu/huge_pages.h"


namespace insight::crop_resize {
namespace {

// The best kernel of this processor. ATEN_CPU_CAPABILITY limits it as it limits torch's own.
template <typename Items>
Items best(Items (*avx512)(ScalarType), Items (*avx2)(ScalarType), Items (*plain)(ScalarType), ScalarType type) {
  const char* variable = std::getenv("ATEN_CPU_CAPABILITY");
  const std::string limit = variable ? variable : "";
  Items found = nullptr;
#if defined(__x86_64__) && defined(__GNUC__)
  const bool has_avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl");
  if (has_avx512 && limit != "default" && limit != "avx2") found = avx512(type);
  if (!found && has_avx2 && limit != "default") found = avx2(type);
#endif
  return found ? found : plain(type);
}

void check_image_index(const Geometry& g) {
  for (int64_t n = 0; n < g.num_boxes; ++n) {
    STD_TORCH_CHECK(g.image_index[n] >= 0 && g.image_index[n] < g.batch, "image_index must lie in [0, ", g.batch,
                    "), the number of images, got image_index[", n, "] = ", g.image_index[n]);
  }
}

Geometry geometry_of(const Tensor& boxes, const Tensor& image_index, int64_t batch, int64_t channels, int64_t image_height,
                     int64_t image_width, int64_t height, int64_t width, bool antialias) {
  Geometry g{boxes.const_data_ptr<float>(), image_index.const_data_ptr<int64_t>(), boxes.size(0), batch, channels,
             image_height, image_width, height, width, antialias};
  check_image_index(g);
  return g;
}

const float* data_or_null(const std::optional<Tensor>& t) { return t ? t->const_data_ptr<float>() : nullptr; }

Tensor forward(Tensor images, Tensor boxes, Tensor image_index, int64_t height, int64_t width, std::optional<Tensor> mean,
               std::optional<Tensor> std, bool antialias, double pad_value) {
  check_forward(images, boxes, image_index, height, width, mean, std);
  boxes = torch::stable::contiguous(boxes);
  image_index = torch::stable::contiguous(image_index);
  mean = contiguous(mean);
  std = contiguous(std);
  Tensor out = torch::stable::new_empty(images, {boxes.size(0), images.size(1), height, width},
                                        output_type(images.scalar_type()));
  Forward p{};
  p.geometry = geometry_of(boxes, image_index, images.size(0), images.size(1), images.size(2), images.size(3), height,
                           width, antialias);
  p.images = images.const_data_ptr();
  p.stride_batch = images.stride(0);
  p.stride_channel = images.stride(1);
  p.stride_row = images.stride(2);
  p.stride_column = images.stride(3);
  p.out = out.mutable_data_ptr();
  p.mean = data_or_null(mean);
  p.std = data_or_null(std);
  p.pad_value = pad_value;
  if (out.numel() == 0) return out;
  advise_huge_pages(p.out, out.numel() * out.element_size());
  const ForwardItems run = best(avx512_forward, avx2_forward, plain_forward, images.scalar_type());
  torch::stable::parallel_for(0, p.items(), 1, [&](int64_t begin, int64_t end) { run(p, begin, end); });
  return out;
}

Tensor backward(Tensor grad, Tensor boxes, Tensor image_index, int64_t batch, int64_t image_height, int64_t image_width,
                std::optional<Tensor> std, bool antialias) {
  check_backward(grad, boxes, image_index, batch, image_height, image_width, std);
  grad = torch::stable::contiguous(grad);
  boxes = torch::stable::contiguous(boxes);
  image_index = torch::stable::contiguous(image_index);
  std = contiguous(std);
  Tensor out = torch::stable::new_empty(grad, {batch, grad.size(1), image_height, image_width}, grad.scalar_type());
  Backward p{};
  p.geometry = geometry_of(boxes, image_index, batch, grad.size(1), image_height, image_width, grad.size(2), grad.size(3),
                           antialias);
  p.grad = grad.const_data_ptr();
  p.std = data_or_null(std);
  p.grad_images = out.mutable_data_ptr();
  if (out.numel() == 0) return out;
  // About 64 Ki values a band: they stay in the second-level cache, and there are bands enough for all threads.
  p.band = std::max<int64_t>(1, (int64_t{1} << 16) / image_width);
  const BackwardItems run = best(avx512_backward, avx2_backward, plain_backward, grad.scalar_type());
  torch::stable::parallel_for(0, p.items(), 1, [&](int64_t begin, int64_t end) { run(p, begin, end); });
  return out;
}

}  // namespace
}  // namespace insight::crop_resize

STABLE_TORCH_LIBRARY_IMPL(insight, CPU, m) {
  m.impl("crop_resize", TORCH_BOX(&insight::crop_resize::forward));
  m.impl("crop_resize_backward", TORCH_BOX(&insight::crop_resize::backward));
}
