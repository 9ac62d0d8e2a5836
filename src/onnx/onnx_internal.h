/* Shared by the files of src/onnx. From low to high: proto (bytes), decode (messages), graph (a checked graph), plan
 * (shapes and memory for given inputs), session (plans kept by shape), and the back ends: cpu/ (the table of operators,
 * their inference and reference kernels) and cuda/. */
#ifndef PENSTOCK_ONNX_INTERNAL_H
#define PENSTOCK_ONNX_INTERNAL_H

#include <string.h>

#include "penstock/onnx.h"
#include "penstock/onnx_backend.h"

/* --- proto.c: the protobuf wire format --------------------------------------------------------------------------- */

enum proto_wire { PROTO_VARINT = 0, PROTO_FIXED64 = 1, PROTO_BYTES = 2, PROTO_FIXED32 = 5 };

/* A message being read; `base` is the file's first byte, for error messages. */
struct proto {
    const uint8_t *base, *at, *end;
};
struct proto_field {
    uint32_t number;
    enum proto_wire wire;
    uint64_t value;    /* of VARINT, FIXED32, FIXED64 */
    struct proto body; /* of BYTES */
};

int onnx__proto_next(struct proto *in, struct proto_field *ret, struct err *err) MUSTCHECK; /* 1, 0 at the end, -1 */
int onnx__proto_bad(const struct proto *in, struct err *err, const char *what);             /* -1 */
int onnx__proto_expect(const struct proto_field *field, enum proto_wire wire, struct err *err) MUSTCHECK;
int onnx__proto_count(struct proto in, uint32_t number, size_t *ret, struct err *err) MUSTCHECK;
/* A string field with its NUL; one that contains a NUL is refused. */
int onnx__proto_string(const struct proto_field *field, struct arena *arena, const char **ret,
                       struct err *err) MUSTCHECK;
/* Every value of a repeated scalar field, packed or not, as its 64 raw bits. `wire` is that of one element. */
int onnx__proto_scalars(struct proto in, uint32_t number, enum proto_wire wire, struct arena *arena, uint64_t **ret,
                        size_t *ret_count, struct err *err) MUSTCHECK;

/* Field numbers of onnx.proto that more than one file reads. */
enum { MODEL_GRAPH = 7, MODEL_OPSET_IMPORT = 8 };
enum { OPSET_DOMAIN = 1, OPSET_VERSION = 2 };
enum { GRAPH_NODE = 1, GRAPH_INITIALIZER = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12, GRAPH_SPARSE = 15 };
enum { NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_NAME = 3, NODE_OP_TYPE = 4, NODE_ATTRIBUTE = 5, NODE_DOMAIN = 7 };

/* --- the graph --------------------------------------------------------------------------------------------------- */

enum onnx__attr_kind {
    ATTR_OTHER,
    ATTR_FLOAT,
    ATTR_INT,
    ATTR_STRING,
    ATTR_TENSOR,
    ATTR_FLOATS,
    ATTR_INTS,
    ATTR_STRINGS
};

struct onnx__attr {
    const char *name;
    enum onnx__attr_kind kind; /* OTHER: graphs and what else no kernel here takes */
    int64_t integer;
    float number;
    const char *string;
    struct tensor tensor;
    const int64_t *ints;
    const float *floats;
    const char **strings;
    size_t count; /* of ints, floats or strings */
};

struct onnx__node {
    const char *name, *op_type, *domain;
    const struct onnx__op *op;
    const struct onnx__fast *fast; /* of the fused graph: how the CPU runs it, or NULL: as op says */
    const struct onnx__tail *tail; /* of the fused graph: what follows in the same step, or NULL */
    int *inputs, *outputs;         /* value numbers; -1: left out */
    size_t input_count, output_count;
    struct onnx__attr *attrs;
    size_t attr_count;
};

struct onnx__value {
    const char *name;
    int producer;       /* node number, -1: none */
    bool constant;      /* initializer, or folded at load: `tensor` has its data */
    bool input;         /* of the graph */
    bool decides_shape; /* an input whose value shape inference reads */
    struct tensor tensor;
};

/* Files beside the model that hold weights. */
struct onnx__external {
    int folder; /* -1: none, or no more */
    struct onnx__file *files;
    size_t count;
};

struct onnx_model {
    struct arena arena;
    struct onnx__external external;
    void *map;
    size_t map_bytes;
    int opset;
    struct onnx__node *nodes; /* in an order in which they can run */
    size_t node_count;
    struct onnx__value *values;
    size_t value_count, value_cap;
    struct onnx__node *fused_nodes; /* the same graph in fewer steps (fuse.c); its new values follow the others */
    size_t fused_count, fused_value_count;
    int *name_slots; /* open addressing: value number + 1, 0 empty */
    size_t name_slot_count;
    struct onnx_io *inputs, *outputs;
    int *input_values, *output_values;
    size_t input_count, output_count;
    size_t weight_bytes;
};

bool onnx__is_main_domain(const char *domain);                            /* decode.c */
void *onnx__map_file(const char *path, size_t *ret_len, struct err *err); /* graph.c; NULL with *err */

/* decode.c */
int onnx__decode_model(struct onnx_model *model, struct proto in, struct err *err) MUSTCHECK;
/* weights.c. external: NULL where no file may be named. */
int onnx__decode_tensor(struct proto in, struct arena *arena, struct onnx__external *external, struct tensor *ret,
                        struct err *err) MUSTCHECK;
enum datatype
onnx__datatype(uint64_t onnx_type); /* weights.c; DATATYPE_INVALID for those that no tensor here can have */

/* external.c */
struct onnx__place {
    const char *location; /* relative to the model's folder */
    uint64_t offset, length;
    bool has_length;
};
int onnx__external_open(struct onnx__external *ext, const char *model_path, struct err *err) MUSTCHECK;
void onnx__external_close(struct onnx__external *ext);
void onnx__external_done(struct onnx__external *ext);
/* The `size` bytes at a place. */
int onnx__external_find(struct onnx__external *ext, const struct onnx__place *place, size_t size, struct proto *ret,
                        struct err *err) MUSTCHECK;

/* graph.c */
int onnx__graph_value(struct onnx_model *model, const char *name); /* its number; made if new */
int onnx__graph_finish(struct onnx_model *model, struct err *err) MUSTCHECK;

/* --- operators --------------------------------------------------------------------------------------------------- */

/* One node with its tensors: what shape inference and kernels get. Missing optional inputs and outputs are NULL. During
 * inference `data` is set where the value is known already (weights, shapes); when running it is set everywhere. */
struct onnx__step {
    const struct onnx__node *node;
    int opset;
    struct tensor **in, **out;
    size_t in_count, out_count;
    size_t scratch_bytes;    /* inference asks for it */
    void *scratch;           /* running gets it, 64-byte aligned */
    size_t scratch_at;       /* offset in the session's memory */
    int threads;             /* that may share out its work; inference may ask for scratch for each */
    struct onnx__team *team; /* running gets it; NULL: alone */
    const void *packed;      /* running gets what the fast form's pack made of the node's weights, or NULL */
};

/* Checks the inputs and gives each output that is not NULL its datatype, rank and shape. */
typedef int onnx__infer_fn(struct onnx__step *step, struct err *err);
/* Computes the outputs. Allocates nothing. */
typedef int onnx__run_fn(const struct onnx__step *step, struct err *err);

#define TYPE_BIT(datatype) (1u << (datatype))
#define TYPES_FLOAT        TYPE_BIT(DATATYPE_FP32)
#define TYPES_NUMBER                                                                                                   \
    (TYPES_FLOAT | TYPE_BIT(DATATYPE_FP64) | TYPE_BIT(DATATYPE_INT32) | TYPE_BIT(DATATYPE_INT64) |                     \
     TYPE_BIT(DATATYPE_UINT8))
#define TYPES_UNSIGNED                                                                                                 \
    (TYPE_BIT(DATATYPE_UINT8) | TYPE_BIT(DATATYPE_UINT16) | TYPE_BIT(DATATYPE_UINT32) | TYPE_BIT(DATATYPE_UINT64))
#define TYPES_INT                                                                                                      \
    (TYPE_BIT(DATATYPE_INT8) | TYPE_BIT(DATATYPE_INT16) | TYPE_BIT(DATATYPE_INT32) | TYPE_BIT(DATATYPE_INT64) |        \
     TYPES_UNSIGNED)
#define TYPES_REAL   (TYPE_BIT(DATATYPE_FP16) | TYPE_BIT(DATATYPE_FP32) | TYPE_BIT(DATATYPE_FP64))
#define TYPES_ARITH  (TYPES_INT | TYPES_REAL)
#define TYPES_SIGNED (TYPES_ARITH & ~TYPES_UNSIGNED)
#define TYPES_POW    (TYPES_REAL | TYPE_BIT(DATATYPE_INT32) | TYPE_BIT(DATATYPE_INT64)) /* bases of Pow */
#define TYPES_BOOL   TYPE_BIT(DATATYPE_BOOL)
/* Of CumSum, MatMul and Gemm. */
#define TYPES_PRODUCT                                                                                                  \
    (TYPE_BIT(DATATYPE_FP32) | TYPE_BIT(DATATYPE_FP64) | TYPE_BIT(DATATYPE_INT32) | TYPE_BIT(DATATYPE_INT64) |         \
     TYPE_BIT(DATATYPE_UINT32) | TYPE_BIT(DATATYPE_UINT64))
#define TYPES_ANY (~(TYPE_BIT(DATATYPE_INVALID) | TYPE_BIT(DATATYPE_BYTES)))

enum {
    OP_VIEW = 1,       /* output 0 is input 0's bytes under another shape */
    OP_OF_SHAPES = 2,  /* the outputs follow from the inputs' shapes alone, so they are known before any data */
    OP_ANY_OUTPUT = 4, /* output 0 may be left out where another one is not */
};

struct onnx__op {
    const char *op_type;
    int since;                       /* first opset whose meaning of the operator is implemented */
    uint8_t min_in, max_in, max_out; /* max_in 255: any number */
    uint32_t types;                  /* of input 0 */
    uint8_t shape_inputs;            /* bit i: inference reads the value of input i */
    uint8_t flags;                   /* OP_... below */
    onnx__infer_fn *infer;
    onnx__run_fn *run; /* NULL for a view that has nothing else to do */
};

const struct onnx__op *onnx__op_find(const char *op_type); /* cpu/ops.c */

/* What may follow a Conv, MatMul or Gemm in the same step: the fused graph gives such a node as inputs 2 and 3 (-1:
 * left out) a bias, one number for each channel or column, and another tensor of the output's shape; both are added,
 * then a function is taken. */
enum onnx__function {
    FUNCTION_NONE,
    FUNCTION_RELU,
    FUNCTION_CLIP, /* between alpha and beta */
    FUNCTION_LEAKY_RELU,
    FUNCTION_HARD_SIGMOID,
    FUNCTION_HARD_SWISH,
    FUNCTION_EXP,
    FUNCTION_SIGMOID,
    FUNCTION_TANH,
    FUNCTION_ERF,
    FUNCTION_GELU,
    FUNCTION_GELU_TANH,
};
enum { TAIL_BIAS = 2, TAIL_REST = 3 };
struct onnx__tail {
    enum onnx__function function;
    float alpha, beta;
};

/* How the CPU runs an operator fast. The operator's own functions are the reference: these call them for what they do
 * not do better, and are held against them by tests. */
struct onnx__fast {
    const char *op_type;
    bool takes_tail;
    onnx__infer_fn *infer;
    onnx__run_fn *run;
    /* [optional] what a session makes of the node's constant weights once, when it is opened: `*ret_size` bytes that
     * the caller frees; NULL: nothing. Who runs the fast form must give it that. */
    void *(*pack)(const struct onnx_model *model, const struct onnx__node *node, size_t *ret_size);
};
const struct onnx__fast *onnx__fast_find(const char *op_type); /* cpu/fast.c; NULL: the reference is what there is */

/* fuse.c: makes model->fused_nodes of model->nodes. Never fails: what it does not know it leaves as it is. */
void onnx__fuse_model(struct onnx_model *model);

/* step.c: what operators share */
int onnx__node_fail(const struct onnx__node *node, enum err_code code, struct err *err, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* -1, spelled out: the compiler must see that whoever asks goes no further. */
#define onnx__step_refuse(step, err, ...) (onnx__node_fail((step)->node, ERR_UNSUPPORTED_MODEL, err, __VA_ARGS__), -1)
#define onnx__step_fail(step, err, ...)   (onnx__node_fail((step)->node, ERR_EXECUTION_FAILED, err, __VA_ARGS__), -1)
const struct onnx__attr *onnx__step_attr(const struct onnx__step *step, const char *name, enum onnx__attr_kind kind);
int64_t onnx__step_int(const struct onnx__step *step, const char *name, int64_t fallback);
float onnx__step_float(const struct onnx__step *step, const char *name, float fallback);
const char *onnx__step_string(const struct onnx__step *step, const char *name, const char *fallback);
/* A list of integers that an older opset has as an attribute and a newer one as an input. */
struct onnx__ints {
    bool given;
    size_t count;
    const int64_t *wide; /* or, where NULL, narrow */
    const int32_t *narrow;
};
static inline int64_t onnx__ints_at(const struct onnx__ints *ints, size_t i) {
    return ints->wide ? ints->wide[i] : ints->narrow[i];
}
/* From the attribute `name` (NULL: none), else from input `index` (-1: none), whose value must be known: INT64 or
 * INT32, at most one dimension. */
int onnx__step_ints(const struct onnx__step *step, const char *name, int index, struct onnx__ints *ret,
                    struct err *err) MUSTCHECK;
struct tensor *onnx__step_in(const struct onnx__step *step, size_t index); /* NULL if absent */
int onnx__step_axis(const struct onnx__step *step, int64_t axis, int rank, int *ret, struct err *err) MUSTCHECK;
void onnx__shape_like(struct tensor *out, const struct tensor *like); /* datatype and shape */
void onnx__shape_set(struct tensor *out, enum datatype datatype, int rank, const int64_t *shape);
/* No dimension negative, at most 1 TiB; *ret_bytes: the size. */
bool onnx__shape_fits(const struct tensor *tensor, size_t *ret_bytes);
bool onnx__shape_broadcast(const struct tensor *a, const struct tensor *b, int *ret_rank, int64_t *ret_shape);
int64_t onnx__shape_product(const struct tensor *tensor, int from, int to); /* of dims [from, to) */
/* Input `index` as it lies over input 0: until opset 6 its dimensions may begin at `axis` instead of ending at the
 * last.
 */
struct tensor onnx__broadcast_operand(const struct onnx__step *step, size_t index); /* cpu/broadcast.c */
const char *onnx__shape_text(const int64_t *shape, int rank, char *text, size_t size);
static inline int64_t onnx__count(const struct tensor *tensor) { return onnx__shape_product(tensor, 0, tensor->rank); }

/* --- plan.c ------------------------------------------------------------------------------------------------------ */

struct onnx__plan {
    struct arena arena;
    bool fused; /* of the fused graph */
    size_t value_count;
    struct tensor *values; /* by value number */
    size_t *offsets;       /* by value number; PLAN_NO_OFFSET: constant */
    struct onnx__step *steps;
    size_t step_count;
    size_t memory_bytes; /* of the one allocation that everything is carved from */
    uint64_t last_used;
    int *roots;    /* by value number: whose bytes it has; itself, but for views */
    void *backend; /* the back end's own part: where it is bound, what was prepared for it */
};
#define PLAN_NO_OFFSET SIZE_MAX
#define PLAN_ALIGN     ((size_t)64)

/* For the fused graph or the plain one. A fused step can be refused where its plain ones are not (what is added turns
 * out to be of another shape); so whoever asks for the fused one and is refused asks for the plain one. */
int onnx__plan_new(const struct onnx_model *model, bool fused, int threads, const struct tensor *inputs,
                   struct onnx__plan **ret, struct err *err) MUSTCHECK;
void onnx__plan_free(struct onnx__plan *plan);
/* Computes, once, what depends on constants alone; the nodes that did it are taken out of the model. */
int onnx__plan_fold_model(struct onnx_model *model, struct err *err) MUSTCHECK;

/* --- team.c: the threads of a session ----------------------------------------------------------------------------- */

/* One of `count` tasks; `worker`: who does it, from 0 to the size of the team. Tasks must not write to the same place.
 */
typedef void onnx__task_fn(void *ctx, int64_t task, int worker);
struct onnx__team *onnx__team_new(int threads);     /* Owns: caller frees */
void onnx__team_free(struct onnx__team *team);      /* safe on NULL */
int onnx__team_size(const struct onnx__team *team); /* 1 of NULL */
/* Returns when all tasks are done. Allocates nothing. Thread: one round at a time. */
void onnx__team_run(struct onnx__team *team, int64_t count, onnx__task_fn *task, void *ctx);

/* --- back ends --------------------------------------------------------------------------------------------------- */

/* Where a session's memory is, and who runs its steps. `state` is what open made, one for each session. */
struct onnx_backend {
    const char *name;
    bool fused; /* runs the steps of the fused graph, with their tails */
    int (*probe)(int device, char *ret_name, size_t ret_size, struct err *err);
    int (*open)(const struct onnx_model *model, const struct onnx_session_options *options, void **ret_state,
                struct err *err);
    void (*close)(void *state);
    /* Lays `plan` over the memory, which it makes larger where it must, at every prepare. Afterwards the data of the
     * graph's inputs and outputs are host memory. On failure what was bound before is still good to bind again. */
    int (*bind)(void *state, struct onnx__plan *plan, struct err *err);
    void (*forget)(void *state, struct onnx__plan *plan); /* [optional] frees plan->backend before the plan goes */
    int (*run)(void *state, struct onnx__plan *plan, const struct onnx_control *control, struct err *err);
    size_t (*memory)(const void *state); /* bytes on the device: weights and activations */
    /* [optional] does the step run on the device, or on the CPU for want of a kernel? */
    bool (*on_device)(const struct onnx__step *step);
};

/* Half of the machine's memory is more than one run should have: shapes can come with a job, and a few bytes of them
 * can ask for any amount; what malloc promises beyond that ends in the kernel killing the process. */
size_t onnx__memory_limit(void); /* session.c */

/* layout.c: places blocks in one stretch of memory, first fit among the live ones */
struct onnx__block {
    size_t at, size_bytes;
};
struct onnx__layout {
    struct onnx__block *live; /* by offset */
    size_t count, cap;
    size_t high_water;
};
size_t onnx__layout_place(struct onnx__layout *layout, size_t size_bytes);
void onnx__layout_release(struct onnx__layout *layout, size_t at);
void onnx__layout_done(struct onnx__layout *layout);

#endif
