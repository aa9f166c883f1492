// insight._rle: Python bindings of the run-length coder. Arguments are checked in insight/structures/rle.py.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <vector>

#include "rle/encode.h"

namespace py = pybind11;

namespace insight {
namespace {

py::bytes encode_crop_py(const py::array_t<bool>& crop, int64_t x, int64_t y, int64_t image_height,
                         int64_t image_width) {
  const Crop window{crop.data(), {crop.shape(0), crop.shape(1)}, crop.strides(0), crop.strides(1), x, y};
  std::string code;
  {
    py::gil_scoped_release release;
    code = encode_crop(window, {image_height, image_width});
  }
  return code;
}

using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;

py::list encode_logits_py(const Floats& logits, const Doubles& regions, int64_t image_height, int64_t image_width,
                          float threshold) {
  const Size size{logits.shape(1), logits.shape(2)};
  const float* values = logits.data();
  const double* region = regions.data();
  std::vector<std::string> codes(logits.shape(0));
  {
    py::gil_scoped_release release;
    for (std::string& code : codes) {
      code = encode_logits(values, size, {region[0], region[1], region[2], region[3]}, {image_height, image_width},
                           threshold);
      values += size.height * size.width;
      region += 4;
    }
  }
  py::list result;
  for (const std::string& code : codes) {
    result.append(py::bytes(code));
  }
  return result;
}

}  // namespace
}  // namespace insight

PYBIND11_MODULE(_rle, module) {
  module.doc() = "COCO run-length codes of masks, without bitmaps of the image";
  module.def("encode_crop", &insight::encode_crop_py);
  module.def("encode_logits", &insight::encode_logits_py);
}
