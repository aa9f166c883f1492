// crop_resize on the CPU: checks, choice of kernel by image type and instruction set, threads.
#include "cpu/crop_resize.h"

#include <algorithm>
#include <optional>

#include "common/check.h"
#include "common/crop_resize_args.h"
#include "cpu/capability.h"
#include "cpu/huge_pages.h"

namespace insight::crop_resize {
namespace {

// The best kernel for this processor.
template <typename Items>
Items best(Items (*avx512)(ScalarType), Items (*avx2)(ScalarType), Items (*plain)(ScalarType), ScalarType type) {
  const Capability cpu = cpu_capability();
  Items found = cpu.avx512 ? avx512(type) : nullptr;
  if (!found && cpu.avx2) found = avx2(type);
  return found ? found : plain(type);
}

void check_image_index(const Geometry& g) {
  for (int64_t n = 0; n < g.num_boxes; ++n) {
    STD_TORCH_CHECK(g.image_index[n] >= 0 && g.image_index[n] < g.batch, "image_index: expected values in [0, ",
                    g.batch, "), the number of images, got image_index[", n, "] = ", g.image_index[n]);
  }
}

Tensor forward(Tensor images, Tensor boxes, Tensor image_index, int64_t height, int64_t width,
               std::optional<Tensor> mean, std::optional<Tensor> std, bool antialias, double pad_value) {
  check_forward(images, boxes, image_index, height, width, mean, std);
  const Arguments arguments(boxes, image_index, mean, std);
  const ScalarType type = images.scalar_type();
  Tensor out = torch::stable::new_empty(images, {boxes.size(0), images.size(1), height, width}, output_type(type));
  const Forward p = arguments.forward(images, out, antialias, pad_value);
  check_image_index(p.geometry);
  if (out.numel() == 0) return out;
  advise_huge_pages(p.out, out.numel() * out.element_size());
  const ForwardItems run = best(avx512_forward, avx2_forward, plain_forward, type);
  torch::stable::parallel_for(0, items(p), 1, [&](int64_t begin, int64_t end) { run(p, begin, end); });
  return out;
}

Tensor backward(Tensor grad, Tensor boxes, Tensor image_index, int64_t batch, int64_t image_height, int64_t image_width,
                std::optional<Tensor> std, bool antialias) {
  check_backward(grad, boxes, image_index, batch, image_height, image_width, std);
  const Arguments arguments(boxes, image_index, std::nullopt, std);
  grad = torch::stable::contiguous(grad);
  Tensor out = torch::stable::new_empty(grad, {batch, grad.size(1), image_height, image_width}, grad.scalar_type());
  Backward p{};
  p.geometry =
      arguments.geometry(batch, grad.size(1), image_height, image_width, grad.size(2), grad.size(3), antialias);
  p.grad = grad.const_data_ptr();
  p.std = arguments.std();
  p.grad_images = out.mutable_data_ptr();
  check_image_index(p.geometry);
  if (out.numel() == 0) return out;
  // About 64 Ki values per band: small enough for the L2 cache, with enough bands for all threads.
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
