/* Attention: softmax(scale x Q K^T + mask) V, a step that the fused graph makes of some ten (fuse.c).
 *
 * A block takes 16 queries of one head and goes over the keys in tiles, which it brings to shared memory first as keys,
 * then as values; scores exist only for the tile at work. Each query keeps its largest score so far, the sum of its
 * exponentials and its mix of values; when a later tile has a larger score, sum and mix are scaled down to it. So
 * nothing that grows with the square of the sequence is ever written down. 16 threads share a query: they have every
 * 16th key of the tile, then every 16th element of the value.
 *
 * Source: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022.
 * It computes in float32, whatever the precision of the products around it.
 */
#include "kernel.cuh"

#define QUERIES  16 /* of a block */
#define SHARE    16 /* threads of a query, half of a warp */
#define HEAD_MAX 256

struct attending {
    int batch, heads, queries, keys, size, value_size;
    int64_t mask_steps[3];
    float scale;
};

/* The threads of a query together. */
template <typename F> __device__ float share(float v, F join) {
    for (int lane = SHARE / 2; lane > 0; lane /= 2) v = join(v, __shfl_xor_sync(0xffffffffu, v, lane));
    return v;
}
struct more {
    __device__ float operator()(float a, float b) const { return a > b || a != a ? a : b; }
};

/* SIZE: of a head, at least; KEYS: of a tile. */
template <int SIZE, int KEYS>
__global__ void __launch_bounds__(QUERIES *SHARE)
    attention_kernel(attending at, const float *q, const float *k, const float *v, const float *mask, float *y) {
    __shared__ float own[QUERIES][SIZE], tile[KEYS][SIZE + 1], scores[QUERIES][KEYS];
    const int threads = QUERIES * SHARE;
    int thread = threadIdx.x, row = thread / SHARE, part = thread % SHARE, head = blockIdx.y, item = blockIdx.z;
    int query = blockIdx.x * QUERIES + row;
    int64_t pitch = (int64_t)at.heads * at.size, value_pitch = (int64_t)at.heads * at.value_size;
    float mix[SIZE / SHARE] = {}, largest = -INFINITY, sum = 0;
    q += (int64_t)item * at.queries * pitch + head * at.size;
    k += (int64_t)item * at.keys * pitch + head * at.size;
    v += (int64_t)item * at.keys * value_pitch + head * at.value_size;
    y += (int64_t)item * at.queries * value_pitch + head * at.value_size;
    if (mask) mask += item * at.mask_steps[0] + head * at.mask_steps[1] + query * at.mask_steps[2];
    for (int i = part; i < at.size; i += SHARE) own[row][i] = query < at.queries ? q[query * pitch + i] : 0;
    for (int first = 0; first < at.keys; first += KEYS) {
        int count = at.keys - first < KEYS ? at.keys - first : KEYS;
        __syncthreads(); /* the values of the tile before have been read */
        for (int i = thread; i < count * at.size; i += threads)
            tile[i / at.size][i % at.size] = k[(first + i / at.size) * pitch + i % at.size];
        __syncthreads();
        float top = largest, found[KEYS / SHARE];
        CUDA__UNROLL
        for (int i = 0; i < KEYS / SHARE; i++) {
            int key = part + i * SHARE;
            float score = 0;
            found[i] = -INFINITY;
            if (key >= count || query >= at.queries) continue;
            for (int d = 0; d < at.size; d++) score += own[row][d] * tile[key][d];
            found[i] = score * at.scale + (mask ? mask[first + key] : 0);
            top = more()(top, found[i]);
        }
        top = share(top, more());
        float shrink = largest == top ? 1 : expf(largest - top), added = 0;
        CUDA__UNROLL
        for (int i = 0; i < KEYS / SHARE; i++) {
            float weight = found[i] == -INFINITY ? 0 : expf(found[i] - top);
            scores[row][part + i * SHARE] = weight;
            added += weight;
        }
        sum = sum * shrink + share(added, cuda__plus());
        largest = top;
        __syncthreads(); /* the keys have been read, the scores are there */
        for (int i = thread; i < count * at.value_size; i += threads)
            tile[i / at.value_size][i % at.value_size] =
                v[(first + i / at.value_size) * value_pitch + i % at.value_size];
        __syncthreads();
        CUDA__UNROLL
        for (int i = 0; i < SIZE / SHARE; i++) {
            float more_of_it = 0;
            if (part + i * SHARE < at.value_size)
                for (int key = 0; key < count; key++) more_of_it += scores[row][key] * tile[key][part + i * SHARE];
            mix[i] = mix[i] * shrink + more_of_it;
        }
    }
    CUDA__UNROLL
    for (int i = 0; i < SIZE / SHARE; i++)
        if (query < at.queries && part + i * SHARE < at.value_size)
            y[query * value_pitch + part + i * SHARE] = mix[i] / sum;
}

template <int SIZE, int KEYS>
static int launch_heads(const struct cuda__call *call, struct err *err, const attending &at) {
    const float *mask = call->step->in_count > 3 ? (const float *)call->in[3] : NULL;
    dim3 grid((unsigned)((at.queries + QUERIES - 1) / QUERIES), (unsigned)at.heads, (unsigned)at.batch);
    return cuda__launch(call, err, attention_kernel<SIZE, KEYS>, grid, QUERIES * SHARE, at, (const float *)call->in[0],
                        (const float *)call->in[1], (const float *)call->in[2], mask, (float *)call->out[0]);
}

extern "C" int cuda__attention_launch(const struct cuda__call *call, struct err *err) {
    struct onnx__attention read;
    if (onnx__attention_read(call->step, &read, err) != 0) return -1;
    attending at = {(int)read.batch,
                    (int)read.heads,
                    (int)read.queries,
                    (int)read.keys,
                    (int)read.size,
                    (int)read.value_size,
                    {read.mask_steps[0], read.mask_steps[1], read.mask_steps[2]},
                    read.scale};
    int size = at.size > at.value_size ? at.size : at.value_size;
    if (size <= 64) return launch_heads<64, 64>(call, err, at);
    return size <= 128 ? launch_heads<128, 32>(call, err, at) : launch_heads<256, 16>(call, err, at);
}

/* Blocks are counted in 16 bits in two of the grid's directions. Without keys there is nothing to divide by. */
extern "C" bool cuda__attention_takes(const struct onnx__step *step) {
    const struct tensor *q = step->in[0], *k = step->in[1], *v = step->in[2];
    return q->shape[0] <= UINT16_MAX && q->shape[2] <= UINT16_MAX && q->shape[1] <= INT32_MAX / 2 && k->shape[1] > 0 &&
           k->shape[1] <= INT32_MAX / 2 && q->shape[3] <= HEAD_MAX && v->shape[3] <= HEAD_MAX;
}
