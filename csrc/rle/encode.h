// Masks that are known in a part of the image to run-length codes of the whole image; no bitmap of the image is made.
#pragma once

#include <cstdint>
#include <string>

namespace insight {

struct Size {
  int64_t height, width;
};

// A mask in a window of the image. Strides are in pixels.
struct Crop {
  const bool* pixels;
  Size size;
  int64_t row_stride, column_stride;
  int64_t x, y;  // the window's first pixel in the image, in which it lies
};

std::string encode_crop(const Crop& crop, Size image);

struct Region {
  double x1, y1, x2, y2;  // pixels of the image; finite, x1 <= x2, y1 <= y2
};

// The pixels of the image whose centres lie in the region and whose logits are above the threshold. `logits` are
// size.height rows of size.width values over the whole region: a field that is bilinear between the values' centres
// and constant from the outermost centres to the region's border.
std::string encode_logits(const float* logits, Size size, const Region& region, Size image, float threshold);

}  // namespace insight
