// COCO's compressed run-length code of one mask, written run by run.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace insight {

// A mask is walked down its columns, column after column; pixel (x, y) is place x * height + y of that walk. The code
// holds the lengths of the runs outside and inside the mask in turn, outside first. From the fourth on, a length is
// stored as the difference to the one two before it. Each number is written in groups of 5 bits, lowest first, one
// character each: 48 + group, + 32 while more follow; it ends once the rest is only the sign of the last group.
class Code {
 public:
  // This place is in the mask. Places come in the order of the walk.
  void add(int64_t place) {
    if (place != end_) {
      write_run();
      begin_ = place;
    }
    end_ = place + 1;
  }

  // The code of the mask of an image of so many pixels (at least one). Nothing can be added afterwards.
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
  int64_t begin_ = 0, end_ = 0;  // the last run, which may still grow
  int64_t written_ = 0;          // the walk is written up to this place
  int64_t lengths_[2] = {0, 0};  // the last two
  int64_t count_ = 0;            // lengths written
};

}  // namespace insight
