// Products of a few rows, bound by reading the weights once: y (n, n_out) = x (n, n_in)·Wᵀ.
//
// A warp takes two rows of W and all of x; each lane reads 16 bytes of a row at a time. n_in is a
// multiple of PER_LOAD.

enum Result {
    // y is Element.
    NARROWED,
    // y is f32.
    WIDE,
    // y is the residual stream, which the product is added to.
    ADDED,
    // W is (2·n_out, n_in), gates first: y is silu(gate)·up, Element.
    GATED,
};

template <int N, Result RESULT>
__device__ __forceinline__ void product(const Element* w, const Element* x, const float* bias,
                                        void* y, int n_out, int n_in) {
    const int N_ROWS = 2;
    int warp = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    // A warp's rows: two neighbours, or a gate and what it lets through.
    int row[N_ROWS];
    row[0] = RESULT == GATED ? warp : warp * N_ROWS;
    row[1] = RESULT == GATED ? warp + n_out : row[0] + 1;
    if (row[0] >= n_out) return;
    bool has_second = RESULT == GATED || row[1] < n_out;
    const Element* of_row[N_ROWS];
    of_row[0] = w + (size_t)row[0] * n_in;
    of_row[1] = has_second ? w + (size_t)row[1] * n_in : of_row[0];

    float sums[N_ROWS][N];
#pragma unroll
    for (int r = 0; r < N_ROWS; r++) {
#pragma unroll
        for (int n = 0; n < N; n++) sums[r][n] = 0.0f;
    }
#pragma unroll 4
    for (int k = lane * PER_LOAD; k < n_in; k += 32 * PER_LOAD) {
        float a[N_ROWS][PER_LOAD];
#pragma unroll
        for (int r = 0; r < N_ROWS; r++) numbers(load_16(of_row[r] + k), a[r]);
#pragma unroll
        for (int n = 0; n < N; n++) {
            float b[PER_LOAD];
            numbers(load_16(x + (size_t)n * n_in + k), b);
#pragma unroll
            for (int r = 0; r < N_ROWS; r++) {
#pragma unroll
                for (int i = 0; i < PER_LOAD; i++) sums[r][n] += a[r][i] * b[i];
            }
        }
    }
#pragma unroll
    for (int r = 0; r < N_ROWS; r++) {
#pragma unroll
        for (int n = 0; n < N; n++) {
            sums[r][n] = sum_of(sums[r][n], 32);
            if (bias != nullptr && (r == 0 || has_second)) sums[r][n] += bias[row[r]];
        }
    }
    if (lane != 0) return;
#pragma unroll
    for (int n = 0; n < N; n++) {
        size_t at = (size_t)n * n_out;
        if (RESULT == GATED) {
            ((Element*)y)[at + row[0]] = element(silu(sums[0][n]) * sums[1][n]);
            continue;
        }
#pragma unroll
        for (int r = 0; r < N_ROWS; r++) {
            if (r > 0 && !has_second) continue;
            if (RESULT == NARROWED) ((Element*)y)[at + row[r]] = element(sums[r][n]);
            if (RESULT == WIDE) ((float*)y)[at + row[r]] = sums[r][n];
            if (RESULT == ADDED) ((float*)y)[at + row[r]] += sums[r][n];
        }
    }
}

#define PRODUCT(name, N, RESULT)                                                             \
    extern "C" __global__ void name##_##N(const Element* w, const Element* x,                \
                                          const float* bias, void* y, int n_out, int n_in) { \
        product<N, RESULT>(w, x, bias, y, n_out, n_in);                                      \
    }

#define PRODUCTS(N)                      \
    PRODUCT(product_narrowed, N, NARROWED) \
    PRODUCT(product_wide, N, WIDE)         \
    PRODUCT(product_added, N, ADDED)       \
    PRODUCT(product_gated, N, GATED)

PRODUCTS(1)
PRODUCTS(2)
PRODUCTS(3)
PRODUCTS(4)
PRODUCTS(5)
PRODUCTS(6)
PRODUCTS(7)
PRODUCTS(8)
