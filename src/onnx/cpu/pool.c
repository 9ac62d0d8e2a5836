/* Pools: MaxPool, AveragePool, LpPool and their global kin. For each output position the part of its window that lies
 * in the input is walked. An average counts the input's elements only, or with count_include_pad the padding too, but
 * never what ceil_mode adds beyond the padding.
 *
 * MaxPool also takes bytes: each image is turned into floats first, which hold them exactly, so that there is one walk.
 */
#include "cpu_internal.h"
#include "vec.h"

#include <math.h>

enum pool_kind { POOL_MAX, POOL_AVERAGE, POOL_LP };

struct pool {
    struct onnx__window win;
    enum pool_kind kind;
    float power;       /* of LP */
    bool include_pad;  /* of AVERAGE */
    bool column_major; /* MaxPool's indices */
    int64_t *indices;  /* MaxPool's second output, or NULL */
};

static int pool_read(const struct onnx__step *step, enum pool_kind kind, struct pool *ret, struct err *err) {
    *ret = (struct pool){.kind = kind, .power = 2};
    int64_t order = onnx__step_int(step, "storage_order", 0), power = onnx__step_int(step, "p", 2);
    if (order < 0 || order > 1) return onnx__step_refuse(step, err, "storage_order is neither 0 nor 1");
    if (power < 1 || power > 1000) return onnx__step_refuse(step, err, "attribute p is out of range");
    ret->column_major = order == 1;
    ret->include_pad = onnx__step_int(step, "count_include_pad", 0) != 0;
    ret->power = (float)power;
    if (step->out_count > 1 && step->out[1]) ret->indices = step->out[1]->data;
    bool ceil_mode = onnx__step_int(step, "ceil_mode", 0) != 0;
    return onnx__window_read(step, step->in[0], NULL, ceil_mode, &ret->win, err);
}

OP_INFER(pool) {
    const struct tensor *x = step->in[0];
    struct pool pool;
    if (pool_read(step, POOL_MAX, &pool, err) != 0) return -1;
    onnx__window_shape(&pool.win, x, x->shape[1], step->out[0]);
    if (step->out_count > 1 && step->out[1])
        onnx__shape_set(step->out[1], DATATYPE_INT64, x->rank, step->out[0]->shape);
    if (x->datatype != DATATYPE_FP32) step->scratch_bytes = (size_t)onnx__volume(pool.win.in) * sizeof(float);
    return 0;
}

/* --- one window -------------------------------------------------------------------------------------------------- */

struct pooled {
    float max;
    double sum;       /* of LP: of the powers */
    int64_t count;    /* elements of the input in the window */
    int64_t padded;   /* and of its padding */
    int64_t place[3]; /* of the maximum */
};

/* Kernel positions along `dim` that fall on [low, high) from output position `out`. */
static int64_t span(const struct onnx__window *win, int dim, int64_t out, int64_t low, int64_t high,
                    int64_t *ret_first) {
    int64_t start = out * win->stride[dim] - win->pad[dim], step = win->dilation[dim];
    int64_t first = start >= low ? 0 : (low - start + step - 1) / step;
    int64_t last = high <= start ? 0 : (high - start + step - 1) / step;
    if (last > win->kernel[dim]) last = win->kernel[dim];
    *ret_first = start + first * step;
    return last > first ? last - first : 0;
}

static void pool_line(const struct pool *pool, const float *line, const int64_t at[3], int64_t count,
                      struct pooled *pooled) {
    int64_t step = pool->win.dilation[2];
    for (int64_t i = 0; i < count; i++) {
        float value = line[i * step];
        if (value > pooled->max || isnan(value)) {
            pooled->max = value;
            memcpy(pooled->place, (int64_t[]){at[0], at[1], at[2] + i * step}, sizeof pooled->place);
        }
        pooled->sum += pool->kind == POOL_LP ? (double)powf(fabsf(value), pool->power) : (double)value;
    }
}

static struct pooled pool_window(const struct pool *pool, const float *image, const int64_t out[3]) {
    const struct onnx__window *win = &pool->win;
    struct pooled pooled = {.max = -INFINITY, .padded = 1};
    int64_t first[3], count[3], ignored;
    for (int dim = 0; dim < 3; dim++) {
        count[dim] = span(win, dim, out[dim], 0, win->in[dim], &first[dim]);
        pooled.padded *= span(win, dim, out[dim], -win->pad[dim], win->in[dim] + win->pad_end[dim], &ignored);
    }
    for (int64_t d = 0; d < count[0]; d++)
        for (int64_t h = 0; h < count[1]; h++) {
            int64_t at[3] = {first[0] + d * win->dilation[0], first[1] + h * win->dilation[1], first[2]};
            pool_line(pool, image + (at[0] * win->in[1] + at[1]) * win->in[2] + at[2], at, count[2], &pooled);
        }
    pooled.count = onnx__volume(count);
    return pooled;
}

static float pool_result(const struct pool *pool, const struct pooled *pooled) {
    switch (pool->kind) {
    case POOL_MAX:
        return pooled->max;
    case POOL_LP:
        return (float)pow(pooled->sum, 1.0 / (double)pool->power);
    default:
        return (float)(pooled->sum / (double)(pool->include_pad ? pooled->padded : pooled->count));
    }
}

/* --- all windows ------------------------------------------------------------------------------------------------- */

/* A window that lies in the padding alone has no maximum: the least byte stands for minus infinity. */
static void store(enum datatype datatype, void *to, int64_t i, float value) {
    if (datatype == DATATYPE_FP32)
        ((float *)to)[i] = value;
    else if (datatype == DATATYPE_UINT8)
        ((uint8_t *)to)[i] = value < 0 ? 0 : (uint8_t)value;
    else
        ((int8_t *)to)[i] = value < INT8_MIN ? INT8_MIN : (int8_t)value;
}

static const float *image_floats(const struct onnx__step *step, int64_t plane, int64_t image) {
    const struct tensor *x = step->in[0];
    float *to = step->scratch;
    if (x->datatype == DATATYPE_FP32) return (const float *)x->data + image * plane;
    for (int64_t i = 0; i < plane; i++)
        to[i] = x->datatype == DATATYPE_UINT8 ? (float)((const uint8_t *)x->data)[image * plane + i]
                                              : (float)((const int8_t *)x->data)[image * plane + i];
    return to;
}

/* Indices count from the tensor's first element; column major only within an image. */
static int64_t index_of(const struct pool *pool, int64_t image, const int64_t at[3]) {
    const int64_t *in = pool->win.in;
    int64_t within =
        pool->column_major ? at[0] + in[0] * (at[1] + in[1] * at[2]) : (at[0] * in[1] + at[1]) * in[2] + at[2];
    return image * onnx__volume(in) + within;
}

static int run_pool(const struct onnx__step *step, enum pool_kind kind, struct err *err) {
    struct pool pool;
    if (pool_read(step, kind, &pool, err) != 0) return -1;
    const struct onnx__window *win = &pool.win;
    int64_t images = step->in[0]->shape[0] * step->in[0]->shape[1], plane = onnx__volume(win->in), out[3], done = 0;
    for (int64_t i = 0; i < images; i++) {
        const float *x = image_floats(step, plane, i);
        for (out[0] = 0; out[0] < win->out[0]; out[0]++)
            for (out[1] = 0; out[1] < win->out[1]; out[1]++)
                for (out[2] = 0; out[2] < win->out[2]; out[2]++, done++) {
                    struct pooled pooled = pool_window(&pool, x, out);
                    store(step->out[0]->datatype, step->out[0]->data, done, pool_result(&pool, &pooled));
                    if (pool.indices) pool.indices[done] = index_of(&pool, i, pooled.place);
                }
    }
    return 0;
}

OP_RUN(max_pool) { return run_pool(step, POOL_MAX, err); }
OP_RUN(average_pool) { return run_pool(step, POOL_AVERAGE, err); }
OP_RUN(lp_pool) { return run_pool(step, POOL_LP, err); }

/* --- MaxPool, fast ----------------------------------------------------------------------------------------------- */

/* In two dimensions, a row at a time: the rows of a window are taken together into one that has room for the padding on
 * both sides, then its columns, for all windows of the row at once. */
struct max_pool {
    const struct onnx__step *step;
    struct pool pool;
    int64_t images, per_task, width; /* width: of the row with its padding */
};

static void max_row(const struct onnx__window *win, const float *image, int64_t row, float *line, int64_t width,
                    float *out) {
    const struct onnx__vec *vec = onnx__vec();
    for (int64_t i = 0; i < width; i++) line[i] = -INFINITY;
    for (int64_t k = 0; k < win->kernel[1]; k++) {
        int64_t at = row * win->stride[1] - win->pad[1] + k * win->dilation[1];
        if (at >= 0 && at < win->in[1]) vec->larger(win->in[2], image + at * win->in[2], 1, line + win->pad[2]);
    }
    for (int64_t i = 0; i < win->out[2]; i++) out[i] = -INFINITY;
    for (int64_t k = 0; k < win->kernel[2]; k++)
        vec->larger(win->out[2], line + k * win->dilation[2], win->stride[2], out);
}

static void max_images(void *ctx, int64_t task, int worker) {
    const struct max_pool *max = ctx;
    const struct onnx__window *win = &max->pool.win;
    int64_t end = (task + 1) * max->per_task < max->images ? (task + 1) * max->per_task : max->images;
    float *line = (float *)max->step->scratch + worker * max->width;
    for (int64_t i = task * max->per_task; i < end; i++)
        for (int64_t row = 0; row < win->out[1]; row++)
            max_row(win, onnx__floats(max->step, 0) + i * onnx__volume(win->in), row, line, max->width,
                    onnx__out_floats(max->step) + (i * win->out[1] + row) * win->out[2]);
}

/* The width of the row: what the windows reach, and at least the input with the padding before it. 0: not this way. */
static int64_t max_width(const struct onnx__step *step, const struct onnx__window *win) {
    int64_t reach = (win->out[2] - 1) * win->stride[2] + (win->kernel[2] - 1) * win->dilation[2] + 1;
    int64_t inside = win->pad[2] + win->in[2], width = reach > inside ? reach : inside;
    bool flat = win->kernel[0] == 1 && win->in[0] == 1 && win->out[0] == 1 && !win->pad[0];
    bool indices = step->out_count > 1 && step->out[1];
    return flat && !indices && step->in[0]->datatype == DATATYPE_FP32 && width < INT16_MAX ? width : 0;
}

OP_INFER(fast_max_pool) {
    struct pool pool;
    if (onnx__pool_infer(step, err) != 0 || pool_read(step, POOL_MAX, &pool, err) != 0) return -1;
    int64_t width = max_width(step, &pool.win);
    if (width) step->scratch_bytes = (size_t)(width * step->threads) * sizeof(float);
    return 0;
}

OP_RUN(fast_max_pool) {
    struct max_pool max = {.step = step};
    if (pool_read(step, POOL_MAX, &max.pool, err) != 0) return -1;
    max.width = max_width(step, &max.pool.win);
    if (!max.width) return onnx__max_pool_run(step, err);
    max.images = step->in[0]->shape[0] * step->in[0]->shape[1];
    max.per_task = 16384 / (onnx__volume(max.pool.win.in) + 1) + 1;
    onnx__team_run(step->team, (max.images + max.per_task - 1) / max.per_task, max_images, &max);
    return 0;
}

/* --- global ones ------------------------------------------------------------------------------------------------- */

OP_INFER(global_pool) {
    int64_t power = onnx__step_int(step, "p", 2);
    if (step->in[0]->rank < 3) return onnx__step_refuse(step, err, "the input has no spatial dimensions");
    if (power < 1 || power > 1000) return onnx__step_refuse(step, err, "attribute p is out of range");
    onnx__shape_like(step->out[0], step->in[0]);
    for (int i = 2; i < step->out[0]->rank; i++) step->out[0]->shape[i] = 1;
    return 0;
}

static int run_global(const struct onnx__step *step, enum pool_kind kind) {
    const struct tensor *x = step->in[0];
    int64_t plane = onnx__shape_product(x, 2, x->rank), images = onnx__shape_product(x, 0, 2);
    struct pool pool = {.kind = kind, .power = (float)onnx__step_int(step, "p", 2), .win.dilation = {1, 1, 1}};
    const float *in = x->data;
    for (int64_t i = 0; i < images; i++, in += plane) {
        struct pooled pooled = {.max = -INFINITY, .count = plane};
        pool_line(&pool, in, (int64_t[3]){0}, plane, &pooled);
        onnx__out_floats(step)[i] = pool_result(&pool, &pooled);
    }
    return 0;
}

OP_RUN(global_max_pool) { return run_global(step, POOL_MAX); }
OP_RUN(global_average_pool) { return run_global(step, POOL_AVERAGE); }
OP_RUN(global_lp_pool) { return run_global(step, POOL_LP); }
