#include <algorithm>
#include <cmath>
#include <vector>

#include "rle/code.h"
#include "rle/encode.h"

namespace insight {
namespace {

// Image columns processed together: the crop is read along rows, the code is written along columns.
constexpr int64_t kStripWidth = 64;

// The two values along an axis of the crop that a pixel's centre lies between, and the weight of the second.
struct Tap {
  int64_t low, high;
  float weight;
};

// The pixels first, first + 1, ... of an axis of the image whose centres lie in the region.
struct Axis {
  int64_t first = 0;
  std::vector<Tap> taps;
};

// In double: in a large scene, coordinates leave no digits of a float for fractions of a pixel.
Axis make_axis(double low, double high, int64_t crop_side, int64_t image_side) {
  Axis axis;
  const double limit = static_cast<double>(image_side);
  const auto begin = static_cast<int64_t>(std::clamp(std::floor(low), 0.0, limit));
  const auto end = static_cast<int64_t>(std::clamp(std::ceil(high), 0.0, limit));
  for (int64_t pixel = begin; pixel < end; ++pixel) {
    const double centre = 2 * (pixel + 0.5 - low) / (high - low) - 1;  // -1 at the low and 1 at the high border
    if (!(std::abs(centre) <= 1)) {                                    // also NaN, of a region without extent
      continue;
    }
    if (axis.taps.empty()) {
      axis.first = pixel;
    }
    const double position = std::clamp(((centre + 1) * crop_side - 1) / 2, 0.0, crop_side - 1.0);
    const auto index = static_cast<int64_t>(position);
    axis.taps.push_back({index, std::min(index + 1, crop_side - 1), static_cast<float>(position - index)});
  }
  return axis;
}

float mix(float low, float high, float weight) { return low * (1 - weight) + high * weight; }

}  // namespace

std::string encode_logits(const float* logits, Size size, const Region& region, Size image, float threshold) {
  const Axis x = make_axis(region.x1, region.x2, size.width, image.width);
  const Axis y = make_axis(region.y1, region.y2, size.height, image.height);
  const auto width = static_cast<int64_t>(x.taps.size()), height = static_cast<int64_t>(y.taps.size());
  std::vector<float> row(size.width);              // the logits along a row of the image, at the columns of the crop
  std::vector<char> inside(kStripWidth * height);  // a strip of the mask, column after column
  Code code;
  for (int64_t begin = 0; begin < width; begin += kStripWidth) {
    const int64_t end = std::min(begin + kStripWidth, width);
    for (int64_t j = 0; j < height; ++j) {
      const float* above = logits + y.taps[j].low * size.width;
      const float* below = logits + y.taps[j].high * size.width;
      for (int64_t column = x.taps[begin].low; column <= x.taps[end - 1].high; ++column) {
        row[column] = mix(above[column], below[column], y.taps[j].weight);
      }
      for (int64_t i = begin; i < end; ++i) {
        const Tap& tap = x.taps[i];
        inside[(i - begin) * height + j] = mix(row[tap.low], row[tap.high], tap.weight) > threshold;
      }
    }
    for (int64_t i = begin; i < end; ++i) {
      const int64_t top = (x.first + i) * image.height + y.first;
      for (int64_t j = 0; j < height; ++j) {
        if (inside[(i - begin) * height + j]) {
          code.add(top + j);
        }
      }
    }
  }
  return code.finish(image.height * image.width);
}

}  // namespace insight
