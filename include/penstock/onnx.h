/* onnx: reading ONNX models and running them on the CPU.
 *
 * Hides the protobuf reader, the graph, shape inference, the memory plan and the kernels. Model files come from
 * outside: any bytes give a model or an error that names the node and operator, never a crash. Float32 first; opsets 7
 * to 22, and older ones where the operators at hand mean the same.
 *
 *     struct onnx_model *model;
 *     struct onnx_session *ses;
 *     if (onnx_model_open("model.onnx", &model, &err) != 0 || onnx_session_new(model, 1, &ses, &err) != 0) ...
 *     if (onnx_session_prepare(ses, inputs, &err) != 0) ...                     // shapes in, memory laid out
 *     memcpy(onnx_session_input(ses, 0)->data, inputs[0].data, inputs[0].size_bytes);
 *     if (onnx_session_run(ses, NULL, &err) == 0) use(onnx_session_output(ses, 0));
 *
 * Thread: a model may be shared, it is never written after opening; a session belongs to one thread at a time.
 */
#ifndef PENSTOCK_ONNX_H
#define PENSTOCK_ONNX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "penstock/err.h"
#include "penstock/mem.h"
#include "penstock/tensor.h"

#define ONNX_MIN_OPSET 1
#define ONNX_MAX_OPSET 22

struct onnx_model;
struct onnx_session;

/* An input or output as the model declares it; -1: any. Outputs may be declared without a shape: rank -1. */
struct onnx_io {
    const char *name;
    enum datatype datatype;
    int rank;
    int64_t shape[TENSOR_MAX_RANK];
};

/* Maps `path` and reads it; weights stay in the map. ERR_MODEL_LOAD_FAILED: no file, or not a well-formed model;
 * ERR_UNSUPPORTED_MODEL: well-formed, but it needs what is not here. Owns: caller frees. */
int onnx_model_open(const char *path, struct onnx_model **ret, struct err *err) MUSTCHECK;
/* The same from memory; `bytes` are borrowed until onnx_model_free. */
int onnx_model_parse(const void *bytes, size_t len, struct onnx_model **ret, struct err *err) MUSTCHECK;
void onnx_model_free(struct onnx_model *model); /* after its sessions; safe on NULL */

const struct onnx_io *onnx_model_inputs(const struct onnx_model *model, size_t *ret_count);
const struct onnx_io *onnx_model_outputs(const struct onnx_model *model, size_t *ret_count);

/* Does `given` (datatype, shape) fit the model's input `index`? ERR_INVALID_INPUT with a message that names both
 * shapes. */
int onnx_model_check_input(const struct onnx_model *model, size_t index, const struct tensor *given,
                           struct err *err) MUSTCHECK;

/* Does an input's value decide shapes (a Reshape's target, a length)? Then prepare needs its data. */
bool onnx_model_has_shape_input(const struct onnx_model *model);

/* `threads`: that share out the work of a node; the caller is one of them. */
int onnx_session_new(const struct onnx_model *model, int threads, struct onnx_session **ret, struct err *err) MUSTCHECK;
void onnx_session_free(struct onnx_session *ses); /* safe on NULL */

/* Makes ready for inputs of these datatypes and shapes, in the model's order. Data are looked at only for inputs whose
 * value decides a shape (such as Reshape's second). Plans are kept: the same shapes again cost next to nothing.
 * Allocates when the shapes need more memory than any before. ERR_INVALID_INPUT, or ERR_UNSUPPORTED_MODEL naming the
 * node. */
int onnx_session_prepare(struct onnx_session *ses, const struct tensor *inputs, struct err *err) MUSTCHECK;

/* Where to put an input's bytes before each run (a run reuses their memory), and where outputs lie after it. Owns: the
 * session; valid until the next prepare. */
struct tensor *onnx_session_input(struct onnx_session *ses, size_t index);
const struct tensor *onnx_session_output(const struct onnx_session *ses, size_t index);
size_t onnx_session_memory(const struct onnx_session *ses); /* bytes, weights included */

struct onnx_control {
    void *ctx;
    bool (*should_stop)(void *ctx);                                    /* asked before each node */
    void (*progress)(void *ctx, double fraction, const char *op_type); /* told after each node */
};

/* Runs what prepare laid out. 0 done, 1 stopped, -1 with *err (ERR_EXECUTION_FAILED). Allocates nothing. */
int onnx_session_run(struct onnx_session *ses, const struct onnx_control *control, struct err *err) MUSTCHECK;

/* Reads one TensorProto (the test data of ONNX). Data lie in `arena` or, where aligned, in `bytes`. */
int onnx_tensor_read(const void *bytes, size_t len, struct arena *arena, struct tensor *ret, struct err *err) MUSTCHECK;

#endif
