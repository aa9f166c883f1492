// Proposal area loss on the GPU: one kernel for matching, loss and sum, another for the gradient. Neither synchronises
// with the host, and both are deterministic.
#include <cuda_runtime.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>

#include <algorithm>
#include <cstdint>

#include "common/area_loss.h"
#include "cuda/stream.h"

namespace insight {
namespace {

constexpr int kThreads = 128;
constexpr int kLanes = 8;                      // threads that share the ground truth of one proposal; divides a warp
constexpr int kProposals = kThreads / kLanes;  // of a block
constexpr int kTile = 256;                     // ground-truth boxes in shared memory at once

using Ticket = unsigned long long;

// Sums `value` over the block in a fixed order; the result is valid in thread 0.
__device__ double block_sum(double value, double* scratch) {
  scratch[threadIdx.x] = value;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      scratch[threadIdx.x] += scratch[threadIdx.x + half];
    }
  }
  __syncthreads();
  const double total = scratch[0];
  __syncthreads();
  return total;
}

// partials: (sum of losses, number of proposals kept) of each block. kept: initially zero.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    area_loss_kernel(const T* __restrict__ proposals, int64_t num_proposals, const T* __restrict__ gt_boxes,
                     int64_t num_gt, T iou_threshold, T eps, bool mean, double2* __restrict__ partials,
                     T* __restrict__ loss, int64_t* kept, int64_t* __restrict__ match) {
  __shared__ Box<T> tile[kTile];
  __shared__ T tile_area[kTile];
  __shared__ double scratch[kThreads];
  __shared__ bool is_last;

  const int lane = threadIdx.x % kLanes;
  const int64_t i = int64_t(blockIdx.x) * kProposals + threadIdx.x / kLanes;
  const bool inside = i < num_proposals;
  const Box<T> proposal = load_box(proposals + 4 * (inside ? i : 0));
  const T area_proposal = area(proposal);

  T best = T(-1);
  T best_area = T(0);
  int64_t best_gt = -1;
  for (int64_t start = 0; start < num_gt; start += kTile) {
    const int count = static_cast<int>(num_gt - start < kTile ? num_gt - start : kTile);
    __syncthreads();
    for (int j = threadIdx.x; j < count; j += kThreads) {
      tile[j] = load_box(gt_boxes + 4 * (start + j));
      tile_area[j] = area(tile[j]);
    }
    __syncthreads();
#pragma unroll 4  // too few warps to hide the latency of a division: overlap several
    for (int j = lane; j < count; j += kLanes) {
      const T overlap = iou(proposal, area_proposal, tile[j], tile_area[j]);
      if (overlap > best) {  // false for NaN
        best = overlap;
        best_area = tile_area[j];
        best_gt = start + j;
      }
    }
  }
  // Among equal IoUs the lowest index wins, as if one thread had visited all boxes.
  for (int step = kLanes / 2; step > 0; step /= 2) {
    const T other = __shfl_xor_sync(0xffffffffu, best, step);
    const T other_area = __shfl_xor_sync(0xffffffffu, best_area, step);
    const int64_t other_gt = __shfl_xor_sync(0xffffffffu, best_gt, step);
    if (other > best || (other == best && other_gt < best_gt)) {
      best = other;
      best_area = other_area;
      best_gt = other_gt;
    }
  }

  const bool writes = inside && lane == 0;
  const bool keep = writes && best_gt >= 0 && best >= iou_threshold;
  if (writes) {
    match[i] = keep ? best_gt : -1;
  }
  const double block_loss = block_sum(keep ? double(area_error_squared(area_proposal, best_area, eps)) : 0.0, scratch);
  const int block_kept = __syncthreads_count(keep);
  if (threadIdx.x == 0) {
    partials[blockIdx.x] = make_double2(block_loss, block_kept);
    __threadfence();  // the partial is visible before the ticket is drawn
    is_last = atomicAdd(reinterpret_cast<Ticket*>(kept), Ticket(1)) == gridDim.x - 1;
  }
  __syncthreads();
  if (!is_last) {
    return;
  }
  // All other blocks have drawn their ticket from `kept`; the last one adds up the partials in order.
  double sum = 0.0, count = 0.0;
  __threadfence();
  for (unsigned block = threadIdx.x; block < gridDim.x; block += kThreads) {
    const double2 partial = __ldcg(partials + block);
    sum += partial.x;
    count += partial.y;
  }
  sum = block_sum(sum, scratch);
  count = block_sum(count, scratch);
  if (threadIdx.x == 0) {
    *loss = static_cast<T>(mean && count > 1.0 ? sum / count : sum);
    *kept = static_cast<int64_t>(count);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    area_loss_backward_kernel(const T* __restrict__ grad, const T* __restrict__ proposals, int64_t num_proposals,
                              const T* __restrict__ gt_boxes, int64_t num_gt, const int64_t* __restrict__ match,
                              const int64_t* __restrict__ kept, T eps, bool mean, T* __restrict__ out) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= num_proposals) {
    return;
  }
  const int64_t j = match[i];
  T gradient[4] = {T(0), T(0), T(0), T(0)};
  if (j >= 0 && j < num_gt) {
    const T scale = mean && *kept > 1 ? *grad / static_cast<T>(*kept) : *grad;
    area_error_gradient(load_box(proposals + 4 * i), area(load_box(gt_boxes + 4 * j)), eps, scale, gradient);
  }
  for (int k = 0; k < 4; ++k) {
    out[4 * i + k] = gradient[k];
  }
}

int blocks_for(int64_t items, int64_t items_per_block) {
  const int64_t blocks = (items + items_per_block - 1) / items_per_block;
  STD_TORCH_CHECK(blocks <= INT32_MAX, "proposals has too many rows for one call: ", items);
  return static_cast<int>(blocks);
}

template <typename T>
void forward(const Tensor& proposals, const Tensor& gt_boxes, double iou_threshold, double eps, bool mean, Tensor& loss,
             Tensor& kept, Tensor& match) {
  const int blocks = blocks_for(proposals.size(0), kProposals);
  Tensor partials = torch::stable::new_empty(proposals, {blocks, 2}, ScalarType::Double);
  const cudaStream_t stream = current_stream(proposals.get_device_index());
  area_loss_kernel<T><<<blocks, kThreads, 0, stream>>>(
      proposals.const_data_ptr<T>(), proposals.size(0), gt_boxes.const_data_ptr<T>(), gt_boxes.size(0),
      static_cast<T>(iou_threshold), static_cast<T>(eps), mean,
      reinterpret_cast<double2*>(partials.mutable_data_ptr<double>()), loss.mutable_data_ptr<T>(),
      kept.mutable_data_ptr<int64_t>(), match.mutable_data_ptr<int64_t>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename T>
void backward(const Tensor& grad, const Tensor& proposals, const Tensor& gt_boxes, const Tensor& match,
              const Tensor& kept, double eps, bool mean, Tensor& out) {
  const int blocks = blocks_for(proposals.size(0), kThreads);
  const cudaStream_t stream = current_stream(proposals.get_device_index());
  area_loss_backward_kernel<T><<<blocks, kThreads, 0, stream>>>(
      grad.const_data_ptr<T>(), proposals.const_data_ptr<T>(), proposals.size(0), gt_boxes.const_data_ptr<T>(),
      gt_boxes.size(0), match.const_data_ptr<int64_t>(), kept.const_data_ptr<int64_t>(), static_cast<T>(eps), mean,
      out.mutable_data_ptr<T>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

std::tuple<Tensor, Tensor, Tensor> area_loss(Tensor proposals, Tensor gt_boxes, double iou_threshold, double eps,
                                             bool mean) {
  check_area_loss_boxes(proposals, gt_boxes);
  torch::stable::accelerator::DeviceGuard guard(proposals.get_device_index());
  proposals = torch::stable::contiguous(proposals);
  gt_boxes = torch::stable::contiguous(gt_boxes);
  const int64_t num_proposals = proposals.size(0);
  Tensor kept = torch::stable::new_zeros(proposals, {}, ScalarType::Long);
  Tensor match = torch::stable::new_empty(proposals, {num_proposals}, ScalarType::Long);
  if (num_proposals == 0) {
    return {torch::stable::new_zeros(proposals, {}), kept, match};
  }
  Tensor loss = torch::stable::new_empty(proposals, {});
  const auto run = proposals.scalar_type() == ScalarType::Float ? forward<float> : forward<double>;
  run(proposals, gt_boxes, iou_threshold, eps, mean, loss, kept, match);
  return {loss, kept, match};
}

Tensor area_loss_backward(Tensor grad, Tensor proposals, Tensor gt_boxes, Tensor match, Tensor kept, double eps,
                          bool mean) {
  check_area_loss_backward(grad, proposals, gt_boxes, match, kept);
  torch::stable::accelerator::DeviceGuard guard(proposals.get_device_index());
  proposals = torch::stable::contiguous(proposals);
  gt_boxes = torch::stable::contiguous(gt_boxes);
  match = torch::stable::contiguous(match);
  Tensor out = torch::stable::new_empty(proposals, proposals.sizes());
  if (proposals.size(0) > 0) {
    const auto run = proposals.scalar_type() == ScalarType::Float ? backward<float> : backward<double>;
    run(grad, proposals, gt_boxes, match, kept, eps, mean, out);
  }
  return out;
}

}  // namespace
}  // namespace insight

STABLE_TORCH_LIBRARY_IMPL(insight, CUDA, m) {
  m.impl("area_loss", TORCH_BOX(&insight::area_loss));
  m.impl("area_loss_backward", TORCH_BOX(&insight::area_loss_backward));
}
