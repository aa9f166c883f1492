// The row-block kernels on vectors of INSIGHT_SIMD_BYTES bytes, included by one source file per instruction set, inside
// its namespace. That file must include all system headers first: if their code were compiled here, for this
// instruction set, the linker might keep that copy for the whole library.

template <typename S>
struct Simd {
  typedef S Vec __attribute__((vector_size(INSIGHT_SIMD_BYTES), may_alias));
  static constexpr int lanes = INSIGHT_SIMD_BYTES / sizeof(S);
};
template <typename S>
using Vec = typename Simd<S>::Vec;
typedef int32_t VecInt __attribute__((vector_size(INSIGHT_SIMD_BYTES)));

#define INSIGHT_INLINE inline __attribute__((always_inline))

// Keys per step: with 3 vectors of rows, the accumulators just fill the registers.
constexpr int kStep = INSIGHT_SIMD_REGISTERS >= 32 ? 8 : 4;
// Keys whose weights stay in the L1 cache between the two products.
constexpr int kTile = 64;
// How far (in powers of two) a score may exceed the current maximum before sums are rescaled. Weights up to 2^32 lose
// no precision in float, and rescaling is rare enough to be kept out of the main loop.
constexpr int kHeadroom = 32;

template <typename S>
INSIGHT_INLINE Vec<S>& at(S* p) {
  return *reinterpret_cast<Vec<S>*>(p);
}
template <typename S>
INSIGHT_INLINE const Vec<S>& at(const S* p) {
  return *reinterpret_cast<const Vec<S>*>(p);
}

// max(a, b), b where either is NaN.
template <typename V>
INSIGHT_INLINE V maximum(const V& a, const V& b) {
#if defined(INSIGHT_SIMD_AVX512)
  if constexpr (sizeof(a[0]) == 4) return (V)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(INSIGHT_SIMD_AVX2)
  if constexpr (sizeof(a[0]) == 4) return (V)_mm256_max_ps((__m256)a, (__m256)b);
#endif
  return a > b ? a : b;
}

template <typename V>
INSIGHT_INLINE bool any_greater(const V& a, const V& b) {
#if defined(INSIGHT_SIMD_AVX512)
  if constexpr (sizeof(a[0]) == 4) return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ) != 0;
#elif defined(INSIGHT_SIMD_AVX2)
  if constexpr (sizeof(a[0]) == 4) return _mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_GT_OQ)) != 0;
#endif
  bool any = false;
  for (unsigned i = 0; i < sizeof(a) / sizeof(a[0]); ++i) any |= a[i] > b[i];
  return any;
}

// 2^x to 2e-7 relative: x = n + f with |f| <= 1/2, a minimax polynomial in f, n added to the exponent bits.
// Clamped below at 2^-125, which avoids denormal numbers in the products. NaN stays NaN.
INSIGHT_INLINE void exp2_in_place(Vec<float>& x) {
  const Vec<float> zero = {};
  x = maximum<Vec<float>>(zero - 125.0f, x);
  const Vec<float> shifted = x + 12582912.0f;  // 1.5 * 2^23: the low bits of the sum hold n
  const Vec<float> f = x - (shifted - 12582912.0f);
  Vec<float> p = f * 1.3264727193354258e-3f + 9.671512642214055e-3f;
  p = p * f + 5.550733743261967e-2f;
  p = p * f + 2.402224208531919e-1f;
  p = p * f + 6.931469775991627e-1f;
  p = p * f + 1.0f;
  x = (Vec<float>)((VecInt)p + ((VecInt)shifted << 23));
}

// double is for gradient checks, where accuracy matters and speed does not.
INSIGHT_INLINE void exp2_in_place(Vec<double>& x) {
  for (int i = 0; i < Simd<double>::lanes; ++i) x[i] = exp2(x[i]);
}

// result[j][v] = sum over c of keys[j][c] * rows[c][v], for J keys and V vectors of rows.
template <typename S, int J, int V, int D>
INSIGHT_INLINE void dot_tile(const S* keys, int64_t d, const S* rows, Vec<S> (&result)[J][V]) {
  const int64_t depth = D ? D : d;
  for (int64_t c = 0; c < depth; ++c) {
    Vec<S> row[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) row[v] = at(rows + (c * V + v) * Simd<S>::lanes);
#pragma GCC unroll 16
    for (int j = 0; j < J; ++j) {
      const S key = keys[j * depth + c];
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) result[j][v] += key * row[v];
    }
  }
}

// sums[c][v] += sum over j of keys[j][c] * weights[j][v], for C components from `keys` and `sums` on.
template <typename S, int C, int V, int D>
INSIGHT_INLINE void add_weighted_components(const S* keys, int64_t d, const S* weights, int64_t count, S* sums) {
  const int64_t stride = D ? D : d;
  Vec<S> acc[C][V];
#pragma GCC unroll 16
  for (int c = 0; c < C; ++c)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) acc[c][v] = at(sums + (c * V + v) * Simd<S>::lanes);
  for (int64_t j = 0; j < count; ++j) {
    Vec<S> weight[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) weight[v] = at(weights + (j * V + v) * Simd<S>::lanes);
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) {
      const S key = keys[j * stride + c];
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) acc[c][v] += key * weight[v];
    }
  }
#pragma GCC unroll 16
  for (int c = 0; c < C; ++c)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) at(sums + (c * V + v) * Simd<S>::lanes) = acc[c][v];
}

// sums (d, rows) += keys^T (d, count) times weights (count, rows).
template <typename S, int V, int D>
INSIGHT_INLINE void add_weighted_keys(const S* keys, int64_t d, const S* weights, int64_t count, S* sums) {
  const int64_t components = D ? D : d;
  int64_t c = 0;
  for (; c + kStep <= components; c += kStep)
    add_weighted_components<S, kStep, V, D>(keys + c, d, weights, count, sums + c * V * Simd<S>::lanes);
  for (; c < components; ++c)
    add_weighted_components<S, 1, V, D>(keys + c, d, weights, count, sums + c * V * Simd<S>::lanes);
}

// Running softmax of a block's rows.
template <typename S, int V>
struct Softmax {
  Vec<S> max[V];
  Vec<S> sum[V];
};

// Raises the maximum and rescales all sums accumulated under the old one. Rare, hence out of line.
template <typename S, int V>
__attribute__((noinline, cold)) void raise_maximum(const S* scores, int64_t num_scores, Softmax<S, V>& softmax,
                                                   S* weights, int64_t num_weights, S* out, int64_t d) {
  for (int v = 0; v < V; ++v) {
    Vec<S> raised = softmax.max[v];
    for (int64_t j = 0; j < num_scores; ++j)
      raised = maximum<Vec<S>>(at(scores + (j * V + v) * Simd<S>::lanes), raised);
    Vec<S> factor = softmax.max[v] - raised;
    exp2_in_place(factor);
    softmax.max[v] = raised;
    softmax.sum[v] *= factor;
    for (int64_t j = 0; j < num_weights; ++j) at(weights + (j * V + v) * Simd<S>::lanes) *= factor;
    for (int64_t c = 0; c < d; ++c) at(out + (c * V + v) * Simd<S>::lanes) *= factor;
  }
}

// Converts the scores of J keys to weights[done ...] and updates the running softmax.
template <typename S, int J, int V, int D>
INSIGHT_INLINE void weigh_keys(const ForwardBlock<S>& block, const S* keys, Softmax<S, V>& softmax, S* weights,
                               int64_t done) {
  constexpr int lanes = Simd<S>::lanes;
  Vec<S> score[J][V] = {};
  dot_tile<S, J, V, D>(keys, block.d, block.queries, score);
  bool rises = false;
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) {
    Vec<S> highest = score[0][v];
#pragma GCC unroll 16
    for (int j = 1; j < J; ++j) highest = maximum<Vec<S>>(score[j][v], highest);
    rises |= any_greater<Vec<S>>(highest, softmax.max[v] + S(kHeadroom));
  }
  if (__builtin_expect(rises, 0)) {
    alignas(64) S scores[J * V * lanes];
    for (int j = 0; j < J; ++j)
      for (int v = 0; v < V; ++v) at(scores + (j * V + v) * lanes) = score[j][v];
    raise_maximum<S, V>(scores, J, softmax, weights, done, block.out, block.d);
  }
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) {
#pragma GCC unroll 16
    for (int j = 0; j < J; ++j) {
      Vec<S> weight = score[j][v] - softmax.max[v];
      exp2_in_place(weight);
      softmax.sum[v] += weight;
      at(weights + ((done + j) * V + v) * lanes) = weight;
    }
  }
}

template <typename S, int V, int D>
void forward_block(const ForwardBlock<S>& block) {
  constexpr int lanes = Simd<S>::lanes;
  const int64_t d = D ? D : block.d;
  alignas(64) S weights[kTile * V * lanes];
  const Vec<S> zero = {};
  Softmax<S, V> softmax;
  for (int v = 0; v < V; ++v) {
    softmax.max[v] = zero - S(__builtin_huge_val());
    softmax.sum[v] = zero;
  }
  for (int64_t i = 0; i < d * V; ++i) at(block.out + i * lanes) = zero;
  for (int64_t first = 0; first < block.num_keys; first += kTile) {
    const S* keys = block.keys + first * d;
    const int64_t count = block.num_keys - first < kTile ? block.num_keys - first : kTile;
    int64_t j = 0;
    for (; j + kStep <= count; j += kStep) weigh_keys<S, kStep, V, D>(block, keys + j * d, softmax, weights, j);
    for (; j < count; ++j) weigh_keys<S, 1, V, D>(block, keys + j * d, softmax, weights, j);
    add_weighted_keys<S, V, D>(keys, d, weights, count, block.out);
  }
  for (int v = 0; v < V; ++v) {
    for (int64_t c = 0; c < d; ++c) at(block.out + (c * V + v) * lanes) /= softmax.sum[v];
    for (int i = 0; i < lanes; ++i)
      block.logsumexp[v * lanes + i] = (softmax.max[v][i] + log2(softmax.sum[v][i])) * S(0.693147180559945309);
  }
}

// Weights of J keys and the gradients of their scores, (J, rows) each.
template <typename S, int J, int V, int D>
INSIGHT_INLINE void differentiate_keys(const BackwardBlock<S>& block, const S* keys, S* weights, S* grad_scores) {
  constexpr int lanes = Simd<S>::lanes;
  const int64_t depth = D ? D : block.d;
  Vec<S> score[J][V] = {};
  Vec<S> grad_weight[J][V] = {};
  for (int64_t c = 0; c < depth; ++c) {
    Vec<S> query[V];
    Vec<S> grad[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      query[v] = at(block.queries + (c * V + v) * lanes);
      grad[v] = at(block.grad + (c * V + v) * lanes);
    }
#pragma GCC unroll 16
    for (int j = 0; j < J; ++j) {
      const S key = keys[j * depth + c];
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) {
        score[j][v] += key * query[v];
        grad_weight[j][v] += key * grad[v];
      }
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) {
#pragma GCC unroll 16
    for (int j = 0; j < J; ++j) {
      Vec<S> weight = score[j][v] - at(block.logsumexp + v * lanes);
      exp2_in_place(weight);
      at(weights + (j * V + v) * lanes) = weight;
      at(grad_scores + (j * V + v) * lanes) = weight * (grad_weight[j][v] - at(block.delta + v * lanes));
    }
  }
}

// grad_keys[j][c] += sum over rows of grad_scores[j][row] * query[row][c] + weights[j][row] * grad[row][c],
// for J keys and C vectors of components: the key part and the value part in one accumulator.
template <typename S, int J, int C>
INSIGHT_INLINE void add_key_components(const BackwardBlock<S>& block, const S* weights, const S* grad_scores, int rows,
                                       int64_t first, S* grad_keys) {
  constexpr int lanes = Simd<S>::lanes;
  const int64_t stride = block.padded_d;
  Vec<S> acc[J][C];
#pragma GCC unroll 16
  for (int j = 0; j < J; ++j)
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) acc[j][c] = at(grad_keys + j * stride + first + c * lanes);
  const auto add = [&](const S* factors, const S* tokens) __attribute__((always_inline)) {
    for (int row = 0; row < rows; ++row) {
      Vec<S> token[C];
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) token[c] = at(tokens + row * stride + first + c * lanes);
#pragma GCC unroll 16
      for (int j = 0; j < J; ++j) {
        const S factor = factors[j * rows + row];
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) acc[j][c] += factor * token[c];
      }
    }
  };
  add(grad_scores, block.query_rows);
  add(weights, block.grad_rows);
#pragma GCC unroll 16
  for (int j = 0; j < J; ++j)
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) at(grad_keys + j * stride + first + c * lanes) = acc[j][c];
}

template <typename S, int J>
INSIGHT_INLINE void add_key_gradients(const BackwardBlock<S>& block, const S* weights, const S* grad_scores, int rows,
                                      S* grad_keys) {
  constexpr int lanes = Simd<S>::lanes;
  int64_t c = 0;
  for (; c + 2 * lanes <= block.padded_d; c += 2 * lanes)
    add_key_components<S, J, 2>(block, weights, grad_scores, rows, c, grad_keys);
  for (; c < block.padded_d; c += lanes) add_key_components<S, J, 1>(block, weights, grad_scores, rows, c, grad_keys);
}

template <typename S, int V, int D>
void backward_block(const BackwardBlock<S>& block) {
  constexpr int lanes = Simd<S>::lanes;
  constexpr int rows = V * lanes;
  constexpr int step = kStep / 2;  // two products share the registers
  const int64_t d = D ? D : block.d;
  alignas(64) S weights[kTile * rows];
  alignas(64) S grad_scores[kTile * rows];
  const Vec<S> zero = {};
  for (int64_t i = 0; i < d * V; ++i) at(block.grad_queries + i * lanes) = zero;
  for (int64_t first = 0; first < block.num_keys; first += kTile) {
    const S* keys = block.keys + first * d;
    S* grad_keys = block.grad_keys + first * block.padded_d;
    const int64_t count = block.num_keys - first < kTile ? block.num_keys - first : kTile;
    int64_t j = 0;
    for (; j + step <= count; j += step)
      differentiate_keys<S, step, V, D>(block, keys + j * d, weights + j * rows, grad_scores + j * rows);
    for (; j < count; ++j)
      differentiate_keys<S, 1, V, D>(block, keys + j * d, weights + j * rows, grad_scores + j * rows);
    add_weighted_keys<S, V, D>(keys, d, grad_scores, count, block.grad_queries);
    for (j = 0; j + kStep <= count; j += kStep)
      add_key_gradients<S, kStep>(block, weights + j * rows, grad_scores + j * rows, rows,
                                  grad_keys + j * block.padded_d);
    for (; j < count; ++j)
      add_key_gradients<S, 1>(block, weights + j * rows, grad_scores + j * rows, rows, grad_keys + j * block.padded_d);
  }
}

// Common head dimensions are compile-time constants; D = 0 handles any other.
template <typename S, int V>
void forward_rows(const ForwardBlock<S>& block) {
  switch (sizeof(S) == 4 ? block.d : 0) {
    case 16: return forward_block<S, V, 16>(block);
    case 32: return forward_block<S, V, 32>(block);
    case 64: return forward_block<S, V, 64>(block);
    default: return forward_block<S, V, 0>(block);
  }
}

template <typename S, int V>
void backward_rows(const BackwardBlock<S>& block) {
  switch (sizeof(S) == 4 ? block.d : 0) {
    case 16: return backward_block<S, V, 16>(block);
    case 32: return backward_block<S, V, 32>(block);
    case 64: return backward_block<S, V, 64>(block);
    default: return backward_block<S, V, 0>(block);
  }
}

template <typename S>
void forward(const ForwardBlock<S>& block, int vectors) {
  switch (vectors) {
    case 1: return forward_rows<S, 1>(block);
    case 2: return forward_rows<S, 2>(block);
    default: return forward_rows<S, 3>(block);
  }
}

template <typename S>
void backward(const BackwardBlock<S>& block, int vectors) {
  switch (vectors) {
    case 1: return backward_rows<S, 1>(block);
    case 2: return backward_rows<S, 2>(block);
    default: return backward_rows<S, 3>(block);
  }
}

template <typename S>
const Kernels<S>* kernels() {
  static const Kernels<S> table = {Simd<S>::lanes, &forward<S>, &backward<S>};
  return &table;
}

#undef INSIGHT_INLINE
