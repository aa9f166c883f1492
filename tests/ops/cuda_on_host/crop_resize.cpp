// The CUDA kernels of crop_resize as functions of a C library, run on the CPU.
#include "cuda_on_host.h"

#include "cuda/crop_resize_kernel.cuh"

using namespace insight::crop_resize;

extern "C" {

Geometry* make_geometry(const float* boxes, const int64_t* image_index, const int64_t* sizes, bool antialias) {
  return new Geometry{boxes,    image_index, sizes[0], sizes[1], sizes[2], sizes[3],
                      sizes[4], sizes[5],    sizes[6], antialias};
}
void free_geometry(Geometry* g) { delete g; }

// Rows and columns of a tile, column tiles and tiles of an output.
void tile_plan(const Geometry* g, int64_t wanted_blocks, int64_t* plan) {
  const TilePlan p = plan_tiles(*g, wanted_blocks);
  plan[0] = p.rows;
  plan[1] = p.columns;
  plan[2] = p.column_tiles;
  plan[3] = p.tiles;
}

#define FORWARD(name, T, Out, Real)                                                                              \
  void name(const Geometry* g, int64_t wanted_blocks, unsigned blocks, const T* images, const int64_t* strides, \
            const float* mean, const float* std, double pad_value, Out* out) {                                  \
    const Forward p{*g, images, strides[0], strides[1], strides[2], strides[3], out, mean, std, pad_value};     \
    const TilePlan plan = plan_tiles(*g, wanted_blocks);                                                        \
    cuda_on_host::launch(blocks, kThreads, [=] { forward_kernel<T, Out, Real>(p, plan, images, out); });        \
  }
FORWARD(forward_uint8, uint8_t, float, float)
FORWARD(forward_float32, float, float, float)
FORWARD(forward_float64, double, double, double)

#define BACKWARD(name, T)                                                                                      \
  void name(const Geometry* g, int64_t wanted_blocks, unsigned blocks, const T* grad, const float* std,        \
            T* grad_images) {                                                                                  \
    const Geometry geometry = *g;                                                                              \
    const TilePlan plan = plan_tiles(geometry, wanted_blocks);                                                 \
    cuda_on_host::launch(blocks, kThreads, [=] {                                                               \
      backward_kernel<T, T>(geometry, plan, std, grad, grad_images);                                           \
    });                                                                                                        \
  }
BACKWARD(backward_float32, float)
BACKWARD(backward_float64, double)

}  // extern "C"
