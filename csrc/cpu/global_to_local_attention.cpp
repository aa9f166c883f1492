// Global-to-local attention on the CPU: sorts the RoIs by image, packs keys and blocks of rows, and calls the row-block
// kernels of the widest instruction set available.
#include "cpu/global_to_local_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "common/global_to_local_attention.h"
#include "cpu/aligned.h"
#include "cpu/capability.h"

namespace insight::attention {
namespace {

using torch::headeronly::BFloat16;
using torch::headeronly::Half;

// Target number of tasks of the backward pass. The actual number depends on the shapes alone, not on the number of
// threads, so that the order of summation and every bit of the gradient are the same for any number of threads.
constexpr int64_t kBackwardTasks = 64;
constexpr double kLog2E = 1.442695040888963407;

template <typename S>
const Kernels<S>& best_kernels() {
  static const Kernels<S>* const best = [] {
    const Capability cpu = cpu_capability();
    const Kernels<S>* found = cpu.avx512 ? avx512_kernels<S>() : nullptr;
    if (!found && cpu.avx2) found = avx2_kernels<S>();
    return found ? found : plain_kernels<S>();
  }();
  return *best;
}

// The RoIs of image b, in their original order: order[start[b]] ... order[start[b + 1] - 1].
struct RoisByImage {
  std::vector<int64_t> order;
  std::vector<int64_t> start;

  RoisByImage(const int64_t* image_index, const Problem& p) : order(p.num_rois), start(p.images + 1, 0) {
    for (int64_t n = 0; n < p.num_rois; ++n) {
      STD_TORCH_CHECK(image_index[n] >= 0 && image_index[n] < p.images, "image_index: expected values in [0, ",
                      p.images, "), the batch size of global_tokens, got ", image_index[n], " at position ", n);
      ++start[image_index[n] + 1];
    }
    for (int64_t b = 0; b < p.images; ++b) start[b + 1] += start[b];
    std::vector<int64_t> next(start.begin(), start.end() - 1);
    for (int64_t n = 0; n < p.num_rois; ++n) order[next[image_index[n]]++] = n;
  }

  int64_t rows(int64_t image, const Problem& p) const { return (start[image + 1] - start[image]) * p.tokens; }
};

// A block of rows and the position of each in (N, T).
struct Block {
  int rows;
  int vectors;
  int width;  // vectors * lanes: rows with the padding
  int64_t roi[kMaxRows];
  int64_t token[kMaxRows];

  Block(const RoisByImage& rois, const Problem& p, int lanes, int64_t image, int64_t first) {
    rows = static_cast<int>(std::min<int64_t>(rois.rows(image, p) - first, kMaxVectors * lanes));
    vectors = (rows + lanes - 1) / lanes;
    width = vectors * lanes;
    for (int i = 0; i < rows; ++i) {
      roi[i] = rois.order[rois.start[image] + (first + i) / p.tokens];
      token[i] = (first + i) % p.tokens;
    }
  }

  int64_t channel(int i, int64_t head, const Problem& p) const {
    return (roi[i] * p.tokens + token[i]) * p.channels + head * p.d;
  }
  int64_t statistic(int i, int64_t head, const Problem& p) const {
    return (roi[i] * p.heads + head) * p.tokens + token[i];
  }
};

// (N, T, D) -> (d, width) of one block and head, times scale.
template <typename T, typename S>
void load_transposed(const T* tensor, const Block& block, int64_t head, const Problem& p, S scale, S* result) {
  for (int64_t c = 0; c < p.d; ++c)
    std::fill(result + c * block.width + block.rows, result + (c + 1) * block.width, S(0));
  for (int i = 0; i < block.rows; ++i) {
    const T* row = tensor + block.channel(i, head, p);
    for (int64_t c = 0; c < p.d; ++c) result[c * block.width + i] = static_cast<S>(row[c]) * scale;
  }
}

// (N, T, D) -> (width, padded_d) of one block and head, times scale.
template <typename T, typename S>
void load_rows(const T* tensor, const Block& block, int64_t head, const Problem& p, int64_t padded_d, S scale,
               S* result) {
  std::fill(result, result + block.width * padded_d, S(0));
  for (int i = 0; i < block.rows; ++i) {
    const T* row = tensor + block.channel(i, head, p);
    for (int64_t c = 0; c < p.d; ++c) result[i * padded_d + c] = static_cast<S>(row[c]) * scale;
  }
}

// (d, width) of one block and head -> (N, T, D), times scale.
template <typename T, typename S>
void store_transposed(const S* values, const Block& block, int64_t head, const Problem& p, S scale, T* tensor) {
  for (int i = 0; i < block.rows; ++i) {
    T* row = tensor + block.channel(i, head, p);
    for (int64_t c = 0; c < p.d; ++c) row[c] = static_cast<T>(values[c * block.width + i] * scale);
  }
}

template <typename S>
constexpr ScalarType scalar_type() {
  return std::is_same_v<S, double> ? ScalarType::Double : ScalarType::Float;
}

// (B, G, D) -> (B, heads, G, d): the keys of one image and head side by side.
template <typename T, typename S>
Tensor pack_keys(const Tensor& global_tokens, const Problem& p) {
  Tensor packed = torch::stable::empty({p.images, p.heads, p.num_keys, p.d}, scalar_type<S>());
  const T* from = global_tokens.const_data_ptr<T>();
  S* to = packed.mutable_data_ptr<S>();
  torch::stable::parallel_for(0, p.images * p.heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* image = from + (i / p.heads) * p.num_keys * p.channels + (i % p.heads) * p.d;
      for (int64_t g = 0; g < p.num_keys; ++g) {
        for (int64_t c = 0; c < p.d; ++c)
          to[(i * p.num_keys + g) * p.d + c] = static_cast<S>(image[g * p.channels + c]);
      }
    }
  });
  return packed;
}

template <typename T>
void attend(const Problem& p, const Tensor& local, const Tensor& global_tokens, const RoisByImage& rois, Tensor& out,
            Tensor& logsumexp) {
  using S = Compute<T>;
  const Kernels<S>& kernels = best_kernels<S>();
  const int64_t block_rows = kMaxVectors * kernels.lanes;
  const Tensor keys = pack_keys<T, S>(global_tokens, p);
  const S* all_keys = keys.const_data_ptr<S>();
  const T* local_data = local.const_data_ptr<T>();
  T* out_data = out.mutable_data_ptr<T>();
  S* logsumexp_data = logsumexp.mutable_data_ptr<S>();

  // In the order image, head, block, so that consecutive tasks share their keys.
  std::vector<int64_t> first_task(p.images + 1, 0);
  for (int64_t b = 0; b < p.images; ++b) {
    first_task[b + 1] = first_task[b] + (rois.rows(b, p) + block_rows - 1) / block_rows * p.heads;
  }
  torch::stable::parallel_for(0, first_task[p.images], 1, [&](int64_t begin, int64_t end) {
    Aligned<S> queries(p.d * block_rows), result(p.d * block_rows), statistics(block_rows);
    int64_t image = std::upper_bound(first_task.begin(), first_task.end(), begin) - first_task.begin() - 1;
    for (int64_t task = begin; task < end; ++task) {
      while (task >= first_task[image + 1]) ++image;
      const int64_t blocks = (first_task[image + 1] - first_task[image]) / p.heads;
      const int64_t head = (task - first_task[image]) / blocks;
      const Block block(rois, p, kernels.lanes, image, (task - first_task[image]) % blocks * block_rows);
      load_transposed(local_data, block, head, p, static_cast<S>(kLog2E / std::sqrt(double(p.d))), queries.data());
      kernels.forward({queries.data(), all_keys + (image * p.heads + head) * p.num_keys * p.d, p.num_keys, p.d,
                       result.data(), statistics.data()},
                      block.vectors);
      store_transposed(result.data(), block, head, p, S(1), out_data);
      for (int i = 0; i < block.rows; ++i) logsumexp_data[block.statistic(i, head, p)] = statistics.data()[i];
    }
  });
}

// The rows of one image that a task of the backward pass processes, and where it accumulates the gradient of the keys.
struct RowRange {
  int64_t image;
  int64_t first_row;
  int64_t last_row;
  int64_t slot;  // the ranges of an image have consecutive slots
};

std::vector<RowRange> row_ranges(const RoisByImage& rois, const Problem& p, int64_t block_rows) {
  constexpr int64_t kFewestBlocks = 4;  // fewer do not pay for a partial sum of their own
  const int64_t most = std::max<int64_t>(1, kBackwardTasks / std::max<int64_t>(1, p.images * p.heads));
  std::vector<RowRange> ranges;
  for (int64_t b = 0; b < p.images; ++b) {
    const int64_t rows = rois.rows(b, p);
    const int64_t blocks = (rows + block_rows - 1) / block_rows;
    const int64_t parts = std::min(most, (blocks + kFewestBlocks - 1) / kFewestBlocks);
    for (int64_t i = 0; i < parts; ++i) {
      ranges.push_back({b, blocks * i / parts * block_rows, std::min(rows, blocks * (i + 1) / parts * block_rows),
                        static_cast<int64_t>(ranges.size())});
    }
  }
  return ranges;
}

template <typename T>
void differentiate(const Problem& p, const Tensor& grad, const Tensor& local, const Tensor& global_tokens,
                   const RoisByImage& rois, const Tensor& out, const Tensor& logsumexp, Tensor& grad_local,
                   Tensor& grad_global) {
  using S = Compute<T>;
  const Kernels<S>& kernels = best_kernels<S>();
  const int64_t block_rows = kMaxVectors * kernels.lanes;
  const int64_t padded_d = (p.d + kernels.lanes - 1) / kernels.lanes * kernels.lanes;
  const Tensor keys = pack_keys<T, S>(global_tokens, p);
  const S* all_keys = keys.const_data_ptr<S>();
  const T* grad_data = grad.const_data_ptr<T>();
  const T* local_data = local.const_data_ptr<T>();
  const T* out_data = out.const_data_ptr<T>();
  const S* logsumexp_data = logsumexp.const_data_ptr<S>();
  T* grad_local_data = grad_local.mutable_data_ptr<T>();
  T* grad_global_data = grad_global.mutable_data_ptr<T>();
  const S scale = static_cast<S>(1 / std::sqrt(double(p.d)));

  const std::vector<RowRange> ranges = row_ranges(rois, p, block_rows);
  const int64_t sum_size = p.num_keys * padded_d;
  Tensor sums = torch::stable::empty({static_cast<int64_t>(ranges.size()), p.heads, sum_size}, scalar_type<S>());
  S* all_sums = sums.mutable_data_ptr<S>();
  torch::stable::parallel_for(0, ranges.size() * p.heads, 1, [&](int64_t begin, int64_t end) {
    Aligned<S> queries(p.d * block_rows), grads(p.d * block_rows), grad_queries(p.d * block_rows);
    Aligned<S> query_rows(padded_d * block_rows), grad_rows(padded_d * block_rows);
    Aligned<S> statistics(block_rows), delta(block_rows);
    for (int64_t task = begin; task < end; ++task) {
      const RowRange& range = ranges[task / p.heads];
      const int64_t head = task % p.heads;
      S* sum = all_sums + task * sum_size;
      std::fill(sum, sum + sum_size, S(0));
      for (int64_t first = range.first_row; first < range.last_row; first += block_rows) {
        const Block block(rois, p, kernels.lanes, range.image, first);
        load_transposed(local_data, block, head, p, scale * S(kLog2E), queries.data());
        load_transposed(grad_data, block, head, p, S(1), grads.data());
        load_rows(local_data, block, head, p, padded_d, scale, query_rows.data());
        load_rows(grad_data, block, head, p, padded_d, S(1), grad_rows.data());
        // The queries and gradients of padding rows are zero, so they add nothing, whatever their weights.
        std::fill(statistics.data(), statistics.data() + block.width, S(0));
        std::fill(delta.data(), delta.data() + block.width, S(0));
        for (int i = 0; i < block.rows; ++i) {
          statistics.data()[i] = logsumexp_data[block.statistic(i, head, p)] * S(kLog2E);
          const int64_t at = block.channel(i, head, p);
          for (int64_t c = 0; c < p.d; ++c)
            delta.data()[i] += static_cast<S>(grad_data[at + c]) * static_cast<S>(out_data[at + c]);
        }
        kernels.backward({queries.data(), grads.data(), query_rows.data(), grad_rows.data(), statistics.data(),
                          delta.data(), all_keys + (range.image * p.heads + head) * p.num_keys * p.d, p.num_keys, p.d,
                          padded_d, grad_queries.data(), sum},
                         block.vectors);
        store_transposed(grad_queries.data(), block, head, p, scale, grad_local_data);
      }
    }
  });

  // Add up the ranges of each image in order.
  std::vector<int64_t> first_range(p.images + 1, static_cast<int64_t>(ranges.size()));
  for (auto range = ranges.rbegin(); range != ranges.rend(); ++range) first_range[range->image] = range->slot;
  for (int64_t b = p.images - 1; b >= 0; --b) first_range[b] = std::min(first_range[b], first_range[b + 1]);
  torch::stable::parallel_for(0, p.images * p.num_keys, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / p.num_keys;
      const int64_t g = i % p.num_keys;
      for (int64_t channel = 0; channel < p.channels; ++channel) {
        S total = 0;
        for (int64_t r = first_range[image]; r < first_range[image + 1]; ++r)
          total += all_sums[(r * p.heads + channel / p.d) * sum_size + g * padded_d + channel % p.d];
        grad_global_data[i * p.channels + channel] = static_cast<T>(total);
      }
    }
  });
}

std::tuple<Tensor, Tensor> global_to_local_attention(Tensor local, Tensor global_tokens, Tensor image_index,
                                                     int64_t num_heads) {
  const Problem p = check_arguments(local, global_tokens, image_index, num_heads);
  local = torch::stable::contiguous(local);
  global_tokens = torch::stable::contiguous(global_tokens);
  image_index = torch::stable::contiguous(image_index);
  const RoisByImage rois(image_index.const_data_ptr<int64_t>(), p);
  Tensor out = like(local);
  Tensor logsumexp = torch::stable::empty({p.num_rois, p.heads, p.tokens}, statistics_type(local));
  if (p.num_keys == 0) {  // nothing to attend to
    torch::stable::zero_(out);
    torch::stable::fill_(logsumexp, -std::numeric_limits<double>::infinity());
    return {out, logsumexp};
  }
  with_element_type<Half, BFloat16>(local.scalar_type(), [&](auto element) {
    attend<decltype(element)>(p, local, global_tokens, rois, out, logsumexp);
  });
  return {out, logsumexp};
}

std::tuple<Tensor, Tensor> global_to_local_attention_backward(Tensor grad, Tensor local, Tensor global_tokens,
                                                              Tensor image_index, Tensor out, Tensor logsumexp,
                                                              int64_t num_heads) {
  const Problem p = check_arguments(local, global_tokens, image_index, num_heads);
  check_saved_tensors(p, grad, local, out, logsumexp);
  for (Tensor* t : {&grad, &local, &global_tokens, &image_index, &out, &logsumexp}) *t = torch::stable::contiguous(*t);
  const RoisByImage rois(image_index.const_data_ptr<int64_t>(), p);
  Tensor grad_local = like(local);
  Tensor grad_global = like(global_tokens);
  if (p.num_keys == 0) {
    torch::stable::zero_(grad_local);
    return {grad_local, grad_global};
  }
  with_element_type<Half, BFloat16>(local.scalar_type(), [&](auto element) {
    differentiate<decltype(element)>(p, grad, local, global_tokens, rois, out, logsumexp, grad_local, grad_global);
  });
  return {grad_local, grad_global};
}

}  // namespace
}  // namespace insight::attention

STABLE_TORCH_LIBRARY_IMPL(insight, CPU, m) {
  m.impl("global_to_local_attention", TORCH_BOX(&insight::attention::global_to_local_attention));
  m.impl("global_to_local_attention_backward", TORCH_BOX(&insight::attention::global_to_local_attention_backward));
}
