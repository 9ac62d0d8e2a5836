/* Any bytes as the head of a .npy file. What is accepted is a tensor that there is, with its data within the bytes. */
#include "fuzz.h"
#include "penstock/artifact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct artifact_npy head;
    struct err err;
    if (artifact_npy_head(data, size, &head, &err) != 0) {
        BUG_ON(err.code != ERR_INVALID_INPUT || err.msg[0] == '\0');
        return 0;
    }
    BUG_ON(head.data_at > size || head.rank < 0 || head.rank > TENSOR_MAX_RANK || datatype_size(head.datatype) == 0);
    for (int i = 0; i < head.rank; i++) BUG_ON(head.shape[i] < 0);
    return 0;
}
