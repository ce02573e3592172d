// The multiprocessor: blocks run one after another, and threads that wait for each other are
// fibers.
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "played.h"
#include "streams.h"

Grid grid;
Place* thread;

namespace {

struct Copy {
    uint64_t to, from;
    uint32_t n_bytes, n_bytes_there;
};

struct Fiber {
    // First, so that the thread of a kernel is its fiber.
    Place place;
    void* stack_pointer;
    char* stack;
    bool is_done;
    uint32_t shown[8];
    std::vector<Copy> open;
    std::vector<std::vector<Copy>> groups;
};

struct Barrier {
    uint32_t n_arrived, generation;
};

const size_t STACK_BYTES = 256 << 10;
// As much as a block of Hopper can have, and more.
const size_t SHARED_BYTES = 256 << 10;
const size_t PAGE = 4096;

std::vector<Fiber> fibers;
void* scheduler;
const Kernel* running;
void** arguments;
Barrier of_block;
std::vector<Barrier> of_warps;
uint32_t n_live;
// Barriers that were passed and threads that ended: what does not grow in a turn never will.
unsigned long n_steps;
std::vector<uint32_t> n_live_of_warps;

Fiber& self() { return *reinterpret_cast<Fiber*>(thread); }

}  // namespace

// Keeps what a call keeps, and goes on with another stack.
extern "C" void switch_stack(void** from, void* to);
asm(R"(
.globl switch_stack
.type switch_stack, @function
switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

namespace {

void leave() { switch_stack(&self().stack_pointer, scheduler); }

void run_fiber() {
    running->run(arguments);
    self().is_done = true;
    for (;;) leave();
}

// `n` falls when a thread ends, as a device counts the ended as arrived.
void wait_at(Barrier& barrier, const uint32_t& n) {
    uint32_t generation = barrier.generation;
    barrier.n_arrived++;
    while (barrier.generation == generation) {
        if (barrier.n_arrived >= n) {
            barrier.n_arrived = 0;
            barrier.generation++;
            n_steps++;
            return;
        }
        leave();
    }
}

char* mapped(size_t n_bytes) {
    void* memory = mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail("the machine has no memory left");
    return static_cast<char*>(memory);
}

// Shared memory ends here, and what is behind it cannot be touched.
char* end_of_shared() {
    static char* end = [] {
        char* begin = mapped(SHARED_BYTES + PAGE);
        mprotect(begin + SHARED_BYTES, PAGE, PROT_NONE);
        return begin + SHARED_BYTES;
    }();
    return end;
}

void start(Fiber& fiber) {
    if (!fiber.stack) {
        fiber.stack = mapped(STACK_BYTES);
        // Below it nothing can be touched.
        mprotect(fiber.stack, PAGE, PROT_NONE);
    }
    void** top = reinterpret_cast<void**>(fiber.stack + STACK_BYTES - 64);
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(run_fiber);
    // Six registers, as `switch_stack` takes them back.
    for (int i = 0; i < 6; i++) *--top = nullptr;
    fiber.stack_pointer = top;
    fiber.is_done = false;
}

void run_block_of_fibers(uint32_t n_threads) {
    n_live = n_threads;
    of_block = {0, 0};
    of_warps.assign((n_threads + 31) / 32, {0, 0});
    n_live_of_warps.assign(of_warps.size(), 0);
    for (uint32_t i = 0; i < n_threads; i++) {
        start(fibers[i]);
        n_live_of_warps[i / 32]++;
    }
    // From the last thread to the first, what one writes and another reads without a barrier
    // between them differs from the order of the source.
    static const bool is_reversed = played_setting("PLAYED_REVERSED", 0) != 0;
    while (n_live > 0) {
        unsigned long before = n_steps;
        for (uint32_t j = 0; j < n_threads; j++) {
            uint32_t i = is_reversed ? n_threads - 1 - j : j;
            if (fibers[i].is_done) continue;
            thread = &fibers[i].place;
            switch_stack(&scheduler, fibers[i].stack_pointer);
            if (fibers[i].is_done) {
                n_live--;
                n_live_of_warps[i / 32]--;
                n_steps++;
            }
        }
        if (n_steps == before) fail("some threads never reach a barrier");
    }
}

void run_block(const Kernel& kernel, uint32_t n_threads) {
    for (uint32_t i = 0; i < n_threads; i++) {
        fibers[i].open.clear();
        fibers[i].groups.clear();
    }
    if (kernel.waits) {
        run_block_of_fibers(n_threads);
        return;
    }
    for (uint32_t i = 0; i < n_threads; i++) {
        thread = &fibers[i].place;
        kernel.run(arguments);
    }
}

}  // namespace

void run_grid(const Kernel& kernel, const uint32_t (&blocks)[3], const uint32_t (&threads)[3],
              uint32_t dynamic_shared_bytes, void** of_kernel) {
    running = &kernel;
    arguments = of_kernel;
    uint32_t n_threads = threads[0] * threads[1] * threads[2];
    auto whole = [](uint32_t n) { return (n + 15) / 16 * 16; };
    uint32_t n_shared = whole(whole(kernel.static_shared_bytes) + dynamic_shared_bytes);
    grid = {threads[0], threads[1], threads[2], 0,         0,
            0,          blocks[0],  blocks[1],  blocks[2], (uint64_t)(end_of_shared() - n_shared)};
    if (fibers.size() < n_threads) fibers.resize(n_threads);
    for (uint32_t i = 0; i < n_threads; i++) {
        fibers[i].place = {i % threads[0], i / threads[0] % threads[1], i / threads[0] / threads[1],
                           i};
    }
    for (grid.block_z = 0; grid.block_z < blocks[2]; grid.block_z++)
        for (grid.block_y = 0; grid.block_y < blocks[1]; grid.block_y++)
            for (grid.block_x = 0; grid.block_x < blocks[0]; grid.block_x++) {
                // What nobody wrote is not a number.
                memset(reinterpret_cast<void*>(grid.shared), 0xff, n_shared);
                run_block(kernel, n_threads);
            }
    running = nullptr;
    thread = nullptr;
}

extern "C" {

void wait_for_block() { wait_at(of_block, n_live); }

void wait_for_warp() {
    uint32_t warp = thread->linear / 32;
    wait_at(of_warps[warp], n_live_of_warps[warp]);
}

void show(const void* words, uint32_t n) {
    if (n_live_of_warps[thread->linear / 32] != 32)
        fail("a warp is not whole, and its lanes exchange words");
    memcpy(self().shown, words, 4 * n);
}

const uint32_t* shown_by(uint32_t lane) { return fibers[thread->linear / 32 * 32 + lane].shown; }

void begin_copy(uint64_t to, uint64_t from, uint32_t n_bytes, uint32_t n_bytes_there) {
    if (n_bytes_there > n_bytes) fail("a copy is of more than it has room for");
    if ((to | (n_bytes_there ? from : 0)) & (n_bytes - 1)) fail("a copy is not aligned");
    // Until it is waited for, it is not a number.
    memset(reinterpret_cast<void*>(to), 0xff, n_bytes);
    self().open.push_back({to, from, n_bytes, n_bytes_there});
}

void end_group() {
    self().groups.push_back(std::move(self().open));
    self().open.clear();
}

void wait_but_for(uint32_t n_groups) {
    auto& groups = self().groups;
    while (groups.size() > n_groups) {
        for (const Copy& copy : groups.front()) {
            char* to = reinterpret_cast<char*>(copy.to);
            memcpy(to, reinterpret_cast<void*>(copy.from), copy.n_bytes_there);
            memset(to + copy.n_bytes_there, 0, copy.n_bytes - copy.n_bytes_there);
        }
        groups.erase(groups.begin());
    }
}

void fail(const char* why) {
    played_wrong("%s", why);
    fprintf(stderr, "in kernel %s, block %u %u %u, thread %d\n", running ? running->name : "none",
            grid.block_x, grid.block_y, grid.block_z,
            thread ? static_cast<int>(thread->linear) : -1);
    abort();
}
}
