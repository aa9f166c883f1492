// Positions of the left pixels of 16 outputs in a window of image columns, for lanes that pick pixels from memory.
// Pixels outside the window have zero weight, so any position will do. Included inside a namespace.

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
