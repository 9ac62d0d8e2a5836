/* A kernel, run: block after block, each thread of a block a fiber that runs until it has to wait for others.
 *
 * Threads are started in order. A fiber whose thread ends takes the next one, so a kernel that never waits needs one
 * fiber and no switch. When every thread has been started, those that wait are let go on: a warp whose threads are all
 * at a shuffle, or the block when all that are left are at __syncthreads. If neither is so, threads wait for others that
 * will never come, which on a GPU hangs or is undefined: the process ends with a message. A shuffle of a warp of which a
 * thread has ended ends it too, and so does a mask that is not full.
 *
 * What this cannot show: races between threads that do not wait for each other (they run one after the other here),
 * coalescing, occupancy, and what a GPU's arithmetic rounds differently.
 */
#include "internal.h"

#include <stdlib.h>
#include <sys/mman.h>

#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define FIBERS_TOLD 1
#endif

cuda_emulation_place cuda_emulation_at;

/* Leaves one stack for another: what a called function has to keep is pushed, *from gets where, and popped from `to`.
 * swapcontext would ask the kernel for the signal mask each time, and a reduction switches thousands of times. */
extern "C" void cuda_emulation_switch(void **from, void *to);
#if defined(__x86_64__)
asm(".pushsection .text\n"
    ".globl cuda_emulation_switch\n"
    "cuda_emulation_switch:\n"
    "  push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15\n"
    "  mov %rsp, (%rdi)\n"
    "  mov %rsi, %rsp\n"
    "  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp\n"
    "  ret\n"
    ".popsection\n");
enum { SAVED_WORDS = 6 };
#else
#error "the emulation's fibers are written for x86-64"
#endif

namespace {

enum { WARP = 32, STACK_BYTES = 256 * 1024 };
enum class Wait { NONE, WARP, BLOCK };

struct Fiber {
    void *at; /* where its stack is left */
    char *stack;
    unsigned thread;
    Wait wait = Wait::NONE;
    bool busy = false; /* has a thread */
    void *fake_stack = nullptr;
};

std::vector<Fiber *> &fibers = *new std::vector<Fiber *>; /* kept to the end: a plug-in is never closed */
std::vector<Fiber *> at_work; /* by thread: the fiber that it waits in */
std::vector<bool> ended;      /* by thread */
std::vector<uint64_t> slots;  /* by thread: what it gives to a shuffle, by turns in one of two */
std::vector<bool> turns;      /* by thread */
void *scheduler; /* where its stack is left */
#ifdef FIBERS_TOLD
void *scheduler_fake_stack;
const void *scheduler_stack;
size_t scheduler_stack_size;
#endif
Fiber *current;
const std::function<void()> *kernel;
unsigned next_thread, thread_count;

void place_thread(unsigned thread) {
    const dim3 &dim = cuda_emulation_at.block_dim;
    cuda_emulation_at.thread = dim3(thread % dim.x, thread / dim.x % dim.y, thread / dim.x / dim.y);
}

/* AddressSanitizer has to be told which stack is in use. */
void leave_fiber() {
#ifdef FIBERS_TOLD
    __sanitizer_start_switch_fiber(&current->fake_stack, scheduler_stack, scheduler_stack_size);
#endif
    Fiber *self = current;
    cuda_emulation_switch(&self->at, scheduler);
#ifdef FIBERS_TOLD
    __sanitizer_finish_switch_fiber(self->fake_stack, &scheduler_stack, &scheduler_stack_size);
#endif
}

void enter_fiber(Fiber *fiber) {
    current = fiber;
    place_thread(fiber->thread);
#ifdef FIBERS_TOLD
    __sanitizer_start_switch_fiber(&scheduler_fake_stack, fiber->stack, STACK_BYTES);
#endif
    cuda_emulation_switch(&scheduler, fiber->at);
#ifdef FIBERS_TOLD
    __sanitizer_finish_switch_fiber(scheduler_fake_stack, nullptr, nullptr);
#endif
}

void fiber_main() {
#ifdef FIBERS_TOLD
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_size);
#endif
    for (;;) {
        Fiber *self = current;
        (*kernel)();
        ended[self->thread] = true;
        at_work[self->thread] = nullptr;
        if (next_thread < thread_count) {
            self->thread = next_thread++;
            place_thread(self->thread);
            continue;
        }
        self->busy = false;
        leave_fiber();
    }
}

void make_context(Fiber *fiber) {
    fiber->stack = (char *)mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fiber->stack == MAP_FAILED) cuda_emulation_die("no memory for a fiber");
    void **top = (void **)(fiber->stack + STACK_BYTES) - 1; /* aligned as if fiber_main had been called */
    *top = nullptr;
    *--top = (void *)fiber_main;
    fiber->at = top - SAVED_WORDS;
}

Fiber *idle_fiber() {
    for (Fiber *fiber : fibers)
        if (!fiber->busy) return fiber;
    fibers.push_back(new Fiber);
    make_context(fibers.back());
    return fibers.back();
}

void wait_here(Wait wait) {
    Fiber *self = current;
    self->wait = wait;
    at_work[self->thread] = self;
    leave_fiber();
    self->wait = Wait::NONE;
}

/* Lets threads [from, to) go on until they wait again or end. */
void resume(unsigned from, unsigned to) {
    std::vector<Fiber *> ready(at_work.begin() + from, at_work.begin() + to);
    for (Fiber *fiber : ready)
        if (fiber) enter_fiber(fiber);
}

bool all_wait(unsigned from, unsigned to, Wait wait, bool ended_count) {
    bool any = false;
    for (unsigned i = from; i < to; i++) {
        if (ended[i] && ended_count) continue;
        if (ended[i] || !at_work[i] || at_work[i]->wait != wait) return false;
        any = true;
    }
    return any;
}

bool any_left() {
    for (unsigned i = 0; i < thread_count; i++)
        if (!ended[i]) return true;
    return false;
}

void run_block() {
    next_thread = 0;
    ended.assign(thread_count, false);
    at_work.assign(thread_count, nullptr);
    slots.assign((size_t)thread_count * 2, 0);
    turns.assign(thread_count, false);
    while (next_thread < thread_count) {
        Fiber *fiber = idle_fiber();
        fiber->busy = true;
        fiber->thread = next_thread++;
        enter_fiber(fiber);
    }
    while (any_left()) {
        bool moved = false;
        for (unsigned from = 0; from < thread_count; from += WARP) {
            unsigned to = from + WARP < thread_count ? from + WARP : thread_count;
            if (!all_wait(from, to, Wait::WARP, false)) continue;
            resume(from, to);
            moved = true;
        }
        if (!moved && all_wait(0, thread_count, Wait::BLOCK, true)) {
            resume(0, thread_count);
            moved = true;
        }
        if (!moved) cuda_emulation_die("threads wait for others of their block or warp that do not come");
    }
}

} // namespace

void cuda_emulation_run_grid(dim3 grid, dim3 block, const std::function<void()> &run) {
    kernel = &run;
    cuda_emulation_at.block_dim = block;
    cuda_emulation_at.grid_dim = grid;
    thread_count = block.x * block.y * block.z;
    if (thread_count == 0 || thread_count > 1024) cuda_emulation_die("a block has 1 to 1024 threads");
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                cuda_emulation_at.block = dim3(x, y, z);
                run_block();
            }
}

void cuda_emulation_sync_block(void) { wait_here(Wait::BLOCK); }

void cuda_emulation_sync_warp(unsigned mask) {
    if (mask != 0xffffffffu) cuda_emulation_die("a shuffle or __syncwarp with a mask that is not full");
    wait_here(Wait::WARP);
}

unsigned cuda_emulation_lane(void) { return current->thread % WARP; }

/* One wait is enough: the next exchange uses the other slot, and nobody is two ahead. */
uint64_t cuda_emulation_exchange(unsigned mask, uint64_t value, unsigned from) {
    unsigned thread = current->thread, first = thread / WARP * WARP;
    size_t turn = turns[thread];
    turns[thread] = !turn;
    slots[thread * 2 + turn] = value;
    cuda_emulation_sync_warp(mask);
    if (first + from >= thread_count) cuda_emulation_die("a shuffle from a lane that the block does not have");
    return slots[(first + from) * 2 + turn];
}
