/* The emulated device: one that is as late as it may be, and whose memory the host cannot touch.
 *
 * - Work is done when somebody waits for it and not before: who forgets to wait, or to let one stream wait for another,
 *   reads what is not there yet. Streams run in order; an event that a stream waits for runs the other stream up to it.
 * - Device memory, unless it is large, is PROT_NONE but while the device works: a host pointer and a device pointer that
 *   are mistaken for each other end the process. It begins as bytes of 0xff, which are NaN; behind each block is a page
 *   that nobody may touch.
 * - A graph is the list of what was enqueued while it was recorded. While a thread records, it may not allocate or wait.
 * - Copies must be between pinned or pageable host memory and blocks of the device, in the direction that they say.
 * - Failures come when they are asked for (cuda_emulation.h). A kernel's failure sticks.
 *
 * It shows that indices, shapes, order and errors are right, not how a GPU computes, nor how fast.
 */
#include "cuda_emulation.h"
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

struct cuda_emulation_event {
    cuda_emulation_stream *stream = nullptr; /* where it was recorded last */
    uint64_t asked = 0, reached = 0;         /* records: enqueued, done */
    float at_ms = 0;
    bool timed = true;
};

namespace {

struct Item {
    std::function<void()> work;
    cuda_emulation_event *record = nullptr, *wait = nullptr;
    uint64_t number = 0; /* of the record */
};

struct Block {
    size_t size, mapped;
};

std::recursive_mutex lock;
std::map<char *, Block> device_blocks;
std::map<std::string, uint64_t> calls;
std::map<std::string, std::pair<int, cudaError_t>> failures; /* function: calls until, code */
cudaError_t last_error = cudaSuccess, sticky = cudaSuccess;
int devices = 1, driver_version = 13000;
float kernel_ms = 0.05f, now_ms = 0;
int working = 0; /* depth: device memory is open */
void (*on_kernel)(void *ctx);
void *on_kernel_ctx;
thread_local int recordings = 0;

const size_t TOTAL_BYTES = (size_t)8 << 30, GUARDED_BYTES = (size_t)1 << 20, POISONED_BYTES = (size_t)16 << 20;

void read_environment() {
    const char *wish = getenv("PENSTOCK_CUDA_EMULATION");
    std::string text = wish ? wish : "";
    devices = text == "absent" || text == "missing" || text == "old" ? 0 : 1;
    driver_version = text == "missing" ? 0 : text == "old" ? 11040 : 13000;
}

struct Start {
    Start() { read_environment(); }
} start;

cudaError_t fail(cudaError_t code) {
    if (code != cudaSuccess) last_error = code;
    return code;
}

/* Counts the call, and answers what it is to fail with. */
cudaError_t begin(const char *function) {
    calls[function]++;
    if (driver_version == 0 || driver_version < 13000) return fail(cudaErrorInsufficientDriver);
    if (sticky != cudaSuccess) return fail(sticky);
    auto found = failures.find(function);
    if (found == failures.end() || --found->second.first > 0) return cudaSuccess;
    cudaError_t code = found->second.second;
    failures.erase(found);
    return fail(code);
}

#define BEGIN                                                                                                          \
    std::lock_guard<std::recursive_mutex> guard(lock);                                                                 \
    do {                                                                                                               \
        cudaError_t begun = begin(__func__);                                                                           \
        if (begun != cudaSuccess) return begun;                                                                        \
    } while (0)
#define NOT_WHILE_RECORDING                                                                                            \
    if (recordings > 0) return fail(cudaErrorStreamCaptureUnsupported)

/* Large blocks stay open: the kernel takes as long for each page. */
void protect(int how) {
    for (auto &block : device_blocks)
        if (block.second.size <= GUARDED_BYTES && mprotect(block.first, block.second.mapped, how) != 0) cuda_emulation_die("mprotect");
}

struct AtWork {
    AtWork() {
        if (working++ == 0) protect(PROT_READ | PROT_WRITE);
    }
    ~AtWork() {
        if (--working == 0) protect(PROT_NONE);
    }
};

bool in_device(const void *at, size_t size) {
    for (auto &block : device_blocks)
        if ((const char *)at >= block.first && (const char *)at + size <= block.first + block.second.size) return true;
    return false;
}

bool touches_device(const void *at, size_t size) {
    for (auto &block : device_blocks)
        if ((const char *)at < block.first + block.second.mapped && (const char *)at + size > block.first) return true;
    return false;
}

} // namespace

struct cuda_emulation_stream {
    std::deque<Item> items;
    std::vector<Item> *recording = nullptr;
};
struct cuda_emulation_graph {
    std::vector<Item> items;
};
struct cuda_emulation_graph_exec {
    std::vector<Item> items;
};

static std::vector<cuda_emulation_stream *> streams;

void cuda_emulation_die(const char *what) {
    fprintf(stderr, "CUDA emulation: %s\n", what);
    abort();
}

bool cuda_emulation_fails(const char *function) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    calls[function]++;
    auto found = failures.find(function);
    if (found == failures.end() || --found->second.first > 0) return false;
    failures.erase(found);
    return true;
}

static void push(cuda_emulation_stream *stream, Item item) {
    if (stream->recording)
        stream->recording->push_back(std::move(item));
    else
        stream->items.push_back(std::move(item));
}

void cuda_emulation_enqueue(cudaStream_t stream, std::function<void()> work) {
    Item item;
    item.work = std::move(work);
    push(stream, std::move(item));
}

static void run_item(const Item &item);

/* Works off `stream` until `event` has been reached as often as `number`; NULL: to its end. */
static void drain(cuda_emulation_stream *stream, cuda_emulation_event *event, uint64_t number) {
    AtWork at_work;
    while (!stream->items.empty() && (!event || event->reached < number)) {
        Item item = std::move(stream->items.front());
        stream->items.pop_front();
        run_item(item);
    }
}

static void run_item(const Item &item) {
    if (item.wait && item.wait->stream && item.wait->reached < item.number)
        drain(item.wait->stream, item.wait, item.number);
    if (item.work && sticky == cudaSuccess) item.work();
    if (item.record) {
        item.record->reached = item.number;
        item.record->at_ms = now_ms;
    }
}

void cuda_emulation_launch(dim3 grid, dim3 block, cudaStream_t stream, std::function<void()> kernel) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    if (begin("launch") != cudaSuccess) return;
    if (block.x * block.y * block.z > 1024 || grid.y > 65535 || grid.z > 65535 || grid.x > 2147483647) {
        (void)fail(cudaErrorInvalidValue);
        return;
    }
    cuda_emulation_enqueue(stream, [=] {
        if (on_kernel) on_kernel(on_kernel_ctx);
        calls["kernel"]++;
        auto found = failures.find("kernel");
        if (found != failures.end() && --found->second.first <= 0) {
            sticky = found->second.second;
            failures.erase(found);
            return;
        }
        now_ms += kernel_ms;
        cuda_emulation_run_grid(grid, block, kernel);
    });
}

/* --- errors and the machine -------------------------------------------------------------------------------------- */

EXPORT cudaError_t cudaGetLastError(void) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    cudaError_t code = last_error;
    last_error = sticky;
    return code;
}
EXPORT cudaError_t cudaPeekAtLastError(void) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    return last_error;
}
EXPORT const char *cudaGetErrorName(cudaError_t code) {
    switch (code) {
    case cudaErrorMemoryAllocation:
        return "cudaErrorMemoryAllocation";
    case cudaErrorInsufficientDriver:
        return "cudaErrorInsufficientDriver";
    case cudaErrorNoDevice:
        return "cudaErrorNoDevice";
    case cudaErrorIllegalAddress:
        return "cudaErrorIllegalAddress";
    case cudaErrorStreamCaptureUnsupported:
        return "cudaErrorStreamCaptureUnsupported";
    default:
        return "cudaError";
    }
}
EXPORT const char *cudaGetErrorString(cudaError_t code) {
    switch (code) {
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorIllegalAddress:
        return "an illegal memory access was encountered";
    default:
        return "an emulated error";
    }
}
EXPORT cudaError_t cudaRuntimeGetVersion(int *ret) {
    *ret = CUDART_VERSION;
    return cudaSuccess;
}
EXPORT cudaError_t cudaDriverGetVersion(int *ret) {
    *ret = driver_version;
    return cudaSuccess;
}
EXPORT cudaError_t cudaGetDeviceCount(int *ret) {
    BEGIN;
    *ret = devices;
    return devices ? cudaSuccess : fail(cudaErrorNoDevice);
}
EXPORT cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *ret, int device) {
    BEGIN;
    if (device < 0 || device >= devices) return fail(cudaErrorInvalidDevice);
    *ret = cudaDeviceProp();
    snprintf(ret->name, sizeof ret->name, "emulated, on the CPU");
    ret->totalGlobalMem = TOTAL_BYTES;
    ret->major = 9;
    return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceGetAttribute(int *ret, enum cudaDeviceAttr, int) {
    BEGIN;
    const char *wish = getenv("PENSTOCK_CUDA_EMULATION_MULTIPROCESSORS");
    *ret = wish ? atoi(wish) : 1; /* one: a grid is then small, and its loops are exercised */
    return cudaSuccess;
}
EXPORT cudaError_t cudaSetDevice(int device) {
    BEGIN;
    return device >= 0 && device < devices ? cudaSuccess : fail(cudaErrorInvalidDevice);
}
EXPORT cudaError_t cudaDeviceSynchronize(void) {
    BEGIN;
    NOT_WHILE_RECORDING;
    for (cuda_emulation_stream *stream : streams) drain(stream, nullptr, 0);
    return fail(sticky);
}

/* --- memory ------------------------------------------------------------------------------------------------------ */

EXPORT cudaError_t cudaMemGetInfo(size_t *ret_free, size_t *ret_total) {
    BEGIN;
    size_t used = 0;
    for (auto &block : device_blocks) used += block.second.size;
    *ret_total = TOTAL_BYTES;
    *ret_free = used < TOTAL_BYTES ? TOTAL_BYTES - used : 0;
    return cudaSuccess;
}
EXPORT cudaError_t cudaMalloc(void **ret, size_t size) {
    BEGIN;
    NOT_WHILE_RECORDING;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), mapped = (size + page - 1) / page * page, used = 0;
    for (auto &block : device_blocks) used += block.second.size;
    if (size > TOTAL_BYTES || used + size > TOTAL_BYTES) return fail(cudaErrorMemoryAllocation);
    char *at = (char *)mmap(nullptr, mapped + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return fail(cudaErrorMemoryAllocation);
    memset(at, 0xff, size < POISONED_BYTES ? size : POISONED_BYTES);
    if (mprotect(at + mapped, page, PROT_NONE) != 0) cuda_emulation_die("mprotect");
    if (size <= GUARDED_BYTES && mprotect(at, mapped, PROT_NONE) != 0) cuda_emulation_die("mprotect");
    device_blocks[at] = {size, mapped};
    if (working) protect(PROT_READ | PROT_WRITE);
    *ret = at;
    return cudaSuccess;
}
EXPORT cudaError_t cudaFree(void *at) {
    std::lock_guard<std::recursive_mutex> guard(lock); /* also after a sticky error: what is left is torn down */
    calls[__func__]++;
    if (!at) return cudaSuccess;
    NOT_WHILE_RECORDING;
    for (cuda_emulation_stream *stream : streams) drain(stream, nullptr, 0);
    auto found = device_blocks.find((char *)at);
    if (found == device_blocks.end()) cuda_emulation_die("cudaFree of what cudaMalloc did not give");
    munmap(at, found->second.mapped + (size_t)sysconf(_SC_PAGESIZE));
    device_blocks.erase(found);
    return cudaSuccess;
}
EXPORT cudaError_t cudaMallocHost(void **ret, size_t size) {
    BEGIN;
    NOT_WHILE_RECORDING;
    *ret = malloc(size);
    return *ret ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}
EXPORT cudaError_t cudaFreeHost(void *at) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    for (cuda_emulation_stream *stream : streams) drain(stream, nullptr, 0);
    free(at);
    return cudaSuccess;
}
EXPORT cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind,
                                   cudaStream_t stream) {
    BEGIN;
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if ((to_device ? !in_device(to, size) : touches_device(to, size)) ||
        (from_device ? !in_device(from, size) : touches_device(from, size)))
        return fail(cudaErrorInvalidValue);
    cuda_emulation_enqueue(stream, [=] { memmove(to, from, size); });
    return cudaSuccess;
}
EXPORT cudaError_t cudaMemsetAsync(void *at, int value, size_t size, cudaStream_t stream) {
    BEGIN;
    if (!in_device(at, size)) return fail(cudaErrorInvalidValue);
    cuda_emulation_enqueue(stream, [=] { memset(at, value, size); });
    return cudaSuccess;
}

/* --- streams and events ------------------------------------------------------------------------------------------ */

EXPORT cudaError_t cudaStreamCreateWithFlags(cudaStream_t *ret, unsigned) {
    BEGIN;
    streams.push_back(*ret = new cuda_emulation_stream);
    return cudaSuccess;
}
EXPORT cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    drain(stream, nullptr, 0);
    for (size_t i = 0; i < streams.size(); i++)
        if (streams[i] == stream) streams.erase(streams.begin() + (long)i);
    delete stream;
    return cudaSuccess;
}
EXPORT cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    BEGIN;
    if (stream->recording) return fail(cudaErrorStreamCaptureUnsupported);
    drain(stream, nullptr, 0);
    return fail(sticky);
}
EXPORT cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    BEGIN;
    Item item;
    item.wait = event;
    item.number = event->asked;
    push(stream, std::move(item));
    return cudaSuccess;
}
EXPORT cudaError_t cudaEventCreateWithFlags(cudaEvent_t *ret, unsigned flags) {
    BEGIN;
    *ret = new cuda_emulation_event;
    (*ret)->timed = !(flags & cudaEventDisableTiming);
    return cudaSuccess;
}
EXPORT cudaError_t cudaEventCreate(cudaEvent_t *ret) { return cudaEventCreateWithFlags(ret, 0); }
EXPORT cudaError_t cudaEventDestroy(cudaEvent_t event) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    for (cuda_emulation_stream *stream : streams) drain(stream, nullptr, 0); /* they may hold it */
    delete event;
    return cudaSuccess;
}
EXPORT cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    BEGIN;
    Item item;
    item.record = event;
    item.number = ++event->asked;
    event->stream = stream;
    push(stream, std::move(item));
    return cudaSuccess;
}
EXPORT cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    BEGIN;
    NOT_WHILE_RECORDING;
    if (event->stream) drain(event->stream, event, event->asked);
    return fail(sticky);
}
EXPORT cudaError_t cudaEventElapsedTime(float *ret_ms, cudaEvent_t from, cudaEvent_t to) {
    BEGIN;
    if (!from->timed || !to->timed) return fail(cudaErrorInvalidValue);
    if (from->reached < from->asked || to->reached < to->asked) return fail(cudaErrorNotReady);
    *ret_ms = to->at_ms - from->at_ms;
    return cudaSuccess;
}

/* --- graphs ------------------------------------------------------------------------------------------------------ */

EXPORT cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode) {
    BEGIN;
    if (stream->recording) return fail(cudaErrorInvalidValue);
    stream->recording = new std::vector<Item>;
    recordings++;
    return cudaSuccess;
}
EXPORT cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *ret) {
    BEGIN;
    if (!stream->recording) return fail(cudaErrorInvalidValue);
    *ret = new cuda_emulation_graph{std::move(*stream->recording)};
    delete stream->recording;
    stream->recording = nullptr;
    recordings--;
    return cudaSuccess;
}
EXPORT cudaError_t cudaGraphInstantiate(cudaGraphExec_t *ret, cudaGraph_t graph, unsigned long long) {
    BEGIN;
    *ret = new cuda_emulation_graph_exec{graph->items};
    return cudaSuccess;
}
EXPORT cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
    BEGIN;
    return cudaSuccess;
}
EXPORT cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
    BEGIN;
    for (const Item &item : exec->items) push(stream, item);
    return cudaSuccess;
}
EXPORT cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}
EXPORT cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    delete exec;
    return cudaSuccess;
}

/* --- for tests --------------------------------------------------------------------------------------------------- */

EXPORT void cuda_emulation_reset(void) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    failures.clear();
    calls.clear();
    last_error = sticky = cudaSuccess;
    kernel_ms = 0.05f;
    on_kernel = nullptr;
    read_environment();
}
EXPORT void cuda_emulation_fail(const char *function, int nth, int code) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    failures[function] = {nth, (cudaError_t)code};
}
EXPORT uint64_t cuda_emulation_calls(const char *function) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    return calls[function];
}
EXPORT void cuda_emulation_machine(int count, int version) {
    std::lock_guard<std::recursive_mutex> guard(lock);
    devices = count;
    driver_version = version;
}
EXPORT void cuda_emulation_kernel_ms(float ms) { kernel_ms = ms; }
EXPORT void cuda_emulation_on_kernel(void (*call)(void *ctx), void *ctx) {
    on_kernel_ctx = ctx;
    on_kernel = call;
}
