// Global-to-local attention on the GPU: sorts the rows by image, without synchronising with the host, and chooses the
// kernels: tensor cores for half types if the head dimension fits, general ones for everything else.
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>

#include <algorithm>
#include <limits>
#include <type_traits>

#include "cuda/global_to_local_attention.cuh"
#include "cuda/stream.h"

namespace insight::attention {
namespace {

constexpr int kSortThreads = 512;
constexpr int kSortedInShared = 4096;  // images whose counters fit shared memory

// Counting sort of the RoIs by image in one thread block, stable. counters: (images + 1), used if there are too many
// images for shared memory.
__global__ void __launch_bounds__(kSortThreads)
    sort_rois_kernel(const int64_t* __restrict__ image_index, int num_rois, int tokens, int images, int tile_rows,
                     int* order, int* roi_start, int* tile_start, int* counters) {
  __shared__ int shared_counters[kSortedInShared];
  int* next = images < kSortedInShared ? shared_counters : counters;
  const auto image_of = [&](int roi) {
    const int64_t image = image_index[roi];
    return image >= 0 && image < images ? static_cast<int>(image) : images;
  };
  for (int b = threadIdx.x; b <= images; b += kSortThreads) next[b] = 0;
  __syncthreads();
  for (int roi = threadIdx.x; roi < num_rois; roi += kSortThreads) atomicAdd(next + image_of(roi), 1);
  __syncthreads();
  if (threadIdx.x >= 32) return;

  constexpr unsigned kAll = 0xffffffffu;
  const int lane = threadIdx.x;
  int rois = 0;
  int tiles = 0;
  for (int base = 0; base <= images; base += 32) {
    const int b = base + lane;
    const int count = b <= images ? next[b] : 0;
    const int image_tiles = static_cast<int>(ceil_div(int64_t(count) * tokens, tile_rows));
    int rois_through = count;
    int tiles_through = image_tiles;
    for (int step = 1; step < 32; step *= 2) {
      const int other_rois = __shfl_up_sync(kAll, rois_through, step);
      const int other_tiles = __shfl_up_sync(kAll, tiles_through, step);
      if (lane >= step) {
        rois_through += other_rois;
        tiles_through += other_tiles;
      }
    }
    if (b <= images) {
      next[b] = roi_start[b] = rois + rois_through - count;
      tile_start[b] = tiles + tiles_through - image_tiles;
    }
    rois += __shfl_sync(kAll, rois_through, 31);
    tiles += __shfl_sync(kAll, tiles_through, 31);
  }
  if (lane == 0) {
    roi_start[images + 1] = rois;
    tile_start[images + 1] = tiles;
  }
  __syncwarp();
  for (int base = 0; base < num_rois; base += 32) {
    const int roi = base + lane;
    const int image = roi < num_rois ? image_of(roi) : -1;
    const unsigned same = __match_any_sync(kAll, image);
    const int rank = __popc(same & ((1u << lane) - 1));
    if (roi < num_rois) order[next[image] + rank] = roi;
    __syncwarp();
    if (roi < num_rois && rank == 0) next[image] += __popc(same);
    __syncwarp();
  }
}

// kElements values of T, read in one load.
template <typename T, int kElements>
struct alignas(sizeof(T) * kElements) Pack {
  T element[kElements];
};

// row_of, and the statistics of each sorted row and head (head = blockIdx.y).
template <typename T, typename S, int kElements>
__global__ void row_statistics_kernel(const Sizes size, const SortedRows rows, const T* __restrict__ grad,
                                      const T* __restrict__ out, const S* __restrict__ logsumexp,
                                      int* __restrict__ row_of, RowStatistics<S>* __restrict__ statistics) {
  const int v = blockIdx.x * blockDim.x + threadIdx.x;
  if (v >= size.num_rois * size.tokens) return;
  const int head = blockIdx.y;
  const int row = rows.row_of(v);
  if (head == 0) row_of[v] = row;
  const int64_t offset = int64_t(row) * size.channels + head * size.d;
  S delta = 0;
  for (int c = 0; c < size.d; c += kElements) {
    const auto g = *reinterpret_cast<const Pack<T, kElements>*>(grad + offset + c);
    const auto o = *reinterpret_cast<const Pack<T, kElements>*>(out + offset + c);
#pragma unroll
    for (int i = 0; i < kElements; ++i) delta += convert<S>(g.element[i]) * convert<S>(o.element[i]);
  }
  const S natural = logsumexp[size.statistic_of(row, head)];
  statistics[int64_t(head) * size.num_rois * size.tokens + v] = {natural * S(1.442695040888963407),
                                                                 delta * rsqrt(S(size.d))};
}

// Adds up the parts in order.
template <typename T, typename S>
__global__ void sum_parts_kernel(const S* __restrict__ parts, int count, int64_t numel, T* __restrict__ sum) {
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < numel; i += int64_t(gridDim.x) * blockDim.x) {
    S total = 0;
    for (int part = 0; part < count; ++part) total += parts[part * numel + i];
    sum[i] = convert<T>(total);
  }
}

Sizes sizes_of(const Problem& p) {
  constexpr int64_t kMost = std::numeric_limits<int>::max();
  STD_TORCH_CHECK(p.num_rois * p.tokens + 512 <= kMost && p.num_keys + 512 <= kMost && p.images + 512 <= kMost &&
                      p.channels + 512 <= kMost,
                  "local (N, T, D) and global_tokens (B, G, D): expected N * T, B, G and D below 2^31 - 512");
  STD_TORCH_CHECK(p.heads <= 65535, "num_heads: expected at most 65535 on CUDA, got ", p.heads);
  return {int(p.num_rois), int(p.tokens), int(p.images), int(p.num_keys), int(p.channels), int(p.heads), int(p.d)};
}

// The sorted rows and the memory that holds them.
struct RowSorting {
  Tensor memory;
  SortedRows rows;
  int64_t most_tiles;

  RowSorting(const Tensor& image_index, const Problem& p, int tile_rows, cudaStream_t stream) {
    const int64_t starts = p.images + 2;
    memory = torch::stable::new_empty(image_index, {p.num_rois + 3 * starts}, ScalarType::Int);
    int* order = memory.mutable_data_ptr<int>();
    int* roi_start = order + p.num_rois;
    rows = {order, roi_start, roi_start + starts, int(p.tokens), int(p.images)};
    sort_rois_kernel<<<1, kSortThreads, 0, stream>>>(image_index.const_data_ptr<int64_t>(), int(p.num_rois),
                                                     int(p.tokens), int(p.images), tile_rows, order, roi_start,
                                                     roi_start + starts, roi_start + 2 * starts);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
    most_tiles = most_row_tiles(p.num_rois, p.tokens, p.images, tile_rows);
  }
};

template <typename T>
constexpr bool is_half = std::is_same_v<T, __half> || std::is_same_v<T, __nv_bfloat16>;

template <typename T>
const T* data_of(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}
template <typename T>
T* mutable_data_of(const Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

// The head dimension of the tensor-core kernels for these tensors, or 0 if the kernels cannot be used.
template <typename T>
int tensor_core_head_dim_for(const Problem& p, std::initializer_list<const Tensor*> tensors) {
  const bool aligned = std::all_of(tensors.begin(), tensors.end(), [](const Tensor* tensor) {
    return reinterpret_cast<uintptr_t>(tensor->const_data_ptr()) % 16 == 0;
  });
  return is_half<T> && aligned ? tensor_core_head_dim(p.d) : 0;
}

template <typename T>
void attend(const Problem& p, const Tensor& local, const Tensor& global_tokens, const Tensor& image_index, Tensor& out,
            Tensor& logsumexp) {
  const Sizes size = sizes_of(p);
  const cudaStream_t stream = current_stream(local.get_device_index());
  const int padded_d = tensor_core_head_dim_for<T>(p, {&local, &global_tokens, &out});
  const RowSorting sorting(image_index, p, padded_d ? tensor_core_tile(padded_d) : kGeneralTile, stream);
  const ForwardArguments<T> arguments = {size,
                                         sorting.rows,
                                         data_of<T>(local),
                                         data_of<T>(global_tokens),
                                         mutable_data_of<T>(out),
                                         logsumexp.mutable_data_ptr()};
  if constexpr (is_half<T>) {
    if (padded_d) return attend_tensor_cores<T>(arguments, padded_d, sorting.most_tiles, stream);
  }
  attend_general<T>(arguments, sorting.most_tiles, stream);
}

template <typename T>
void differentiate(const Problem& p, const Tensor& grad, const Tensor& local, const Tensor& global_tokens,
                   const Tensor& image_index, const Tensor& out, const Tensor& logsumexp, Tensor& grad_local,
                   Tensor& grad_global) {
  using S = Compute<T>;
  const Sizes size = sizes_of(p);
  const cudaStream_t stream = current_stream(local.get_device_index());
  const int padded_d = tensor_core_head_dim_for<T>(p, {&grad, &local, &global_tokens, &out, &grad_local});
  const RowSorting sorting(image_index, p, padded_d ? tensor_core_tile(padded_d) : kGeneralTile, stream);

  const int64_t rows = p.num_rois * p.tokens;
  const auto compute = std::is_same_v<S, double> ? ScalarType::Double : ScalarType::Float;
  const Tensor row_of = torch::stable::new_empty(image_index, {rows}, ScalarType::Int);
  const Tensor statistics = torch::stable::new_empty(logsumexp, {p.heads, rows, 2}, compute);
  constexpr int kThreads = 128;
  const dim3 grid(static_cast<unsigned>(ceil_div(rows, kThreads)), size.heads);
  const auto compute_statistics = [&](auto elements) {
    row_statistics_kernel<T, S, elements.value>
        <<<grid, kThreads, 0, stream>>>(size, sorting.rows, data_of<T>(grad), data_of<T>(out), data_of<S>(logsumexp),
                                        mutable_data_of<int>(row_of), mutable_data_of<RowStatistics<S>>(statistics));
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  };
  if (rows > 0) {
    padded_d ? compute_statistics(std::integral_constant<int, is_half<T> ? 8 : 1>())
             : compute_statistics(std::integral_constant<int, 1>());
  }

  const int64_t key_tile = padded_d ? tensor_core_tile(padded_d) : kGeneralTile;
  const int64_t pass_rows = padded_d ? tensor_core_key_pass_rows(padded_d) : kGeneralTile;
  const int64_t splits =
      key_gradient_splits(rows, p.images, pass_rows, ceil_div(p.num_keys, key_tile) * p.heads * p.images);
  const Tensor parts = torch::stable::new_empty(logsumexp, {splits, p.images, p.num_keys, p.channels}, compute);
  const BackwardArguments<T> arguments = {size,
                                          sorting.rows,
                                          data_of<T>(local),
                                          data_of<T>(global_tokens),
                                          data_of<T>(grad),
                                          data_of<int>(row_of),
                                          statistics.const_data_ptr(),
                                          mutable_data_of<T>(grad_local),
                                          parts.mutable_data_ptr(),
                                          int(splits)};
  bool done = false;
  if constexpr (is_half<T>) {
    if (padded_d) {
      differentiate_tensor_cores<T>(arguments, padded_d, sorting.most_tiles, stream);
      done = true;
    }
  }
  if (!done) differentiate_general<T>(arguments, sorting.most_tiles, stream);

  const int64_t numel = p.images * p.num_keys * p.channels;
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(ceil_div(numel, 256), 4096));
  sum_parts_kernel<T, S>
      <<<blocks, 256, 0, stream>>>(data_of<S>(parts), int(splits), numel, mutable_data_of<T>(grad_global));
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

std::tuple<Tensor, Tensor> global_to_local_attention(Tensor local, Tensor global_tokens, Tensor image_index,
                                                     int64_t num_heads) {
  const Problem p = check_arguments(local, global_tokens, image_index, num_heads);
  const torch::stable::accelerator::DeviceGuard guard(local.get_device_index());
  for (Tensor* t : {&local, &global_tokens, &image_index}) *t = torch::stable::contiguous(*t);
  Tensor out = like(local);
  Tensor logsumexp = torch::stable::new_empty(local, {p.num_rois, p.heads, p.tokens}, statistics_type(local));
  if (p.num_keys == 0) {  // nothing to attend to
    torch::stable::zero_(out);
    torch::stable::fill_(logsumexp, -std::numeric_limits<double>::infinity());
  } else if (p.num_rois * p.tokens > 0) {
    with_element_type<__half, __nv_bfloat16>(local.scalar_type(), [&](auto element) {
      attend<decltype(element)>(p, local, global_tokens, image_index, out, logsumexp);
    });
  }
  return {out, logsumexp};
}

std::tuple<Tensor, Tensor> global_to_local_attention_backward(Tensor grad, Tensor local, Tensor global_tokens,
                                                              Tensor image_index, Tensor out, Tensor logsumexp,
                                                              int64_t num_heads) {
  const Problem p = check_arguments(local, global_tokens, image_index, num_heads);
  check_saved_tensors(p, grad, local, out, logsumexp);
  const torch::stable::accelerator::DeviceGuard guard(local.get_device_index());
  for (Tensor* t : {&grad, &local, &global_tokens, &image_index, &out, &logsumexp}) *t = torch::stable::contiguous(*t);
  Tensor grad_local = like(local);
  Tensor grad_global = like(global_tokens);
  if (p.num_rois * p.tokens == 0 || p.num_keys == 0 || p.images == 0) {
    const bool right = p.images > 0 || p.num_keys == 0;
    torch::stable::fill_(grad_local, right ? 0.0 : std::numeric_limits<double>::quiet_NaN());
    torch::stable::zero_(grad_global);
  } else {
    with_element_type<__half, __nv_bfloat16>(local.scalar_type(), [&](auto element) {
      differentiate<decltype(element)>(p, grad, local, global_tokens, image_index, out, logsumexp, grad_local,
                                       grad_global);
    });
  }
  return {grad_local, grad_global};
}

}  // namespace
}  // namespace insight::attention

STABLE_TORCH_LIBRARY_IMPL(insight, CUDA, m) {
  m.impl("global_to_local_attention", TORCH_BOX(&insight::attention::global_to_local_attention));
  m.impl("global_to_local_attention_backward", TORCH_BOX(&insight::attention::global_to_local_attention_backward));
}
