/* Which operators a file uses. Reading a model ends at the first thing that cannot be run; who wants to know what
 * stands between a model and its use wants the whole list. So the nodes are walked once more, for their names alone. */
#include <stdlib.h>
#include <sys/mman.h>

#include "onnx_internal.h"
#include "penstock/onnx_report.h"

#define OPS_MAX 4096 /* different operators in one file */

struct walk {
    struct arena *arena;
    struct onnx_survey *survey;
};

static struct onnx_survey_op *op_of(struct walk *walk, const char *domain, const char *op_type) {
    struct onnx_survey *survey = walk->survey;
    size_t at = 0;
    int order = -1;
    for (; at < survey->op_count; at++) {
        order = strcmp(survey->ops[at].op_type, op_type);
        if (order == 0) order = strcmp(survey->ops[at].domain, domain);
        if (order >= 0) break;
    }
    if (at < survey->op_count && order == 0) return &survey->ops[at];
    if (survey->op_count == OPS_MAX) return NULL;
    memmove(&survey->ops[at + 1], &survey->ops[at], (survey->op_count++ - at) * sizeof *survey->ops);
    survey->ops[at] = (struct onnx_survey_op){.op_type = op_type, .domain = domain};
    survey->ops[at].supported = !*domain && onnx__op_find(op_type);
    return &survey->ops[at];
}

static int see_node(struct walk *walk, struct proto in, struct err *err) {
    const char *op_type = "", *name = "", *domain = "";
    struct proto_field field;
    int more, rc = 0;
    while (rc == 0 && (more = onnx__proto_next(&in, &field, err)) > 0) {
        const char **to = field.number == NODE_OP_TYPE  ? &op_type
                          : field.number == NODE_NAME   ? &name
                          : field.number == NODE_DOMAIN ? &domain
                                                        : NULL;
        if (to) rc = onnx__proto_string(&field, walk->arena, to, err);
    }
    if (rc != 0 || more < 0) return -1;
    struct onnx_survey_op *op = op_of(walk, onnx__is_main_domain(domain) ? "" : domain, op_type);
    if (!op) return err_set(err, ERR_UNSUPPORTED_MODEL, "more than %d different operators", OPS_MAX);
    if (op->count++ == 0) op->first_node = name;
    walk->survey->node_count++;
    return 0;
}

static int see_opset(struct walk *walk, struct proto in, struct err *err) {
    const char *domain = "";
    uint64_t version = 0;
    struct proto_field field;
    int more, rc = 0;
    while (rc == 0 && (more = onnx__proto_next(&in, &field, err)) > 0) {
        if (field.number == OPSET_DOMAIN) rc = onnx__proto_string(&field, walk->arena, &domain, err);
        if (field.number == OPSET_VERSION && field.wire == PROTO_VARINT) version = field.value;
    }
    if (rc != 0 || more < 0) return -1;
    if (onnx__is_main_domain(domain)) walk->survey->opset = version <= INT32_MAX ? (int)version : INT32_MAX;
    return 0;
}

static int see_graph(struct walk *walk, struct proto in, struct err *err) {
    struct proto_field field;
    int more;
    while ((more = onnx__proto_next(&in, &field, err)) > 0) {
        if (field.number != GRAPH_NODE) continue;
        if (onnx__proto_expect(&field, PROTO_BYTES, err) != 0 || see_node(walk, field.body, err) != 0) return -1;
    }
    return more;
}

static int see_model(struct walk *walk, struct proto in, struct err *err) {
    struct proto_field field;
    bool graph = false;
    int more;
    while ((more = onnx__proto_next(&in, &field, err)) > 0) {
        if (field.number != MODEL_GRAPH && field.number != MODEL_OPSET_IMPORT) continue;
        if (onnx__proto_expect(&field, PROTO_BYTES, err) != 0) return -1;
        graph |= field.number == MODEL_GRAPH;
        if ((field.number == MODEL_GRAPH ? see_graph : see_opset)(walk, field.body, err) != 0) return -1;
    }
    if (more == 0 && !graph) return err_set(err, ERR_MODEL_LOAD_FAILED, "not a valid ONNX file: it has no graph");
    return more;
}

int onnx_report_survey(const char *path, struct arena *arena, struct onnx_survey *ret, struct err *err) {
    struct walk walk = {arena, ret};
    size_t len = 0;
    uint8_t *map = onnx__map_file(path, &len, err);
    if (!map) return -1;
    *ret = (struct onnx_survey){.ops = arena_alloc(arena, (OPS_MAX + 1) * sizeof *ret->ops)};
    int rc = see_model(&walk, (struct proto){.base = map, .at = map, .end = map + len}, err);
    munmap(map, len);
    return rc == 0 ? 0 : err_wrap(err, "%s", path);
}
