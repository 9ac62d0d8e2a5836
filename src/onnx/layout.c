/* Placing blocks in one stretch of memory. Blocks come and go in the order of the nodes; each new one takes the first
 * gap between the live ones that it fits into. That is simple and near the optimum for chains, which most networks are.
 */
#include "onnx_internal.h"

#include <stdlib.h>

size_t onnx__layout_place(struct onnx__layout *layout, size_t size_bytes) {
    size_t size = (size_bytes + PLAN_ALIGN - 1) & ~(PLAN_ALIGN - 1);
    if (size == 0) size = PLAN_ALIGN; /* so that every block has an offset of its own, by which it is released */
    size_t at = 0, i = 0;
    for (; i < layout->count; i++) {
        if (layout->live[i].at - at >= size) break;
        at = layout->live[i].at + layout->live[i].size_bytes;
    }
    if (layout->count == layout->cap) {
        layout->cap = layout->cap ? layout->cap * 2 : 16;
        layout->live = mem_realloc(layout->live, layout->cap * sizeof *layout->live);
    }
    memmove(&layout->live[i + 1], &layout->live[i], (layout->count - i) * sizeof *layout->live);
    layout->live[i] = (struct onnx__block){.at = at, .size_bytes = size};
    layout->count++;
    if (at + size > layout->high_water) layout->high_water = at + size;
    return at;
}

void onnx__layout_release(struct onnx__layout *layout, size_t at) {
    size_t i = 0;
    while (i < layout->count && layout->live[i].at != at) i++;
    BUG_ON(i == layout->count);
    layout->count--;
    memmove(&layout->live[i], &layout->live[i + 1], (layout->count - i) * sizeof *layout->live);
}

void onnx__layout_done(struct onnx__layout *layout) {
    free(layout->live);
    *layout = (struct onnx__layout){0};
}
