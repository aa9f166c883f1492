// Interface of the row-block kernels of global-to-local attention. They are built once per instruction set
// (global_to_local_attention_{avx512,avx2,plain}.cpp), and the best build is chosen at run time.
//
// A block consists of a few rows (local tokens of one image, from any of its RoIs) and one head. Rows lie along the
// SIMD lanes: queries are transposed to (d, rows), so that the softmax needs no horizontal reduction and both products
// broadcast the components of a key. Scores and weights of a block stay in the L1 cache.
#pragma once

#include <cstdint>

namespace insight::attention {

// At most, in a block: vectors of rows, and rows, with 16 float in the widest vector.
constexpr int kMaxVectors = 3;
constexpr int kMaxRows = kMaxVectors * 16;

// Base-2 logarithms and exponentials throughout: log2(e) is folded into the queries' scale.
template <typename S>
struct ForwardBlock {
  const S* queries;  // (d, rows), times log2(e) / sqrt(d)
  const S* keys;     // (num_keys, d), also the values
  int64_t num_keys;  // at least 1
  int64_t d;
  S* out;        // (d, rows)
  S* logsumexp;  // (rows), natural
};

template <typename S>
struct BackwardBlock {
  const S* queries;     // (d, rows), times log2(e) / sqrt(d)
  const S* grad;        // (d, rows)
  const S* query_rows;  // (rows, padded_d), times 1 / sqrt(d), zero in the padding
  const S* grad_rows;   // (rows, padded_d), zero in the padding
  const S* logsumexp;   // (rows), of base 2
  const S* delta;       // (rows), sum over d of grad * out
  const S* keys;        // (num_keys, d)
  int64_t num_keys;
  int64_t d;
  int64_t padded_d;  // d rounded up to whole vectors
  S* grad_queries;   // (d, rows), overwritten; still to be divided by sqrt(d)
  S* grad_keys;      // (num_keys, padded_d), added to
};

template <typename S>
struct Kernels {
  int lanes;  // a block of `vectors` (1 to kMaxVectors) has vectors * lanes rows
  void (*forward)(const ForwardBlock<S>& block, int vectors);
  void (*backward)(const BackwardBlock<S>& block, int vectors);
};

// Null if the compiler or the architecture does not support the instruction set.
template <typename S>
const Kernels<S>* avx512_kernels();
template <typename S>
const Kernels<S>* avx2_kernels();
template <typename S>
const Kernels<S>* plain_kernels();

}  // namespace insight::attention
