// What compiled kernels and the fibers that run them share.
#pragma once
#include <cstddef>
#include <cstdint>

// A thread's place in its block, in three dimensions and in one.
struct Place {
    uint32_t x, y, z, linear;
};

// The launch that runs: threads of a block, the block, blocks, and where its shared memory begins.
struct Grid {
    uint32_t threads_x, threads_y, threads_z;
    uint32_t block_x, block_y, block_z;
    uint32_t blocks_x, blocks_y, blocks_z;
    uint64_t shared;
};

// A kernel as `translate.py` writes it.
struct Kernel {
    const char* name;
    void (*run)(void** arguments);
    uint32_t n_parameters;
    uint32_t static_shared_bytes;
    // Whether threads wait for each other, so that they have to be fibers.
    bool waits;
    uint32_t parameter_bytes[64];
};

extern "C" {
extern Grid grid;
extern Place* thread;

// Of a thread: waits for its block or its warp.
void wait_for_block();
void wait_for_warp();
// Words that the other lanes of the warp may look at, 8 at most.
void show(const void* words, uint32_t n);
const uint32_t* shown_by(uint32_t lane);
// Copies to shared memory that come as late as they may.
void begin_copy(uint64_t to, uint64_t from, uint32_t n_bytes, uint32_t n_bytes_there);
void end_group();
void wait_but_for(uint32_t n_groups);

// Ends the program: a kernel did what a device would not bear.
[[noreturn]] void fail(const char* why);
}

// Runs all blocks of a launch, one after another.
void run_grid(const Kernel& kernel, const uint32_t (&blocks)[3], const uint32_t (&threads)[3],
              uint32_t dynamic_shared_bytes, void** arguments);
