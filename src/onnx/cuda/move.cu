/* Operators that move elements and do nothing else: Transpose, Slice, Split, Expand, Tile, DepthToSpace and SpaceToDepth
 * are views of their input (cpu/forms.h), and one launch copies any view; Concat is the other way round.
 *
 * Nobody looks at an element, so what is moved are words: as wide ones as the view's distances allow, up to 16 bytes. A
 * view that is all of its input is the driver's copy. One whose rows lie across the input (a Transpose) goes tile by
 * tile through shared memory, so that both sides see neighbours together; every other one has a thread for each word. */
#include "kernel.cuh"

/* --- views ------------------------------------------------------------------------------------------------------- */

template <typename W, typename I> __global__ void view_kernel(int64_t n, cuda__walk<I, 1> walk, const W *from, W *to) {
    CUDA__EACH(i, n) {
        int64_t at;
        cuda__walk_find(walk, (I)i, &at);
        to[i] = from[at];
    }
}

#define TILE      32 /* elements in each direction */
#define TILE_ROWS 8  /* threads of a block that share a column */

/* Two dimensions of the output and its others: `down` is the one along which the input has neighbours, `across` the
 * output's last. */
template <typename I> struct crossing {
    int64_t tiles;
    cuda__divider<I> tiles_down, tiles_across;
    int64_t down, across, step_from,
        step_to; /* step_from: in the input, along across; step_to: in the output, along down */
    cuda__walk<I, 2> rest;
};

template <typename W, typename I> __global__ void crossing_kernel(crossing<I> view, const W *from, W *to) {
    __shared__ W tile[TILE][TILE + 1];
    for (int64_t t = blockIdx.x; t < view.tiles; t += gridDim.x) {
        I i = (I)t, col = i;
        i = cuda__divide(view.tiles_across, &col);
        I row = i;
        int64_t at[2];
        cuda__walk_find(view.rest, cuda__divide(view.tiles_down, &row), at);
        int64_t first_col = (int64_t)col * TILE, first_row = (int64_t)row * TILE, down = first_row + threadIdx.x,
                across = first_col + threadIdx.x;
        for (unsigned k = threadIdx.y; k < TILE; k += TILE_ROWS)
            if (down < view.down && first_col + k < view.across)
                tile[k][threadIdx.x] = from[at[0] + down + (first_col + k) * view.step_from];
        __syncthreads();
        for (unsigned k = threadIdx.y; k < TILE; k += TILE_ROWS)
            if (across < view.across && first_row + k < view.down)
                to[at[1] + (first_row + k) * view.step_to + across] = tile[threadIdx.x][k];
        __syncthreads();
    }
}

/* The dimension along which the input has neighbours, if the output's last is another one; -1: none, or it is not worth
 * a tile. */
static int find_down(const struct onnx__strided *view, size_t size) {
    int last = view->rank - 1;
    if (view->shape[last] < TILE_ROWS || view->strides[last] == 0) return -1;
    for (int i = 0; i < last; i++)
        if (view->strides[i] == (int64_t)size && view->shape[i] >= TILE_ROWS) return i;
    return -1;
}

template <typename I> static crossing<I> crossing_of(const struct onnx__strided *view, size_t size, int down) {
    crossing<I> ret = {};
    int last = view->rank - 1;
    int64_t step = 1;
    ret.down = view->shape[down];
    ret.across = view->shape[last];
    ret.step_from = view->strides[last] / (int64_t)size;
    int64_t tiles_down = (ret.down + TILE - 1) / TILE, tiles_across = (ret.across + TILE - 1) / TILE;
    ret.tiles = tiles_down * tiles_across;
    ret.tiles_down = cuda__divider<I>::of(tiles_down);
    ret.tiles_across = cuda__divider<I>::of(tiles_across);
    for (int i = last; i >= 0; step *= view->shape[i--]) {
        if (i == down) ret.step_to = step;
        if (i == down || i == last) continue;
        ret.rest.dims[i] = cuda__divider<I>::of(view->shape[i]);
        ret.rest.steps[0][i] = view->strides[i] / (int64_t)size;
        ret.rest.steps[1][i] = step;
        ret.tiles *= view->shape[i];
    }
    for (int i = 0; i < last; i++) { /* close the gap */
        if (i == down) continue;
        int to = ret.rest.rank++;
        ret.rest.dims[to] = ret.rest.dims[i];
        for (int k = 0; k < 2; k++) ret.rest.steps[k][to] = ret.rest.steps[k][i];
    }
    return ret;
}

/* Rows that are whole in the input become fewer and wider words. Returns their size. */
static size_t widen(struct onnx__strided *view, size_t size) {
    int last = view->rank - 1;
    int64_t sizes = view->at | view->shape[last] * (int64_t)size;
    if (view->strides[last] != (int64_t)size) return size;
    for (int i = 0; i < last; i++) sizes |= view->strides[i];
    size_t word = cuda__word_of(sizes);
    view->shape[last] = view->shape[last] * (int64_t)size / (int64_t)word;
    view->strides[last] = (int64_t)word;
    return word;
}

static int copy(const struct cuda__call *call, struct err *err, void *to, const void *from, size_t size_bytes) {
    if (size_bytes == 0) return 0;
    CUDA__TRY(cudaMemcpyAsync(to, from, size_bytes, cudaMemcpyDeviceToDevice, call->device->stream), err);
    return 0;
}

static int launch_crossing(const struct cuda__call *call, struct err *err, const struct onnx__strided *view,
                           size_t size, int down, const void *from, void *to, int64_t n) {
    int64_t most = (int64_t)call->device->multiprocessors * 16;
    return cuda__with_element(size, [&](auto element) {
        return cuda__with_index(n, [&](auto index) {
            using W = typename decltype(element)::type;
            using I = typename decltype(index)::type;
            crossing<I> tiles = crossing_of<I>(view, size, down);
            unsigned blocks = (unsigned)(tiles.tiles < most ? tiles.tiles : most);
            return cuda__launch(call, err, crossing_kernel<W, I>, blocks, dim3(TILE, TILE_ROWS), tiles, (const W *)from,
                                (W *)to);
        });
    });
}

static int launch_view(const struct cuda__call *call, struct err *err, const struct onnx__strided *all,
                       const struct tensor *out, void *to) {
    if (out->size_bytes == 0) return 0;
    size_t size = datatype_size(out->datatype);
    struct onnx__strided view = onnx__strided_joined(all, size);
    const char *from = (const char *)call->in[0] + view.at;
    if (view.rank == 1 && (view.strides[0] == (int64_t)size || view.shape[0] == 1))
        return copy(call, err, to, from, out->size_bytes);
    int64_t n = onnx__count(out);
    int down = find_down(&view, size);
    if (down >= 0) return launch_crossing(call, err, &view, size, down, from, to, n);
    size = widen(&view, size);
    n = (int64_t)(out->size_bytes / size);
    return cuda__with_word(size, [&](auto word) {
        return cuda__with_index(n, [&](auto index) {
            using W = typename decltype(word)::type;
            using I = typename decltype(index)::type;
            return cuda__launch(call, err, view_kernel<W, I>, cuda__blocks(call, n), CUDA__BLOCK, n,
                                cuda__walk_of<I>(&view, size), (const W *)from, (W *)to);
        });
    });
}

static int launch_views(const struct cuda__call *call, struct err *err, onnx__view_fn *view_of) {
    for (size_t i = 0; i < call->step->out_count; i++) {
        struct onnx__strided view;
        if (!call->step->out[i]) continue;
        if (view_of(call->step, i, &view, err) != 0 ||
            launch_view(call, err, &view, call->step->out[i], call->out[i]) != 0)
            return -1;
    }
    return 0;
}

#define VIEW(name)                                                                                                     \
    extern "C" int cuda__##name##_launch(const struct cuda__call *call, struct err *err) {                             \
        return launch_views(call, err, onnx__##name##_view);                                                           \
    }
VIEW(transpose)
VIEW(depth_to_space)
VIEW(space_to_depth)
VIEW(slice)
VIEW(split)
VIEW(expand)
VIEW(tile)

/* --- Concat ------------------------------------------------------------------------------------------------------ */

/* Rows of `chunk` words, to places that are `pitch` words apart. */
template <typename W, typename I>
__global__ void spaced_kernel(int64_t n, cuda__divider<I> chunk, int64_t pitch, const W *from, W *to) {
    CUDA__EACH(i, n) {
        I col = (I)i, row = cuda__divide(chunk, &col);
        to[(int64_t)row * pitch + col] = from[i];
    }
}

/* One part: `outer` rows of `chunk` bytes, each to `at` bytes from the beginning of one of the output's. */
static int launch_part(const struct cuda__call *call, struct err *err, const void *from, int64_t outer, int64_t chunk,
                       int64_t pitch, int64_t at) {
    char *to = (char *)call->out[0] + at;
    if (outer == 0 || chunk == 0) return 0;
    if (outer == 1 || chunk == pitch) return copy(call, err, to, from, (size_t)(outer * chunk));
    size_t size = cuda__word_of(chunk | pitch | at);
    int64_t n = outer * chunk / (int64_t)size;
    return cuda__with_word(size, [&](auto word) {
        return cuda__with_index(n, [&](auto index) {
            using W = typename decltype(word)::type;
            using I = typename decltype(index)::type;
            return cuda__launch(call, err, spaced_kernel<W, I>, cuda__blocks(call, n), CUDA__BLOCK, n,
                                cuda__divider<I>::of(chunk / (int64_t)size), pitch / (int64_t)size, (const W *)from,
                                (W *)to);
        });
    });
}

extern "C" int cuda__concat_launch(const struct cuda__call *call, struct err *err) {
    const struct onnx__step *step = call->step;
    const struct tensor *out = step->out[0];
    int64_t size = (int64_t)datatype_size(out->datatype), at = 0;
    int axis;
    if (onnx__concat_axis(step, &axis, err) != 0) return -1;
    int64_t outer = onnx__shape_product(out, 0, axis), pitch = onnx__shape_product(out, axis, out->rank) * size;
    for (size_t i = 0; i < step->in_count; i++) {
        int64_t chunk = onnx__shape_product(step->in[i], axis, out->rank) * size;
        if (launch_part(call, err, call->in[i], outer, chunk, pitch, at) != 0) return -1;
        at += chunk;
    }
    return 0;
}
