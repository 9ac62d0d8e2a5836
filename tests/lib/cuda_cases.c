#include "cuda_cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "penstock/registry.h"

static const struct executor_ops *find_in(const char *folder, const char *what) {
    const struct executor_ops *ops;
    struct executor_options options = {0};
    struct executor_error why;
    struct err err;
    char path[1024], device[256];
    snprintf(path, sizeof path, "%s/libpenstock_onnx_cuda.so", folder);
    if (access(path, F_OK) != 0) return NULL;
    if (registry_executor_find("onnx-cuda", folder, &ops, &err) != 0) {
        printf("onnx-cuda, %s: %s\n", what, err.msg);
        return NULL;
    }
    int rc = ops->probe(&options, device, sizeof device, &why);
    printf("onnx-cuda, %s: %s\n", what, rc == 0 ? device : why.message);
    return rc == 0 ? ops : NULL;
}

static bool emulates;

bool cuda_case_is_emulated(void) { return emulates; }

const struct executor_ops *cuda_case_ops(void) {
    static const struct executor_ops *ops;
    static int looked;
    const char *build = getenv("PENSTOCK_BUILD_DIR");
    char emulated[1024];
    if (looked++) return ops;
    if (!build) build = ".";
    snprintf(emulated, sizeof emulated, "%s/emulated", build);
    ops = find_in(build, "the plug-in");
    if (!ops) {
        ops = find_in(emulated, "emulated, which proves indices and logic and nothing about a GPU");
        emulates = ops != NULL;
    }
    if (!ops) printf("onnx-cuda: skipped: neither a GPU nor the emulated plug-in, which needs a C++ compiler\n");
    fflush(stdout);
    return ops;
}
