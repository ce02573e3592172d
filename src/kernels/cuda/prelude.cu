// What all sources share: the format of weights and activations, and the instructions of a warp
// that C++ has no words for. Sources include nothing, so that they compile wherever the compiler's
// library is.
//
// FORMAT is 0 for f32, 1 for f16, 2 for bf16. BENCHINF_EMULATED leaves the last part to a processor
// that plays the device (`emulator.h`).

#if FORMAT == 0
typedef float Element;
#else
struct __align__(2) Element { unsigned short bits; };
#endif

// Elements of 16 bytes, which a thread reads at once.
#define PER_LOAD (16 / (int)sizeof(Element))

struct __align__(16) Load { unsigned int words[4]; };

#define NEGATIVE_INFINITY __int_as_float(0xff800000)

#ifndef BENCHINF_EMULATED
__device__ __forceinline__ float widened(unsigned short bits) {
#if FORMAT == 2
    return __uint_as_float((unsigned int)bits << 16);
#else
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
#endif
}

// Rounded to nearest, ties to even.
__device__ __forceinline__ unsigned short narrowed(float value) {
    unsigned short bits;
#if FORMAT == 2
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#endif
    return bits;
}

__device__ __forceinline__ float power_of_two(float exponent) {
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(exponent));
    return power;
}

#if FORMAT != 0
// c += a·b of 16×16 by 16×8, sums in f32.
__device__ __forceinline__ void multiply_add(float (&c)[4], const unsigned int (&a)[4],
                                             unsigned int b0, unsigned int b1) {
#if FORMAT == 2
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

// Four transposed 8×8 matrices; each eight lanes name the rows of one.
__device__ __forceinline__ void load_transposed(unsigned int (&to)[4], const Element* row) {
    unsigned int at = (unsigned int)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(at)
                 : "memory");
}
#endif

// Begins to copy 16 bytes to shared memory, or to fill them with zeros where `is_there` is false.
__device__ __forceinline__ void begin_copy(void* to, const void* from, bool is_there) {
    unsigned int at = (unsigned int)__cvta_generic_to_shared(to);
    int n_bytes = is_there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"(at), "l"(from), "r"(n_bytes) : "memory");
}

__device__ __forceinline__ void end_group() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Returns when all groups of copies but the newest `n` are there.
template <int n>
__device__ __forceinline__ void wait_but_for() {
    asm volatile("cp.async.wait_group %0;" :: "n"(n) : "memory");
}
#endif

// To a power of two by its own instruction; the factor is the logarithm of e to that base.
__device__ __forceinline__ float silu(float x) {
    return x / (1.0f + power_of_two(-1.44269504088896f * x));
}

#if FORMAT == 0
__device__ __forceinline__ float number(Element element) { return element; }
__device__ __forceinline__ Element element(float number) { return number; }
#else
__device__ __forceinline__ float number(Element element) { return widened(element.bits); }
__device__ __forceinline__ Element element(float number) {
    Element rounded;
    rounded.bits = narrowed(number);
    return rounded;
}
// Two of them in a word, the first in its low half.
__device__ __forceinline__ unsigned int pair(float low, float high) {
    return (unsigned int)narrowed(low) | (unsigned int)narrowed(high) << 16;
}
#endif

// The numbers of 16 bytes.
__device__ __forceinline__ void numbers(const Load& load, float (&to)[PER_LOAD]) {
#if FORMAT == 0
#pragma unroll
    for (int i = 0; i < 4; i++) to[i] = __uint_as_float(load.words[i]);
#else
#pragma unroll
    for (int i = 0; i < 4; i++) {
        to[2 * i] = widened((unsigned short)(load.words[i] & 0xffff));
        to[2 * i + 1] = widened((unsigned short)(load.words[i] >> 16));
    }
#endif
}

__device__ __forceinline__ Load load_16(const Element* from) { return *(const Load*)from; }

// Over lanes whose numbers differ below `n_lanes`, a power of two; every lane gets it.
__device__ __forceinline__ float sum_of(float value, int n_lanes) {
    for (int step = n_lanes / 2; step > 0; step /= 2) {
        value += __shfl_xor_sync(0xffffffff, value, step);
    }
    return value;
}

// Over all threads of a block of whole warps, 1024 at most; every thread gets it.
__device__ float block_sum(float value) {
    __shared__ float sums[32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, n_warps = blockDim.x / 32;
    value = sum_of(value, 32);
    // Nobody may still read what an earlier call left there.
    __syncthreads();
    if (lane == 0) sums[warp] = value;
    __syncthreads();
    float sum = 0.0f;
    for (int i = 0; i < n_warps; i++) sum += sums[i];
    return sum;
}
