/* Conv and ConvTranspose, with what follows them in the same step.
 *
 * By default as an implicit matrix product: y[channel, column] = w[channel, k] x seen[k, column], where a column is a
 * position of the output of one image, k counts input channels and kernel elements, and seen[] is never written down:
 * whoever needs a tile of it reads the input where k and the column say. A block computes a tile of the output out of
 * tiles of both operands in shared memory, while it reads the next ones into registers; each thread adds up a small
 * rectangle of it in registers. Columns go on from one image to the next, so that small images fill tiles, too. Where
 * there are too few tiles to fill the device (deep layers of one image), k is shared out among several blocks for each
 * tile, whose sums are joined in a second kernel, always in the same order.
 *
 * ConvTranspose is the same product seen from its output: kernel element k of position p saw input position
 * (p + pad - k x dilation) / stride, or none.
 *
 * Groups of few channels (depthwise: one) leave such tiles empty; there a thread computes one element by itself.
 *
 * With the precisions tf32 and float16 the tensor cores are cuBLASLt's: seen[] is written down, in the workspace, and
 * multiplied; a 1 x 1 kernel without stride and padding needs no writing. Bias and function are one more pass then.
 * Grouped and transposed ones stay as above, in float32.
 */
#include "tail.cuh"
#include "window.cuh"

#define DEPTH          8   /* of k at a time */
#define SPLIT_DEPTH    128 /* of k that is worth a block of its own */
#define SPLITS_MAX     16
#define GROUP_CHANNELS 8                  /* with fewer a tile would be mostly empty */
#define COLUMNS_BYTES  ((size_t)64 << 20) /* what seen[] may take of all images; beyond, it is one image at a time */

struct geometry {
    cuda__window win;
    cuda__by stride[3]; /* of ConvTranspose */
    int images, groups;
    int channels, outputs; /* of a group: of x, and of y */
    int depth, columns;    /* channels x kernel, images x positions */
    int split_depth;       /* of k in each split */
    int64_t total;         /* elements of the output */
};

/* --- what a window sees ------------------------------------------------------------------------------------------ */

/* Where along a dimension kernel element `k` looks, from where its position's window starts; false: outside. */
template <bool TRANSPOSED> __device__ bool look(const geometry &geo, int dim, int start, int k, int *ret) {
    int at = start + (TRANSPOSED ? -k : k) * geo.win.dilation[dim];
    if (TRANSPOSED) {
        if (at < 0) return false;
        int whole = cuda__over(geo.stride[dim], at);
        if (whole * geo.win.stride[dim] != at) return false;
        at = whole;
    }
    *ret = at;
    return (unsigned)at < (unsigned)geo.win.in[dim];
}

template <bool TRANSPOSED> __device__ void window_start(const geometry &geo, int position, int start[3]) {
    cuda__window_position(geo.win, position, start);
    for (int dim = 0; dim < 3; dim++)
        start[dim] = TRANSPOSED ? start[dim] + geo.win.pad[dim] : start[dim] * geo.win.stride[dim] - geo.win.pad[dim];
}

/* What k sees of an image's group, whose first element is at `image`. */
template <bool TRANSPOSED> __device__ float see(const geometry &geo, const float *image, const int start[3], int k) {
    int channel = cuda__over(geo.win.by_kernel, k), at[3], place = channel;
    k -= channel * geo.win.by_kernel.by;
    int depth = cuda__over(geo.win.by_kernel_plane, k);
    k -= depth * geo.win.by_kernel_plane.by;
    int row = cuda__over(geo.win.by_kernel_row, k);
    const int kernel[3] = {depth, row, k - row * (int)geo.win.by_kernel_row.by};
    for (int dim = 0; dim < 3; dim++) {
        if (!look<TRANSPOSED>(geo, dim, start[dim], kernel[dim], &at[dim])) return 0;
        place = place * geo.win.in[dim] + at[dim];
    }
    return image[place];
}

/* Of weights [outputs, channels, kernel], or transposed [channels, outputs, kernel]; w: the group's first. */
template <bool TRANSPOSED> __device__ float weight(const geometry &geo, const float *w, int row, int k) {
    if (!TRANSPOSED) return w[(int64_t)row * geo.depth + k];
    int channel = cuda__over(geo.win.by_kernel, k), size = geo.win.by_kernel.by;
    return w[((int64_t)channel * geo.outputs + row) * size + k - channel * size];
}

/* --- by tiles ---------------------------------------------------------------------------------------------------- */

/* Four numbers that are moved as one. */
struct alignas(16) quad {
    float v[4];
};

/* Reads N numbers that are `pitch` apart by fours. */
template <int N> __device__ void take(const float *from, int pitch, float *to) {
    if (N < 4) {
        for (int i = 0; i < N; i++) to[i] = from[i];
    } else {
        CUDA__UNROLL
        for (int i = 0; i < N / 4; i++) {
            quad four = *(const quad *)(from + i * pitch);
            for (int j = 0; j < 4; j++) to[i * 4 + j] = four.v[j];
        }
    }
}

/* A block's tile is ROWS x COLUMNS, a thread's rectangle HIGH x WIDE: its rows lie together, its columns in fours that
 * are spread over the tile, so that neighbours read neighbouring fours. Block: 256 threads. */
template <bool TRANSPOSED, int ROWS, int COLUMNS, int HIGH, int WIDE>
__global__ void __launch_bounds__(CUDA__BLOCK)
    conv_kernel(geometry geo, const float *x, const float *w, float *y, bool partial, cuda__ending ending) {
    const int across = COLUMNS / WIDE, span = WIDE < 4 ? WIDE : 4, pad = 4;
    const int rows_each = (ROWS * DEPTH + CUDA__BLOCK - 1) / CUDA__BLOCK, columns_each = COLUMNS * DEPTH / CUDA__BLOCK;
    static_assert(ROWS / HIGH * across == CUDA__BLOCK && CUDA__BLOCK % COLUMNS == 0, "a thread for each rectangle");
    alignas(16) __shared__ float tile_w[2][DEPTH][ROWS + pad];
    alignas(16) __shared__ float tile_x[2][DEPTH][COLUMNS];
    int group = blockIdx.z % geo.groups, split = blockIdx.z / geo.groups, thread = threadIdx.x;
    int first_row = blockIdx.y * ROWS, first_column = blockIdx.x * COLUMNS;
    int from = split * geo.split_depth, upto = from + geo.split_depth;
    int column = first_column + thread % COLUMNS, start[3] = {0, 0, 0};
    const float *image = x;
    if (upto > geo.depth) upto = geo.depth;
    bool inside = column < geo.columns;
    float next_w[rows_each], next_x[columns_each], sums[HIGH][WIDE] = {};
    w += (int64_t)group * geo.outputs * geo.depth;
    if (inside) {
        int number = cuda__over(geo.win.by_out, column);
        window_start<TRANSPOSED>(geo, column - number * geo.win.by_out.by, start);
        image +=
            (int64_t)(number * geo.groups + group) * geo.channels * (geo.win.in[0] * geo.win.in[1] * geo.win.in[2]);
    }
    for (int at = from, turn = 0; at < upto + DEPTH; at += DEPTH, turn = !turn) {
        if (at < upto) {
            CUDA__UNROLL
            for (int i = 0; i < rows_each; i++) {
                int element = thread + i * CUDA__BLOCK, k = at + element % DEPTH, row = first_row + element / DEPTH;
                bool there = element < ROWS * DEPTH && k < upto && row < geo.outputs;
                next_w[i] = there ? weight<TRANSPOSED>(geo, w, row, k) : 0;
            }
            CUDA__UNROLL
            for (int i = 0; i < columns_each; i++) {
                int k = at + thread / COLUMNS + i * (CUDA__BLOCK / COLUMNS);
                next_x[i] = inside && k < upto ? see<TRANSPOSED>(geo, image, start, k) : 0;
            }
        }
        if (at > from) {
            CUDA__UNROLL
            for (int depth = 0; depth < DEPTH; depth++) {
                float left[HIGH], right[WIDE];
                take<HIGH>(&tile_w[!turn][depth][thread / across * HIGH], 4, left);
                take<WIDE>(&tile_x[!turn][depth][thread % across * span], across * span, right);
                for (int i = 0; i < HIGH; i++)
                    for (int j = 0; j < WIDE; j++) sums[i][j] += left[i] * right[j];
            }
        }
        if (at < upto) {
            CUDA__UNROLL
            for (int i = 0; i < rows_each; i++) {
                int element = thread + i * CUDA__BLOCK;
                if (element < ROWS * DEPTH) tile_w[turn][element % DEPTH][element / DEPTH] = next_w[i];
            }
            CUDA__UNROLL
            for (int i = 0; i < columns_each; i++)
                tile_x[turn][thread / COLUMNS + i * (CUDA__BLOCK / COLUMNS)][thread % COLUMNS] = next_x[i];
            __syncthreads();
        }
    }
    CUDA__UNROLL
    for (int j = 0; j < WIDE; j++) {
        int to = first_column + j / span * across * span + thread % across * span + j % span;
        if (to >= geo.columns) continue;
        int number = cuda__over(geo.win.by_out, to), position = to - number * geo.win.by_out.by;
        for (int i = 0; i < HIGH; i++) {
            int row = first_row + thread / across * HIGH + i, channel = group * geo.outputs + row;
            if (row >= geo.outputs) continue;
            int64_t place = ((int64_t)number * geo.groups * geo.outputs + channel) * geo.win.by_out.by + position;
            if (partial)
                y[split * geo.total + place] = sums[i][j];
            else
                y[place] = cuda__end(ending, sums[i][j], place, channel);
        }
    }
}

/* --- an element at a time ---------------------------------------------------------------------------------------- */

template <bool TRANSPOSED>
__global__ void element_kernel(geometry geo, const float *x, const float *w, float *y, cuda__ending ending) {
    int volume = geo.win.in[0] * geo.win.in[1] * geo.win.in[2], kernel = geo.win.by_kernel.by;
    int64_t step_in = TRANSPOSED ? (int64_t)geo.outputs * kernel : kernel; /* from one channel's weights to the next */
    CUDA__EACH(i, geo.total) {
        int plane = cuda__over(geo.win.by_out, (int)i), start[3], at[3];
        int channel = plane % (geo.groups * geo.outputs), number = plane / (geo.groups * geo.outputs);
        int group = channel / geo.outputs, row = channel - group * geo.outputs;
        window_start<TRANSPOSED>(geo, (int)i - plane * geo.win.by_out.by, start);
        const float *image = x + (int64_t)(number * geo.groups + group) * geo.channels * volume;
        const float *own =
            w + (int64_t)group * geo.outputs * geo.depth + (int64_t)row * (TRANSPOSED ? kernel : geo.depth);
        float sum = 0;
        for (int k = 0, kd = 0; kd < geo.win.kernel[0]; kd++)
            for (int kh = 0; kh < geo.win.kernel[1]; kh++)
                for (int kw = 0; kw < geo.win.kernel[2]; kw++, k++) {
                    if (!look<TRANSPOSED>(geo, 0, start[0], kd, &at[0]) ||
                        !look<TRANSPOSED>(geo, 1, start[1], kh, &at[1]) ||
                        !look<TRANSPOSED>(geo, 2, start[2], kw, &at[2]))
                        continue;
                    int place = (at[0] * geo.win.in[1] + at[1]) * geo.win.in[2] + at[2];
                    for (int c = 0; c < geo.channels; c++) sum += own[c * step_in + k] * image[c * volume + place];
                }
        y[i] = cuda__end(ending, sum, i, channel);
    }
}

/* --- how --------------------------------------------------------------------------------------------------------- */

enum way { BY_ELEMENT, BY_THIN_TILE, BY_TILE, BY_LARGE_TILE };

/* What a launch does, made of shapes and the device alone. */
struct conv_plan {
    geometry geo;
    enum way way;
    int splits;
};

static dim3 grid_of(const conv_plan &plan, int rows, int columns) {
    return dim3((unsigned)((plan.geo.columns + columns - 1) / columns),
                (unsigned)((plan.geo.outputs + rows - 1) / rows), (unsigned)(plan.geo.groups * plan.splits));
}

/* A tile of 128 x 128 does the most with what it reads; it must not leave multiprocessors idle. */
static void choose_way(conv_plan *plan, int multiprocessors) {
    const geometry &geo = plan->geo;
    plan->splits = 1;
    plan->way = geo.outputs <= 16 ? BY_THIN_TILE : BY_TILE;
    dim3 large = grid_of(*plan, 128, 128);
    if (plan->way == BY_TILE && (int64_t)large.x * large.y * large.z >= multiprocessors) plan->way = BY_LARGE_TILE;
    if (geo.groups > UINT16_MAX / SPLITS_MAX || geo.columns == 0 ||
        (geo.groups > 1 && (geo.outputs < GROUP_CHANNELS || geo.channels < 2)))
        plan->way = BY_ELEMENT;
    if (plan->way == BY_ELEMENT || plan->way == BY_LARGE_TILE) return;
    dim3 grid = plan->way == BY_TILE ? grid_of(*plan, 64, 64) : grid_of(*plan, 16, 128);
    int64_t blocks = (int64_t)grid.x * grid.y * grid.z, most = geo.depth / SPLIT_DEPTH;
    int64_t wanted = blocks ? 2 * multiprocessors / blocks : 1;
    if (wanted > most) wanted = most;
    plan->splits = (int)(wanted < 1 ? 1 : wanted > SPLITS_MAX ? SPLITS_MAX : wanted);
}

static geometry geometry_of(const struct onnx__step *step, const struct onnx__window *win, bool transposed) {
    const struct tensor *x = step->in[0], *w = step->in[1];
    geometry geo = {};
    geo.win = cuda__window_of(win);
    for (int dim = 0; dim < 3; dim++) geo.stride[dim] = cuda__by::of(win->stride[dim]);
    geo.groups = (int)onnx__step_int(step, "group", 1);
    geo.images = (int)x->shape[0];
    geo.channels = (int)(x->shape[1] / geo.groups);
    geo.outputs = (int)(transposed ? w->shape[1] : w->shape[0] / geo.groups);
    geo.depth = geo.channels * geo.win.by_kernel.by;
    geo.columns = geo.images * geo.win.by_out.by;
    geo.total = onnx__count(step->out[0]);
    return geo;
}

/* Of a step that has been inferred: reading it again cannot fail. */
static void read_window(const struct onnx__step *step, bool transposed, struct onnx__window *win) {
    struct err err;
    if (!transposed) {
        BUG_ON(onnx__window_read(step, step->in[0], step->in[1]->shape + 2, false, win, &err) != 0);
        return;
    }
    BUG_ON(onnx__window_read_transposed(step, step->in[0], step->in[1]->shape + 2, win, &err) != 0);
    for (int dim = 0; dim < 3; dim++) { /* it is read the other way round */
        int64_t in = win->in[dim];
        win->in[dim] = win->out[dim];
        win->out[dim] = in;
    }
}

static conv_plan plan_of(const struct cuda__call *call, bool transposed) {
    struct onnx__window win;
    conv_plan plan = {};
    read_window(call->step, transposed, &win);
    plan.geo = geometry_of(call->step, &win, transposed);
    choose_way(&plan, call->device->multiprocessors);
    int each = (plan.geo.depth + plan.splits - 1) / plan.splits;
    plan.geo.split_depth = (each + DEPTH - 1) / DEPTH * DEPTH;
    return plan;
}

static bool takes(const struct onnx__step *step, bool transposed) {
    const struct tensor *x = step->in[0], *w = step->in[1], *y = step->out[0];
    struct onnx__window win;
    read_window(step, transposed, &win);
    return cuda__window_fits(&win) && onnx__count(x) <= INT32_MAX && onnx__count(w) <= INT32_MAX &&
           onnx__count(y) <= INT32_MAX && x->shape[1] * onnx__volume(win.kernel) <= INT32_MAX &&
           x->shape[0] * onnx__volume(win.out) <= INT32_MAX && w->shape[transposed] / 16 < UINT16_MAX;
}

/* --- launching --------------------------------------------------------------------------------------------------- */

template <bool TRANSPOSED, int ROWS, int COLUMNS, int HIGH, int WIDE>
static int launch_tiles(const struct cuda__call *call, struct err *err, const conv_plan &plan,
                        const cuda__ending &ending) {
    bool partial = plan.splits > 1;
    return cuda__launch(call, err, conv_kernel<TRANSPOSED, ROWS, COLUMNS, HIGH, WIDE>, grid_of(plan, ROWS, COLUMNS),
                        CUDA__BLOCK, plan.geo, (const float *)call->in[0], (const float *)call->in[1],
                        (float *)(partial ? call->device->workspace : call->out[0]), partial, ending);
}

template <bool TRANSPOSED> static int launch_conv(const struct cuda__call *call, struct err *err) {
    conv_plan plan = plan_of(call, TRANSPOSED);
    cuda__ending ending = cuda__ending_of(call);
    int rc;
    if (plan.way == BY_ELEMENT)
        return cuda__launch(call, err, element_kernel<TRANSPOSED>, cuda__blocks(call, plan.geo.total), CUDA__BLOCK,
                            plan.geo, (const float *)call->in[0], (const float *)call->in[1], (float *)call->out[0],
                            ending);
    if (plan.way == BY_LARGE_TILE)
        rc = launch_tiles<TRANSPOSED, 128, 128, 8, 8>(call, err, plan, ending);
    else if (plan.way == BY_TILE)
        rc = launch_tiles<TRANSPOSED, 64, 64, 4, 4>(call, err, plan, ending);
    else
        rc = launch_tiles<TRANSPOSED, 16, 128, 2, 4>(call, err, plan, ending);
    if (rc != 0 || plan.splits == 1) return rc;
    return cuda__launch_end(call, err, plan.splits, call->device->workspace, ending, plan.geo.win.by_out.by,
                            (int64_t)plan.geo.groups * plan.geo.outputs);
}

/* --- on tensor cores --------------------------------------------------------------------------------------------- */

/* What prepare made for a convolution on cuBLASLt. */
struct tensor_core_conv {
    struct cuda__matmul *product;
    int images;     /* of one product: all, or 1 */
    bool pointwise; /* the input is seen[] as it lies */
};

/* seen[image, k, position], for images from `first` on. */
static __global__ void columns_kernel(geometry geo, int first, int64_t n, const float *x, float *seen) {
    int64_t size = (int64_t)geo.channels * (geo.win.in[0] * geo.win.in[1] * geo.win.in[2]);
    CUDA__EACH(i, n) {
        int row = cuda__over(geo.win.by_out, (int)i), position = (int)i - row * geo.win.by_out.by, start[3];
        int image = row / geo.depth, k = row - image * geo.depth;
        window_start<false>(geo, position, start);
        seen[i] = see<false>(geo, x + (first + image) * size, start, k);
    }
}

static bool is_pointwise(const cuda__window &win) {
    for (int dim = 0; dim < 3; dim++)
        if (win.kernel[dim] != 1 || win.stride[dim] != 1 || win.in[dim] != win.out[dim] || win.pad[dim]) return false;
    return true;
}

static void prepare_tensor_cores(struct cuda__call *call, const geometry &geo) {
    int64_t positions = geo.win.by_out.by, each = geo.depth * positions;
    size_t bytes = (size_t)each * sizeof(float), workspace = 0;
    bool pointwise = is_pointwise(geo.win);
    int images = pointwise || bytes * (size_t)geo.images <= COLUMNS_BYTES ? geo.images : 1;
    struct cuda__product one = {};
    one.datatype = DATATYPE_FP32;
    one.m = geo.outputs, one.n = positions, one.k = geo.depth, one.batch = images;
    one.stride_b = each, one.stride_c = geo.outputs * positions;
    one.alpha = 1;
    if (geo.total == 0 || geo.depth == 0 || each * images > INT32_MAX) return;
    struct cuda__matmul *product = cuda__blas_plan(call->device->blas, &one, call->device->precision, &workspace);
    if (!product) return;
    struct tensor_core_conv *made = (struct tensor_core_conv *)mem_calloc(1, sizeof *made);
    *made = {product, images, pointwise};
    call->made = made;
    call->workspace_bytes = CUDA__BLAS_WORKSPACE + (pointwise ? 0 : bytes * (size_t)images);
}

static int launch_tensor_cores(const struct cuda__call *call, const struct tensor_core_conv *made, struct err *err) {
    geometry geo = plan_of(call, false).geo;
    cuda__ending ending = cuda__ending_of(call);
    int64_t positions = geo.win.by_out.by, each = geo.depth * positions, n = each * made->images;
    float *seen = (float *)(call->device->workspace + CUDA__BLAS_WORKSPACE), *y = (float *)call->out[0];
    const float *x = (const float *)call->in[0];
    for (int image = 0; image < geo.images; image += made->images) {
        if (!made->pointwise &&
            cuda__launch(call, err, columns_kernel, cuda__blocks(call, n), CUDA__BLOCK, geo, image, n, x, seen) != 0)
            return -1;
        if (cuda__blas_run(made->product, call->in[1], made->pointwise ? x : seen, y + image * geo.outputs * positions,
                           call->device, err) != 0)
            return -1;
    }
    if (cuda__ending_is_none(ending)) return 0;
    return cuda__launch_end(call, err, 1, y, ending, positions, geo.outputs);
}

/* --- the operators ----------------------------------------------------------------------------------------------- */

extern "C" int cuda__conv_prepare(struct cuda__call *call, struct err *err) {
    conv_plan plan = plan_of(call, false);
    (void)err;
    if (call->device->blas && call->device->precision != ONNX_PRECISION_FLOAT32 && plan.geo.groups == 1)
        prepare_tensor_cores(call, plan.geo);
    if (!call->made && plan.splits > 1) call->workspace_bytes = (size_t)(plan.splits * plan.geo.total) * sizeof(float);
    return 0;
}
extern "C" void cuda__conv_forget(struct cuda__call *call) {
    struct tensor_core_conv *made = (struct tensor_core_conv *)call->made;
    if (made) cuda__blas_forget(made->product);
    free(made);
}
extern "C" int cuda__conv_launch(const struct cuda__call *call, struct err *err) {
    const struct tensor_core_conv *made = (const struct tensor_core_conv *)call->made;
    return made ? launch_tensor_cores(call, made, err) : launch_conv<false>(call, err);
}
extern "C" bool cuda__conv_takes(const struct onnx__step *step) { return takes(step, false); }

extern "C" int cuda__conv_transpose_prepare(struct cuda__call *call, struct err *err) {
    conv_plan plan = plan_of(call, true);
    (void)err;
    if (plan.splits > 1) call->workspace_bytes = (size_t)(plan.splits * plan.geo.total) * sizeof(float);
    return 0;
}
extern "C" void cuda__conv_transpose_forget(struct cuda__call *) {}
extern "C" int cuda__conv_transpose_launch(const struct cuda__call *call, struct err *err) {
    return launch_conv<true>(call, err);
}
extern "C" bool cuda__conv_transpose_takes(const struct onnx__step *step) { return takes(step, true); }
