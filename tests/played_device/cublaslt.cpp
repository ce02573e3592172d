// The part of cuBLASLt that this program calls: it offers three algorithms, and refuses the first
// when it is called, as the library may.
#include <cublasLt.h>

#include "product.h"
#include "streams.h"

namespace {

const int N_ALGORITHMS = 3;
// Marks an algorithm of this library, with its number added.
const uint64_t MARK = 0x706c6179;

struct Handle {
    int device;
};

struct Operation {
    cublasComputeType_t compute;
    cudaDataType scale;
    bool turn_a, turn_b;
};

struct Layout {
    cudaDataType format;
    long rows, columns, leading;
    size_t extent() const { return (leading * (columns - 1) + rows) * bytes_of(format); }
};

template <class T, class Opaque>
T& of(Opaque* opaque) {
    return *reinterpret_cast<T*>(opaque);
}

// By the table of formats in the documentation of cublasLtMatmul.
bool is_known(const Operation& operation, const Layout& a, const Layout& b, const Layout& c) {
    bool is_float = operation.scale == CUDA_R_32F && operation.compute == CUBLAS_COMPUTE_32F;
    bool is_turned = operation.turn_a && !operation.turn_b;
    if (a.format != b.format) return false;
    switch (a.format) {
        case CUDA_R_8F_E4M3:
            return is_float && is_turned && a.rows % 16 == 0 && a.columns % 16 == 0 &&
                   (c.format == CUDA_R_16BF || c.format == CUDA_R_16F || c.format == CUDA_R_32F);
        case CUDA_R_8I:
            return is_turned && operation.compute == CUBLAS_COMPUTE_32I &&
                   operation.scale == CUDA_R_32I && c.format == CUDA_R_32I && a.rows % 4 == 0;
        case CUDA_R_32F:
            return operation.scale == CUDA_R_32F && c.format == CUDA_R_32F &&
                   (is_float || operation.compute == CUBLAS_COMPUTE_32F_FAST_TF32);
        default:
            return is_float && (c.format == a.format || c.format == CUDA_R_32F);
    }
}

}  // namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
    if (played_device() < 0) return CUBLAS_STATUS_NOT_INITIALIZED;
    *handle = reinterpret_cast<cublasLtHandle_t>(new Handle{played_device()});
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
    delete &of<Handle>(handle);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation,
                                        cublasComputeType_t compute, cudaDataType scale) {
    *operation =
        reinterpret_cast<cublasLtMatmulDesc_t>(new Operation{compute, scale, false, false});
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
    delete &of<Operation>(operation);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t n_bytes) {
    bool is_turned = n_bytes == 4 && *static_cast<const cublasOperation_t*>(value) != CUBLAS_OP_N;
    if (attribute == CUBLASLT_MATMUL_DESC_TRANSA && n_bytes == 4)
        of<Operation>(operation).turn_a = is_turned;
    else if (attribute == CUBLASLT_MATMUL_DESC_TRANSB && n_bytes == 4)
        of<Operation>(operation).turn_b = is_turned;
    else if (attribute != CUBLASLT_MATMUL_DESC_FAST_ACCUM || n_bytes != 1)
        return CUBLAS_STATUS_INVALID_VALUE;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType format,
                                          uint64_t rows, uint64_t columns, int64_t leading) {
    *layout = reinterpret_cast<cublasLtMatrixLayout_t>(
        new Layout{format, static_cast<long>(rows), static_cast<long>(columns), leading});
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
    delete &of<Layout>(layout);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
    *preference = reinterpret_cast<cublasLtMatmulPreference_t>(new size_t(0));
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
    delete &of<size_t>(preference);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t n_bytes) {
    if (attribute != CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES || n_bytes != sizeof(size_t))
        return CUBLAS_STATUS_INVALID_VALUE;
    of<size_t>(preference) = *static_cast<const size_t*>(value);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t preference, int n_asked,
                                              cublasLtMatmulHeuristicResult_t* found,
                                              int* n_found) {
    *n_found = 0;
    if (!is_known(of<Operation>(operation), of<Layout>(a), of<Layout>(b), of<Layout>(c)))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    for (; *n_found < n_asked && *n_found < N_ALGORITHMS; ++*n_found) {
        cublasLtMatmulHeuristicResult_t& next = found[*n_found];
        memset(&next, 0, sizeof next);
        next.algo.data[0] = MARK + *n_found;
        next.state = CUBLAS_STATUS_SUCCESS;
        // The last of them works in all that there may be.
        next.workspaceSize = *n_found + 1 == N_ALGORITHMS ? of<size_t>(preference) : 0;
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                              const void* alpha, const void* a, cublasLtMatrixLayout_t of_a,
                              const void* b, cublasLtMatrixLayout_t of_b, const void* beta,
                              const void*, cublasLtMatrixLayout_t, void* d,
                              cublasLtMatrixLayout_t of_d, const cublasLtMatmulAlgo_t* algorithm,
                              void* workspace, size_t n_workspace, cudaStream_t stream) {
    if (played_device() != of<Handle>(handle).device) {
        played_wrong("cuBLASLt is called while its device is not bound");
        return CUBLAS_STATUS_EXECUTION_FAILED;
    }
    Operation turned = of<Operation>(operation);
    Layout x = of<Layout>(of_a), y = of<Layout>(of_b), product = of<Layout>(of_d);
    uint64_t number = algorithm->data[0] - MARK;
    if (!is_known(turned, x, y, product) || number == 0 || number >= N_ALGORITHMS)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    long m = turned.turn_a ? x.columns : x.rows, n = turned.turn_b ? y.rows : y.columns;
    long k = turned.turn_a ? x.rows : x.columns, k_of_b = turned.turn_b ? y.columns : y.rows;
    if (m != product.rows || n != product.columns || k != k_of_b) {
        played_wrong("factors and product of cuBLASLt do not fit");
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    // C is not read, so nothing may be added of it.
    if (*static_cast<const int*>(beta) != 0) return CUBLAS_STATUS_NOT_SUPPORTED;
    played_within(workspace, n_workspace, "a workspace");
    played_within(a, x.extent(), "the first factor");
    played_within(b, y.extent(), "the second factor");
    played_within(d, product.extent(), "the product");
    auto scale = [&](const void* value) -> double {
        if (turned.scale == CUDA_R_32I) return *static_cast<const int*>(value);
        return *static_cast<const float*>(value);
    };
    double one = scale(alpha);
    std::function<void()> work = [=] {
        multiply(m, n, k, one, {static_cast<const char*>(a), x.format, x.leading, turned.turn_a},
                 {static_cast<const char*>(b), y.format, y.leading, turned.turn_b}, 0,
                 static_cast<char*>(d), product.format, product.leading);
    };
    return played_give(stream, "a product", &work) ? CUBLAS_STATUS_EXECUTION_FAILED
                                                   : CUBLAS_STATUS_SUCCESS;
}
}
