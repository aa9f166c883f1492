// Pixels and weights that an output of crop_resize reads along one axis, shared by host and device code.
//
// One axis of a box is the interval [low, high) of an image axis whose pixel k covers [k, k + 1). Output j is centred
// at low + (j + 1/2) * scale, with scale = (high - low) / outputs.
//   * Shrinking with antialias (scale > 1): a triangle filter of radius `scale`. Each pixel counts by the share of it
//     in [low, high), and the weights are divided by their sum.
//   * Otherwise: bilinear, with the centre kept at least half a pixel inside [low, high] (in the middle, if the box is
//     narrower than one pixel), so that pixels outside the box are not mixed in.
// For integer low and high, both match torch.nn.functional.interpolate on the crop. The sum of the weights covers all
// pixels of the box, including those outside the image; `inside` is the share of it inside the image. The sums have
// closed forms, so the cost depends only on the pixels that the box shares with the image.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/host_device.h"

namespace insight {

// Geometry is in double, because image coordinates times box sizes exceed float's 24 bits; weights are Real.
template <typename Real>
struct Axis {
  double low, high;
  double scale;        // pixels per output; 0 marks an interval that is empty, reversed or not finite
  double radius;       // of the filter, in pixels
  double first, last;  // first and last pixel that the box touches, where they count by their share; else NaN
  double first_share, last_share;
  int32_t length;                   // pixels of the image axis
  int32_t first_pixel, last_pixel;  // `first` and `last` where they lie in the image, else -1
  Real inverse_radius;
};

// The pixels begin .. begin + count - 1 of the image are read.
template <typename Real>
struct Taps {
  int32_t begin, count;
  Real centre;      // of the filter, measured from the left edge of pixel `begin`
  Real normalizer;  // one over the sum of the weights, pixels outside the image included
  Real inside;      // share of the weights that falls on pixels of the image: 0 to 1
};

namespace bilinear {

// Without fast-math, fmin and fmax are function calls on the host. These are inlined; no argument is NaN.
INSIGHT_HOST_DEVICE double smaller(double a, double b) { return a < b ? a : b; }
INSIGHT_HOST_DEVICE double larger(double a, double b) { return a > b ? a : b; }
INSIGHT_HOST_DEVICE double clamp(double x, double low, double high) { return smaller(larger(x, low), high); }

template <typename Real>
INSIGHT_HOST_DEVICE double filter_at(const Axis<Real>& axis, double centre, double pixel) {
  return larger(0.0, 1.0 - std::fabs(pixel + 0.5 - centre) / axis.radius);
}

// Sum of the weights (before division by their sum) of the pixels first .. last, all within the filter's radius.
template <typename Real>
INSIGHT_HOST_DEVICE double weight_sum(const Axis<Real>& axis, double centre, double first, double last) {
  if (last < first) return 0.0;
  // The last pixel on the rising side; both sides are arithmetic series.
  const double middle = clamp(std::floor(centre - 0.5), first - 1.0, last);
  const double rising = middle - first + 1.0, falling = last - middle;
  const double inverse = 1.0 / axis.radius;
  double sum = rising * (1.0 - (centre - 0.5 - 0.5 * (first + middle)) * inverse) +
               falling * (1.0 - (0.5 * (middle + 1.0 + last) + 0.5 - centre) * inverse);
  if (first == axis.first) sum -= (1.0 - axis.first_share) * filter_at(axis, centre, first);
  if (last == axis.last) sum -= (1.0 - axis.last_share) * filter_at(axis, centre, last);
  return sum;
}

}  // namespace bilinear

// low, high: any floats. outputs > 0, 0 <= length < 2^31.
template <typename Real>
INSIGHT_HOST_DEVICE Axis<Real> make_axis(float low, float high, int64_t outputs, int64_t length, bool antialias) {
  Axis<Real> axis;
  const double limit = 3.5e38;  // above every finite float; NaN fails the comparisons too
  const bool valid = low < high && low > -limit && high < limit;
  axis.low = low;
  axis.high = high;
  axis.scale = valid ? (axis.high - axis.low) / static_cast<double>(outputs) : 0.0;
  const bool shrink = antialias && axis.scale > 1.0;
  axis.radius = shrink ? axis.scale : 1.0;
  axis.inverse_radius = static_cast<Real>(1.0 / axis.radius);
  axis.length = static_cast<int32_t>(length);
  axis.first = axis.last = NAN;
  axis.first_share = axis.last_share = 1.0;
  axis.first_pixel = axis.last_pixel = -1;
  if (shrink) {
    axis.first = std::floor(axis.low);
    axis.last = std::ceil(axis.high) - 1.0;
    axis.first_share = axis.first + 1.0 - axis.low;
    axis.last_share = axis.high - axis.last;
    if (axis.first >= 0.0 && axis.first < length) axis.first_pixel = static_cast<int32_t>(axis.first);
    if (axis.last >= 0.0 && axis.last < length) axis.last_pixel = static_cast<int32_t>(axis.last);
  }
  return axis;
}

template <typename Real>
INSIGHT_HOST_DEVICE Taps<Real> make_taps(const Axis<Real>& axis, int64_t output) {
  using namespace bilinear;
  if (!(axis.scale > 0.0)) return Taps<Real>{0, 0, Real(0), Real(0), Real(0)};
  const bool shrink = axis.radius > 1.0;
  double centre = axis.low + (static_cast<double>(output) + 0.5) * axis.scale;
  double first, last, sum = 1.0;
  if (shrink) {
    first = larger(axis.first, std::floor(centre - axis.radius - 0.5) + 1.0);
    last = smaller(axis.last, std::ceil(centre + axis.radius - 0.5) - 1.0);
    sum = weight_sum(axis, centre, first, last);
  } else {
    const bool narrow = axis.high - axis.low < 1.0;
    centre = narrow ? 0.5 * (axis.low + axis.high) : clamp(centre, axis.low + 0.5, axis.high - 0.5);
    first = std::floor(centre - 0.5);
    last = std::ceil(centre - 0.5);  // the same pixel where the sample hits its centre
  }
  const double length = axis.length;
  const double begin = clamp(first, 0.0, length), end = clamp(last + 1.0, begin, length);
  const bool whole = begin == first && end == last + 1.0;
  const double normalizer = sum > 0.0 ? 1.0 / sum : 0.0;
  Taps<Real> taps;
  taps.begin = static_cast<int32_t>(begin);
  taps.count = static_cast<int32_t>(end - begin);
  taps.centre = static_cast<Real>(centre - begin);
  taps.normalizer = static_cast<Real>(normalizer);
  taps.inside = static_cast<Real>(whole ? 1.0 : weight_sum(axis, centre, begin, end - 1.0) * normalizer);
  return taps;
}

// Weight of the pixel taps.begin + k, 0 <= k < taps.count.
template <typename Real>
INSIGHT_HOST_DEVICE Real tap_weight(const Axis<Real>& axis, const Taps<Real>& taps, int32_t k) {
  const Real distance = static_cast<Real>(k) + Real(0.5) - taps.centre;
  Real weight = Real(1) - (distance < Real(0) ? -distance : distance) * axis.inverse_radius;
  weight = weight > Real(0) ? weight * taps.normalizer : Real(0);
  if (taps.begin + k == axis.first_pixel) weight *= static_cast<Real>(axis.first_share);
  if (taps.begin + k == axis.last_pixel) weight *= static_cast<Real>(axis.last_share);
  return weight;
}

}  // namespace insight
