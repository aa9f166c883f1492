// Sixteen lanes as a plain array, for any compiler and processor, and for double. Included inside a namespace that
// defines `Real`.

struct Lanes {
  Real v[kLanes];
};

static inline Lanes broadcast(Real x) {
  Lanes r;
  for (int i = 0; i < kLanes; ++i) r.v[i] = x;
  return r;
}

static inline Lanes load(const Real* p) {
  Lanes r;
  for (int i = 0; i < kLanes; ++i) r.v[i] = p[i];
  return r;
}

static inline void store(Real* p, const Lanes& a) {
  for (int i = 0; i < kLanes; ++i) p[i] = a.v[i];
}

// a * b + c
static inline Lanes multiply_add(const Lanes& a, const Lanes& b, const Lanes& c) {
  Lanes r;
  for (int i = 0; i < kLanes; ++i) r.v[i] = a.v[i] * b.v[i] + c.v[i];
  return r;
}

// The first `count` of 16 elements of an image, zero-filled.
template <typename T>
static inline Lanes load_pixels(const T* p, int count) {
  Lanes r;
  for (int i = 0; i < kLanes; ++i) r.v[i] = i < count ? static_cast<Real>(p[i]) : Real(0);
  return r;
}

// Blends the pixel pairs at[i], at[i] + 1 of two image rows; lane i gets the left and the right pixel of pair i.
static inline void blend_pairs(const Real* upper, const Real* lower, const Lanes& weight_upper,
                               const Lanes& weight_lower, const int32_t* at, Lanes& left, Lanes& right) {
  for (int i = 0; i < kLanes; ++i) {
    left.v[i] = weight_upper.v[i] * upper[at[i]] + weight_lower.v[i] * lower[at[i]];
    right.v[i] = weight_upper.v[i] * upper[at[i] + 1] + weight_lower.v[i] * lower[at[i] + 1];
  }
}

template <int kVectors>
static inline void pick_pairs(const Lanes (&window)[kVectors], const Picks& picks, Lanes& left, Lanes& right) {
  for (int i = 0; i < kLanes; ++i) {
    left.v[i] = window[picks.at[i] / kLanes].v[picks.at[i] % kLanes];
    right.v[i] = window[(picks.at[i] + 1) / kLanes].v[(picks.at[i] + 1) % kLanes];
  }
}

// Values whose weights are not zero, and zero elsewhere.
static inline Lanes where_nonzero(const Lanes& weights, const Lanes& values) {
  Lanes r;
  for (int i = 0; i < kLanes; ++i) r.v[i] = weights.v[i] != Real(0) ? values.v[i] : Real(0);
  return r;
}

template <typename Out>
static inline void store_outputs(Out* p, const Lanes& a, int count) {
  for (int i = 0; i < count; ++i) p[i] = static_cast<Out>(a.v[i]);
}

// Lane j of r[i] becomes lane i of r[j].
static inline void transpose(Lanes (&r)[kLanes]) {
  for (int i = 0; i < kLanes; ++i) {
    for (int j = 0; j < i; ++j) {
      const Real x = r[i].v[j];
      r[i].v[j] = r[j].v[i];
      r[j].v[i] = x;
    }
  }
}
