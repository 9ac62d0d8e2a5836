/* Any bytes as a model file: they give a model or an error with a message; what loads is planned, and run when it is
 * small. The same bytes as a TensorProto. */
#include "fuzz.h"

#include <stdlib.h>

#include "penstock/onnx.h"

/* Hostile shapes may ask for terabytes of arithmetic in a few bytes; that is the operator's model, not a decoder's bug.
 */
#define RUN_MAX_BYTES ((size_t)64 * 1024)

/* Ones, so that an input that decides a shape asks for a small one. Floats become what bytes of one make. */
static void fill(struct tensor *tensor) {
    size_t size = datatype_size(tensor->datatype);
    bool whole =
        tensor->datatype != DATATYPE_FP16 && tensor->datatype != DATATYPE_FP32 && tensor->datatype != DATATYPE_FP64;
    for (size_t i = 0; i < tensor->size_bytes; i++) ((uint8_t *)tensor->data)[i] = !whole || i % size == 0;
}

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
        int64_t elements = tensor_element_count(inputs[i].shape, inputs[i].rank);
        if (elements < 0 || elements > 1024) continue; /* then it must not decide a shape */
        inputs[i].size_bytes = (size_t)elements * datatype_size(inputs[i].datatype);
        inputs[i].data = calloc(inputs[i].size_bytes + 1, 1);
        if (!inputs[i].data) abort();
        fill(&inputs[i]);
    }
    if (onnx_session_new(model, 1, &ses, &err) != 0) abort();
    if (onnx_session_prepare(ses, inputs, &err) != 0) {
        must_explain(&err);
        goto out;
    }
    if (onnx_session_memory(ses) > RUN_MAX_BYTES) goto out;
    for (size_t i = 0; i < count; i++) fill(onnx_session_input(ses, i));
    if (onnx_session_run(ses, NULL, &err) != 0) must_explain(&err);
out:
    onnx_session_free(ses);
    for (size_t i = 0; i < count; i++) free(inputs[i].data);
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
