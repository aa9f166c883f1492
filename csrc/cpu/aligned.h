// Uninitialised memory aligned to cache lines, so that no vector load crosses two lines.
#pragma once

#include <cstdint>
#include <new>

namespace insight {

template <typename T>
class Aligned {
 public:
  explicit Aligned(int64_t count) : data_(static_cast<T*>(::operator new(sizeof(T) * count, kAlignment))) {}
  ~Aligned() { ::operator delete(data_, kAlignment); }
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;
  T* data() { return data_; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  T* data_;
};

}  // namespace insight
