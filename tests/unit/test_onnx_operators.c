/* What ONNX's test data of Debian 12 (opset 17) do not reach: meanings that later opsets added, older forms, what is
 * refused, and what fails when it is run. Expected numbers are those of the operators' definitions, worked out by hand
 * or by the property that the test names. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "onnx_cases.h"

#define DIMS(...)                                                                                                      \
    (const int64_t[]) { __VA_ARGS__ }
#define FLOATS(...)                                                                                                    \
    (const float[]) { __VA_ARGS__ }
#define COUNT(list) (sizeof(list) / sizeof *(list))

/* A network with one input x and, where nothing else is said, one output y. */
struct net {
    struct onnx_builder b;
    struct tensor x;
    struct buf bytes;
    struct onnx_model *model;
    struct onnx_session *ses;
};

static void give(struct net *net, int rank, const int64_t *dims, const float *x) {
    net->x = (struct tensor){.datatype = DATATYPE_FP32, .rank = rank, .data = (void *)(uintptr_t)x};
    memcpy(net->x.shape, dims, (size_t)rank * sizeof *dims);
    net->x.size_bytes = (size_t)tensor_element_count(dims, rank) * sizeof(float);
    onnx_build_io(&net->b, ONNX_BUILD_INPUT, "x", ONNX_TYPE_FLOAT, rank, dims);
}

static void weight_ints(struct net *net, const char *name, size_t count, const int64_t *values) {
    onnx_build_weight(&net->b, name, ONNX_TYPE_INT64, 1, DIMS((int64_t)count), values, count * sizeof *values);
}

static void weight_floats(struct net *net, const char *name, int rank, const int64_t *dims, const float *values) {
    size_t count = (size_t)tensor_element_count(dims, rank);
    onnx_build_weight(&net->b, name, ONNX_TYPE_FLOAT, rank, dims, values, count * sizeof *values);
}
#define INTS(net, name, ...)         weight_ints(net, name, COUNT(DIMS(__VA_ARGS__)), DIMS(__VA_ARGS__))
#define ATTR_INTS_OF(net, name, ...) onnx_build_ints(&(net)->b, name, COUNT(DIMS(__VA_ARGS__)), DIMS(__VA_ARGS__))

/* Up to and with prepare; -1 with *err. */
static int make(struct net *net, int opset, struct err *err) {
    onnx_build_model(&net->b, opset, &net->bytes);
    if (onnx_model_parse(net->bytes.data, net->bytes.len, &net->model, err) != 0) return -1;
    assert_int_equal(onnx_session_new(net->model, 1, &net->ses, err), 0);
    return onnx_session_prepare(net->ses, &net->x, err);
}

static int run(struct net *net, struct err *err) {
    memcpy(onnx_session_input(net->ses, 0)->data, net->x.data, net->x.size_bytes);
    return onnx_session_run(net->ses, NULL, err);
}

static void done(struct net *net) {
    onnx_session_free(net->ses);
    onnx_model_free(net->model);
    buf_done(&net->bytes);
}

static void output(struct net *net, const char *name, int type, int rank) {
    onnx_build_io(&net->b, ONNX_BUILD_OUTPUT, name, type, rank, DIMS(-1, -1, -1, -1, -1, -1, -1, -1));
}

/* Runs a network whose outputs are declared, for more than one look at it. */
static void runs(struct net *net, int opset) {
    struct err err = {0};
    if (make(net, opset, &err) != 0 || run(net, &err) != 0) fail_msg("%s", err.msg);
}

static void has(const struct net *net, size_t index, int rank, const int64_t *dims, const float *want) {
    struct tensor expected = {.datatype = DATATYPE_FP32, .rank = rank, .data = (void *)(uintptr_t)want};
    struct err err = {0};
    memcpy(expected.shape, dims, (size_t)rank * sizeof *dims);
    if (onnx_case_compare(onnx_session_output(net->ses, index), &expected, 1e-5, 1e-6, &err) != 0)
        fail_msg("%s", err.msg);
}

static void gives(struct net *net, int opset, int rank, const int64_t *dims, const float *want) {
    output(net, "y", ONNX_TYPE_FLOAT, rank);
    runs(net, opset);
    has(net, 0, rank, dims, want);
    done(net);
}

/* At loading or planning, with these words. */
static void refused(struct net *net, int opset, const char *words) {
    struct err err = {0};
    output(net, "y", ONNX_TYPE_FLOAT, 1);
    assert_int_equal(make(net, opset, &err), -1);
    if (err.code != ERR_UNSUPPORTED_MODEL || !strstr(err.msg, "node 'n'") || !strstr(err.msg, words))
        fail_msg("expected '%s' of node 'n', got: %s", words, err.msg);
    done(net);
}

/* While running, with these words. */
static void fails(struct net *net, int opset, const char *words) {
    struct err err = {0};
    output(net, "y", ONNX_TYPE_FLOAT, 1);
    if (make(net, opset, &err) != 0) fail_msg("%s", err.msg);
    assert_int_equal(run(net, &err), -1);
    assert_int_equal(err.code, ERR_EXECUTION_FAILED);
    if (!strstr(err.msg, "node 'n'") || !strstr(err.msg, words)) fail_msg("expected '%s', got: %s", words, err.msg);
    done(net);
}

static const float one_to_eight[8] = {1, 2, 3, 4, 5, 6, 7, 8};

/* --- Slice and Split --------------------------------------------------------------------------------------------- */

static void test_slice_takes_its_bounds_from_attributes_until_opset_9(void **state) {
    struct net net = {0};
    give(&net, 2, DIMS(2, 4), one_to_eight);
    ATTR_INTS_OF(&net, "starts", 1, -3);
    ATTR_INTS_OF(&net, "ends", 2, 1000);
    ATTR_INTS_OF(&net, "axes", 0, 1);
    onnx_build_node(&net.b, "Slice", "n", "x", "y");
    gives(&net, 9, 2, DIMS(1, 3), FLOATS(6, 7, 8));
}

static void test_slice_bounds_at_the_ends_of_int64_do_not_overflow(void **state) {
    struct net net = {0};
    give(&net, 2, DIMS(2, 4), one_to_eight);
    INTS(&net, "starts", INT64_MAX, INT64_MIN);
    INTS(&net, "ends", INT64_MIN, INT64_MAX);
    INTS(&net, "axes", 0, 1);
    INTS(&net, "steps", INT64_MIN, INT64_MAX);
    onnx_build_node(&net.b, "Slice", "n", "x,starts,ends,axes,steps", "y");
    gives(&net, 13, 2, DIMS(1, 1), FLOATS(5));
}

static void test_slice_with_a_step_of_0_is_refused(void **state) {
    struct net net = {0};
    give(&net, 1, DIMS(8), one_to_eight);
    INTS(&net, "starts", 0);
    INTS(&net, "ends", 3);
    INTS(&net, "axes", 0);
    INTS(&net, "steps", 0);
    onnx_build_node(&net.b, "Slice", "n", "x,starts,ends,axes,steps", "y");
    refused(&net, 13, "a step of 0");
}

static void split_in_three(struct net *net) {
    give(net, 1, DIMS(8), one_to_eight);
    onnx_build_int(&net->b, "num_outputs", 3);
    onnx_build_node(&net->b, "Split", "n", "x", "y,z,w");
}

static void test_split_by_num_outputs_leaves_the_rest_to_the_last_part(void **state) {
    struct net net = {0};
    split_in_three(&net);
    output(&net, "y", ONNX_TYPE_FLOAT, 1);
    output(&net, "z", ONNX_TYPE_FLOAT, 1);
    output(&net, "w", ONNX_TYPE_FLOAT, 1);
    runs(&net, 18);
    has(&net, 0, 1, DIMS(3), FLOATS(1, 2, 3));
    has(&net, 1, 1, DIMS(3), FLOATS(4, 5, 6));
    has(&net, 2, 1, DIMS(2), FLOATS(7, 8));
    done(&net);
}

static void test_split_into_parts_that_do_not_divide_is_refused_before_opset_18(void **state) {
    struct net net = {0};
    split_in_three(&net);
    refused(&net, 13, "8 cannot be split into 3 parts");
}

static void test_split_sizes_that_do_not_add_up_are_refused(void **state) {
    struct net net = {0};
    give(&net, 1, DIMS(8), one_to_eight);
    INTS(&net, "sizes", INT64_MAX, -INT64_MAX + 7);
    onnx_build_node(&net.b, "Split", "n", "x,sizes", "y,z");
    refused(&net, 13, "the sizes do not add up to 8");
}

/* --- Pad --------------------------------------------------------------------------------------------------------- */

static void test_pad_of_opset_18_pads_the_named_axes_alone(void **state) {
    struct net net = {0};
    give(&net, 2, DIMS(1, 2), one_to_eight);
    INTS(&net, "pads", 1, 2);
    INTS(&net, "axes", -1);
    weight_floats(&net, "value", 0, NULL, FLOATS(9));
    onnx_build_node(&net.b, "Pad", "n", "x,pads,value,axes", "y");
    gives(&net, 18, 2, DIMS(1, 5), FLOATS(9, 1, 2, 9, 9));
}

static void test_pad_of_opset_2_has_attributes_and_cuts_with_negative_pads(void **state) {
    struct net net = {0};
    give(&net, 2, DIMS(2, 4), one_to_eight);
    ATTR_INTS_OF(&net, "pads", -1, 1, 0, -2);
    onnx_build_float(&net.b, "value", 0.5f);
    onnx_build_node(&net.b, "Pad", "n", "x", "y");
    gives(&net, 10, 2, DIMS(1, 3), FLOATS(0.5f, 5, 6));
}

static void test_pad_reflects_and_wraps_more_than_once(void **state) {
    struct net reflect = {0}, wrap = {0};
    give(&reflect, 1, DIMS(3), one_to_eight);
    INTS(&reflect, "pads", 5, 3);
    onnx_build_string(&reflect.b, "mode", "reflect");
    onnx_build_node(&reflect.b, "Pad", "n", "x,pads", "y");
    gives(&reflect, 19, 1, DIMS(11), FLOATS(2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2));
    give(&wrap, 1, DIMS(3), one_to_eight);
    INTS(&wrap, "pads", 4, 2);
    onnx_build_string(&wrap.b, "mode", "wrap");
    onnx_build_node(&wrap.b, "Pad", "n", "x,pads", "y");
    gives(&wrap, 19, 1, DIMS(9), FLOATS(3, 1, 2, 3, 1, 2, 3, 1, 2));
}

static void test_pad_that_cuts_more_than_there_is_is_refused(void **state) {
    struct net net = {0};
    give(&net, 1, DIMS(3), one_to_eight);
    INTS(&net, "pads", -2, -2);
    onnx_build_node(&net.b, "Pad", "n", "x,pads", "y");
    refused(&net, 13, "would be negative");
}

/* --- picking and writing by number ------------------------------------------------------------------------------- */

static void test_an_index_out_of_range_fails_the_run_and_names_the_node(void **state) {
    static const char *const ops[] = {"Gather", "GatherElements", "GatherND"};
    for (size_t i = 0; i < COUNT(ops); i++) {
        struct net net = {0};
        give(&net, 1, DIMS(8), one_to_eight);
        INTS(&net, "indices", 8);
        onnx_build_node(&net.b, ops[i], "n", "x,indices", "y");
        fails(&net, 13, "index 8 of a dimension of 8");
    }
}

static void test_scatter_elements_keeps_the_largest_or_the_smallest(void **state) {
    static const char *const reductions[] = {"max", "min"};
    static const float want[2][4] = {{1, 9, 3, 4}, {1, -9, 0, 4}};
    for (size_t i = 0; i < COUNT(reductions); i++) {
        struct net net = {0};
        give(&net, 1, DIMS(4), one_to_eight);
        INTS(&net, "indices", 1, -2, 1);
        weight_floats(&net, "updates", 1, DIMS(3), FLOATS(9, 0, -9));
        onnx_build_string(&net.b, "reduction", reductions[i]);
        onnx_build_node(&net.b, "ScatterElements", "n", "x,indices,updates", "y");
        gives(&net, 18, 1, DIMS(4), want[i]);
    }
}

static void test_non_zero_of_computed_numbers_is_refused(void **state) {
    struct net net = {0};
    give(&net, 1, DIMS(8), one_to_eight);
    onnx_build_node(&net.b, "Relu", "r", "x", "a");
    onnx_build_node(&net.b, "NonZero", "n", "a", "y");
    refused(&net, 13, "input 'a' decides a shape, but depends on data");
}

/* --- shapes ------------------------------------------------------------------------------------------------------ */

/* What exporters write for view(batch, -1): the batch is taken out of Shape, joined with -1, and given to Reshape. */
static void test_arithmetic_on_shapes_is_done_when_a_plan_is_made(void **state) {
    struct net net = {0};
    give(&net, 3, DIMS(2, 2, 2), one_to_eight);
    INTS(&net, "zero", 0);
    INTS(&net, "rest", -1);
    onnx_build_node(&net.b, "Relu", "r", "x", "a");
    onnx_build_node(&net.b, "Shape", "s", "a", "shape");
    onnx_build_node(&net.b, "Gather", "g", "shape,zero", "batch");
    onnx_build_int(&net.b, "axis", 0);
    onnx_build_node(&net.b, "Concat", "c", "batch,rest", "want");
    onnx_build_node(&net.b, "Reshape", "n", "a,want", "y");
    gives(&net, 13, 2, DIMS(2, 4), one_to_eight);
}

static void test_tile_and_expand_beyond_all_memory_are_refused(void **state) {
    struct net tile = {0}, expand = {0};
    give(&tile, 2, DIMS(2, 4), one_to_eight);
    INTS(&tile, "repeats", INT64_MAX, 2);
    onnx_build_node(&tile.b, "Tile", "n", "x,repeats", "y");
    refused(&tile, 13, "cannot be repeated");
    give(&expand, 1, DIMS(1), one_to_eight);
    INTS(&expand, "shape", INT64_MAX, INT64_MAX);
    onnx_build_node(&expand.b, "Expand", "n", "x,shape", "y");
    refused(&expand, 13, "over 1 TiB");
}

/* --- pools and convolutions -------------------------------------------------------------------------------------- */

static void test_max_pool_counts_its_indices_down_the_columns_if_asked(void **state) {
    struct net net = {0};
    give(&net, 4, DIMS(1, 1, 2, 4), one_to_eight);
    ATTR_INTS_OF(&net, "kernel_shape", 2, 2);
    ATTR_INTS_OF(&net, "strides", 2, 2);
    onnx_build_int(&net.b, "storage_order", 1);
    onnx_build_node(&net.b, "MaxPool", "n", "x", "y,i");
    output(&net, "y", ONNX_TYPE_FLOAT, 4);
    output(&net, "i", ONNX_TYPE_INT64, 4);
    runs(&net, 12);
    has(&net, 0, 4, DIMS(1, 1, 1, 2), FLOATS(6, 8));
    assert_memory_equal(onnx_session_output(net.ses, 1)->data, DIMS(3, 7), 2 * sizeof(int64_t));
    done(&net);
}

static void test_average_pool_of_opset_19_is_dilated(void **state) {
    struct net net = {0};
    give(&net, 3, DIMS(1, 1, 8), one_to_eight);
    ATTR_INTS_OF(&net, "kernel_shape", 2);
    ATTR_INTS_OF(&net, "dilations", 3);
    ATTR_INTS_OF(&net, "strides", 2);
    onnx_build_node(&net.b, "AveragePool", "n", "x", "y");
    gives(&net, 19, 3, DIMS(1, 1, 3), FLOATS(2.5f, 4.5f, 6.5f));
}

static void test_lp_pool_is_the_norm_of_each_window(void **state) {
    struct net net = {0};
    give(&net, 3, DIMS(1, 1, 4), FLOATS(3, -4, 0, 5));
    ATTR_INTS_OF(&net, "kernel_shape", 2);
    ATTR_INTS_OF(&net, "strides", 2);
    onnx_build_node(&net.b, "LpPool", "n", "x", "y");
    gives(&net, 18, 3, DIMS(1, 1, 2), FLOATS(5, 5));
}

/* Three inputs of 1 with a kernel of (1, 2, 3) and stride 1 cover 1 3 6 5 3; of an odd surplus the front loses more. */
static void test_conv_transpose_cuts_what_output_shape_leaves_over(void **state) {
    static const char *const auto_pads[] = {"NOTSET", "SAME_UPPER"};
    static const float want[2][4] = {{3, 6, 5, 3}, {1, 3, 6, 5}};
    for (size_t i = 0; i < COUNT(auto_pads); i++) {
        struct net net = {0};
        give(&net, 3, DIMS(1, 1, 3), FLOATS(1, 1, 1));
        weight_floats(&net, "w", 3, DIMS(1, 1, 3), FLOATS(1, 2, 3));
        ATTR_INTS_OF(&net, "output_shape", 4);
        onnx_build_string(&net.b, "auto_pad", auto_pads[i]);
        onnx_build_node(&net.b, "ConvTranspose", "n", "x,w", "y");
        gives(&net, 11, 3, DIMS(1, 1, 4), want[i]);
    }
}

/* --- windows and places ------------------------------------------------------------------------------------------ */

static void test_center_crop_pad_takes_from_the_middle_and_adds_around_it(void **state) {
    struct net net = {0};
    give(&net, 2, DIMS(2, 4), one_to_eight);
    INTS(&net, "shape", 5, 1);
    onnx_build_node(&net.b, "CenterCropPad", "n", "x,shape", "y");
    gives(&net, 18, 2, DIMS(5, 1), FLOATS(0, 2, 6, 0, 0));
}

/* Four windows of 2 cover 5 elements with stride 1: what lies in two of them adds up. With stride 2 there are two. */
static void test_col2im_adds_where_windows_overlap(void **state) {
    struct net net = {0};
    give(&net, 3, DIMS(1, 2, 4), one_to_eight);
    INTS(&net, "image", 5);
    INTS(&net, "block", 2);
    onnx_build_node(&net.b, "Col2Im", "n", "x,image,block", "y");
    gives(&net, 18, 3, DIMS(1, 1, 5), FLOATS(1, 2 + 5, 3 + 6, 4 + 7, 8));
    struct net wrong = {0};
    give(&wrong, 3, DIMS(1, 2, 4), one_to_eight);
    INTS(&wrong, "image", 5);
    INTS(&wrong, "block", 2);
    ATTR_INTS_OF(&wrong, "strides", 2);
    onnx_build_node(&wrong.b, "Col2Im", "n", "x,image,block", "y");
    refused(&wrong, 18, "the columns do not fit");
}

/* Corners at -1 and 1: the grid that names each place of a 2 x 2 x 2 image, last dimension first, shows it unchanged.
 */
static void test_grid_sample_at_an_images_own_places_is_the_image(void **state) {
    static const char *const modes[] = {"nearest", "linear", "cubic"};
    float grid[8][3];
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 3; j++) grid[i][j] = (i >> j & 1) ? 1 : -1;
    for (size_t i = 0; i < COUNT(modes); i++) {
        struct net net = {0};
        give(&net, 5, DIMS(1, 1, 2, 2, 2), one_to_eight);
        weight_floats(&net, "grid", 5, DIMS(1, 2, 2, 2, 3), grid[0]);
        onnx_build_int(&net.b, "align_corners", 1);
        onnx_build_string(&net.b, "mode", modes[i]);
        onnx_build_node(&net.b, "GridSample", "n", "x,grid", "y");
        gives(&net, 20, 5, DIMS(1, 1, 2, 2, 2), one_to_eight);
    }
}

static void test_grid_sample_at_no_number_and_at_infinity_shows_zeros(void **state) {
    struct net net = {0};
    give(&net, 4, DIMS(1, 1, 2, 4), one_to_eight);
    weight_floats(&net, "grid", 4, DIMS(1, 1, 3, 2), FLOATS(NAN, 0, INFINITY, 0, 0, -INFINITY));
    onnx_build_node(&net.b, "GridSample", "n", "x,grid", "y");
    gives(&net, 20, 4, DIMS(1, 1, 1, 3), FLOATS(0, 0, 0));
}

static void test_a_region_of_an_image_that_is_not_there_fails_the_run(void **state) {
    struct net net = {0};
    give(&net, 4, DIMS(1, 1, 2, 4), one_to_eight);
    weight_floats(&net, "rois", 2, DIMS(1, 4), FLOATS(0, 0, 1, 1));
    INTS(&net, "images", 1);
    onnx_build_node(&net.b, "RoiAlign", "n", "x,rois,images", "y");
    fails(&net, 16, "region 0 is of image 1");
}

static void test_a_region_without_end_fails_the_run(void **state) {
    struct net net = {0};
    give(&net, 4, DIMS(1, 1, 2, 4), one_to_eight);
    weight_floats(&net, "rois", 2, DIMS(1, 4), FLOATS(0, 0, 1, INFINITY));
    INTS(&net, "images", 0);
    onnx_build_node(&net.b, "RoiAlign", "n", "x,rois,images", "y");
    fails(&net, 16, "a region from");
}

static void test_max_unpool_beyond_the_pooled_tensor_fails_the_run(void **state) {
    struct net net = {0};
    give(&net, 3, DIMS(1, 1, 1), one_to_eight);
    onnx_build_weight(&net.b, "i", ONNX_TYPE_INT64, 3, DIMS(1, 1, 1), DIMS(2), sizeof(int64_t));
    ATTR_INTS_OF(&net, "kernel_shape", 2);
    onnx_build_node(&net.b, "MaxUnpool", "n", "x,i", "y");
    fails(&net, 11, "index 2 of 2 elements");
}

/* --- Resize ------------------------------------------------------------------------------------------------------ */

static void resize_row(struct net *net, int64_t length, const char *mode, const char *policy) {
    give(net, 2, DIMS(2, 4), one_to_eight);
    INTS(net, "sizes", length);
    ATTR_INTS_OF(net, "axes", 1);
    onnx_build_string(&net->b, "mode", mode);
    if (policy) onnx_build_string(&net->b, "keep_aspect_ratio_policy", policy);
}

static void test_resize_of_opset_18_changes_the_named_axes_alone(void **state) {
    struct net net = {0};
    resize_row(&net, 2, "linear", NULL);
    onnx_build_node(&net.b, "Resize", "n", "x,,,sizes", "y");
    gives(&net, 18, 2, DIMS(2, 2), FLOATS(1.5f, 3.5f, 5.5f, 7.5f));
}

/* Shrinking by 2, the triangle reaches 2 elements to each side: weights 1 3 3 1 of 8, at the edge the first twice. */
static void test_resize_with_antialias_widens_the_filter(void **state) {
    struct net net = {0};
    resize_row(&net, 2, "linear", NULL);
    onnx_build_int(&net.b, "antialias", 1);
    onnx_build_node(&net.b, "Resize", "n", "x,,,sizes", "y");
    gives(&net, 18, 2, DIMS(2, 2), FLOATS(1.625f, 3.375f, 5.625f, 7.375f));
}

static void test_resize_keeps_the_aspect_ratio_if_asked(void **state) {
    static const char *const policies[] = {"not_larger", "not_smaller"};
    static const int64_t want[2][2] = {{1, 2}, {3, 6}};
    for (size_t i = 0; i < COUNT(policies); i++) {
        struct net net = {0};
        struct err err = {0};
        give(&net, 2, DIMS(2, 4), one_to_eight);
        INTS(&net, "sizes", 3, 2);
        onnx_build_string(&net.b, "keep_aspect_ratio_policy", policies[i]);
        onnx_build_node(&net.b, "Resize", "n", "x,,,sizes", "y");
        output(&net, "y", ONNX_TYPE_FLOAT, 2);
        if (make(&net, 18, &err) != 0) fail_msg("%s", err.msg);
        assert_memory_equal(onnx_session_output(net.ses, 0)->shape, want[i], sizeof want[i]);
        done(&net);
    }
}

/* Five of a scaled length of 4 x 1.3 = 5.2: the fifth part of an element that is cut off is taken from both ends. */
static void test_resize_half_pixel_symmetric_stays_in_the_middle(void **state) {
    struct net net = {0};
    give(&net, 1, DIMS(4), one_to_eight);
    weight_floats(&net, "scales", 1, DIMS(1), FLOATS(1.3f));
    onnx_build_string(&net.b, "mode", "linear");
    onnx_build_string(&net.b, "coordinate_transformation_mode", "half_pixel_symmetric");
    onnx_build_node(&net.b, "Resize", "n", "x,,scales", "y");
    gives(&net, 19, 1, DIMS(5), FLOATS(1, 1.7307692f, 2.5f, 3.2692308f, 4));
}

static void test_resize_of_opset_10_takes_the_element_above_when_shrinking(void **state) {
    struct net net = {0};
    give(&net, 2, DIMS(2, 4), one_to_eight);
    weight_floats(&net, "scales", 1, DIMS(2), FLOATS(0.6f, 0.6f));
    onnx_build_node(&net.b, "Resize", "n", "x,scales", "y");
    gives(&net, 10, 2, DIMS(1, 2), FLOATS(1, 3));
}

static void test_resize_by_no_number_is_refused(void **state) {
    struct net net = {0};
    give(&net, 1, DIMS(4), one_to_eight);
    weight_floats(&net, "scales", 1, DIMS(1), FLOATS(NAN));
    onnx_build_node(&net.b, "Resize", "n", "x,,scales", "y");
    refused(&net, 13, "out of range");
}

/* --- recurrent --------------------------------------------------------------------------------------------------- */

#define HIDDEN 2
#define INPUT  3
#define STEPS  4

static void fill(float *values, size_t count, unsigned seed) {
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)(seed >> 16 & 0xff) / 128 - 1;
    }
}

/* Weights of two directions, or of the one that `direction` says; every gate has its own. */
static void recurrent(struct net *net, const char *op, int64_t gates, const char *direction, const float *x) {
    float w[2 * 4 * HIDDEN * INPUT], r[2 * 4 * HIDDEN * HIDDEN], bias[2 * 2 * 4 * HIDDEN];
    int64_t both = strcmp(direction, "bidirectional") == 0, rows = gates * HIDDEN;
    bool second = strcmp(direction, "reverse") == 0;
    fill(w, COUNT(w), 1);
    fill(r, COUNT(r), 2);
    fill(bias, COUNT(bias), 3);
    give(net, 3, DIMS(STEPS, 1, INPUT), x);
    weight_floats(net, "w", 3, DIMS(1 + both, rows, INPUT), w + (second ? rows * INPUT : 0));
    weight_floats(net, "r", 3, DIMS(1 + both, rows, HIDDEN), r + (second ? rows * HIDDEN : 0));
    weight_floats(net, "b", 2, DIMS(1 + both, 2 * rows), bias + (second ? 2 * rows : 0));
    onnx_build_string(&net->b, "direction", direction);
    onnx_build_int(&net->b, "hidden_size", HIDDEN);
    onnx_build_node(&net->b, op, "n", "x,w,r,b", "y,h");
    output(net, "y", ONNX_TYPE_FLOAT, 4);
    output(net, "h", ONNX_TYPE_FLOAT, 3);
    runs(net, 14);
}

static const float *floats_of(const struct net *net, size_t index) {
    return onnx_session_output(net->ses, index)->data;
}

static void test_both_directions_are_one_forward_and_one_over_the_reversed_sequence(void **state) {
    static const struct {
        const char *op;
        int64_t gates;
    } cells[] = {{"LSTM", 4}, {"GRU", 3}, {"RNN", 1}};
    float x[STEPS * INPUT], reversed[STEPS * INPUT];
    fill(x, COUNT(x), 4);
    for (int t = 0; t < STEPS; t++) memcpy(reversed + t * INPUT, x + (STEPS - 1 - t) * INPUT, INPUT * sizeof *x);
    for (size_t i = 0; i < COUNT(cells); i++) {
        struct net both = {0}, forward = {0}, backward = {0}, turned = {0};
        recurrent(&both, cells[i].op, cells[i].gates, "bidirectional", x);
        recurrent(&forward, cells[i].op, cells[i].gates, "forward", x);
        recurrent(&backward, cells[i].op, cells[i].gates, "reverse", x);
        recurrent(&turned, cells[i].op, cells[i].gates, "reverse", reversed);
        for (int t = 0; t < STEPS; t++) {
            const float *y = floats_of(&both, 0) + (size_t)t * 2 * HIDDEN;
            assert_memory_equal(y, floats_of(&forward, 0) + t * HIDDEN, HIDDEN * sizeof *y);
            assert_memory_equal(y + HIDDEN, floats_of(&backward, 0) + t * HIDDEN, HIDDEN * sizeof *y);
        }
        assert_memory_equal(floats_of(&both, 1) + HIDDEN, floats_of(&backward, 0), HIDDEN * sizeof(float));
        assert_memory_equal(floats_of(&turned, 1), floats_of(&turned, 0), HIDDEN * sizeof(float));
        assert_memory_not_equal(floats_of(&turned, 0), floats_of(&backward, 0), HIDDEN * sizeof(float));
        done(&both);
        done(&forward);
        done(&backward);
        done(&turned);
    }
}

/* One step, all weights 1 and x = h = 1: z = r = sigmoid(2 + biases). With the reset before the product the candidate
 * is tanh(1 + r + 0.5), with the reset after it the bias of 0.5 fades with the state: tanh(1 + r (1 + 0.5)). */
static void test_gru_resets_before_or_after_the_product(void **state) {
    for (int after = 0; after < 2; after++) {
        struct net net = {0};
        give(&net, 3, DIMS(1, 1, 1), FLOATS(1));
        weight_floats(&net, "w", 3, DIMS(1, 3, 1), FLOATS(1, 1, 1));
        weight_floats(&net, "b", 2, DIMS(1, 6), FLOATS(0, 0, 0, 0, 0, 0.5f));
        weight_floats(&net, "h", 3, DIMS(1, 1, 1), FLOATS(1));
        onnx_build_int(&net.b, "linear_before_reset", after);
        onnx_build_node(&net.b, "GRU", "n", "x,w,w,b,,h", ",y");
        float gate = 1 / (1 + expf(-2)), candidate = tanhf(1 + (after ? gate * 1.5f : gate + 0.5f));
        gives(&net, 14, 3, DIMS(1, 1, 1), FLOATS((1 - gate) * candidate + gate));
    }
}

static void test_a_sequence_length_beyond_the_steps_fails_the_run(void **state) {
    struct net net = {0};
    give(&net, 3, DIMS(1, 1, 1), FLOATS(1));
    weight_floats(&net, "w", 3, DIMS(1, 1, 1), FLOATS(1));
    onnx_build_weight(&net.b, "lens", ONNX_TYPE_INT32, 1, DIMS(1), &(int32_t){2}, 4);
    onnx_build_node(&net.b, "RNN", "n", "x,w,w,,lens", "y");
    fails(&net, 14, "a sequence length of 2 with 1 steps");
}

static void test_an_unknown_direction_is_refused(void **state) {
    struct net net = {0};
    give(&net, 3, DIMS(1, 1, 1), FLOATS(1));
    weight_floats(&net, "w", 3, DIMS(1, 1, 1), FLOATS(1));
    onnx_build_string(&net.b, "direction", "sideways");
    onnx_build_node(&net.b, "RNN", "n", "x,w,w", "y");
    refused(&net, 14, "direction 'sideways' is not known");
}

/* --- Einsum and Range -------------------------------------------------------------------------------------------- */

static void test_einsum_sums_over_what_the_output_does_not_name(void **state) {
    static const struct {
        const char *equation;
        int rank;
        int64_t dims[2];
        float want[4];
    } cases[] = {
        {"ij,kj->ik", 2, {2, 2}, {5, 11, 11, 25}}, {"ij,jk", 2, {2, 2}, {7, 10, 15, 22}}, {"ii,jj->", 0, {0}, {25}},
        {"...i,...i->...", 1, {2}, {5, 25}},       {"ij,ji->j", 1, {2}, {7, 22}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct net net = {0};
        give(&net, 2, DIMS(2, 2), one_to_eight);
        onnx_build_string(&net.b, "equation", cases[i].equation);
        onnx_build_node(&net.b, "Einsum", "n", "x,x", "y");
        gives(&net, 12, cases[i].rank, cases[i].dims, cases[i].want);
    }
}

static void test_einsum_equations_that_make_no_sense_are_refused(void **state) {
    static const char *const equations[] = {"",          "ij",   "ij,jk,kl", "ij,jk->iz",
                                            "ij,jk->ii", "ij,j", "i1,jk",    "ij,jk->i-"};
    for (size_t i = 0; i < COUNT(equations); i++) {
        struct net net = {0};
        give(&net, 2, DIMS(2, 2), one_to_eight);
        onnx_build_string(&net.b, "equation", equations[i]);
        onnx_build_node(&net.b, "Einsum", "n", "x,x", "y");
        refused(&net, 12, "equation");
    }
}

static void test_a_range_without_end_is_refused(void **state) {
    struct net net = {0};
    give(&net, 1, DIMS(1), one_to_eight);
    weight_floats(&net, "from", 0, NULL, FLOATS(0));
    weight_floats(&net, "to", 0, NULL, FLOATS(1));
    onnx_build_node(&net.b, "Range", "n", "from,to,from", "r");
    onnx_build_int(&net.b, "axis", 0);
    onnx_build_node(&net.b, "Concat", "c", "x,r", "y");
    refused(&net, 11, "the range has no end");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slice_takes_its_bounds_from_attributes_until_opset_9),
        cmocka_unit_test(test_slice_bounds_at_the_ends_of_int64_do_not_overflow),
        cmocka_unit_test(test_slice_with_a_step_of_0_is_refused),
        cmocka_unit_test(test_split_by_num_outputs_leaves_the_rest_to_the_last_part),
        cmocka_unit_test(test_split_into_parts_that_do_not_divide_is_refused_before_opset_18),
        cmocka_unit_test(test_split_sizes_that_do_not_add_up_are_refused),
        cmocka_unit_test(test_pad_of_opset_18_pads_the_named_axes_alone),
        cmocka_unit_test(test_pad_of_opset_2_has_attributes_and_cuts_with_negative_pads),
        cmocka_unit_test(test_pad_reflects_and_wraps_more_than_once),
        cmocka_unit_test(test_pad_that_cuts_more_than_there_is_is_refused),
        cmocka_unit_test(test_an_index_out_of_range_fails_the_run_and_names_the_node),
        cmocka_unit_test(test_scatter_elements_keeps_the_largest_or_the_smallest),
        cmocka_unit_test(test_non_zero_of_computed_numbers_is_refused),
        cmocka_unit_test(test_arithmetic_on_shapes_is_done_when_a_plan_is_made),
        cmocka_unit_test(test_tile_and_expand_beyond_all_memory_are_refused),
        cmocka_unit_test(test_max_pool_counts_its_indices_down_the_columns_if_asked),
        cmocka_unit_test(test_average_pool_of_opset_19_is_dilated),
        cmocka_unit_test(test_lp_pool_is_the_norm_of_each_window),
        cmocka_unit_test(test_conv_transpose_cuts_what_output_shape_leaves_over),
        cmocka_unit_test(test_center_crop_pad_takes_from_the_middle_and_adds_around_it),
        cmocka_unit_test(test_col2im_adds_where_windows_overlap),
        cmocka_unit_test(test_grid_sample_at_an_images_own_places_is_the_image),
        cmocka_unit_test(test_grid_sample_at_no_number_and_at_infinity_shows_zeros),
        cmocka_unit_test(test_a_region_of_an_image_that_is_not_there_fails_the_run),
        cmocka_unit_test(test_a_region_without_end_fails_the_run),
        cmocka_unit_test(test_max_unpool_beyond_the_pooled_tensor_fails_the_run),
        cmocka_unit_test(test_resize_of_opset_18_changes_the_named_axes_alone),
        cmocka_unit_test(test_resize_with_antialias_widens_the_filter),
        cmocka_unit_test(test_resize_keeps_the_aspect_ratio_if_asked),
        cmocka_unit_test(test_resize_half_pixel_symmetric_stays_in_the_middle),
        cmocka_unit_test(test_resize_of_opset_10_takes_the_element_above_when_shrinking),
        cmocka_unit_test(test_resize_by_no_number_is_refused),
        cmocka_unit_test(test_both_directions_are_one_forward_and_one_over_the_reversed_sequence),
        cmocka_unit_test(test_gru_resets_before_or_after_the_product),
        cmocka_unit_test(test_a_sequence_length_beyond_the_steps_fails_the_run),
        cmocka_unit_test(test_an_unknown_direction_is_refused),
        cmocka_unit_test(test_einsum_sums_over_what_the_output_does_not_name),
        cmocka_unit_test(test_einsum_equations_that_make_no_sense_are_refused),
        cmocka_unit_test(test_a_range_without_end_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
