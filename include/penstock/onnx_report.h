/* onnx_report: what a model is made of, for people: `penstock check-model`. See onnx.h.
 *
 *     struct onnx_survey survey;
 *     if (onnx_report_survey("model.onnx", &arena, &survey, &err) == 0)
 *         for (size_t i = 0; i < survey.op_count; i++) print(&survey.ops[i]);
 */
#ifndef PENSTOCK_ONNX_REPORT_H
#define PENSTOCK_ONNX_REPORT_H

#include "penstock/onnx.h"

struct onnx_survey_op {
    const char *op_type, *domain; /* domain "": ai.onnx */
    size_t count;
    bool supported;         /* there is such an operator here; a form of it may be refused all the same */
    const char *first_node; /* the name of the first one; may be "" */
};

struct onnx_survey {
    int opset;                  /* of ai.onnx; 0: none is named */
    struct onnx_survey_op *ops; /* by name */
    size_t op_count, node_count;
};
/* Which operators a file uses, whether they can be run or not. ERR_MODEL_LOAD_FAILED: no well-formed model. */
int onnx_report_survey(const char *path, struct arena *arena, struct onnx_survey *ret, struct err *err) MUSTCHECK;

struct onnx_memory {
    size_t weight_bytes;
    size_t value_bytes;   /* of all intermediate values together */
    size_t scratch_bytes; /* of the step that needs the most */
    size_t planned_bytes; /* what the values and scratch are laid over, each place used again after its last reader */
    size_t steps;
};
/* Of what onnx_session_prepare laid out. */
void onnx_report_memory(const struct onnx_session *ses, struct onnx_memory *ret);

#endif
