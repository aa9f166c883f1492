// Sixteen float lanes as one AVX-512 register. Included inside a namespace, under the target
// "avx512f,avx512bw,avx512vl".

using Real = float;

struct Lanes {
  __m512 v;
};

static inline Lanes broadcast(float x) { return {_mm512_set1_ps(x)}; }
static inline Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
static inline void store(float* p, const Lanes& a) { _mm512_storeu_ps(p, a.v); }

static inline Lanes multiply_add(const Lanes& a, const Lanes& b, const Lanes& c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}

static inline __mmask16 first_lanes(int count) { return static_cast<__mmask16>((1u << count) - 1u); }

// The first `count` of 16 elements of an image, zero-filled.
static inline Lanes load_pixels(const float* p, int count) { return {_mm512_maskz_loadu_ps(first_lanes(count), p)}; }

static inline Lanes load_pixels(const uint8_t* p, int count) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first_lanes(count), p)))};
}

static inline Lanes load_pixels(const Half* p, int count) {
  return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(count), p))};
}

static inline Lanes load_pixels(const BFloat16* p, int count) {
  const __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_lanes(count), p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(bits, 16))};
}

static inline __m512 join_quarters(const __m128d (&q)[4]) {
  const __m256d low = _mm256_insertf128_pd(_mm256_castpd128_pd256(q[0]), q[1], 1);
  const __m256d high = _mm256_insertf128_pd(_mm256_castpd128_pd256(q[2]), q[3], 1);
  return _mm512_castpd_ps(_mm512_insertf64x4(_mm512_castpd256_pd512(low), high, 1));
}

// Blends the pixel pairs at[i], at[i] + 1 of two image rows, for 8 outputs. Uses loads and shuffles, because gathers
// are slower on some processors.
static inline __m512 blend_eight_pairs(const float* upper, const float* lower, const Lanes& weight_upper,
                                       const Lanes& weight_lower, const int32_t* at) {
  __m128d above[4], below[4];
  for (int i = 0; i < 4; ++i) {
    const int64_t first = at[2 * i], second = at[2 * i + 1];
    above[i] = _mm_load_sd(reinterpret_cast<const double*>(upper + first));
    below[i] = _mm_load_sd(reinterpret_cast<const double*>(lower + first));
    above[i] = _mm_loadh_pd(above[i], reinterpret_cast<const double*>(upper + second));
    below[i] = _mm_loadh_pd(below[i], reinterpret_cast<const double*>(lower + second));
  }
  return _mm512_fmadd_ps(weight_upper.v, join_quarters(above), _mm512_mul_ps(weight_lower.v, join_quarters(below)));
}

// Blends the pixel pairs of two image rows; lane i gets the left and the right pixel of pair i.
static inline void blend_pairs(const float* upper, const float* lower, const Lanes& weight_upper,
                               const Lanes& weight_lower, const int32_t* at, Lanes& left, Lanes& right) {
  const __m512 low = blend_eight_pairs(upper, lower, weight_upper, weight_lower, at);
  const __m512 high = blend_eight_pairs(upper, lower, weight_upper, weight_lower, at + 8);
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  left.v = _mm512_permutex2var_ps(low, even, high);
  right.v = _mm512_permutex2var_ps(low, _mm512_or_si512(even, _mm512_set1_epi32(1)), high);
}

// Positions of the left and right pixels of 16 outputs in a window of image columns. Pixels outside it have zero
// weight.
struct Picks {
  __m512i left, right;
};

static inline Picks picks(const int32_t* left, int32_t begin, int32_t) {
  const __m512i at = _mm512_sub_epi32(_mm512_loadu_si512(left), _mm512_set1_epi32(begin));
  return {at, _mm512_add_epi32(at, _mm512_set1_epi32(1))};
}

template <int kVectors>
static inline __m512 pick(const Lanes (&window)[kVectors], __m512i at) {
  static_assert(kVectors % 2 == 0);
  __m512 picked = _mm512_permutex2var_ps(window[0].v, at, window[1].v);
  for (int v = 2; v < kVectors; v += 2) {
    const __mmask16 here = _mm512_cmpge_epi32_mask(at, _mm512_set1_epi32(v * kLanes));
    picked = _mm512_mask_mov_ps(picked, here, _mm512_permutex2var_ps(window[v].v, at, window[v + 1].v));
  }
  return picked;
}

template <int kVectors>
static inline void pick_pairs(const Lanes (&window)[kVectors], const Picks& picks, Lanes& left, Lanes& right) {
  left.v = pick(window, picks.left);
  right.v = pick(window, picks.right);
}

// Values whose weights are not zero, and zero elsewhere.
static inline Lanes where_nonzero(const Lanes& weights, const Lanes& values) {
  return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(weights.v, _mm512_setzero_ps(), _CMP_NEQ_UQ), values.v)};
}

static inline void store_outputs(float* p, const Lanes& a, int count) {
  if (count == kLanes) return store(p, a);  // a masked store is several times slower on some processors
  _mm512_mask_storeu_ps(p, first_lanes(count), a.v);
}

static inline void store_halves(void* p, __m256i a, int count) {
  if (count == kLanes) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), a);
  } else {
    _mm256_mask_storeu_epi16(p, first_lanes(count), a);
  }
}

static inline void store_outputs(Half* p, const Lanes& a, int count) {
  store_halves(p, _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT), count);
}

static inline void store_outputs(BFloat16* p, const Lanes& a, int count) {
  // Round to nearest, ties to even; NaN keeps a set mantissa bit.
  const __m512i bits = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
  rounded = _mm512_mask_set1_epi32(rounded, _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q), 0x7fc0);
  store_halves(p, _mm512_cvtepi32_epi16(rounded), count);
}

// Lane j of r[i] becomes lane i of r[j].
static inline void transpose(Lanes (&r)[kLanes]) {
  __m512 a[kLanes], b[kLanes];
  for (int i = 0; i < kLanes; i += 2) {
    a[i] = _mm512_unpacklo_ps(r[i].v, r[i + 1].v);
    a[i + 1] = _mm512_unpackhi_ps(r[i].v, r[i + 1].v);
  }
  for (int i = 0; i < kLanes; i += 4) {
    b[i] = _mm512_shuffle_ps(a[i], a[i + 2], 0x44);
    b[i + 1] = _mm512_shuffle_ps(a[i], a[i + 2], 0xee);
    b[i + 2] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    b[i + 3] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0xee);
  }
  // b[4 q + c] holds, in its quarter p, column 4 p + c of rows 4 q .. 4 q + 3.
  for (int c = 0; c < 4; ++c) {
    a[c] = _mm512_shuffle_f32x4(b[c], b[4 + c], 0x88);
    a[4 + c] = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0x88);
    a[8 + c] = _mm512_shuffle_f32x4(b[c], b[4 + c], 0xdd);
    a[12 + c] = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0xdd);
  }
  for (int c = 0; c < 4; ++c) {
    r[c].v = _mm512_shuffle_f32x4(a[c], a[4 + c], 0x88);
    r[8 + c].v = _mm512_shuffle_f32x4(a[c], a[4 + c], 0xdd);
    r[4 + c].v = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0x88);
    r[12 + c].v = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0xdd);
  }
}
