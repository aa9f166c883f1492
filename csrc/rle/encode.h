// Encodes masks given on a part of the image as run-length codes of the whole image, without a bitmap of the image.
#pragma once

#include <cstdint>
#include <string>

namespace insight {

struct Size {
  int64_t height, width;
};

// A mask in a window that lies inside the image. Strides are in pixels.
struct Crop {
  const bool* pixels;
  Size size;
  int64_t row_stride, column_stride;
  int64_t x, y;  // the window's first pixel in the image
};

std::string encode_crop(const Crop& crop, Size image);

struct Region {
  double x1, y1, x2, y2;  // pixels of the image; finite, x1 <= x2, y1 <= y2
};

// Encodes the pixels whose centres lie in the region and whose logits are above the threshold. `logits` holds
// size.height rows of size.width values that cover the region; they are interpolated bilinearly between the centres of
// the values and constant from the outermost centres to the border of the region.
std::string encode_logits(const float* logits, Size size, const Region& region, Size image, float threshold);

}  // namespace insight
