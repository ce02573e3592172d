// What probes need: random numbers that the host draws alike, and walks through memory.

// Element `index` of a stream, by SplitMix64 (`model/random.rs`).
__device__ __forceinline__ unsigned long long drawn(unsigned long long key,
                                                    unsigned long long index) {
    unsigned long long z = key + (index + 1) * 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

// A bell-shaped number of mean 0 and deviation 1, in the host's own operations: a whole number, and
// one product.
__device__ __forceinline__ float bell(unsigned long long bits) {
    int sum = -2 * 0xffff;
#pragma unroll
    for (int i = 0; i < 4; i++) sum += (int)(bits >> (16 * i) & 0xffff);
    return (float)sum * (1.0f / 37837.227f);
}

// Elements of this thread: as many as there are, a grid apart.
#define FOR_EACH(i, n)                                                                    \
    for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; \
         i < (n); i += (unsigned long long)gridDim.x * blockDim.x)

extern "C" __global__ void draw_elements(Element* to, unsigned long long n,
                                         unsigned long long key) {
    FOR_EACH(i, n) to[i] = element(bell(drawn(key, i)));
}

// f32 of which a product of TF32 looks at every bit that is not 0.
extern "C" __global__ void draw_tf32(unsigned int* to, unsigned long long n,
                                     unsigned long long key) {
    FOR_EACH(i, n) to[i] = __float_as_uint(bell(drawn(key, i))) & 0xffffe000;
}

// E4M3 of exponents 5 to 8, which are a quarter to two.
extern "C" __global__ void draw_e4m3(unsigned char* to, unsigned long long n,
                                     unsigned long long key) {
    FOR_EACH(i, n) {
        unsigned long long bits = drawn(key, i);
        to[i] = (unsigned char)((bits & 0x87) | (5 + (bits >> 8 & 3)) << 3);
    }
}

// Whole numbers from -127 to 127.
extern "C" __global__ void draw_int8(signed char* to, unsigned long long n,
                                     unsigned long long key) {
    FOR_EACH(i, n) to[i] = (signed char)((int)((drawn(key, i) >> 32) * 255 >> 32) - 127);
}

// Words of two f32 between 1 and 2, of which the first is element `first` of the stream.
extern "C" __global__ void draw_words(unsigned long long* to, unsigned long long n,
                                      unsigned long long key, unsigned long long first) {
    FOR_EACH(i, n) to[i] = (drawn(key, first + i) & 0x007fffff007fffffULL) | 0x3f8000003f800000ULL;
}

// What a thread reads or writes at once, and how often before it waits for any of it. Two blocks of
// 512 threads on a multiprocessor have 64 KiB under way.
struct __align__(16) Words { unsigned long long words[2]; };
struct __align__(16) Floats { float floats[4]; };
#define AT_ONCE 4

// What all words add up to, a sum for each block. `n` counts 16 bytes each.
extern "C" __global__ void __launch_bounds__(512, 2)
    read_sum(const Words* from, unsigned long long* sums, unsigned long long n) {
    __shared__ unsigned long long of_threads[512];
    unsigned long long step = (unsigned long long)gridDim.x * blockDim.x;
    unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x, sum = 0;
    for (; i + (AT_ONCE - 1) * step < n; i += AT_ONCE * step) {
        Words read[AT_ONCE];
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) read[j] = from[i + j * step];
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) sum += read[j].words[0] + read[j].words[1];
    }
    for (; i < n; i += step) sum += from[i].words[0] + from[i].words[1];
    of_threads[threadIdx.x] = sum;
    for (unsigned int half = 256; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) of_threads[threadIdx.x] += of_threads[threadIdx.x + half];
    }
    if (threadIdx.x == 0) sums[blockIdx.x] = of_threads[0];
}

// to = from.
extern "C" __global__ void __launch_bounds__(512, 2)
    copy_words(const Words* from, Words* to, unsigned long long n) {
    unsigned long long step = (unsigned long long)gridDim.x * blockDim.x;
    unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    for (; i + (AT_ONCE - 1) * step < n; i += AT_ONCE * step) {
        Words read[AT_ONCE];
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) read[j] = from[i + j * step];
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) to[i + j * step] = read[j];
    }
    for (; i < n; i += step) to[i] = from[i];
}

// a = b + scale·c; `scale` is a power of two, so that fused and separate rounding agree.
extern "C" __global__ void __launch_bounds__(512, 2)
    triad(Floats* a, const Floats* b, const Floats* c, float scale, unsigned long long n) {
    unsigned long long step = (unsigned long long)gridDim.x * blockDim.x;
    unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    const int PAIRS = AT_ONCE / 2;
    for (; i + (PAIRS - 1) * step < n; i += PAIRS * step) {
        Floats of_b[PAIRS], of_c[PAIRS];
#pragma unroll
        for (int j = 0; j < PAIRS; j++) {
            of_b[j] = b[i + j * step];
            of_c[j] = c[i + j * step];
        }
#pragma unroll
        for (int j = 0; j < PAIRS; j++) {
#pragma unroll
            for (int k = 0; k < 4; k++) of_b[j].floats[k] += scale * of_c[j].floats[k];
            a[i + j * step] = of_b[j];
        }
    }
    for (; i < n; i += step) {
        Floats of_b = b[i], of_c = c[i];
#pragma unroll
        for (int k = 0; k < 4; k++) of_b.floats[k] += scale * of_c.floats[k];
        a[i] = of_b;
    }
}
