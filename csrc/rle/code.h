// COCO's compressed run-length code of one mask, written run by run.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace insight {

// Pixels are numbered in column-major order: pixel (x, y) has position x * height + y. The code holds the lengths of
// alternating runs outside and inside the mask, outside first. From the fourth on, a length is stored as its difference
// from the length two before it. Each number is written in groups of 5 bits, lowest first, one character per group: 48
// + group, plus 32 if more groups follow; it ends when the remaining bits equal the sign of the last group.
class Code {
 public:
  // Adds a position to the mask. Positions must be added in ascending order.
  void add(int64_t position) {
    if (position != end_) {
      write_run();
      begin_ = position;
    }
    end_ = position + 1;
  }

  // Returns the code of the mask, for an image of `pixels` pixels (at least one). Nothing can be added afterwards.
  std::string finish(int64_t pixels) {
    write_run();
    if (written_ < pixels) {
      write(pixels - written_);
    }
    return std::move(text_);
  }

 private:
  void write_run() {
    if (begin_ < end_) {
      write(begin_ - written_);
      write(end_ - begin_);
      written_ = end_;
    }
  }

  void write(int64_t length) {
    int64_t rest = count_ > 2 ? length - lengths_[count_ % 2] : length;
    lengths_[count_++ % 2] = length;
    for (bool more = true; more;) {
      const int64_t group = rest & 31;
      rest >>= 5;  // keeps the sign
      more = rest != (group & 16 ? -1 : 0);
      text_.push_back(static_cast<char>(48 + group + (more ? 32 : 0)));
    }
  }

  std::string text_;
  int64_t begin_ = 0, end_ = 0;  // the last run of the mask, not written yet: it may still grow
  int64_t written_ = 0;          // positions before this one are written
  int64_t lengths_[2] = {0, 0};  // the last two lengths written
  int64_t count_ = 0;            // number of lengths written
};

}  // namespace insight
