// A processor that plays the device, for tests: every thread of a block is a fiber, and runs until
// it waits for others. It knows nothing of speed, and finds wrong sums, wrong indices and most
// missing barriers, since fibers run one after another and copies come as late as they may.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>
#include <utility>
#include <vector>

#define BENCHINF_EMULATED
#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

struct Index { unsigned int x, y, z; };
static Index blockIdx, blockDim, gridDim;

struct Copy { void* to; const void* from; bool is_there; };

// What a lane shows to the others of its warp.
struct Shown { float number; int whole; unsigned int words[6]; const void* row; };

struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    Index index;
    bool is_done;
    std::vector<Copy> open;
    std::vector<std::vector<Copy>> groups;
    Shown shown;
};

static std::vector<Fiber> fibers;
static Fiber* current;
static ucontext_t scheduler;

#define threadIdx (current->index)

struct Barrier { unsigned int arrived, generation; };
static Barrier of_block;
static std::vector<Barrier> of_warps;

static void wait_for(Barrier& barrier, unsigned int n) {
    unsigned int generation = barrier.generation;
    if (++barrier.arrived == n) {
        barrier.arrived = 0;
        barrier.generation++;
        return;
    }
    while (barrier.generation == generation) swapcontext(&current->context, &scheduler);
}

static inline void __syncthreads() { wait_for(of_block, fibers.size()); }
static inline void with_warp() { wait_for(of_warps[current->index.x / 32], 32); }
static inline Fiber& lane_of_warp(unsigned int lane) {
    return fibers[current->index.x / 32 * 32 + lane];
}

static inline float __shfl_xor_sync(unsigned int, float value, int mask) {
    current->shown.number = value;
    with_warp();
    float other = lane_of_warp((current->index.x % 32) ^ mask).shown.number;
    with_warp();
    return other;
}
static inline int __shfl_xor_sync(unsigned int, int value, int mask) {
    current->shown.whole = value;
    with_warp();
    int other = lane_of_warp((current->index.x % 32) ^ mask).shown.whole;
    with_warp();
    return other;
}

template <class To, class From>
static inline To as(From from) {
    static_assert(sizeof(To) == sizeof(From), "bits are kept");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}
static inline float __int_as_float(int bits) { return as<float>(bits); }
static inline unsigned int __float_as_uint(float number) { return as<unsigned int>(number); }
static inline float __uint_as_float(unsigned int bits) { return as<float>(bits); }
static inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
static inline float power_of_two(float x) { return std::exp2(x); }

#if FORMAT == 2
static inline float widened(unsigned short bits) { return as<float>((unsigned int)bits << 16); }
static inline unsigned short narrowed(float value) {
    unsigned int bits = as<unsigned int>(value);
    if (value != value) return (unsigned short)(bits >> 16 | 0x40);
    return (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
#else
static inline float widened(unsigned short bits) { return (float)as<_Float16>(bits); }
static inline unsigned short narrowed(float value) { return as<unsigned short>((_Float16)value); }
#endif

static inline unsigned short half_of(unsigned int word, int i) {
    return (unsigned short)(i == 0 ? word & 0xffff : word >> 16);
}

static inline void multiply_add(float (&c)[4], const unsigned int (&a)[4], unsigned int b0,
                                unsigned int b1) {
    unsigned int words[6] = {a[0], a[1], a[2], a[3], b0, b1};
    std::memcpy(current->shown.words, words, sizeof words);
    with_warp();
    int lane = current->index.x % 32;
    for (int i = 0; i < 4; i++) {
        int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        float sum = c[i];
        for (int k = 0; k < 16; k++) {
            const unsigned int* of_a = lane_of_warp(row % 8 * 4 + k % 8 / 2).shown.words;
            const unsigned int* of_b = lane_of_warp(column * 4 + k % 8 / 2).shown.words;
            sum += widened(half_of(of_a[k / 8 * 2 + row / 8], k % 2)) *
                   widened(half_of(of_b[4 + k / 8], k % 2));
        }
        c[i] = sum;
    }
    with_warp();
}

template <class Row>
static inline void load_transposed(unsigned int (&to)[4], const Row* row) {
    current->shown.row = row;
    with_warp();
    int lane = current->index.x % 32;
    for (int i = 0; i < 4; i++) {
        unsigned int word = 0;
        for (int j = 0; j < 2; j++) {
            const void* at = lane_of_warp(i * 8 + lane % 4 * 2 + j).shown.row;
            word |= (unsigned int)((const unsigned short*)at)[lane / 4] << (16 * j);
        }
        to[i] = word;
    }
    with_warp();
}

static inline void begin_copy(void* to, const void* from, bool is_there) {
    // Until it is waited for, it is not a number.
    std::memset(to, 0xff, 16);
    current->open.push_back({to, from, is_there});
}
static inline void end_group() {
    current->groups.push_back(std::move(current->open));
    current->open.clear();
}
template <int n>
static inline void wait_but_for() {
    while (current->groups.size() > n) {
        for (const Copy& copy : current->groups.front()) {
            if (copy.is_there) std::memcpy(copy.to, copy.from, 16);
            else std::memset(copy.to, 0, 16);
        }
        current->groups.erase(current->groups.begin());
    }
}

template <class... Args, std::size_t... I>
static void with_arguments(void (*kernel)(Args...), void** args, std::index_sequence<I...>) {
    kernel(*(Args*)args[I]...);
}

static void (*entry)(void**);
static void** arguments;
static void run_fiber() {
    entry(arguments);
    current->is_done = true;
    swapcontext(&current->context, &scheduler);
}

// Runs all blocks, one after another.
static void run_grid(void (*kernel)(void**), Index grid, Index block, void** args) {
    entry = kernel;
    arguments = args;
    gridDim = grid;
    blockDim = block;
    unsigned int n_threads = block.x;
    fibers.resize(n_threads);
    for (Fiber& fiber : fibers) fiber.stack.resize(1 << 16);
    for (blockIdx.z = 0; blockIdx.z < grid.z; blockIdx.z++)
    for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++)
    for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++) {
        of_block = Barrier{0, 0};
        of_warps.assign(n_threads / 32, Barrier{0, 0});
        for (unsigned int i = 0; i < n_threads; i++) {
            Fiber& fiber = fibers[i];
            fiber.index = {i, 0, 0};
            fiber.is_done = false;
            fiber.open.clear();
            fiber.groups.clear();
            getcontext(&fiber.context);
            fiber.context.uc_stack.ss_sp = fiber.stack.data();
            fiber.context.uc_stack.ss_size = fiber.stack.size();
            fiber.context.uc_link = &scheduler;
            makecontext(&fiber.context, run_fiber, 0);
        }
        for (bool any = true; any;) {
            any = false;
            for (Fiber& fiber : fibers) {
                if (fiber.is_done) continue;
                any = true;
                current = &fiber;
                swapcontext(&scheduler, &fiber.context);
            }
        }
    }
}

#define EMULATED(name)                                                                       \
    extern "C" void emulated_##name(Index grid, Index block, void** args) {                  \
        run_grid([](void** args) { unpacked(name, args); }, grid, block, args);              \
    }

template <class... Args>
static void unpacked(void (*kernel)(Args...), void** args) {
    with_arguments(kernel, args, std::index_sequence_for<Args...>{});
}
