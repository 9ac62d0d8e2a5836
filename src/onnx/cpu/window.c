/* The geometry of sliding windows: kernel, strides, dilations, pads and auto_pad, and the output size that follows.
 * Source: ONNX operators Conv, MaxPool, AveragePool. With ceil_mode a last window that would start in the padding
 * behind the input is dropped, as opset 22 and the frameworks have it. */
#include "cpu_internal.h"

#define MAX_EXTENT ((int64_t)1 << 30)

/* Reads `count` numbers of a list attribute into the last places of ret[3] (or of two such groups, for pads). */
static int read_list(const struct onnx__step *step, const char *name, int spatial, int64_t least, int64_t *ret,
                     int64_t *ret_second, struct err *err) {
    const struct onnx__attr *attr = onnx__step_attr(step, name, ATTR_INTS);
    if (!attr) return 0;
    size_t want = (size_t)spatial * (ret_second ? 2 : 1);
    if (attr->count != want)
        return onnx__step_refuse(step, err, "attribute %s has %zu numbers, not %zu", name, attr->count, want);
    for (size_t i = 0; i < want; i++) {
        if (attr->ints[i] < least || attr->ints[i] > MAX_EXTENT)
            return onnx__step_refuse(step, err, "attribute %s: %lld is out of range", name, (long long)attr->ints[i]);
        size_t dim = i % (size_t)spatial + 3 - (size_t)spatial;
        (i < (size_t)spatial ? ret : ret_second)[dim] = attr->ints[i];
    }
    return 0;
}

static void pad_same(struct onnx__window *win, int dim, bool upper) {
    int64_t extent = (win->kernel[dim] - 1) * win->dilation[dim] + 1;
    win->out[dim] = (win->in[dim] + win->stride[dim] - 1) / win->stride[dim];
    int64_t total = (win->out[dim] - 1) * win->stride[dim] + extent - win->in[dim];
    if (total < 0) total = 0;
    win->pad[dim] = upper ? total / 2 : total - total / 2;
    win->pad_end[dim] = total - win->pad[dim];
}

static int64_t out_size(const struct onnx__window *win, int dim, bool ceil_mode) {
    int64_t stride = win->stride[dim];
    int64_t room = win->in[dim] + win->pad[dim] + win->pad_end[dim] - ((win->kernel[dim] - 1) * win->dilation[dim] + 1);
    if (room < 0) return 0;
    int64_t out = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
    if (ceil_mode && (out - 1) * stride >= win->in[dim] + win->pad[dim]) out--;
    return out;
}

static int read_auto_pad(const struct onnx__step *step, const char *auto_pad, bool *ret_same, struct err *err) {
    *ret_same = strcmp(auto_pad, "SAME_UPPER") == 0 || strcmp(auto_pad, "SAME_LOWER") == 0;
    if (*ret_same || strcmp(auto_pad, "VALID") == 0 || strcmp(auto_pad, "NOTSET") == 0) return 0;
    return onnx__step_refuse(step, err, "auto_pad '%.40s' is not known", auto_pad);
}

static int size_output(const struct onnx__step *step, struct onnx__window *win, bool ceil_mode, struct err *err) {
    const char *auto_pad = onnx__step_string(step, "auto_pad", "NOTSET");
    bool same;
    if (read_auto_pad(step, auto_pad, &same, err) != 0) return -1;
    for (int dim = 0; dim < 3; dim++) {
        if (auto_pad[0] == 'V') win->pad[dim] = win->pad_end[dim] = 0;
        if (same) {
            pad_same(win, dim, auto_pad[5] == 'U');
        } else {
            win->out[dim] = out_size(win, dim, ceil_mode);
        }
        if (win->out[dim] < 1) return onnx__step_refuse(step, err, "the window is larger than its padded input");
    }
    return 0;
}

/* What the attributes say; sizes of the other side follow from it. */
static int read_window(const struct onnx__step *step, const struct tensor *x, const int64_t *kernel,
                       struct onnx__window *ret, struct err *err) {
    int spatial = x->rank - 2;
    if (spatial < 1 || spatial > 3)
        return onnx__step_refuse(step, err, "input with %d dimensions; 3 to 5 are supported", x->rank);
    *ret = (struct onnx__window){
        .in = {1, 1, 1}, .out = {1, 1, 1}, .kernel = {1, 1, 1}, .stride = {1, 1, 1}, .dilation = {1, 1, 1}};
    for (int i = 0; i < spatial; i++) ret->in[i + 3 - spatial] = x->shape[i + 2];
    if (!kernel && !onnx__step_attr(step, "kernel_shape", ATTR_INTS))
        return onnx__step_refuse(step, err, "attribute kernel_shape is missing");
    if (read_list(step, "kernel_shape", spatial, 1, ret->kernel, NULL, err) != 0) return -1;
    for (int i = 0; kernel && i < spatial; i++) ret->kernel[i + 3 - spatial] = kernel[i];
    if (read_list(step, "strides", spatial, 1, ret->stride, NULL, err) != 0) return -1;
    if (read_list(step, "dilations", spatial, 1, ret->dilation, NULL, err) != 0) return -1;
    if (read_list(step, "pads", spatial, 0, ret->pad, ret->pad_end, err) != 0) return -1;
    for (int dim = 0; dim < 3; dim++)
        if (ret->in[dim] > MAX_EXTENT || ret->kernel[dim] < 1 || ret->kernel[dim] > MAX_EXTENT)
            return onnx__step_refuse(step, err, "a spatial dimension is out of range");
    return 0;
}

int onnx__window_read(const struct onnx__step *step, const struct tensor *x, const int64_t *kernel, bool ceil_mode,
                      struct onnx__window *ret, struct err *err) {
    if (read_window(step, x, kernel, ret, err) != 0) return -1;
    return size_output(step, ret, ceil_mode, err);
}

/* --- transposed -------------------------------------------------------------------------------------------------- */

/* Padding is cut off what the windows cover together. Where the output's size is given (or follows from SAME), it is
 * what is too much; an odd one goes to the front, but with SAME_UPPER. Where the size is too large nothing is cut and
 * the rest sees no window. */
static void pad_transposed(struct onnx__window *win, int dim, int64_t covered, int64_t size, bool upper) {
    int64_t total = covered > size ? covered - size : 0;
    win->pad[dim] = upper ? total / 2 : total - total / 2;
    win->pad_end[dim] = total - win->pad[dim];
    win->in[dim] = size;
}

int onnx__window_read_transposed(const struct onnx__step *step, const struct tensor *x, const int64_t *kernel,
                                 struct onnx__window *ret, struct err *err) {
    int64_t more[3] = {0}, want[3] = {1, 1, 1};
    if (read_window(step, x, kernel, ret, err) != 0 ||
        read_list(step, "output_padding", x->rank - 2, 0, more, NULL, err) != 0)
        return -1;
    const char *auto_pad = onnx__step_string(step, "auto_pad", "NOTSET");
    bool same, given = onnx__step_attr(step, "output_shape", ATTR_INTS) != NULL;
    if (read_auto_pad(step, auto_pad, &same, err) != 0) return -1;
    if (given && read_list(step, "output_shape", x->rank - 2, 1, want, NULL, err) != 0) return -1;
    memcpy(ret->out, ret->in, sizeof ret->out);
    for (int dim = 0; dim < 3; dim++) {
        int64_t covered =
            (ret->out[dim] - 1) * ret->stride[dim] + more[dim] + (ret->kernel[dim] - 1) * ret->dilation[dim] + 1;
        if (ret->out[dim] < 1) return onnx__step_refuse(step, err, "a spatial dimension is empty");
        if (given || same)
            pad_transposed(ret, dim, covered, given ? want[dim] : ret->out[dim] * ret->stride[dim],
                           strcmp(auto_pad, "SAME_UPPER") == 0);
        else
            ret->in[dim] = covered - ret->pad[dim] - ret->pad_end[dim];
        if (ret->in[dim] < 1 || ret->in[dim] > MAX_EXTENT)
            return onnx__step_refuse(step, err, "an output dimension of %lld is out of range", (long long)ret->in[dim]);
    }
    return 0;
}

void onnx__window_shape(const struct onnx__window *window, const struct tensor *x, int64_t channels,
                        struct tensor *out) {
    onnx__shape_like(out, x);
    out->shape[1] = channels;
    for (int i = 2; i < x->rank; i++) out->shape[i] = window->out[i + 3 - x->rank];
}
