/* Conv, fast: without columns.
 *
 * An image is first laid out so that every window position is a plain offset: padded, and cut into phases, one for each
 * remainder of a coordinate by the stride. Then what kernel element (c, kh, kw) sees at the output positions o, o + 1,
 * o + 2 ... of a row lies side by side, whatever stride and dilation; even from the end of one output row to the next,
 * if some positions between them are computed along and thrown away (the padding makes rows of the layout longer than
 * those of the output). So a convolution is a product of the weights with a matrix that exists only as one offset for
 * each of its rows, and a tile of 8 channels and 3 vectors of positions is summed up in registers (vec.c). The weights
 * are put in blocks of 8 channels when a session is opened.
 *
 * A kernel of one element needs no such reading: after laying out (or as it is, with stride 1 and no padding) the image
 * is a matrix, and BLAS multiplies it.
 *
 * What follows the convolution in the fused graph is done tile by tile. Weights that are not constant, and strides
 * beyond all reason, are left to the reference (conv.c).
 */
#include "cpu_internal.h"
#include "vec.h"

#define MAX_PHASES  1024 /* of all dimensions together */
#define POINT_EDGE  512  /* positions of a part of a one-element kernel */
#define TILE_FLOATS (TILE_ROWS * TILE_COLUMNS)

struct way {
    struct onnx__conv conv;
    bool laid;                /* the image is laid out first; else it is a matrix as it lies */
    bool windows;             /* by tiles; else by BLAS */
    int64_t pitch[3];         /* of the layout: its size by dimension, of one phase */
    int64_t phases[3];        /* how many are laid out: a kernel smaller than the stride never looks at the last ones */
    int64_t phase_size;       /* elements of one phase of one channel */
    int64_t channel_size;     /* of all its phases */
    int64_t positions;        /* from the first output position to the last, those in between included */
    const float *bias, *rest; /* of the image and group at work, or NULL */
    const struct onnx__tail *tail;
    const float *x, *weights; /* of the image and group at work */
    float *layout, *y;
    int32_t *offsets;
};

/* False: the reference does it. */
static bool find_way(struct way *way) {
    const struct onnx__window *win = &way->conv.win;
    way->laid = !way->conv.pointwise;
    way->windows = onnx__volume(win->kernel) > 1;
    if (win->stride[0] > MAX_PHASES || win->stride[1] > MAX_PHASES || win->stride[2] > MAX_PHASES ||
        win->stride[0] * win->stride[1] * win->stride[2] > MAX_PHASES || onnx__volume(win->kernel) > INT16_MAX)
        return false;
    way->phase_size = way->channel_size = 1;
    for (int dim = 0; dim < 3; dim++) {
        int64_t extent = (win->out[dim] - 1) * win->stride[dim] + (win->kernel[dim] - 1) * win->dilation[dim] + 1;
        way->pitch[dim] = (extent + win->stride[dim] - 1) / win->stride[dim];
        bool all = win->kernel[dim] > 1 && win->dilation[dim] > 1;
        way->phases[dim] = all || win->kernel[dim] > win->stride[dim] ? win->stride[dim] : win->kernel[dim];
        if (__builtin_mul_overflow(way->phase_size, way->pitch[dim], &way->phase_size) ||
            __builtin_mul_overflow(way->channel_size, way->phases[dim] * way->pitch[dim], &way->channel_size))
            return false;
    }
    way->positions = ((win->out[0] - 1) * way->pitch[1] + win->out[1] - 1) * way->pitch[2] + win->out[2];
    int64_t all;
    return !__builtin_mul_overflow(way->channel_size, way->conv.group_channels, &all) && all < INT32_MAX / 2;
}

/* The work space: offsets, then the layout of one image and group, with room to read beyond its end. */
static size_t offsets_bytes(const struct way *way) {
    return way->windows ? ((size_t)way->conv.gemm.k * sizeof(int32_t) + PLAN_ALIGN - 1) & ~(PLAN_ALIGN - 1) : 0;
}

OP_INFER(fast_conv) {
    struct way way = {0};
    if (onnx__conv_infer(step, err) != 0) return -1;
    if (onnx__conv_read(step, &way.conv, err) != 0 || onnx__tail_check(step, err) != 0) return -1;
    if (!find_way(&way)) return 0;
    size_t own = offsets_bytes(&way);
    if (way.laid) own += (size_t)(way.channel_size * way.conv.group_channels + TILE_COLUMNS) * sizeof(float);
    bool packed = step->in[1]->data && !step->in[0]->data; /* what is folded has no packed weights */
    step->scratch_bytes = packed || own > step->scratch_bytes ? own : step->scratch_bytes;
    return 0;
}

/* Blocks of 8 output channels, each [k][8], the last filled up with zeros. */
void *onnx__fast_conv_pack(const struct onnx_model *model, const struct onnx__node *node, size_t *ret_size) {
    const struct tensor *w = &model->values[node->inputs[1]].tensor;
    if (!w->data || w->datatype != DATATYPE_FP32 || w->rank < 3 || onnx__shape_product(w, 2, w->rank) < 2) return NULL;
    int64_t groups = 1;
    for (size_t i = 0; i < node->attr_count; i++)
        if (node->attrs[i].kind == ATTR_INT && strcmp(node->attrs[i].name, "group") == 0)
            groups = node->attrs[i].integer;
    if (groups < 1 || w->shape[0] % groups != 0) return NULL; /* it is refused when it is planned */
    int64_t m = w->shape[0] / groups, k = onnx__shape_product(w, 1, w->rank), blocks = (m + TILE_ROWS - 1) / TILE_ROWS;
    *ret_size = (size_t)(groups * blocks * TILE_ROWS * k) * sizeof(float);
    float *packed = mem_alloc(*ret_size), *to = packed;
    for (int64_t group = 0; group < groups; group++)
        for (int64_t block = 0; block < blocks; block++)
            for (int64_t p = 0; p < k; p++)
                for (int64_t row = block * TILE_ROWS; row < (block + 1) * TILE_ROWS; row++)
                    *to++ = row < m ? ((const float *)w->data)[(group * m + row) * k + p] : 0;
    return packed;
}

/* --- laying out ----------------------------------------------------------------------------------------------------
 */

/* One row of one phase: every stride-th element of an input row from `at` on, zeros where that is outside. */
static void lay_row(const struct onnx__window *win, const float *line, int64_t at, int64_t count, float *to) {
    int64_t stride = win->stride[2], i = 0;
    for (; i < count && at < 0; i++, at += stride) to[i] = 0;
    if (line && stride == 1) {
        int64_t inside = win->in[2] - at < count - i ? win->in[2] - at : count - i;
        if (inside > 0) {
            memcpy(to + i, line + at, (size_t)inside * sizeof *to);
            i += inside;
        }
    } else if (line) {
        for (; i < count && at < win->in[2]; i++, at += stride) to[i] = line[at];
    }
    for (; i < count; i++) to[i] = 0;
}

static void lay_phase(const struct way *way, const float *image, const int64_t phase[3], float *to) {
    const struct onnx__window *win = &way->conv.win;
    for (int64_t d = 0; d < way->pitch[0]; d++)
        for (int64_t h = 0; h < way->pitch[1]; h++, to += way->pitch[2]) {
            int64_t at_d = d * win->stride[0] + phase[0] - win->pad[0];
            int64_t at_h = h * win->stride[1] + phase[1] - win->pad[1];
            bool inside = at_d >= 0 && at_d < win->in[0] && at_h >= 0 && at_h < win->in[1];
            lay_row(win, inside ? image + (at_d * win->in[1] + at_h) * win->in[2] : NULL, phase[2] - win->pad[2],
                    way->pitch[2], to);
        }
}

static void lay_channel(void *ctx, int64_t channel, int worker) {
    const struct way *way = ctx;
    const float *image = way->x + channel * onnx__volume(way->conv.win.in);
    float *to = way->layout + channel * way->channel_size;
    int64_t phase[3];
    for (phase[0] = 0; phase[0] < way->phases[0]; phase[0]++)
        for (phase[1] = 0; phase[1] < way->phases[1]; phase[1]++)
            for (phase[2] = 0; phase[2] < way->phases[2]; phase[2]++, to += way->phase_size)
                lay_phase(way, image, phase, to);
}

/* Where each kernel element finds what it sees at output position 0. */
static void find_offsets(const struct way *way) {
    const struct onnx__window *win = &way->conv.win;
    int32_t *to = way->offsets;
    int64_t k[3];
    for (int64_t channel = 0; channel < way->conv.group_channels; channel++)
        for (k[0] = 0; k[0] < win->kernel[0]; k[0]++)
            for (k[1] = 0; k[1] < win->kernel[1]; k[1]++)
                for (k[2] = 0; k[2] < win->kernel[2]; k[2]++) {
                    int64_t phase = 0, place = 0;
                    for (int dim = 0; dim < 3; dim++) {
                        int64_t at = k[dim] * win->dilation[dim];
                        phase = phase * way->phases[dim] + at % win->stride[dim];
                        place = place * way->pitch[dim] + at / win->stride[dim];
                    }
                    *to++ = (int32_t)(channel * way->channel_size + phase * way->phase_size + place);
                }
}

/* --- by tiles ------------------------------------------------------------------------------------------------------
 */

/* Writes those of `count` positions from `first` on that are output positions: to the output, with its tail. */
static void store_row(const struct way *way, const float *sums, int64_t first, int64_t count, int64_t channel) {
    const struct onnx__vec *vec = onnx__vec();
    const struct onnx__window *win = &way->conv.win;
    const float *bias = way->bias ? way->bias + channel : NULL;
    int64_t width = win->out[2], at = first;
    while (at < first + count) {
        int64_t row = at / way->pitch[2], column = at % way->pitch[2], d = row / way->pitch[1], h = row % way->pitch[1];
        int64_t run = way->pitch[2] - column < first + count - at ? way->pitch[2] - column : first + count - at;
        int64_t wanted = h < win->out[1] && column < width ? (width - column < run ? width - column : run) : 0;
        if (wanted > 0) {
            int64_t to = channel * way->conv.gemm.n + (d * win->out[1] + h) * width + column;
            memcpy(way->y + to, sums + (at - first), (size_t)wanted * sizeof *sums);
            vec->tail(way->tail, wanted, bias, 0, way->rest ? way->rest + to : NULL, way->y + to);
        }
        at += run;
    }
}

/* A stretch of positions, one tile wide, for all channels. */
static void run_stretch(void *ctx, int64_t task, int worker) {
    const struct way *way = ctx;
    const struct onnx__vec *vec = onnx__vec();
    int64_t wide = TILE_VECTORS * vec->lanes, first = task * wide, left = way->positions - first;
    int64_t k = way->conv.gemm.k, m = way->conv.gemm.m;
    bool narrow = left <= vec->lanes;
    float sums[TILE_FLOATS];
    int64_t columns = narrow ? vec->lanes : wide, count = left < columns ? left : columns;
    for (int64_t row = 0; row < m; row += TILE_ROWS) {
        vec->tile(k, way->weights + row * k, way->layout + first, way->offsets, narrow, sums);
        for (int64_t i = 0; i < TILE_ROWS && row + i < m; i++)
            store_row(way, sums + i * columns, first, count, row + i);
    }
}

/* --- by BLAS -------------------------------------------------------------------------------------------------------
 */

static void run_points(void *ctx, int64_t task, int worker) {
    const struct way *way = ctx;
    const struct onnx__gemm *gemm = &way->conv.gemm;
    int64_t first = task * POINT_EDGE, count = gemm->n - first < POINT_EDGE ? gemm->n - first : POINT_EDGE;
    struct onnx__part part = {.gemm = *gemm,
                              .lda = (int)gemm->k,
                              .ldb = (int)gemm->n,
                              .ldc = (int)gemm->n,
                              .a = way->weights,
                              .b = (way->laid ? way->layout : way->x) + first,
                              .c = way->y + first,
                              .bias = way->bias,
                              .bias_by_row = true,
                              .rest = way->rest ? way->rest + first : NULL,
                              .tail = way->tail};
    part.gemm.n = count;
    part.gemm.beta = 0;
    onnx__part_run(&part);
}

/* --- all images and groups -----------------------------------------------------------------------------------------
 */

static void run_image(struct way *way, struct onnx__team *team) {
    if (way->laid) onnx__team_run(team, way->conv.group_channels, lay_channel, way);
    if (way->windows) {
        int64_t wide = TILE_VECTORS * onnx__vec()->lanes;
        onnx__team_run(team, (way->positions + wide - 1) / wide, run_stretch, way);
    } else {
        onnx__team_run(team, (way->conv.gemm.n + POINT_EDGE - 1) / POINT_EDGE, run_points, way);
    }
}

static int run_reference(const struct onnx__step *step, const struct onnx__ending *ending, struct err *err) {
    if (onnx__conv_run(step, err) != 0) return -1;
    if (ending->late)
        onnx__tail_late(step);
    else
        onnx__vec()->tail(ending->tail, onnx__count(step->out[0]), NULL, 0, ending->rest, onnx__out_floats(step));
    return 0;
}

OP_RUN(fast_conv) {
    const struct onnx__ending ending = onnx__tail_ending(step);
    struct way way = {.tail = ending.tail, .rest = ending.rest};
    if (onnx__conv_read(step, &way.conv, err) != 0) return -1;
    if (!find_way(&way) || (way.windows && !step->packed)) return run_reference(step, &ending, err);
    const struct tensor *bias = onnx__step_in(step, TAIL_BIAS);
    const struct onnx__gemm *gemm = &way.conv.gemm;
    int64_t blocks = (gemm->m + TILE_ROWS - 1) / TILE_ROWS;
    int64_t in_size = way.conv.group_channels * onnx__volume(way.conv.win.in), out_size = gemm->m * gemm->n;
    way.offsets = step->scratch;
    way.layout = (float *)(void *)((char *)step->scratch + offsets_bytes(&way));
    if (way.windows) find_offsets(&way);
    way.x = onnx__floats(step, 0);
    way.y = onnx__out_floats(step);
    for (int64_t i = 0; i < step->in[0]->shape[0]; i++)
        for (int64_t group = 0; group < way.conv.groups; group++) {
            way.bias = bias ? (const float *)bias->data + group * gemm->m : NULL;
            way.weights = way.windows ? (const float *)step->packed + group * blocks * TILE_ROWS * gemm->k
                                      : onnx__floats(step, 1) + group * gemm->m * gemm->k;
            run_image(&way, step->team);
            way.x += in_size;
            way.y += out_size;
            if (way.rest) way.rest += out_size;
        }
    if (ending.late) onnx__tail_late(step);
    return 0;
}
