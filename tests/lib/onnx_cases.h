/* onnx_cases: running a model folder against its test data, and writing small models byte by byte.
 *
 *     struct onnx_builder b = {0};
 *     onnx_build_io(&b, ONNX_BUILD_INPUT, "x", 1, 2, (int64_t[]){-1, 3});
 *     onnx_build_node(&b, "Relu", "act", "x", "y");
 *     onnx_build_io(&b, ONNX_BUILD_OUTPUT, "y", 1, 2, (int64_t[]){-1, 3});
 *     struct buf bytes = {0};
 *     onnx_build_model(&b, 13, &bytes);
 */
#ifndef PENSTOCK_ONNX_CASES_H
#define PENSTOCK_ONNX_CASES_H

#include "penstock/onnx_backend.h"

/* The whole file at `path`, or false where there is none. Owns: caller ends it with buf_done. */
bool onnx_case_read_file(const char *path, struct buf *ret);

/* Runs `folder`/model.onnx on every `folder`/test_data_set_<n>: input_<i>.pb in, and each output_<i>.pb compared,
 * on the reference kernels and then as users run it. Within rtol x |expected| + atol, whole numbers exactly; a NaN
 * where one is expected; datatype and shape must be equal. -1 with the reason in *err; its code is the model's where
 * the model was refused, else ERR_EXECUTION_FAILED. *ret_sets: how many sets were compared. */
int onnx_case_run(const char *folder, double rtol, double atol, int *ret_sets, struct err *err) MUSTCHECK;
/* The same through an executor that is open, each set `times` times: the first run of a shape may take another way than
 * those after it. */
struct executor_ops;
struct executor;
int onnx_case_run_on(const struct executor_ops *ops, struct executor *ex, const char *folder, int times, double rtol,
                     double atol, int *ret_sets, struct err *err) MUSTCHECK;
int onnx_case_compare(const struct tensor *have, const struct tensor *want, double rtol, double atol,
                      struct err *err) MUSTCHECK;

/* --- a writer of ModelProto -------------------------------------------------------------------------------------- */

#define ONNX_BUILD_INPUT  11
#define ONNX_BUILD_OUTPUT 12
#define ONNX_TYPE_FLOAT   1
#define ONNX_TYPE_INT32   6
#define ONNX_TYPE_INT64   7

struct onnx_builder {
    struct buf graph;
    struct buf attrs; /* of the node that comes next */
};

void onnx_build_varint(struct buf *buf, uint64_t value);
void onnx_build_field_int(struct buf *buf, int number, uint64_t value);
void onnx_build_field_bytes(struct buf *buf, int number, const void *bytes, size_t len);

/* Attributes of the node that is built next. */
void onnx_build_int(struct onnx_builder *b, const char *name, int64_t value);
void onnx_build_ints(struct onnx_builder *b, const char *name, size_t count, const int64_t *values);
void onnx_build_float(struct onnx_builder *b, const char *name, float value);
void onnx_build_string(struct onnx_builder *b, const char *name, const char *value);
void onnx_build_strings(struct onnx_builder *b, const char *name, size_t count, const char *const *values);

/* Names are comma separated; an empty one is an input left out. */
void onnx_build_node(struct onnx_builder *b, const char *op_type, const char *name, const char *inputs,
                     const char *outputs);
void onnx_build_io(struct onnx_builder *b, int field, const char *name, int type, int rank, const int64_t *dims);
void onnx_build_weight(struct onnx_builder *b, const char *name, int type, int rank, const int64_t *dims,
                       const void *raw, size_t len);
void onnx_build_model(struct onnx_builder *b, int opset, struct buf *out); /* ends the builder */

#endif
