/* Sliding windows on the device: the geometry that cpu/window.c reads, in 32 bits and with its divisions prepared. As
 * there, one or two spatial dimensions are three with leading ones of 1. */
#ifndef PENSTOCK_ONNX_CUDA_WINDOW_CUH
#define PENSTOCK_ONNX_CUDA_WINDOW_CUH

#include "kernel.cuh"

using cuda__by = cuda__divider<uint32_t>;
__device__ inline int cuda__over(const cuda__by &by, int n) { return (int)by.quotient((uint32_t)n); }

struct cuda__window {
    int in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
    cuda__by by_out, by_out_plane, by_out_row;          /* out[0] x out[1] x out[2], out[1] x out[2], out[2] */
    cuda__by by_kernel, by_kernel_plane, by_kernel_row; /* in the same way */
};

/* Each of the three is at most 2^30 (window.c), or the product is a tensor's. */
inline bool cuda__volume_fits(const int64_t dims[3]) {
    return dims[0] * dims[1] <= INT32_MAX && dims[0] * dims[1] * dims[2] <= INT32_MAX;
}

/* Is everything that a kernel computes of it within 32 bits? */
inline bool cuda__window_fits(const struct onnx__window *win) {
    for (int dim = 0; dim < 3; dim++) {
        int64_t in = win->in[dim] > win->out[dim] ? win->in[dim] : win->out[dim];
        if (in > INT32_MAX ||
            in * win->stride[dim] + win->kernel[dim] * win->dilation[dim] + win->pad[dim] + win->pad_end[dim] >
                INT32_MAX)
            return false;
    }
    return cuda__volume_fits(win->in) && cuda__volume_fits(win->out) && cuda__volume_fits(win->kernel);
}

inline cuda__window cuda__window_of(const struct onnx__window *win) {
    cuda__window window;
    for (int dim = 0; dim < 3; dim++) {
        window.in[dim] = (int)win->in[dim], window.out[dim] = (int)win->out[dim];
        window.kernel[dim] = (int)win->kernel[dim], window.stride[dim] = (int)win->stride[dim];
        window.dilation[dim] = (int)win->dilation[dim], window.pad[dim] = (int)win->pad[dim];
    }
    window.by_out = cuda__by::of(onnx__volume(win->out));
    window.by_out_plane = cuda__by::of(win->out[1] * win->out[2]);
    window.by_out_row = cuda__by::of(win->out[2]);
    window.by_kernel = cuda__by::of(onnx__volume(win->kernel));
    window.by_kernel_plane = cuda__by::of(win->kernel[1] * win->kernel[2]);
    window.by_kernel_row = cuda__by::of(win->kernel[2]);
    return window;
}

/* The coordinates of position `at` of the output's volume. */
__device__ inline void cuda__window_position(const cuda__window &win, int at, int position[3]) {
    position[0] = cuda__over(win.by_out_plane, at);
    at -= position[0] * win.by_out_plane.by;
    position[1] = cuda__over(win.by_out_row, at);
    position[2] = at - position[1] * win.by_out_row.by;
}

#endif
