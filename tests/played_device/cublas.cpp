// The part of cuBLAS that this program and its engine call.
#include <cublas_v2.h>

#include "product.h"
#include "streams.h"

namespace {

struct Handle {
    int device;
    void* stream;
    // What it was given to work in; its own it would take in the middle of a capture.
    bool has_workspace;
};

Handle& of(cublasHandle_t handle) { return *reinterpret_cast<Handle*>(handle); }

double scale(const void* value, cublasComputeType_t compute) {
    switch (compute) {
        case CUBLAS_COMPUTE_64F:
            return *static_cast<const double*>(value);
        case CUBLAS_COMPUTE_32I:
            return *static_cast<const int*>(value);
        case CUBLAS_COMPUTE_16F:
            return static_cast<float>(*static_cast<const _Float16*>(value));
        default:
            return *static_cast<const float*>(value);
    }
}

struct Operand {
    const void* begin;
    int format;
    int leading;
    long long stride;
};

// Bytes from the first to the last number of a batch of matrices.
size_t extent(const Operand& operand, long rows, long columns, long n) {
    long last = (n - 1) * operand.stride + (columns - 1) * operand.leading + rows;
    return static_cast<size_t>(last) * bytes_of(operand.format);
}

cublasStatus_t give(cublasHandle_t handle, bool turn_a, bool turn_b, long m, long n, long k,
                    double alpha, Operand a, Operand b, double beta, Operand c, long n_batch) {
    Handle& known = of(handle);
    if (played_device() != known.device) {
        played_wrong("cuBLAS is called while its device is not bound");
        return CUBLAS_STATUS_EXECUTION_FAILED;
    }
    long rows_a = turn_a ? k : m, rows_b = turn_b ? n : k;
    if (m < 0 || n < 0 || k < 0 || a.leading < rows_a || b.leading < rows_b || c.leading < m)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (k == 0) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (m == 0 || n == 0 || n_batch == 0) return CUBLAS_STATUS_SUCCESS;
    if (played_is_captured(known.stream) && !known.has_workspace)
        played_wrong("a product of cuBLAS is captured, and it has no workspace but its own");
    played_within(a.begin, extent(a, rows_a, turn_a ? m : k, n_batch), "the first factor");
    played_within(b.begin, extent(b, rows_b, turn_b ? k : n, n_batch), "the second factor");
    played_within(c.begin, extent(c, m, n, n_batch), "the product");
    std::function<void()> work = [=] {
        for (long i = 0; i < n_batch; i++) {
            auto begin = [i](const Operand& operand) {
                return static_cast<const char*>(operand.begin) +
                       i * operand.stride * static_cast<long long>(bytes_of(operand.format));
            };
            multiply(m, n, k, alpha, {begin(a), a.format, a.leading, turn_a},
                     {begin(b), b.format, b.leading, turn_b}, beta, const_cast<char*>(begin(c)),
                     c.format, c.leading);
        }
    };
    return played_give(known.stream, "a product", &work) ? CUBLAS_STATUS_EXECUTION_FAILED
                                                         : CUBLAS_STATUS_SUCCESS;
}

}  // namespace

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
    if (played_device() < 0) return CUBLAS_STATUS_NOT_INITIALIZED;
    *handle = reinterpret_cast<cublasHandle_t>(new Handle{played_device(), nullptr, false});
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
    delete &of(handle);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
    of(handle).stream = stream;
    of(handle).has_workspace = false;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* begin, size_t n_bytes) {
    if (reinterpret_cast<size_t>(begin) % 256 != 0) return CUBLAS_STATUS_INVALID_VALUE;
    played_within(begin, n_bytes, "a workspace");
    of(handle).has_workspace = true;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t turn_a,
                            cublasOperation_t turn_b, int m, int n, int k, const void* alpha,
                            const void* a, cudaDataType format_a, int leading_a, const void* b,
                            cudaDataType format_b, int leading_b, const void* beta, void* c,
                            cudaDataType format_c, int leading_c, cublasComputeType_t compute,
                            cublasGemmAlgo_t) {
    return give(handle, turn_a != CUBLAS_OP_N, turn_b != CUBLAS_OP_N, m, n, k,
                scale(alpha, compute), {a, format_a, leading_a, 0}, {b, format_b, leading_b, 0},
                scale(beta, compute), {c, format_c, leading_c, 0}, 1);
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t turn_a,
                                          cublasOperation_t turn_b, int m, int n, int k,
                                          const void* alpha, const void* a, cudaDataType format_a,
                                          int leading_a, long long stride_a, const void* b,
                                          cudaDataType format_b, int leading_b, long long stride_b,
                                          const void* beta, void* c, cudaDataType format_c,
                                          int leading_c, long long stride_c, int n_batch,
                                          cublasComputeType_t compute, cublasGemmAlgo_t) {
    return give(handle, turn_a != CUBLAS_OP_N, turn_b != CUBLAS_OP_N, m, n, k,
                scale(alpha, compute), {a, format_a, leading_a, stride_a},
                {b, format_b, leading_b, stride_b}, scale(beta, compute),
                {c, format_c, leading_c, stride_c}, n_batch);
}

cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t handle, cublasOperation_t turn_a,
                                         cublasOperation_t turn_b, int m, int n, int k,
                                         const double* alpha, const double* a, int leading_a,
                                         long long stride_a, const double* b, int leading_b,
                                         long long stride_b, const double* beta, double* c,
                                         int leading_c, long long stride_c, int n_batch) {
    return give(handle, turn_a != CUBLAS_OP_N, turn_b != CUBLAS_OP_N, m, n, k, *alpha,
                {a, CUDA_R_64F, leading_a, stride_a}, {b, CUDA_R_64F, leading_b, stride_b}, *beta,
                {c, CUDA_R_64F, leading_c, stride_c}, n_batch);
}
}
