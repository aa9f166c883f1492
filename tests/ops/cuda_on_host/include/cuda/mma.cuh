// The instructions of csrc/cuda/mma.cuh as NVIDIA's PTX ISA defines them, on the CPU; shadows that file.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace insight {

template <typename T>
inline float element(uint32_t pair, int which) {
  T half;
  half.bits = static_cast<uint16_t>(pair >> (16 * which));
  return half.value();
}

struct MmaFragments {
  uint32_t a[4], b[2];
};

// Element (r, k) of A is with lane r % 8 * 4 + k % 8 / 2, in register r / 8 + 2 * (k / 8); (k, n) of B with lane
// n * 4 + k % 8 / 2, in register k / 8; odd k in the upper halves.
template <typename T>
void mma_16816(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const cuda_on_host::Lanes<MmaFragments> lanes("mma", {{a[0], a[1], a[2], a[3]}, {b0, b1}});
  const int lane = cuda_on_host::lane();
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8;
    const int column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < 16; ++k) {
      const uint32_t left = lanes[row % 8 * 4 + k % 8 / 2].a[row / 8 + 2 * (k / 8)];
      const uint32_t right = lanes[column * 4 + k % 8 / 2].b[k / 8];
      c[i] += element<T>(left, k % 2) * element<T>(right, k % 2);
    }
  }
}

inline void check_alignment(const void* address, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(address) % bytes)
    cuda_on_host::fail("an address is not a multiple of its 8 or 16 bytes");
}

// Element (row, column) of matrix m, whose row r begins at the address of lane 8 * m + r.
inline uint16_t matrix_element(const cuda_on_host::Lanes<const uint16_t*>& rows, int m, int row, int column) {
  return rows[8 * m + row][column];
}

inline void load_matrices(uint32_t (&r)[4], const void* row) {
  check_alignment(row, 16);
  const cuda_on_host::Lanes<const uint16_t*> rows("ldmatrix", static_cast<const uint16_t*>(row));
  const int g = cuda_on_host::lane() / 4, t = cuda_on_host::lane() % 4;
  for (int m = 0; m < 4; ++m) {
    r[m] = matrix_element(rows, m, g, 2 * t) | uint32_t(matrix_element(rows, m, g, 2 * t + 1)) << 16;
  }
}

inline void load_matrices_transposed(uint32_t (&r)[4], const void* row) {
  check_alignment(row, 16);
  const cuda_on_host::Lanes<const uint16_t*> rows("ldmatrix.trans", static_cast<const uint16_t*>(row));
  const int g = cuda_on_host::lane() / 4, t = cuda_on_host::lane() % 4;
  for (int m = 0; m < 4; ++m) {
    r[m] = matrix_element(rows, m, 2 * t, g) | uint32_t(matrix_element(rows, m, 2 * t + 1, g)) << 16;
  }
}

inline void run_copy(const cuda_on_host::Copy& copy) {
  std::memset(copy.to, 0, copy.bytes);
  if (copy.wanted) std::memcpy(copy.to, copy.from, copy.bytes);
}

// A copy may happen as soon as it is started or as late as the wait for it; chosen at random.
template <int kBytes>
void copy_async(void* shared, const void* global, bool wanted) {
  check_alignment(shared, kBytes);
  check_alignment(global, kBytes);
  const cuda_on_host::Copy copy{shared, global, kBytes, wanted, false};
  if (cuda_on_host::chance()) {
    run_copy(copy);
  } else {
    cuda_on_host::copies_on_their_way().push_back(copy);
  }
}

inline void copies_commit() {
  for (cuda_on_host::Copy& copy : cuda_on_host::copies_on_their_way()) copy.committed = true;
}

inline void copies_wait() {
  for (const cuda_on_host::Copy& copy : cuda_on_host::copies_on_their_way()) {
    if (!copy.committed) cuda_on_host::fail("a wait for copies of which some are not committed");
    run_copy(copy);
  }
  cuda_on_host::copies_on_their_way().clear();
}

inline float exp2_approx(float x) {
  const float y = std::exp2(x);
  return y < 1.17549435e-38f ? 0.0f : y;
}

template <typename T>
uint32_t pack_pair(float low, float high) {
  return T::of(low).bits | uint32_t(T::of(high).bits) << 16;
}

}  // namespace insight
