// Attention of single queries: each looks at all positions before it, split over blocks, and the
// parts are put together afterwards. Bound by reading keys and values once: the query heads of a
// group share what is read.
//
// HEAD_DIM is the width of a head, GROUP the number of query heads that share keys and values, at
// most 8 of them in one block.

// Lanes that read one key together, 16 bytes each.
#define LANES (HEAD_DIM / PER_LOAD)
#define KEYS_OF_WARP (32 / LANES)
#define N_WARPS 4
#define HEADS (GROUP < 8 ? GROUP : 8)
#define HEAD_BLOCKS ((GROUP + HEADS - 1) / HEADS)

// q (rows, n_kv·GROUP, HEAD_DIM); caches (sequences, n_kv, n_positions, HEAD_DIM). Of a sequence
// with `n_queries` queries, query i sees the positions up to *start + first + i. Grid: rows,
// n_kv·HEAD_BLOCKS, splits. Each block leaves its sums over values, times 2^-greatest, in
// parts (rows, heads, splits, HEAD_DIM), and the greatest score with the sum of weights in
// scales (rows, heads, splits, 2).
extern "C" __global__ void __launch_bounds__(32 * N_WARPS)
    attend_single(const Element* q, const Element* keys, const Element* values, const int* start,
                  float* parts, float* scales, int n_kv, int n_positions, int n_queries, int first,
                  float scale) {
    __shared__ float weights[N_WARPS * KEYS_OF_WARP][HEADS];
    __shared__ float tops[N_WARPS * KEYS_OF_WARP][HEADS];
    __shared__ float sums[N_WARPS * KEYS_OF_WARP][HEADS][HEAD_DIM];

    int row = blockIdx.x, sequence = row / n_queries, query = row % n_queries;
    int kv_head = blockIdx.y / HEAD_BLOCKS, head_block = blockIdx.y % HEAD_BLOCKS;
    int n_heads = n_kv * GROUP, first_head = kv_head * GROUP + head_block * HEADS;
    int n_here = GROUP - head_block * HEADS < HEADS ? GROUP - head_block * HEADS : HEADS;
    int n_seen = *start + first + query + 1;
    int n_splits = gridDim.z, split = blockIdx.z;
    int begin = (int)((long long)n_seen * split / n_splits);
    int end = (int)((long long)n_seen * (split + 1) / n_splits);

    int lane = threadIdx.x % LANES;
    // Which of the keys that a block reads at once.
    int reader = threadIdx.x / LANES;
    const int N_READERS = N_WARPS * KEYS_OF_WARP;
    size_t cache = ((size_t)sequence * n_kv + kv_head) * n_positions * HEAD_DIM + lane * PER_LOAD;

    float of_query[HEADS][PER_LOAD], sum[HEADS][PER_LOAD], top[HEADS], weight[HEADS];
#pragma unroll
    for (int h = 0; h < HEADS; h++) {
        int head = first_head + (h < n_here ? h : 0);
        numbers(load_16(q + ((size_t)row * n_heads + head) * HEAD_DIM + lane * PER_LOAD),
                of_query[h]);
        top[h] = NEGATIVE_INFINITY;
        weight[h] = 0.0f;
#pragma unroll
        for (int i = 0; i < PER_LOAD; i++) {
            // Powers of two are what the device has an instruction for.
            of_query[h][i] *= scale * 1.44269504088896f;
            sum[h][i] = 0.0f;
        }
    }
    // All lanes of a warp go round together, since they add up across it.
    for (int at = begin; at < end; at += N_READERS) {
        int position = at + reader;
        bool is_there = position < end;
        size_t offset = cache + (size_t)(is_there ? position : begin) * HEAD_DIM;
        float key[PER_LOAD], value[PER_LOAD];
        Load key_load = load_16(keys + offset), value_load = load_16(values + offset);
        numbers(key_load, key);
        numbers(value_load, value);
#pragma unroll
        for (int h = 0; h < HEADS; h++) {
            float score = 0.0f;
#pragma unroll
            for (int i = 0; i < PER_LOAD; i++) score += of_query[h][i] * key[i];
            score = sum_of(score, LANES);
            if (is_there) {
                float higher = fmaxf(top[h], score);
                float shrink = power_of_two(top[h] - higher), share = power_of_two(score - higher);
                top[h] = higher;
                weight[h] = weight[h] * shrink + share;
#pragma unroll
                for (int i = 0; i < PER_LOAD; i++) sum[h][i] = sum[h][i] * shrink + share * value[i];
            }
        }
    }
#pragma unroll
    for (int h = 0; h < HEADS; h++) {
        if (lane == 0) {
            weights[reader][h] = weight[h];
            tops[reader][h] = top[h];
        }
#pragma unroll
        for (int i = 0; i < PER_LOAD; i++) sums[reader][h][lane * PER_LOAD + i] = sum[h][i];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < n_here * HEAD_DIM; i += 32 * N_WARPS) {
        int h = i / HEAD_DIM, d = i % HEAD_DIM;
        float highest = NEGATIVE_INFINITY, all = 0.0f, total = 0.0f;
        for (int r = 0; r < N_READERS; r++) highest = fmaxf(highest, tops[r][h]);
        for (int r = 0; r < N_READERS; r++) {
            // A reader without keys has nothing to add.
            if (tops[r][h] == NEGATIVE_INFINITY) continue;
            float factor = power_of_two(tops[r][h] - highest);
            all += weights[r][h] * factor;
            total += sums[r][h][d] * factor;
        }
        size_t part = ((size_t)row * n_heads + first_head + h) * n_splits + split;
        parts[part * HEAD_DIM + d] = total;
        if (d == 0) {
            scales[part * 2] = highest;
            scales[part * 2 + 1] = all;
        }
    }
}

// Puts the splits of each head together: to (rows, heads, HEAD_DIM). Grid: rows, heads; a thread
// for each number of a head.
extern "C" __global__ void join_splits(const float* parts, const float* scales, Element* to,
                                       int n_splits) {
    size_t head = (size_t)blockIdx.x * gridDim.y + blockIdx.y;
    const float* of_head = scales + head * n_splits * 2;
    if (threadIdx.x >= HEAD_DIM) return;
    float highest = NEGATIVE_INFINITY, all = 0.0f, total = 0.0f;
    for (int s = 0; s < n_splits; s++) highest = fmaxf(highest, of_head[2 * s]);
    for (int s = 0; s < n_splits; s++) {
        if (of_head[2 * s] == NEGATIVE_INFINITY) continue;
        float factor = power_of_two(of_head[2 * s] - highest);
        all += of_head[2 * s + 1] * factor;
        total += parts[(head * n_splits + s) * HEAD_DIM + threadIdx.x] * factor;
    }
    to[head * HEAD_DIM + threadIdx.x] = element(total / all);
}
