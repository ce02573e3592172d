// What the instructions of PTX do, for the code that `translate.py` writes. By the PTX ISA,
// https://docs.nvidia.com/cuda/parallel-thread-execution/; approximate ones are exact here, and
// numbers below the normal ones are kept.
#pragma once
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "played.h"

template <class To, class From>
static inline To as(From f) {
    static_assert(sizeof(To) == sizeof(From));
    To t;
    std::memcpy(&t, &f, sizeof t);
    return t;
}

typedef _Float16 f16;
struct bf16 {
    uint16_t bits;
    bf16() = default;
    explicit bf16(float v) {
        uint32_t b = as<uint32_t>(v);
        bits = v != v ? 0x7fff : (b + 0x7fff + (b >> 16 & 1)) >> 16;
    }
    template <class N>
    explicit bf16(N v) : bf16((float)v) {}
    operator float() const { return as<float>((uint32_t)bits << 16); }
};
template <class T>
struct is_f
    : std::integral_constant<bool,
                             std::is_same<T, float>::value || std::is_same<T, double>::value ||
                                 std::is_same<T, f16>::value || std::is_same<T, bf16>::value> {};
template <class To, class From>
static inline To get(From v) {
    if constexpr (std::is_same<To, From>::value)
        return v;
    else if constexpr (std::is_same<To, bool>::value)
        return (bool)v;
    else if constexpr (sizeof(To) == sizeof(From))
        return as<To>(v);
    else if constexpr (is_f<To>::value || is_f<From>::value) {
        static_assert(sizeof(To) < sizeof(From));
        To t;
        std::memcpy(&t, &v, sizeof t);
        return t;
    } else
        return (To)v;
}

template <class T>
static inline T lit(uint64_t v) {
    T t;
    std::memcpy(&t, &v, sizeof t);
    return t;
}

template <class R, class T>
static inline void set(R& r, T v) {
    if constexpr (std::is_same<R, T>::value)
        r = v;
    else if constexpr (std::is_same<R, bool>::value)
        r = (bool)v;
    else if constexpr (sizeof(R) == sizeof(T))
        std::memcpy(&r, &v, sizeof r);
    else if constexpr (sizeof(R) > sizeof(T)) {
        static_assert(!is_f<R>::value);
        if constexpr (is_f<T>::value) {
            r = 0;
            std::memcpy(&r, &v, sizeof v);
        } else
            r = (R)v;
    } else {
        static_assert(sizeof(R) < sizeof(T) && std::is_integral<R>::value);
        r = (R)v;
    }
}

template <class T>
static inline T& at(uint64_t a) {
    return *(T __attribute__((may_alias))*)a;
}

static inline void check_aligned(uint64_t a, unsigned n) {
    if (a & (n - 1)) fail("memory is not aligned");
}

enum { R_rn, R_rz, R_rm, R_rp, R_rni, R_rzi, R_rmi, R_rpi };
template <int R>
struct Mode {
    int old;
    Mode() {
        if (R == R_rz || R == R_rm || R == R_rp) {
            old = fegetround();
            fesetround(R == R_rz ? FE_TOWARDZERO : R == R_rm ? FE_DOWNWARD : FE_UPWARD);
        }
    }
    ~Mode() {
        if (R == R_rz || R == R_rm || R == R_rp) fesetround(old);
    }
};
template <class T>
static inline T keep(T v) {
    volatile T w = v;
    return w;
}

template <class T>
using wider = typename std::conditional<sizeof(T) == 2, float, T>::type;
template <class T, int R>
static inline T f_add(T a, T b) {
    Mode<R> m;
    return (T)keep<wider<T>>(keep<wider<T>>((wider<T>)a) + (wider<T>)b);
}

template <class T, int R>
static inline T f_sub(T a, T b) {
    Mode<R> m;
    return (T)keep<wider<T>>(keep<wider<T>>((wider<T>)a) - (wider<T>)b);
}

template <class T, int R>
static inline T f_mul(T a, T b) {
    Mode<R> m;
    return (T)keep<wider<T>>(keep<wider<T>>((wider<T>)a) * (wider<T>)b);
}

template <class T, int R>
static inline T f_div(T a, T b) {
    Mode<R> m;
    return (T)keep<wider<T>>(keep<wider<T>>((wider<T>)a) / (wider<T>)b);
}

template <class T, int R>
static inline T f_fma(T a, T b, T c) {
    Mode<R> m;
    if constexpr (sizeof(T) == 2)
        return (T)((double)(float)a * (double)(float)b + (double)(float)c);
    else
        return (T)keep<T>(std::fma(keep<T>(a), b, c));
}

template <>
inline float f_add<float, R_rn>(float a, float b) {
    return a + b;
}

template <>
inline float f_sub<float, R_rn>(float a, float b) {
    return a - b;
}

template <>
inline float f_mul<float, R_rn>(float a, float b) {
    return a * b;
}

template <>
inline float f_fma<float, R_rn>(float a, float b, float c) {
    return __builtin_fmaf(a, b, c);
}

template <class T>
static inline T saturated(T v) {
    return v > 0 ? (v < 1 ? v : (T)1) : (T)0;
}

template <class H>
static inline H half_at(uint32_t w, int i) {
    return as<H>((uint16_t)(w >> 16 * i));
}

template <class H>
static inline uint32_t pair_of(float low, float high) {
    return as<uint16_t>((H)low) | (uint32_t)as<uint16_t>((H)high) << 16;
}

template <class H>
static inline uint32_t pair_add(uint32_t a, uint32_t b) {
    return pair_of<H>((float)half_at<H>(a, 0) + (float)half_at<H>(b, 0),
                      (float)half_at<H>(a, 1) + (float)half_at<H>(b, 1));
}

template <class H>
static inline uint32_t pair_mul(uint32_t a, uint32_t b) {
    return pair_of<H>((float)half_at<H>(a, 0) * (float)half_at<H>(b, 0),
                      (float)half_at<H>(a, 1) * (float)half_at<H>(b, 1));
}

template <class T>
static inline T wrap_add(T a, T b) {
    typedef std::make_unsigned_t<T> U;
    return (T)(U)((U)a + (U)b);
}

template <class T>
static inline T wrap_sub(T a, T b) {
    typedef std::make_unsigned_t<T> U;
    return (T)(U)((U)a - (U)b);
}

template <class T>
static inline T mul_lo(T a, T b) {
    return (T)((uint64_t)a * (uint64_t)b);
}

template <class T>
static inline T mul_hi(T a, T b) {
    typedef std::conditional_t<std::is_signed<T>::value, __int128, unsigned __int128> W;
    return (T)(((W)a * (W)b) >> (8 * sizeof(T)));
}

template <class T>
static inline T idiv(T a, T b) {
    if (b == 0) return (T)-1;
    if (std::is_signed<T>::value && b == (T)-1) return wrap_sub<T>(0, a);
    return a / b;
}

template <class T>
static inline T irem(T a, T b) {
    if (b == 0) return a;
    if (std::is_signed<T>::value && b == (T)-1) return 0;
    return a % b;
}

template <class T>
static inline T min_(T a, T b) {
    if constexpr (is_f<T>::value) {
        if (a != a) return b;
        if (b != b) return a;
    }
    return b < a ? b : a;
}

template <class T>
static inline T max_(T a, T b) {
    if constexpr (is_f<T>::value) {
        if (a != a) return b;
        if (b != b) return a;
    }
    return a < b ? b : a;
}

// Where one is not a number, neither is the result.
template <class T>
static inline T nan_or_min_(T a, T b) {
    return a != a ? a : b != b ? b : min_<T>(a, b);
}

template <class T>
static inline T nan_or_max_(T a, T b) {
    return a != a ? a : b != b ? b : max_<T>(a, b);
}

template <class T>
static inline T neg_(T a) {
    if constexpr (std::is_same<T, bf16>::value) {
        a.bits ^= 0x8000;
        return a;
    } else if constexpr (std::is_integral<T>::value)
        return wrap_sub<T>(0, a);
    else
        return -a;
}

template <class T>
static inline T abs_(T a) {
    if constexpr (std::is_same<T, bf16>::value) {
        a.bits &= 0x7fff;
        return a;
    } else if constexpr (std::is_same<T, f16>::value)
        return (f16)std::fabs((float)a);
    else if constexpr (is_f<T>::value)
        return std::fabs(a);
    else
        return a < 0 ? wrap_sub<T>(0, a) : a;
}

template <class T>
static inline T shl_(T a, uint32_t n) {
    return n >= 8 * sizeof(T) ? 0 : (T)(a << n);
}

template <class T>
static inline T shr_(T a, uint32_t n) {
    if (n >= 8 * sizeof(T)) return std::is_signed<T>::value && a < 0 ? (T)-1 : 0;
    return (T)(a >> n);
}

template <class T>
static inline T bfi_(T a, T b, uint32_t pos, uint32_t len) {
    pos &= 255;
    len &= 255;
    for (uint32_t i = 0; i < len && pos + i < 8 * sizeof(T); i++) {
        T bit = (T)1 << (pos + i);
        b = (b & ~bit) | ((a >> i & 1) << (pos + i));
    }
    return b;
}

static inline uint32_t prmt_(uint32_t a, uint32_t b, uint32_t s) {
    uint64_t w = (uint64_t)b << 32 | a;
    uint32_t r = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t k = s >> 4 * i & 15;
        uint8_t v = (uint8_t)(w >> 8 * (k & 7));
        if (k & 8) v = v & 0x80 ? 0xff : 0;
        r |= (uint32_t)v << 8 * i;
    }
    return r;
}

template <class A, class Bt>
static inline int32_t dp4a_(uint32_t a, uint32_t b, int32_t c) {
    for (int i = 0; i < 4; i++) {
        int32_t x = std::is_signed<A>::value ? (int8_t)(a >> 8 * i) : (uint8_t)(a >> 8 * i),
                y = std::is_signed<Bt>::value ? (int8_t)(b >> 8 * i) : (uint8_t)(b >> 8 * i);
        c += x * y;
    }
    return c;
}

template <class T>
static inline uint32_t clz_(T a) {
    uint32_t n = 0;
    for (int i = 8 * sizeof(T) - 1; i >= 0 && !(a >> i & 1); i--) n++;
    return n;
}

template <class T>
static inline T ex2_(T a) {
    return (T)std::exp2((float)a);
}

template <class T>
static inline T lg2_(T a) {
    return (T)std::log2((float)a);
}

template <class T>
static inline T rcp_(T a) {
    return (T)(1 / a);
}

template <class T>
static inline T rsqrt_(T a) {
    return (T)(1 / std::sqrt(a));
}

template <class T>
static inline T sqrt_(T a) {
    return (T)std::sqrt(a);
}

#define CMP(n, ordered, e)                         \
    template <class T>                             \
    static inline bool cmp_##n(T x, T y) {         \
        if constexpr (is_f<T>::value) {            \
            if (x != x || y != y) return !ordered; \
        }                                          \
        return e;                                  \
    }
CMP(eq, true, x == y)
CMP(ne, true, x != y)
CMP(lt, true, x < y)
CMP(le, true, x <= y)
CMP(gt, true, x > y)
CMP(ge, true, x >= y)
CMP(equ, false, x == y)
CMP(neu, false, x != y)
CMP(ltu, false, x < y)
CMP(leu, false, x <= y)
CMP(gtu, false, x > y)
CMP(geu, false, x >= y)

template <class To, class From, int R, bool sat>
static inline To cvt(From v) {
    if constexpr (is_f<From>::value && std::is_integral<To>::value) {
        double d = (double)(wider<From>)v;
        if (d != d) return 0;
        d = R == R_rzi   ? std::trunc(d)
            : R == R_rmi ? std::floor(d)
            : R == R_rpi ? std::ceil(d)
                         : std::nearbyint(d);
        double lo = (double)std::numeric_limits<To>::min(),
               hi = (double)std::numeric_limits<To>::max();
        if (d <= lo) return std::numeric_limits<To>::min();
        if (d >= hi) return std::numeric_limits<To>::max();
        return (To)d;
    } else if constexpr (is_f<From>::value) {
        typedef wider<From> W;
        W d = (W)v;
        if (R == R_rni)
            d = std::nearbyint(d);
        else if (R == R_rzi)
            d = std::trunc(d);
        else if (R == R_rmi)
            d = std::floor(d);
        else if (R == R_rpi)
            d = std::ceil(d);
        To r;
        if constexpr (sizeof(To) == 2)
            r = (To)(float)d;
        else {
            Mode<R> m;
            r = (To)keep<W>(d);
        }
        if (sat) r = saturated(r);
        return r;
    } else if constexpr (is_f<To>::value) {
        if constexpr (sizeof(To) == 2)
            return (To)(float)v;
        else {
            Mode<R> m;
            volatile From w = v;
            return (To)w;
        }
    } else {
        if (sat) {
            __int128 w = v, lo = std::numeric_limits<To>::min(),
                     hi = std::numeric_limits<To>::max();
            return (To)(w < lo ? lo : w > hi ? hi : w);
        }
        return (To)v;
    }
}

template <class T>
static inline T atom_add(uint64_t address, T v) {
    T before = at<T>(address);
    at<T>(address) = (T)(before + v);
    return before;
}

static inline uint32_t other(uint32_t v, uint32_t lane) {
    show(&v, 1);
    wait_for_warp();
    uint32_t r = shown_by(lane)[0];
    wait_for_warp();
    return r;
}

static inline uint32_t lane() { return thread->linear % 32; }
static inline uint32_t shfl_bfly(uint32_t v, uint32_t b, uint32_t c, bool& p) {
    b &= 31;
    uint32_t j = lane() ^ b, m = c >> 8 & 31, hi = (lane() & m) | (c & 31 & ~m);
    p = j <= hi;
    return other(v, p ? j : lane());
}

static inline uint32_t shfl_down(uint32_t v, uint32_t b, uint32_t c, bool& p) {
    b &= 31;
    uint32_t j = lane() + b, m = c >> 8 & 31, hi = (lane() & m) | (c & 31 & ~m);
    p = j <= hi;
    return other(v, p ? j : lane());
}

static inline uint32_t shfl_up(uint32_t v, uint32_t b, uint32_t c, bool& p) {
    b &= 31;
    int j = (int)lane() - (int)b;
    uint32_t m = c >> 8 & 31, hi = (lane() & m) | (c & 31 & ~m);
    p = j >= (int)hi;
    return other(v, p ? (uint32_t)j : lane());
}

static inline uint32_t shfl_idx(uint32_t v, uint32_t b, uint32_t c, bool& p) {
    uint32_t m = c >> 8 & 31, lo = lane() & m, hi = lo | (c & 31 & ~m), j = lo | (b & 31 & ~m);
    p = j <= hi;
    return other(v, p ? j : lane());
}

// Four lanes hold a row of 8 halves, two each; eight lanes name the rows of a matrix. Section
// "Warp-level matrix load instruction: ldmatrix".
template <int n, bool trans>
static inline void ldmatrix_(uint32_t (&to)[n], uint64_t row) {
    uint32_t w[2] = {(uint32_t)row, (uint32_t)(row >> 32)};
    if (row & 15) fail("ldmatrix is not aligned");
    show(w, 2);
    wait_for_warp();
    for (int i = 0; i < n; i++) {
        auto at_row = [&](int r) {
            const uint32_t* s = shown_by(i * 8 + r);
            return (const uint16_t*)((uint64_t)s[1] << 32 | s[0]);
        };
        if (trans)
            to[i] = at_row(lane() % 4 * 2)[lane() / 4] |
                    (uint32_t)at_row(lane() % 4 * 2 + 1)[lane() / 4] << 16;
        else
            to[i] = at_row(lane() / 4)[lane() % 4 * 2] |
                    (uint32_t)at_row(lane() / 4)[lane() % 4 * 2 + 1] << 16;
    }
    wait_for_warp();
}

// Fragments as in section "Matrix fragments for mma.m16n8k16": a row of A and a column of B are
// with the lane divided by 4, pairs along the depth with the rest.
template <class H>
static inline void mma_16816(float (&c)[4], const uint32_t (&ab)[6]) {
    show(ab, 6);
    wait_for_warp();
    for (int i = 0; i < 4; i++) {
        int row = lane() / 4 + i / 2 * 8, col = lane() % 4 * 2 + i % 2;
        float sum = c[i];
        for (int k = 0; k < 16; k++) {
            const uint32_t* a = shown_by(row % 8 * 4 + k % 8 / 2);
            const uint32_t* b = shown_by(col * 4 + k % 8 / 2);
            sum += (float)half_at<H>(a[k / 8 * 2 + row / 8], k % 2) *
                   (float)half_at<H>(b[4 + k / 8], k % 2);
        }
        c[i] = sum;
    }
    wait_for_warp();
}
