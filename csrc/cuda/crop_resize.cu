// crop_resize on the GPU: argument checks, dispatch by type, launches. Nothing here synchronises with the GPU.
#include <cuda_runtime.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "common/crop_resize_args.h"
#include "cuda/crop_resize_kernel.cuh"
#include "cuda/stream.h"

namespace insight::crop_resize {
namespace {

using torch::headeronly::BFloat16;
using torch::headeronly::Half;

constexpr int64_t kMostBlocks = int64_t{1} << 30;  // each loops over its tiles

struct Launch {
  TilePlan plan;
  unsigned blocks;
  cudaStream_t stream;
};

Launch plan_launch(const Geometry& g, int32_t device) {
  int processors = 0;
  STD_CUDA_CHECK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
  Launch launch;
  launch.plan = plan_tiles(g, int64_t{4} * processors);
  launch.blocks = static_cast<unsigned>(std::min(g.num_boxes * launch.plan.tiles, kMostBlocks));
  launch.stream = current_stream(device);
  return launch;
}

template <typename T, typename Out, typename Real>
void launch_forward(const Forward& p, const Launch& launch) {
  forward_kernel<T, Out, Real><<<launch.blocks, kThreads, 0, launch.stream>>>(
      p, launch.plan, static_cast<const T*>(p.images), static_cast<Out*>(p.out));
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename T, typename Real>
void launch_backward(const Geometry& g, const float* std, const Tensor& grad, const Tensor& out, const Launch& launch) {
  backward_kernel<T, Real><<<launch.blocks, kThreads, 0, launch.stream>>>(
      g, launch.plan, std, static_cast<const T*>(grad.const_data_ptr()), static_cast<Real*>(out.mutable_data_ptr()));
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

Tensor forward(Tensor images, Tensor boxes, Tensor image_index, int64_t height, int64_t width,
               std::optional<Tensor> mean, std::optional<Tensor> std, bool antialias, double pad_value) {
  check_forward(images, boxes, image_index, height, width, mean, std);
  const torch::stable::accelerator::DeviceGuard guard(images.get_device_index());
  const Arguments arguments(boxes, image_index, mean, std);
  const ScalarType type = images.scalar_type();
  Tensor out = torch::stable::new_empty(images, {boxes.size(0), images.size(1), height, width}, output_type(type));
  if (out.numel() == 0) return out;
  const Forward p = arguments.forward(images, out, antialias, pad_value);
  const Launch launch = plan_launch(p.geometry, images.get_device_index());
  switch (type) {
    case ScalarType::Byte: launch_forward<uint8_t, float, float>(p, launch); break;
    case ScalarType::Half: launch_forward<Half, Half, float>(p, launch); break;
    case ScalarType::BFloat16: launch_forward<BFloat16, BFloat16, float>(p, launch); break;
    case ScalarType::Float: launch_forward<float, float, float>(p, launch); break;
    default: launch_forward<double, double, double>(p, launch);
  }
  return out;
}

Tensor backward(Tensor grad, Tensor boxes, Tensor image_index, int64_t batch, int64_t image_height, int64_t image_width,
                std::optional<Tensor> std, bool antialias) {
  check_backward(grad, boxes, image_index, batch, image_height, image_width, std);
  const torch::stable::accelerator::DeviceGuard guard(grad.get_device_index());
  const Arguments arguments(boxes, image_index, std::nullopt, std);
  const ScalarType type = grad.scalar_type();
  // Half types are summed in float.
  const ScalarType sum_type = type == ScalarType::Double ? type : ScalarType::Float;
  Tensor out = torch::stable::new_zeros(grad, {batch, grad.size(1), image_height, image_width}, sum_type);
  if (out.numel() > 0 && grad.numel() > 0) {
    grad = torch::stable::contiguous(grad);
    const Geometry g =
        arguments.geometry(batch, grad.size(1), image_height, image_width, grad.size(2), grad.size(3), antialias);
    const Launch launch = plan_launch(g, grad.get_device_index());
    switch (type) {
      case ScalarType::Half: launch_backward<Half, float>(g, arguments.std(), grad, out, launch); break;
      case ScalarType::BFloat16: launch_backward<BFloat16, float>(g, arguments.std(), grad, out, launch); break;
      case ScalarType::Float: launch_backward<float, float>(g, arguments.std(), grad, out, launch); break;
      default: launch_backward<double, double>(g, arguments.std(), grad, out, launch);
    }
  }
  return sum_type == type ? out : torch::stable::to(out, type);
}

}  // namespace
}  // namespace insight::crop_resize

STABLE_TORCH_LIBRARY_IMPL(insight, CUDA, m) {
  m.impl("crop_resize", TORCH_BOX(&insight::crop_resize::forward));
  m.impl("crop_resize_backward", TORCH_BOX(&insight::crop_resize::backward));
}
