// Products of matrices by columns, as the libraries of products count.
#pragma once
#include <library_types.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

// A matrix by columns in a format of the libraries; transposed where it is a factor and
// `is_turned`.
struct Matrix {
    const char* begin;
    int format;
    long leading;
    bool is_turned;
};

static inline size_t bytes_of(int format) {
    switch (format) {
        case CUDA_R_64F:
            return 8;
        case CUDA_R_32F:
        case CUDA_R_32I:
            return 4;
        case CUDA_R_16F:
        case CUDA_R_16BF:
            return 2;
        default:
            return 1;
    }
}

template <class T>
static inline T read_as(const char* begin, size_t index) {
    T value;
    memcpy(&value, begin + index * sizeof value, sizeof value);
    return value;
}

static inline float e4m3(uint8_t bits) {
    int exponent = bits >> 3 & 15, mantissa = bits & 7;
    if (exponent == 15 && mantissa == 7) return NAN;
    float value = exponent ? std::ldexp(8.0f + mantissa, exponent - 10)
                           : std::ldexp(static_cast<float>(mantissa), -9);
    return bits & 0x80 ? -value : value;
}

static inline double number(const char* begin, size_t index, int format) {
    switch (format) {
        case CUDA_R_64F:
            return read_as<double>(begin, index);
        case CUDA_R_32F:
            return read_as<float>(begin, index);
        case CUDA_R_32I:
            return read_as<int32_t>(begin, index);
        case CUDA_R_16F:
            return static_cast<float>(read_as<_Float16>(begin, index));
        case CUDA_R_16BF: {
            uint32_t bits = static_cast<uint32_t>(read_as<uint16_t>(begin, index)) << 16;
            return read_as<float>(reinterpret_cast<char*>(&bits), 0);
        }
        case CUDA_R_8I:
            return read_as<int8_t>(begin, index);
        case CUDA_R_8F_E4M3:
            return e4m3(read_as<uint8_t>(begin, index));
        default:
            return NAN;
    }
}

template <class T>
static inline void write_as(char* begin, size_t index, T value) {
    memcpy(begin + index * sizeof value, &value, sizeof value);
}

static inline void set_number(char* begin, size_t index, int format, double value) {
    switch (format) {
        case CUDA_R_64F:
            return write_as(begin, index, value);
        case CUDA_R_32F:
            return write_as(begin, index, static_cast<float>(value));
        case CUDA_R_32I:
            return write_as(begin, index, static_cast<int32_t>(value));
        case CUDA_R_16F:
            return write_as(begin, index, static_cast<_Float16>(static_cast<float>(value)));
        case CUDA_R_16BF: {
            float narrow = static_cast<float>(value);
            uint32_t bits;
            memcpy(&bits, &narrow, sizeof bits);
            // To nearest, ties to even.
            bits = std::isnan(narrow) ? 0x7fff0000 : bits + 0x7fff + (bits >> 16 & 1);
            return write_as(begin, index, static_cast<uint16_t>(bits >> 16));
        }
    }
}

// The rows of a factor (rows, n), one after another.
static inline std::vector<double> rows_of(const Matrix& matrix, long rows, long n,
                                          bool by_columns) {
    std::vector<double> numbers(static_cast<size_t>(rows) * n);
    for (long row = 0; row < rows; row++)
        for (long i = 0; i < n; i++) {
            long at = by_columns ? row * matrix.leading + i : i * matrix.leading + row;
            numbers[row * n + i] = number(matrix.begin, at, matrix.format);
        }
    return numbers;
}

// C (m, n) = alpha·A (m, k)·B (k, n) + beta·C. Sums are of doubles, which keeps integers exact.
static inline void multiply(long m, long n, long k, double alpha, const Matrix& a, const Matrix& b,
                            double beta, char* c, int format, long leading) {
    std::vector<double> of_a = rows_of(a, m, k, a.is_turned), of_b = rows_of(b, n, k, !b.is_turned);
    for (long column = 0; column < n; column++)
        for (long row = 0; row < m; row++) {
            const double *x = &of_a[row * k], *y = &of_b[column * k];
            double sum = 0;
            for (long i = 0; i < k; i++) sum += x[i] * y[i];
            long at = column * leading + row;
            double before = beta == 0 ? 0 : beta * number(c, at, format);
            set_number(c, at, format, alpha * sum + before);
        }
}
