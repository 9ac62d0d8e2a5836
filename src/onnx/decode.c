/* ModelProto, GraphProto, NodeProto, AttributeProto and ValueInfoProto to the structs of onnx_internal.h.
 *
 * Each message is walked twice: once to count its repeated fields, once to fill arrays of exactly that size. Names
 * become value numbers at once, so that everything after this file works with integers. What is only well-formed here
 * is checked for sense in graph.c. Fields that do not change what a model computes (documentation, producer,
 * value_info, metadata) are passed over; those that do and are not supported (sparse weights, sequences, functions) are
 * refused by name. Source: onnx/onnx.proto; the field numbers below are its.
 */
#include "onnx_internal.h"

#include <inttypes.h>

/* Amplification bound: an empty node is two bytes in a file and some hundred in memory. */
#define MAX_ITEMS ((size_t)1000000)

enum { ATTR_NAME = 1, ATTR_F = 2, ATTR_I = 3, ATTR_S = 4, ATTR_T = 5, ATTR_FIELD_FLOATS = 7, ATTR_FIELD_INTS = 8 };
enum { ATTR_FIELD_STRINGS = 9, ATTR_TYPE = 20 };
enum { IO_NAME = 1, IO_TYPE = 2 };
enum { TYPE_TENSOR = 1, TENSOR_TYPE_ELEM = 1, TENSOR_TYPE_SHAPE = 2, SHAPE_DIM = 1, DIM_VALUE = 1 };

bool onnx__is_main_domain(const char *domain) { return domain[0] == '\0' || strcmp(domain, "ai.onnx") == 0; }

/* --- attributes -------------------------------------------------------------------------------------------------- */

static int read_attr_field(struct onnx_model *model, const struct proto_field *field, struct onnx__attr *attr,
                           uint64_t *type, struct err *err) {
    switch (field->number) {
    case ATTR_NAME:
        return onnx__proto_string(field, &model->arena, &attr->name, err);
    case ATTR_F: {
        uint32_t bits = (uint32_t)field->value;
        memcpy(&attr->number, &bits, sizeof bits);
        return onnx__proto_expect(field, PROTO_FIXED32, err);
    }
    case ATTR_I:
        attr->integer = (int64_t)field->value;
        return onnx__proto_expect(field, PROTO_VARINT, err);
    case ATTR_S: {
        if (onnx__proto_expect(field, PROTO_BYTES, err) != 0) return -1;
        const struct proto *body = &field->body; /* may hold any bytes; what lies behind a NUL no operator here reads */
        attr->string = arena_strndup(&model->arena, (const char *)body->at, (size_t)(body->end - body->at));
        return 0;
    }
    case ATTR_T:
        if (onnx__proto_expect(field, PROTO_BYTES, err) != 0) return -1;
        return onnx__decode_tensor(field->body, &model->arena, &model->external, &attr->tensor, err);
    case ATTR_TYPE:
        *type = field->value;
        return onnx__proto_expect(field, PROTO_VARINT, err);
    default:
        return 0;
    }
}

static int read_attr_strings(struct onnx_model *model, struct proto in, struct onnx__attr *attr, struct err *err) {
    struct proto_field field;
    size_t count;
    int more;
    if (onnx__proto_count(in, ATTR_FIELD_STRINGS, &count, err) != 0) return -1;
    attr->strings = arena_alloc(&model->arena, count * sizeof *attr->strings);
    while ((more = onnx__proto_next(&in, &field, err)) > 0)
        if (field.number == ATTR_FIELD_STRINGS &&
            onnx__proto_string(&field, &model->arena, &attr->strings[attr->count++], err) != 0)
            return -1;
    return more;
}

static int read_attr_lists(struct onnx_model *model, struct proto in, struct onnx__attr *attr, struct err *err) {
    uint64_t *values;
    size_t count;
    if (attr->kind == ATTR_INTS) {
        if (onnx__proto_scalars(in, ATTR_FIELD_INTS, PROTO_VARINT, &model->arena, &values, &count, err) != 0) return -1;
        attr->ints = (const int64_t *)values; /* the same 64 bits */
        attr->count = count;
    } else if (attr->kind == ATTR_FLOATS) {
        if (onnx__proto_scalars(in, ATTR_FIELD_FLOATS, PROTO_FIXED32, &model->arena, &values, &count, err) != 0)
            return -1;
        float *floats = arena_alloc(&model->arena, count * sizeof *floats);
        for (size_t i = 0; i < count; i++) memcpy(&floats[i], &values[i], sizeof *floats);
        attr->floats = floats;
        attr->count = count;
    } else if (attr->kind == ATTR_STRINGS) {
        return read_attr_strings(model, in, attr, err);
    }
    return 0;
}

static int read_attr(struct onnx_model *model, struct proto in, struct onnx__attr *attr, struct err *err) {
    static const uint8_t kinds[] = {ATTR_OTHER, ATTR_FLOAT,  ATTR_INT,  ATTR_STRING, ATTR_TENSOR,
                                    ATTR_OTHER, ATTR_FLOATS, ATTR_INTS, ATTR_STRINGS};
    struct proto start = in;
    struct proto_field field;
    uint64_t type = 0;
    int more;
    *attr = (struct onnx__attr){.name = "", .string = ""};
    while ((more = onnx__proto_next(&in, &field, err)) > 0)
        if (read_attr_field(model, &field, attr, &type, err) != 0) return -1;
    if (more < 0) return -1;
    attr->kind = type < sizeof kinds ? kinds[type] : ATTR_OTHER;
    if (attr->kind == ATTR_TENSOR && attr->tensor.datatype == DATATYPE_INVALID)
        return err_set(err, ERR_MODEL_LOAD_FAILED, "attribute '%s' has no tensor", attr->name);
    return read_attr_lists(model, start, attr, err);
}

/* --- nodes ------------------------------------------------------------------------------------------------------- */

static int read_node_value(struct onnx_model *model, const struct proto_field *field, int *list, size_t *count,
                           struct err *err) {
    const char *name;
    if (onnx__proto_string(field, &model->arena, &name, err) != 0) return -1;
    list[(*count)++] = name[0] ? onnx__graph_value(model, name) : -1;
    return 0;
}

static int read_node_field(struct onnx_model *model, const struct proto_field *field, struct onnx__node *node,
                           struct err *err) {
    struct arena *arena = &model->arena;
    switch (field->number) {
    case NODE_INPUT:
        return read_node_value(model, field, node->inputs, &node->input_count, err);
    case NODE_OUTPUT:
        return read_node_value(model, field, node->outputs, &node->output_count, err);
    case NODE_NAME:
        return onnx__proto_string(field, arena, &node->name, err);
    case NODE_OP_TYPE:
        return onnx__proto_string(field, arena, &node->op_type, err);
    case NODE_DOMAIN:
        return onnx__proto_string(field, arena, &node->domain, err);
    case NODE_ATTRIBUTE:
        if (onnx__proto_expect(field, PROTO_BYTES, err) != 0) return -1;
        return read_attr(model, field->body, &node->attrs[node->attr_count++], err);
    default:
        return 0;
    }
}

static int read_node(struct onnx_model *model, struct proto in, struct onnx__node *node, struct err *err) {
    size_t inputs, outputs, attrs;
    *node = (struct onnx__node){.name = "", .op_type = "", .domain = ""};
    if (onnx__proto_count(in, NODE_INPUT, &inputs, err) != 0) return -1;
    if (onnx__proto_count(in, NODE_OUTPUT, &outputs, err) != 0) return -1;
    if (onnx__proto_count(in, NODE_ATTRIBUTE, &attrs, err) != 0) return -1;
    node->inputs = arena_alloc(&model->arena, inputs * sizeof *node->inputs);
    node->outputs = arena_alloc(&model->arena, outputs * sizeof *node->outputs);
    node->attrs = arena_alloc(&model->arena, attrs * sizeof *node->attrs);
    struct proto_field field;
    int more;
    while ((more = onnx__proto_next(&in, &field, err)) > 0)
        if (read_node_field(model, &field, node, err) != 0)
            return err_wrap(err, "node '%.60s' (%.40s)", node->name, node->op_type);
    if (more < 0) return -1;
    if (!onnx__is_main_domain(node->domain))
        return onnx__node_fail(node, ERR_UNSUPPORTED_MODEL, err, "operators of domain '%s' are not supported",
                               node->domain);
    node->op = onnx__op_find(node->op_type); /* first of all complaints: the one that tells most */
    if (!node->op) return onnx__node_fail(node, ERR_UNSUPPORTED_MODEL, err, "the operator is not supported");
    return 0;
}

/* --- inputs and outputs of the graph ----------------------------------------------------------------------------- */

static int read_dim(struct proto in, int64_t *ret, struct err *err) {
    struct proto_field field;
    int more;
    *ret = -1; /* a dim_param, or nothing: any */
    while ((more = onnx__proto_next(&in, &field, err)) > 0) {
        if (field.number != DIM_VALUE) continue;
        if (onnx__proto_expect(&field, PROTO_VARINT, err) != 0) return -1;
        *ret = (int64_t)field.value < 0 ? -1 : (int64_t)field.value;
    }
    return more;
}

static int read_io_shape(struct proto in, struct onnx_io *io, struct err *err) {
    struct proto_field field;
    int more;
    io->rank = 0;
    while ((more = onnx__proto_next(&in, &field, err)) > 0) {
        if (field.number != SHAPE_DIM) continue;
        if (io->rank == TENSOR_MAX_RANK)
            return err_set(err, ERR_UNSUPPORTED_MODEL, "'%s' has more than %d dimensions", io->name, TENSOR_MAX_RANK);
        if (onnx__proto_expect(&field, PROTO_BYTES, err) != 0) return -1;
        if (read_dim(field.body, &io->shape[io->rank++], err) != 0) return -1;
    }
    return more;
}

static int read_tensor_type(struct proto in, struct onnx_io *io, struct err *err) {
    struct proto_field field;
    int more, rc = 0;
    while (rc == 0 && (more = onnx__proto_next(&in, &field, err)) > 0) {
        if (field.number == TENSOR_TYPE_ELEM) {
            rc = onnx__proto_expect(&field, PROTO_VARINT, err);
            io->datatype = onnx__datatype(field.value);
        } else if (field.number == TENSOR_TYPE_SHAPE) {
            rc = onnx__proto_expect(&field, PROTO_BYTES, err);
            if (rc == 0) rc = read_io_shape(field.body, io, err);
        }
    }
    return rc == 0 ? more : -1;
}

static int read_type(struct proto in, struct onnx_io *io, struct err *err) {
    struct proto_field field;
    int more;
    while ((more = onnx__proto_next(&in, &field, err)) > 0) {
        if (field.number != TYPE_TENSOR) continue; /* a sequence, map or optional: datatype stays INVALID */
        if (onnx__proto_expect(&field, PROTO_BYTES, err) != 0) return -1;
        if (read_tensor_type(field.body, io, err) != 0) return -1;
    }
    return more;
}

static int read_io(struct onnx_model *model, struct proto in, struct onnx_io *io, struct err *err) {
    struct proto_field field;
    struct proto type = {0};
    int more, rc = 0;
    *io = (struct onnx_io){.name = "", .rank = -1};
    while (rc == 0 && (more = onnx__proto_next(&in, &field, err)) > 0) {
        if (field.number == IO_NAME) rc = onnx__proto_string(&field, &model->arena, &io->name, err);
        if (field.number == IO_TYPE) {
            rc = onnx__proto_expect(&field, PROTO_BYTES, err);
            type = field.body;
        }
    }
    if (rc != 0 || more < 0) return -1;
    if (io->name[0] == '\0') return err_set(err, ERR_MODEL_LOAD_FAILED, "an input or output of the graph has no name");
    if (read_type(type, io, err) != 0) return -1;
    if (io->datatype == DATATYPE_INVALID)
        return err_set(err, ERR_UNSUPPORTED_MODEL, "'%s' is no tensor of a supported datatype", io->name);
    return 0;
}

/* --- the graph and the model ------------------------------------------------------------------------------------- */

static int read_initializer(struct onnx_model *model, struct proto in, struct err *err) {
    struct tensor tensor;
    if (onnx__decode_tensor(in, &model->arena, &model->external, &tensor, err) != 0) return -1;
    if (tensor.name[0] == '\0') return err_set(err, ERR_MODEL_LOAD_FAILED, "an initializer has no name");
    int number = onnx__graph_value(model, tensor.name); /* may move the values */
    struct onnx__value *value = &model->values[number];
    if (value->constant) return err_set(err, ERR_MODEL_LOAD_FAILED, "two initializers are named '%s'", tensor.name);
    value->constant = true;
    value->tensor = tensor;
    model->weight_bytes += tensor.size_bytes;
    return 0;
}

static int read_graph_field(struct onnx_model *model, const struct proto_field *field, struct err *err) {
    switch (field->number) {
    case GRAPH_NODE:
    case GRAPH_INITIALIZER:
    case GRAPH_INPUT:
    case GRAPH_OUTPUT:
        if (onnx__proto_expect(field, PROTO_BYTES, err) != 0) return -1;
        break;
    case GRAPH_SPARSE:
        return err_set(err, ERR_UNSUPPORTED_MODEL, "sparse initializers are not supported");
    default:
        return 0;
    }
    if (field->number == GRAPH_NODE) return read_node(model, field->body, &model->nodes[model->node_count++], err);
    if (field->number == GRAPH_INITIALIZER) return read_initializer(model, field->body, err);
    if (field->number == GRAPH_INPUT) return read_io(model, field->body, &model->inputs[model->input_count++], err);
    return read_io(model, field->body, &model->outputs[model->output_count++], err);
}

static int read_graph(struct onnx_model *model, struct proto in, struct err *err) {
    size_t nodes, inputs, outputs, initializers;
    if (onnx__proto_count(in, GRAPH_NODE, &nodes, err) != 0) return -1;
    if (onnx__proto_count(in, GRAPH_INPUT, &inputs, err) != 0) return -1;
    if (onnx__proto_count(in, GRAPH_OUTPUT, &outputs, err) != 0) return -1;
    if (onnx__proto_count(in, GRAPH_INITIALIZER, &initializers, err) != 0) return -1;
    if (nodes > MAX_ITEMS || inputs > MAX_ITEMS || outputs > MAX_ITEMS || initializers > MAX_ITEMS)
        return err_set(err, ERR_UNSUPPORTED_MODEL, "the graph has more than %zu nodes, weights, inputs or outputs",
                       MAX_ITEMS);
    model->nodes = arena_alloc(&model->arena, nodes * sizeof *model->nodes);
    model->inputs = arena_alloc(&model->arena, inputs * sizeof *model->inputs);
    model->outputs = arena_alloc(&model->arena, outputs * sizeof *model->outputs);
    model->input_values = arena_alloc(&model->arena, inputs * sizeof *model->input_values);
    model->output_values = arena_alloc(&model->arena, outputs * sizeof *model->output_values);
    struct proto_field field;
    int more;
    while ((more = onnx__proto_next(&in, &field, err)) > 0)
        if (read_graph_field(model, &field, err) != 0) return -1;
    return more;
}

static int read_opset(struct onnx_model *model, struct proto in, struct err *err) {
    struct proto_field field;
    const char *domain = "";
    uint64_t version = 0;
    int more, rc = 0;
    while (rc == 0 && (more = onnx__proto_next(&in, &field, err)) > 0) {
        if (field.number == OPSET_DOMAIN) rc = onnx__proto_string(&field, &model->arena, &domain, err);
        if (field.number == OPSET_VERSION) {
            rc = onnx__proto_expect(&field, PROTO_VARINT, err);
            version = field.value;
        }
    }
    if (rc != 0 || more < 0) return -1;
    if (!onnx__is_main_domain(domain)) return 0; /* matters only if a node uses it, and then the node is refused */
    if (version < ONNX_MIN_OPSET || version > ONNX_MAX_OPSET)
        return err_set(err, ERR_UNSUPPORTED_MODEL, "the model uses opset %" PRIu64 "; %d to %d are supported", version,
                       ONNX_MIN_OPSET, ONNX_MAX_OPSET);
    model->opset = (int)version;
    return 0;
}

int onnx__decode_model(struct onnx_model *model, struct proto in, struct err *err) {
    struct proto_field field;
    struct proto graph = {0};
    int more;
    while ((more = onnx__proto_next(&in, &field, err)) > 0) {
        if (field.number != MODEL_GRAPH && field.number != MODEL_OPSET_IMPORT) continue;
        if (onnx__proto_expect(&field, PROTO_BYTES, err) != 0) return -1;
        if (field.number == MODEL_GRAPH) graph = field.body;
        if (field.number == MODEL_OPSET_IMPORT && read_opset(model, field.body, err) != 0) return -1;
    }
    if (more < 0) return -1;
    if (!graph.base) return err_set(err, ERR_MODEL_LOAD_FAILED, "not a valid ONNX file: it has no graph");
    if (read_graph(model, graph, err) != 0) return -1;
    if (model->opset == 0) return err_set(err, ERR_MODEL_LOAD_FAILED, "the model names no opset of the domain ai.onnx");
    return 0;
}
