#include "rle/code.h"
#include "rle/encode.h"

namespace insight {

std::string encode_crop(const Crop& crop, Size image) {
  Code code;
  for (int64_t column = 0; column < crop.size.width; ++column) {
    const bool* pixels = crop.pixels + column * crop.column_stride;
    const int64_t top = (crop.x + column) * image.height + crop.y;
    for (int64_t row = 0; row < crop.size.height; ++row) {
      if (pixels[row * crop.row_stride]) {
        code.add(top + row);
      }
    }
  }
  return code.finish(image.height * image.width);
}

}  // namespace insight
