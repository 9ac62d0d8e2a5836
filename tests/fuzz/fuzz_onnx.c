/* Any bytes as a model file: they give a model or an error with a message; what loads is planned, and run when it is
 * small. The same bytes as a TensorProto. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "penstock/onnx.h"

/* Hostile shapes may ask for terabytes of arithmetic in a few bytes; that is the operator's model, not a decoder's bug.
 */
#define RUN_MAX_BYTES ((size_t)64 * 1024)

static void must_explain(const struct err *err) {
    if (err->code == ERR_NONE || !err->msg[0]) abort();
}

static void run_model(const struct onnx_model *model) {
    struct err err = {0};
    struct onnx_session *ses = NULL;
    size_t count;
    const struct onnx_io *ios = onnx_model_inputs(model, &count);
    struct tensor *inputs = calloc(count ? count : 1, sizeof *inputs);
    if (!inputs) abort();
    for (size_t i = 0; i < count; i++) {
        inputs[i] = (struct tensor){.name = ios[i].name, .datatype = ios[i].datatype, .rank = ios[i].rank};
        for (int dim = 0; dim < ios[i].rank; dim++) {
            inputs[i].shape[dim] = ios[i].shape[dim] < 0 ? 2 : ios[i].shape[dim];
            if (inputs[i].shape[dim] > 1024) goto out;
        }
    }
    if (onnx_session_new(model, 1, &ses, &err) != 0) abort();
    if (onnx_session_prepare(ses, inputs, &err) != 0) {
        must_explain(&err);
        goto out;
    }
    if (onnx_session_memory(ses) > RUN_MAX_BYTES) goto out;
    for (size_t i = 0; i < count; i++) {
        struct tensor *in = onnx_session_input(ses, i);
        if (in->size_bytes) memset(in->data, 1, in->size_bytes);
    }
    if (onnx_session_run(ses, NULL, &err) != 0) must_explain(&err);
out:
    onnx_session_free(ses);
    free(inputs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct err err = {0};
    struct onnx_model *model = NULL;
    if (onnx_model_parse(data, size, &model, &err) == 0)
        run_model(model);
    else
        must_explain(&err);
    onnx_model_free(model);

    struct arena arena;
    struct tensor tensor;
    arena_init(&arena);
    err = (struct err){0};
    if (onnx_tensor_read(data, size, &arena, &tensor, &err) != 0) must_explain(&err);
    arena_done(&arena);
    return 0;
}
