// Where, in a window of image columns, the left pixels of 16 outputs lie, for lanes that pick them from memory. What
// lies outside the window has no weight; any will do. Included inside a namespace.

struct Picks {
  int32_t at[kLanes];
};

static inline Picks picks(const int32_t* left, int32_t begin, int32_t columns) {
  Picks p;
  for (int i = 0; i < kLanes; ++i) {
    const int32_t at = left[i] - begin;
    p.at[i] = at < 0 || at > columns - 2 ? 0 : at;
  }
  return p;
}
