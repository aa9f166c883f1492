// Proposal area loss on the CPU: matching and loss in one pass, without an (N, M) matrix.
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#if defined(__GNUC__) && !defined(__clang__)
// By default GCC keeps floating-point comparisons in branches to preserve traps, which are not used here, and then does
// not vectorise the loop over lanes.
#pragma GCC optimize("no-trapping-math")
#endif

#include "common/area_loss.h"

// Also compiled for AVX2, selected when the library is loaded. Without FMA: fused multiply-adds would round IoUs
// differently from the GPU and the PyTorch reference.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__has_attribute)
#if __has_attribute(target_clones)
#define INSIGHT_AVX2_CLONE __attribute__((target_clones("avx2", "default")))
#endif
#endif
#ifndef INSIGHT_AVX2_CLONE
#define INSIGHT_AVX2_CLONE
#endif

namespace insight {
namespace {

constexpr int64_t kLanes = 64;  // proposals that walk over the ground truth together, one SIMD lane each

struct Partial {
  double loss;
  int64_t kept;
};

// Matches `count` <= kLanes proposals and sums their losses.
template <typename T>
INSIGHT_HOST_DEVICE Partial match_lanes(const T* proposals, int64_t count, const T* gt_boxes, int64_t num_gt,
                                        T iou_threshold, T eps, int64_t* match) {
  // As wide as T, so that a comparison of Ts selects indices lane by lane.
  using Index = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
  T x1[kLanes], y1[kLanes], x2[kLanes], y2[kLanes], areas[kLanes], best[kLanes];
  Index best_gt[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) {
    const Box<T> box = load_box(proposals + 4 * std::min(i, count - 1));
    x1[i] = box.x1;
    y1[i] = box.y1;
    x2[i] = box.x2;
    y2[i] = box.y2;
    areas[i] = area(box);
    best[i] = T(-1);
    best_gt[i] = -1;
  }
  for (int64_t j = 0; j < num_gt; ++j) {
    const Box<T> gt = load_box(gt_boxes + 4 * j);
    const T area_gt = area(gt);
    const Index index = static_cast<Index>(j);
    for (int64_t i = 0; i < kLanes; ++i) {
      const T overlap = iou(Box<T>{x1[i], y1[i], x2[i], y2[i]}, areas[i], gt, area_gt);
      const bool better = overlap > best[i];  // false for NaN
      best[i] = better ? overlap : best[i];
      best_gt[i] = better ? index : best_gt[i];
    }
  }
  Partial partial = {0.0, 0};
  for (int64_t i = 0; i < count; ++i) {
    const bool keep = best_gt[i] >= 0 && best[i] >= iou_threshold;
    match[i] = keep ? best_gt[i] : -1;
    if (keep) {
      const T area_gt = area(load_box(gt_boxes + 4 * best_gt[i]));
      partial.loss += area_error_squared(areas[i], area_gt, eps);
      partial.kept += 1;
    }
  }
  return partial;
}

INSIGHT_AVX2_CLONE Partial match_block(const float* proposals, int64_t count, const float* gt_boxes, int64_t num_gt,
                                       float iou_threshold, float eps, int64_t* match) {
  return match_lanes(proposals, count, gt_boxes, num_gt, iou_threshold, eps, match);
}

INSIGHT_AVX2_CLONE Partial match_block(const double* proposals, int64_t count, const double* gt_boxes, int64_t num_gt,
                                       double iou_threshold, double eps, int64_t* match) {
  return match_lanes(proposals, count, gt_boxes, num_gt, iou_threshold, eps, match);
}

template <typename T>
void forward(const Tensor& proposals, const Tensor& gt_boxes, double iou_threshold, double eps, bool mean, Tensor& loss,
             Tensor& kept, Tensor& match) {
  const int64_t num_proposals = proposals.size(0), num_gt = gt_boxes.size(0);
  const T* proposal_data = proposals.const_data_ptr<T>();
  const T* gt_data = gt_boxes.const_data_ptr<T>();
  int64_t* match_data = match.mutable_data_ptr<int64_t>();
  // One partial sum per block, added up in order, so that the result does not depend on the number of threads.
  const int64_t num_blocks = (num_proposals + kLanes - 1) / kLanes;
  std::vector<Partial> partials(num_blocks);
  const int64_t grain = std::max<int64_t>(1, 512 / std::max<int64_t>(1, num_gt));
  torch::stable::parallel_for(0, num_blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * kLanes;
      partials[block] = match_block(proposal_data + 4 * first, std::min(kLanes, num_proposals - first), gt_data, num_gt,
                                    static_cast<T>(iou_threshold), static_cast<T>(eps), match_data + first);
    }
  });
  Partial total = {0.0, 0};
  for (const Partial& partial : partials) {
    total.loss += partial.loss;
    total.kept += partial.kept;
  }
  const int64_t divisor = mean ? std::max<int64_t>(1, total.kept) : 1;
  *loss.mutable_data_ptr<T>() = static_cast<T>(total.loss / static_cast<double>(divisor));
  *kept.mutable_data_ptr<int64_t>() = total.kept;
}

template <typename T>
void backward(const Tensor& grad, const Tensor& proposals, const Tensor& gt_boxes, const Tensor& match, int64_t divisor,
              double eps, Tensor& out) {
  const int64_t num_gt = gt_boxes.size(0);
  const T* proposal_data = proposals.const_data_ptr<T>();
  const T* gt_data = gt_boxes.const_data_ptr<T>();
  const int64_t* match_data = match.const_data_ptr<int64_t>();
  T* out_data = out.mutable_data_ptr<T>();
  const T scale = *grad.const_data_ptr<T>() / static_cast<T>(divisor);
  torch::stable::parallel_for(0, proposals.size(0), 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t j = match_data[i];
      if (j < 0 || j >= num_gt) {
        std::fill_n(out_data + 4 * i, 4, T(0));
        continue;
      }
      const Box<T> proposal = load_box(proposal_data + 4 * i);
      area_error_gradient(proposal, area(load_box(gt_data + 4 * j)), static_cast<T>(eps), scale, out_data + 4 * i);
    }
  });
}

std::tuple<Tensor, Tensor, Tensor> area_loss(Tensor proposals, Tensor gt_boxes, double iou_threshold, double eps,
                                             bool mean) {
  check_area_loss_boxes(proposals, gt_boxes);
  proposals = torch::stable::contiguous(proposals);
  gt_boxes = torch::stable::contiguous(gt_boxes);
  Tensor loss = torch::stable::new_empty(proposals, {});
  Tensor kept = torch::stable::new_empty(proposals, {}, ScalarType::Long);
  Tensor match = torch::stable::new_empty(proposals, {proposals.size(0)}, ScalarType::Long);
  const auto run = proposals.scalar_type() == ScalarType::Float ? forward<float> : forward<double>;
  run(proposals, gt_boxes, iou_threshold, eps, mean, loss, kept, match);
  return {loss, kept, match};
}

Tensor area_loss_backward(Tensor grad, Tensor proposals, Tensor gt_boxes, Tensor match, Tensor kept, double eps,
                          bool mean) {
  check_area_loss_backward(grad, proposals, gt_boxes, match, kept);
  proposals = torch::stable::contiguous(proposals);
  gt_boxes = torch::stable::contiguous(gt_boxes);
  match = torch::stable::contiguous(match);
  Tensor out = torch::stable::new_empty(proposals, proposals.sizes());
  const int64_t divisor = mean ? std::max<int64_t>(1, *kept.const_data_ptr<int64_t>()) : 1;
  const auto run = proposals.scalar_type() == ScalarType::Float ? backward<float> : backward<double>;
  run(grad, proposals, gt_boxes, match, divisor, eps, out);
  return out;
}

}  // namespace
}  // namespace insight

STABLE_TORCH_LIBRARY_IMPL(insight, CPU, m) {
  m.impl("area_loss", TORCH_BOX(&insight::area_loss));
  m.impl("area_loss_backward", TORCH_BOX(&insight::area_loss_backward));
}
