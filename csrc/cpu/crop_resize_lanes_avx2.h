// Sixteen float lanes as two AVX2 registers. Included inside a namespace, under the target "avx2,fma,f16c".

using Real = float;

struct Lanes {
  __m256 lo, hi;
};

static inline Lanes broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline Lanes load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }

static inline void store(float* p, const Lanes& a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}

static inline Lanes multiply_add(const Lanes& a, const Lanes& b, const Lanes& c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}

static inline Lanes widen(const float* p) { return load(p); }

static inline Lanes widen(const uint8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)),
          _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)))};
}

static inline Lanes widen(const Half* p) {
  const __m128i* q = reinterpret_cast<const __m128i*>(p);
  return {_mm256_cvtph_ps(_mm_loadu_si128(q)), _mm256_cvtph_ps(_mm_loadu_si128(q + 1))};
}

static inline Lanes widen(const BFloat16* p) {
  const __m128i* q = reinterpret_cast<const __m128i*>(p);
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(q)), 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(q + 1)), 16))};
}

// The first `count` of 16 elements of an image, zero-filled.
template <typename T>
static inline Lanes load_pixels(const T* p, int count) {
  if (count == kLanes) return widen(p);
  alignas(32) T some[kLanes] = {};
  std::memcpy(static_cast<void*>(some), p, count * sizeof(T));
  return widen(some);
}

// Blends the pixel pairs at[i], at[i] + 1 of two image rows, for 8 outputs. Uses loads and shuffles, because gathers
// are slower on some processors.
static inline void blend_eight_pairs(const float* upper, const float* lower, __m256 weight_upper, __m256 weight_lower,
                                     const int32_t* at, __m256& left, __m256& right) {
  const auto two = [&](const float* row, int i) {
    const __m128d first = _mm_load_sd(reinterpret_cast<const double*>(row + at[i]));
    return _mm_castpd_ps(_mm_loadh_pd(first, reinterpret_cast<const double*>(row + at[i + 1])));
  };
  const auto four = [&](int i) {
    const __m256 above = _mm256_insertf128_ps(_mm256_castps128_ps256(two(upper, i)), two(upper, i + 4), 1);
    const __m256 below = _mm256_insertf128_ps(_mm256_castps128_ps256(two(lower, i)), two(lower, i + 4), 1);
    return _mm256_fmadd_ps(weight_upper, above, _mm256_mul_ps(weight_lower, below));
  };
  const __m256 a = four(0), b = four(2);
  left = _mm256_shuffle_ps(a, b, 0x88);
  right = _mm256_shuffle_ps(a, b, 0xdd);
}

static inline void blend_pairs(const float* upper, const float* lower, const Lanes& weight_upper,
                               const Lanes& weight_lower, const int32_t* at, Lanes& left, Lanes& right) {
  blend_eight_pairs(upper, lower, weight_upper.lo, weight_lower.lo, at, left.lo, right.lo);
  blend_eight_pairs(upper, lower, weight_upper.hi, weight_lower.hi, at + 8, left.hi, right.hi);
}

template <int kVectors>
static inline void pick_pairs(const Lanes (&window)[kVectors], const Picks& picks, Lanes& left, Lanes& right) {
  alignas(32) float pixels[kVectors * kLanes];
  for (int v = 0; v < kVectors; ++v) store(pixels + v * kLanes, window[v]);
  const auto eight = [&](int i, __m256& l, __m256& r) {
    const auto two = [&](int k) {
      const __m128d first = _mm_load_sd(reinterpret_cast<const double*>(pixels + picks.at[k]));
      return _mm_castpd_ps(_mm_loadh_pd(first, reinterpret_cast<const double*>(pixels + picks.at[k + 1])));
    };
    const __m256 a = _mm256_insertf128_ps(_mm256_castps128_ps256(two(i)), two(i + 4), 1);
    const __m256 b = _mm256_insertf128_ps(_mm256_castps128_ps256(two(i + 2)), two(i + 6), 1);
    l = _mm256_shuffle_ps(a, b, 0x88);
    r = _mm256_shuffle_ps(a, b, 0xdd);
  };
  eight(0, left.lo, right.lo);
  eight(8, left.hi, right.hi);
}

// Values whose weights are not zero, and zero elsewhere.
static inline Lanes where_nonzero(const Lanes& weights, const Lanes& values) {
  const __m256 zero = _mm256_setzero_ps();
  return {_mm256_and_ps(_mm256_cmp_ps(weights.lo, zero, _CMP_NEQ_UQ), values.lo),
          _mm256_and_ps(_mm256_cmp_ps(weights.hi, zero, _CMP_NEQ_UQ), values.hi)};
}

static inline void store_outputs(float* p, const Lanes& a, int count) {
  if (count == kLanes) return store(p, a);
  alignas(32) float all[kLanes];
  store(all, a);
  std::memcpy(p, all, count * sizeof(float));
}

template <typename Out>
static inline void store_outputs(Out* p, const Lanes& a, int count) {
  alignas(32) float all[kLanes];
  store(all, a);
  for (int i = 0; i < count; ++i) p[i] = static_cast<Out>(all[i]);
}

static inline void transpose_8(__m256& a, __m256& b, __m256& c, __m256& d, __m256& e, __m256& f, __m256& g, __m256& h) {
  const __m256 ab0 = _mm256_unpacklo_ps(a, b), ab1 = _mm256_unpackhi_ps(a, b);
  const __m256 cd0 = _mm256_unpacklo_ps(c, d), cd1 = _mm256_unpackhi_ps(c, d);
  const __m256 ef0 = _mm256_unpacklo_ps(e, f), ef1 = _mm256_unpackhi_ps(e, f);
  const __m256 gh0 = _mm256_unpacklo_ps(g, h), gh1 = _mm256_unpackhi_ps(g, h);
  const __m256 ad0 = _mm256_shuffle_ps(ab0, cd0, 0x44), ad1 = _mm256_shuffle_ps(ab0, cd0, 0xee);
  const __m256 ad2 = _mm256_shuffle_ps(ab1, cd1, 0x44), ad3 = _mm256_shuffle_ps(ab1, cd1, 0xee);
  const __m256 eh0 = _mm256_shuffle_ps(ef0, gh0, 0x44), eh1 = _mm256_shuffle_ps(ef0, gh0, 0xee);
  const __m256 eh2 = _mm256_shuffle_ps(ef1, gh1, 0x44), eh3 = _mm256_shuffle_ps(ef1, gh1, 0xee);
  a = _mm256_permute2f128_ps(ad0, eh0, 0x20);
  b = _mm256_permute2f128_ps(ad1, eh1, 0x20);
  c = _mm256_permute2f128_ps(ad2, eh2, 0x20);
  d = _mm256_permute2f128_ps(ad3, eh3, 0x20);
  e = _mm256_permute2f128_ps(ad0, eh0, 0x31);
  f = _mm256_permute2f128_ps(ad1, eh1, 0x31);
  g = _mm256_permute2f128_ps(ad2, eh2, 0x31);
  h = _mm256_permute2f128_ps(ad3, eh3, 0x31);
}

// Lane j of r[i] becomes lane i of r[j].
static inline void transpose(Lanes (&r)[kLanes]) {
  transpose_8(r[0].lo, r[1].lo, r[2].lo, r[3].lo, r[4].lo, r[5].lo, r[6].lo, r[7].lo);
  transpose_8(r[8].hi, r[9].hi, r[10].hi, r[11].hi, r[12].hi, r[13].hi, r[14].hi, r[15].hi);
  transpose_8(r[0].hi, r[1].hi, r[2].hi, r[3].hi, r[4].hi, r[5].hi, r[6].hi, r[7].hi);
  transpose_8(r[8].lo, r[9].lo, r[10].lo, r[11].lo, r[12].lo, r[13].lo, r[14].lo, r[15].lo);
  for (int i = 0; i < 8; ++i) {
    const __m256 x = r[i].hi;
    r[i].hi = r[8 + i].lo;
    r[8 + i].lo = x;
  }
}
