/* From a well-formed file to a graph that makes sense: every name has one origin, every node an operator that is in the
 * table, and the nodes stand in an order in which they can run.
 *
 * ONNX asks for nodes in topological order, but files exist that are not; they are sorted here, stably, and a cycle is
 * reported by a node that is in it. Until IR version 4 every initializer is listed as an input too: such an input is a
 * constant and nobody is asked for it.
 * What breaks if this is changed: plan.c and session.c trust all of it and check nothing again.
 */
#include "onnx_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "penstock/fnv.h"

/* --- names ------------------------------------------------------------------------------------------------------- */

static uint64_t hash_name(const char *name) { return fnv1a(FNV1A, name, strlen(name)); }

static void index_name(struct onnx_model *model, int number) {
    size_t mask = model->name_slot_count - 1;
    size_t slot = hash_name(model->values[number].name) & mask;
    while (model->name_slots[slot]) slot = (slot + 1) & mask;
    model->name_slots[slot] = number + 1;
}

static void grow_names(struct onnx_model *model) {
    model->name_slot_count = model->name_slot_count ? model->name_slot_count * 2 : 64;
    free(model->name_slots);
    model->name_slots = mem_calloc(model->name_slot_count, sizeof *model->name_slots);
    for (size_t i = 0; i < model->value_count; i++) index_name(model, (int)i);
}

int onnx__graph_value(struct onnx_model *model, const char *name) {
    if (model->value_count * 2 >= model->name_slot_count) grow_names(model);
    size_t mask = model->name_slot_count - 1;
    for (size_t slot = hash_name(name) & mask; model->name_slots[slot]; slot = (slot + 1) & mask) {
        int number = model->name_slots[slot] - 1;
        if (strcmp(model->values[number].name, name) == 0) return number;
    }
    if (model->value_count == model->value_cap) {
        model->value_cap = model->value_cap ? model->value_cap * 2 : 64;
        model->values = mem_realloc(model->values, model->value_cap * sizeof *model->values);
    }
    int number = (int)model->value_count++;
    model->values[number] = (struct onnx__value){.name = name, .producer = -1};
    index_name(model, number);
    return number;
}

/* --- inputs and outputs ------------------------------------------------------------------------------------------ */

static int bind_inputs(struct onnx_model *model, struct err *err) {
    size_t kept = 0;
    for (size_t i = 0; i < model->input_count; i++) {
        struct onnx_io *io = &model->inputs[i];
        int number = onnx__graph_value(model, io->name);
        struct onnx__value *value = &model->values[number];
        if (value->constant) continue;
        if (value->input) return err_set(err, ERR_MODEL_LOAD_FAILED, "two inputs are named '%s'", io->name);
        if (io->rank < 0)
            return err_set(err, ERR_UNSUPPORTED_MODEL, "input '%s' is declared without a shape", io->name);
        value->input = true;
        model->inputs[kept] = *io;
        model->input_values[kept++] = number;
    }
    model->input_count = kept;
    return 0;
}

static int bind_producers(struct onnx_model *model, struct err *err) {
    for (size_t n = 0; n < model->node_count; n++) {
        const struct onnx__node *node = &model->nodes[n];
        for (size_t i = 0; i < node->output_count; i++) {
            if (node->outputs[i] < 0) continue;
            struct onnx__value *value = &model->values[node->outputs[i]];
            if (value->producer >= 0 || value->constant || value->input)
                return onnx__node_fail(node, ERR_MODEL_LOAD_FAILED, err, "'%s' has another origin already",
                                       value->name);
            value->producer = (int)n;
        }
    }
    return 0;
}

static int bind_outputs(struct onnx_model *model, struct err *err) {
    if (model->output_count == 0) return err_set(err, ERR_MODEL_LOAD_FAILED, "the graph has no output");
    for (size_t i = 0; i < model->output_count; i++) {
        int number = onnx__graph_value(model, model->outputs[i].name);
        const struct onnx__value *value = &model->values[number];
        if (value->producer < 0 && !value->constant && !value->input)
            return err_set(err, ERR_MODEL_LOAD_FAILED, "output '%s' is produced by nothing", value->name);
        model->output_values[i] = number;
    }
    return 0;
}

/* --- nodes ------------------------------------------------------------------------------------------------------- */

static bool has_output(const struct onnx__node *node) {
    size_t first = node->op->flags & OP_ANY_OUTPUT ? node->output_count : 1;
    for (size_t i = 0; i < node->output_count && i < first; i++)
        if (node->outputs[i] >= 0) return true;
    return false;
}

static int check_arity(const struct onnx__node *node, struct err *err) {
    const struct onnx__op *op = node->op;
    if (node->input_count < op->min_in || (op->max_in != UINT8_MAX && node->input_count > op->max_in))
        return onnx__node_fail(node, ERR_MODEL_LOAD_FAILED, err, "it has %zu inputs, which the operator does not take",
                               node->input_count);
    for (size_t i = 0; i < op->min_in; i++)
        if (node->inputs[i] < 0) return onnx__node_fail(node, ERR_MODEL_LOAD_FAILED, err, "input %zu is left out", i);
    if (!has_output(node)) return onnx__node_fail(node, ERR_MODEL_LOAD_FAILED, err, "it has no output");
    if (node->output_count > op->max_out)
        return onnx__node_fail(node, ERR_UNSUPPORTED_MODEL, err, "%zu outputs; only the first %d are supported",
                               node->output_count, op->max_out);
    return 0;
}

static int bind_node(struct onnx_model *model, struct onnx__node *node, struct err *err) {
    if (model->opset < node->op->since)
        return onnx__node_fail(node, ERR_UNSUPPORTED_MODEL, err, "as of opset %d; supported from opset %d",
                               model->opset, node->op->since);
    if (check_arity(node, err) != 0) return -1;
    for (size_t i = 0; i < node->input_count; i++) {
        if (node->inputs[i] < 0) continue;
        struct onnx__value *value = &model->values[node->inputs[i]];
        if (value->producer < 0 && !value->constant && !value->input)
            return onnx__node_fail(node, ERR_MODEL_LOAD_FAILED, err, "input '%s' is produced by nothing", value->name);
        if (i < 8 && value->input && (node->op->shape_inputs >> i & 1)) value->decides_shape = true;
    }
    return 0;
}

/* --- order ------------------------------------------------------------------------------------------------------- */

/* Depth first from each node in file order, on a stack of our own: a chain of a million nodes must not end the
 * process's. */
struct order {
    const struct onnx_model *model;
    uint8_t *marks; /* 0 new, 1 on the stack, 2 placed */
    int *stack, *next_input;
    struct onnx__node *sorted;
    size_t depth, placed;
};

static int visit_top(struct order *order, struct err *err) {
    int n = order->stack[order->depth - 1];
    const struct onnx__node *node = &order->model->nodes[n];
    while ((size_t)order->next_input[n] < node->input_count) {
        int input = node->inputs[order->next_input[n]++];
        int producer = input < 0 ? -1 : order->model->values[input].producer;
        if (producer < 0 || order->marks[producer] == 2) continue;
        if (order->marks[producer] == 1)
            return onnx__node_fail(node, ERR_MODEL_LOAD_FAILED, err,
                                   "it depends on its own output: the graph has a cycle");
        order->marks[producer] = 1;
        order->stack[order->depth++] = producer;
        return 0;
    }
    order->marks[n] = 2;
    order->sorted[order->placed++] = *node;
    order->depth--;
    return 0;
}

static int sort_nodes(struct onnx_model *model, struct err *err) {
    size_t count = model->node_count;
    struct order order = {.model = model, .marks = mem_calloc(count, 1)};
    order.stack = mem_calloc(count, sizeof *order.stack);
    order.next_input = mem_calloc(count, sizeof *order.next_input);
    order.sorted = arena_alloc(&model->arena, count * sizeof *order.sorted);
    int rc = 0;
    for (size_t n = 0; rc == 0 && n < count; n++) {
        if (order.marks[n]) continue;
        order.marks[n] = 1;
        order.stack[order.depth++] = (int)n;
        while (rc == 0 && order.depth) rc = visit_top(&order, err);
    }
    free(order.marks);
    free(order.stack);
    free(order.next_input);
    if (rc == 0) model->nodes = order.sorted;
    return rc;
}

/* --- inputs behind shapes ---------------------------------------------------------------------------------------- */

static bool may_be_a_size(const struct onnx_io *io) {
    return (io->datatype == DATATYPE_INT64 || io->datatype == DATATYPE_INT32) && (io->rank == 0 || io->rank == 1);
}

/* A shape may follow from an input by way of arithmetic, as in Range(Cast(n)). Then the input's value is asked for as
 * if the node read it itself; but only of whole numbers in a line, lest a network be computed to plan it. */
static void trace_shapes(struct onnx_model *model) {
    bool *read = mem_calloc(model->value_count, sizeof *read);
    for (size_t n = model->node_count; n-- > 0;) {
        const struct onnx__node *node = &model->nodes[n];
        bool wanted = false;
        for (size_t i = 0; i < node->output_count; i++) wanted |= node->outputs[i] >= 0 && read[node->outputs[i]];
        wanted = wanted && !(node->op->flags & OP_OF_SHAPES);
        for (size_t i = 0; i < node->input_count; i++)
            if (node->inputs[i] >= 0 && (wanted || (i < 8 && (node->op->shape_inputs >> i & 1))))
                read[node->inputs[i]] = true;
    }
    for (size_t i = 0; i < model->input_count; i++) {
        int number = model->input_values[i];
        if (read[number] && may_be_a_size(&model->inputs[i])) model->values[number].decides_shape = true;
    }
    free(read);
}

int onnx__graph_finish(struct onnx_model *model, struct err *err) {
    if (bind_inputs(model, err) != 0 || bind_producers(model, err) != 0 || bind_outputs(model, err) != 0) return -1;
    for (size_t n = 0; n < model->node_count; n++)
        if (bind_node(model, &model->nodes[n], err) != 0) return -1;
    if (sort_nodes(model, err) != 0) return -1;
    trace_shapes(model);
    if (onnx__plan_fold_model(model, err) != 0) return -1;
    onnx__fuse_model(model);
    return 0;
}

/* --- opening ----------------------------------------------------------------------------------------------------- */

static int parse_into(struct onnx_model *model, const void *bytes, size_t len, struct err *err) {
    const uint8_t *at = bytes;
    struct proto in = {.base = at, .at = at, .end = at + len};
    if (onnx__decode_model(model, in, err) != 0) return -1;
    return onnx__graph_finish(model, err);
}

static struct onnx_model *new_model(void) {
    struct onnx_model *model = mem_calloc(1, sizeof *model);
    arena_init(&model->arena);
    model->external.folder = -1;
    return model;
}

int onnx_model_parse(const void *bytes, size_t len, struct onnx_model **ret, struct err *err) {
    struct onnx_model *model = new_model();
    if (parse_into(model, bytes, len, err) != 0) {
        onnx_model_free(model);
        return -1;
    }
    *ret = model;
    return 0;
}

/* An empty file cannot be mapped and is no model either. A model in use must be replaced by rename, as every version
 * folder should be: truncating a mapped file kills its readers, and the reader has no remedy. */
void *onnx__map_file(const char *path, size_t *ret_len, struct err *err) {
    void *map = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_set_errno(err, ERR_MODEL_LOAD_FAILED, "%s", path);
    } else if (!S_ISREG(st.st_mode) || st.st_size == 0) {
        err_set(err, ERR_MODEL_LOAD_FAILED, "%s: not a file, or empty", path);
    } else {
        *ret_len = (size_t)st.st_size;
        map = mmap(NULL, *ret_len, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED) {
            map = NULL;
            err_set_errno(err, ERR_MODEL_LOAD_FAILED, "%s: cannot be mapped", path);
        }
    }
    if (fd >= 0) close(fd);
    return map;
}

int onnx_model_open(const char *path, struct onnx_model **ret, struct err *err) {
    struct onnx_model *model = new_model();
    model->map = onnx__map_file(path, &model->map_bytes, err);
    if (!model->map || onnx__external_open(&model->external, path, err) != 0) {
        onnx_model_free(model);
        return -1;
    }
    if (parse_into(model, model->map, model->map_bytes, err) != 0) {
        onnx_model_free(model);
        return err_wrap(err, "%s", path);
    }
    onnx__external_close(&model->external);
    *ret = model;
    return 0;
}

void onnx_model_free(struct onnx_model *model) {
    if (!model) return;
    if (model->map) munmap(model->map, model->map_bytes);
    onnx__external_done(&model->external);
    free(model->values);
    free(model->name_slots);
    arena_done(&model->arena);
    free(model);
}

const struct onnx_io *onnx_model_inputs(const struct onnx_model *model, size_t *ret_count) {
    *ret_count = model->input_count;
    return model->inputs;
}

const struct onnx_io *onnx_model_outputs(const struct onnx_model *model, size_t *ret_count) {
    *ret_count = model->output_count;
    return model->outputs;
}

bool onnx_model_has_shape_input(const struct onnx_model *model) {
    for (size_t i = 0; i < model->input_count; i++)
        if (model->values[model->input_values[i]].decides_shape) return true;
    return false;
}

int onnx_model_check_input(const struct onnx_model *model, size_t index, const struct tensor *given, struct err *err) {
    const struct onnx_io *io = &model->inputs[index];
    if (given->datatype != io->datatype)
        return err_set(err, ERR_INVALID_INPUT, "input '%s': datatype %s where the model takes %s", io->name,
                       datatype_name(given->datatype), datatype_name(io->datatype));
    bool fits = given->rank == io->rank;
    for (int i = 0; fits && i < io->rank; i++) fits = io->shape[i] < 0 || io->shape[i] == given->shape[i];
    if (fits) return 0;
    char have[128], want[128];
    return err_set(err, ERR_INVALID_INPUT, "input '%s': shape %s where the model takes %s", io->name,
                   onnx__shape_text(given->shape, given->rank, have, sizeof have),
                   onnx__shape_text(io->shape, io->rank, want, sizeof want));
}
