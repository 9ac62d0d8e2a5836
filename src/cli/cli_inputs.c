/* Files as a job's inputs: pictures, and NumPy's arrays.
 *
 * A picture has no datatype and no order of channels, so the model must say what it takes. What the workers have
 * registered counts, since that is what will run; a model that no worker has (yet) is looked up in the repository. An
 * array has all of that, and only what people leave out is added: numbers that NumPy made float64 for want of a better
 * idea become what the model takes, and a missing batch dimension is put in front. */
#include <stdlib.h>
#include <string.h>

#include "cli_jobs.h"
#include "penstock/artifact.h"
#include "penstock/onnx.h"
#include "penstock/registry.h"
#include "penstock/uuid.h"

#define INLINE_MAX ((size_t)512 * 1024) /* of JSON; a command may have 1 MiB in all */

struct declared {
    struct tensor inputs[WIRE_MAX_INPUTS]; /* name, datatype, shape; arena */
    size_t count;
};

/* --- what the model takes ------------------------------------------------------------------------------------------
 */

static bool text_equals(struct wire_slice value, const char *text) {
    struct buf buf = {0};
    buf_puts(&buf, "");
    wire_json_text(value, &buf);
    bool equal = strcmp(buf.data, text) == 0;
    buf_done(&buf);
    return equal;
}

static char *text_of(struct wire_slice object, const char *name, struct arena *arena) {
    struct wire_slice value;
    struct buf buf = {0};
    buf_puts(&buf, "");
    if (wire_json_member(object, name, &value)) wire_json_text(value, &buf);
    char *copy = arena_strdup(arena, buf.data);
    buf_done(&buf);
    return copy;
}

static void read_registration(struct wire_slice model, struct arena *arena, struct declared *ret) {
    struct wire_slice inputs, input, shape, dim;
    ret->count = 0;
    if (!wire_json_member(model, "inputs", &inputs)) return;
    while (ret->count < WIRE_MAX_INPUTS && wire_json_element(&inputs, &input)) {
        struct tensor *tensor = &ret->inputs[ret->count++];
        *tensor = (struct tensor){.name = text_of(input, "name", arena),
                                  .datatype = datatype_from_name(text_of(input, "datatype", arena))};
        if (!wire_json_member(input, "shape", &shape)) continue;
        while (tensor->rank < TENSOR_MAX_RANK && wire_json_element(&shape, &dim))
            tensor->shape[tensor->rank++] = strtoll(dim.at, NULL, 10);
    }
}

/* Of several versions the last: workers list them in their order. */
static bool find_in_worker(const struct store_worker *worker, const char *name, const char *version,
                           struct arena *arena, struct declared *ret) {
    struct wire_slice models = {worker->models, worker->models ? strlen(worker->models) : 0}, model, value;
    bool found = false;
    while (wire_json_element(&models, &model)) {
        if (!wire_json_member(model, "name", &value) || !text_equals(value, name)) continue;
        if (version && (!wire_json_member(model, "version", &value) || !text_equals(value, version))) continue;
        read_registration(model, arena, ret);
        found = true;
    }
    return found;
}

static bool find_registered(struct cli_context *ctx, const char *name, const char *version, struct arena *arena,
                            struct declared *ret) {
    struct store *st = NULL;
    struct store_worker *workers;
    struct err err;
    size_t count = 0;
    bool found = false;
    if (cli__open_store(ctx, &st, &err) == 0 && store_worker_list(st, arena, &workers, &count, &err) == 0)
        for (size_t i = 0; i < count && !found; i++) found = find_in_worker(&workers[i], name, version, arena, ret);
    store_free(st);
    return found;
}

static int read_model_file(const struct model_entry *entry, struct arena *arena, struct declared *ret,
                           struct err *err) {
    struct onnx_model *model;
    if (onnx_model_open(arena_printf(arena, "%s/model.onnx", entry->path), &model, err) != 0) return -1;
    size_t count;
    const struct onnx_io *ios = onnx_model_inputs(model, &count);
    for (ret->count = 0; ret->count < count && ret->count < WIRE_MAX_INPUTS; ret->count++) {
        const struct onnx_io *io = &ios[ret->count];
        struct tensor *tensor = &ret->inputs[ret->count];
        *tensor = (struct tensor){.name = arena_strdup(arena, io->name), .datatype = io->datatype};
        tensor->rank = io->rank < 0 ? 0 : io->rank;
        memcpy(tensor->shape, io->shape, sizeof tensor->shape);
    }
    onnx_model_free(model);
    return 0;
}

static int find_declared(struct cli_context *ctx, const char *name, const char *version, struct arena *arena,
                         struct declared *ret, struct err *err) {
    struct model_list list = {0};
    const char *repository = config_string(ctx->cfg, "models.repository");
    if (find_registered(ctx, name, version, arena, ret)) return 0;
    if (registry_models_scan(repository, &list, err) != 0)
        return err_set(err, ERR_UNKNOWN_MODEL,
                       "no worker that can be asked has model %s, and there is no repository %s", name, repository);
    const struct model_entry *entry = registry_model_find(&list, name, version);
    int rc = entry ? read_model_file(entry, arena, ret, err)
                   : err_set(err, ERR_UNKNOWN_MODEL, "neither a worker nor the repository %s has model %s %s",
                             repository, name, version ? version : "");
    registry_models_done(&list);
    return rc;
}

/* "[NAME=]FILE": the input that is meant, and the file. Without a name the model's only input. */
static int choose_input(const struct declared *declared, const char *text, const struct tensor **ret,
                        const char **ret_path, struct err *err) {
    const char *equals = strchr(text, '=');
    for (size_t i = 0; equals && i < declared->count; i++) {
        const char *name = declared->inputs[i].name;
        if (strlen(name) != (size_t)(equals - text) || strncmp(name, text, strlen(name)) != 0) continue;
        *ret = &declared->inputs[i];
        *ret_path = equals + 1;
        return 0;
    }
    *ret_path = text;
    *ret = &declared->inputs[0];
    if (declared->count == 1) return 0;
    struct buf names = {0};
    buf_puts(&names, "");
    for (size_t i = 0; i < declared->count; i++) buf_printf(&names, "%s%s", i ? ", " : "", declared->inputs[i].name);
    err_set(err, ERR_USAGE, "'%s': for which input? NAME=FILE, and the model's inputs are: %s", text, names.data);
    buf_done(&names);
    return -1;
}

/* --- NumPy's arrays ------------------------------------------------------------------------------------------------
 */

static double number_at(enum datatype datatype, const char *at) {
    union {
        int8_t i8;
        int16_t i16;
        int32_t i32;
        uint8_t u8;
        uint16_t u16;
        uint32_t u32;
        float f32;
        double f64;
    } value;
    memcpy(&value, at, datatype_size(datatype));
    switch (datatype) {
    case DATATYPE_INT8:
        return value.i8;
    case DATATYPE_INT16:
        return value.i16;
    case DATATYPE_INT32:
        return value.i32;
    case DATATYPE_UINT8:
    case DATATYPE_BOOL:
        return value.u8;
    case DATATYPE_UINT16:
        return value.u16;
    case DATATYPE_UINT32:
        return value.u32;
    case DATATYPE_FP32:
        return (double)value.f32;
    default:
        return value.f64;
    }
}

/* To FP32 or FP64, from what these can hold. */
static int convert(struct tensor *tensor, enum datatype to, struct arena *arena, struct err *err) {
    enum datatype from = tensor->datatype;
    if (from == to) return 0;
    bool exact = from != DATATYPE_INT64 && from != DATATYPE_UINT64 && from != DATATYPE_FP16;
    if ((to != DATATYPE_FP32 && to != DATATYPE_FP64) || !exact)
        return err_set(err, ERR_INVALID_INPUT, "its elements are %s, but input %s takes %s", datatype_name(from),
                       tensor->name, datatype_name(to));
    size_t count = tensor->size_bytes / datatype_size(from);
    char *data = arena_alloc(arena, count * datatype_size(to));
    for (size_t i = 0; i < count; i++) {
        double number = number_at(from, (const char *)tensor->data + i * datatype_size(from));
        if (to == DATATYPE_FP32)
            memcpy(data + i * sizeof(float), &(float){(float)number}, sizeof(float));
        else
            memcpy(data + i * sizeof(double), &number, sizeof number);
    }
    tensor->datatype = to;
    tensor->data = data;
    tensor->size_bytes = count * datatype_size(to);
    return 0;
}

static int take_array(const struct tensor *declared, const struct buf *bytes, struct tensor *ret, struct arena *arena,
                      struct err *err) {
    struct artifact_npy head;
    if (artifact_npy_head(bytes->data, bytes->len, &head, err) != 0) return -1;
    *ret = (struct tensor){.name = declared->name, .datatype = head.datatype};
    if (head.rank + 1 == declared->rank) ret->shape[ret->rank++] = 1; /* the batch */
    if (ret->rank + head.rank > TENSOR_MAX_RANK) return err_set(err, ERR_INVALID_INPUT, "it has too many dimensions");
    for (int i = 0; i < head.rank; i++) ret->shape[ret->rank++] = head.shape[i];
    ret->size_bytes = bytes->len - head.data_at;
    int64_t count = tensor_element_count(ret->shape, ret->rank);
    if (count < 0 || (uint64_t)count * datatype_size(head.datatype) != ret->size_bytes)
        return err_set(err, ERR_INVALID_INPUT, "it has %zu bytes of elements, which is not what its shape needs",
                       ret->size_bytes);
    ret->data = arena_strndup(arena, bytes->data + head.data_at, ret->size_bytes);
    return convert(ret, declared->datatype, arena, err);
}

/* --- into the command ----------------------------------------------------------------------------------------------
 */

static int take_file(const struct cli_inputs *inputs, const struct cli_input *file, const struct tensor *declared,
                     const char *path, struct arena *arena, struct tensor *ret, struct err *err) {
    struct buf bytes = {0};
    struct image image;
    int rc = cli__read_whole(path, &bytes, err);
    if (rc == 0 && !file->is_image) {
        rc = take_array(declared, &bytes, ret, arena, err);
    } else if (rc == 0) {
        *ret = *declared;
        rc = image_decode(bytes.data, bytes.len, arena, &image, err);
        if (rc == 0) rc = image_to_tensor(&image, &inputs->image, ret, arena, err);
    }
    buf_done(&bytes);
    return rc == 0 ? 0 : err->code == ERR_USAGE ? -1 : err_wrap(err, "%s", path);
}

/* With its elements or, if they are too many, by uri. */
static int put_tensor(struct cli_context *ctx, const struct tensor *tensor, struct arena *arena, struct buf *out,
                      struct err *err) {
    const char *folder = config_string(ctx->cfg, "artifacts.input_root");
    size_t before = out->len;
    struct artifact_root *root;
    struct artifact written;
    char id[UUID_SIZE];
    wire_input_encode(tensor, NULL, out);
    if (out->len - before <= INLINE_MAX) return 0;
    if (!*folder)
        return err_set(
            err, ERR_TOO_LARGE,
            "input %s takes %zu KiB of JSON; set artifacts.input_root to a folder that the workers see, too, "
            "and it goes there",
            tensor->name, (out->len - before) >> 10);
    out->len = before;
    if (uuid_v7(id, err) != 0 || artifact_root_open(folder, &root, err) != 0) return -1;
    int rc = artifact_write(root, id, "submit", tensor, arena, &written, err);
    artifact_root_free(root);
    if (rc == 0) wire_input_encode(tensor, written.uri, out);
    return rc;
}

int cli__inputs_build(struct cli_context *ctx, const struct cli_inputs *inputs, const char *model, const char *version,
                      struct arena *arena, struct buf *out, struct err *err) {
    struct declared *declared = arena_alloc(arena, sizeof *declared);
    if (find_declared(ctx, model, version, arena, declared, err) != 0) return -1;
    if (declared->count == 0)
        return err_set(err, ERR_INVALID_INPUT, "model %s declares no inputs: send it JSON documents", model);
    buf_puts(out, "[");
    for (size_t i = 0; i < inputs->count; i++) {
        const struct tensor *wanted;
        const char *path;
        struct tensor tensor;
        if (choose_input(declared, inputs->files[i].text, &wanted, &path, err) != 0 ||
            take_file(inputs, &inputs->files[i], wanted, path, arena, &tensor, err) != 0)
            return -1;
        if (i) buf_puts(out, ",");
        if (put_tensor(ctx, &tensor, arena, out, err) != 0) return -1;
    }
    buf_puts(out, "]");
    return 0;
}
