// Causal attention of many queries by the tensor cores, without scores in memory: f16 and bf16.
//
// A block takes 64 queries of one head, 16 a warp, and walks through the keys that the last of them
// may see, 64 at a time (Dao, *FlashAttention-2*, 2023). HEAD_DIM is the width of a head, a multiple
// of 16 up to 128, and GROUP the number of query heads that share keys and values.

#define N_QUERIES 64
#define N_KEYS 64
// Eight more elements a row put the rows that a warp reads together into different banks.
#define ROW (HEAD_DIM + 8)
#define STEPS (HEAD_DIM / 16)

// Begins to copy N_KEYS rows of a cache from `first` on; those from `n_present` on become zeros,
// since what is behind the last position may be anything.
__device__ __forceinline__ void begin_rows(Element* to, const Element* cache, int first,
                                           int n_present) {
    const int PER_ROW = HEAD_DIM / PER_LOAD;
    for (int i = threadIdx.x; i < N_KEYS * PER_ROW; i += 128) {
        int row = i / PER_ROW, column = i % PER_ROW * PER_LOAD;
        bool is_there = first + row < n_present;
        int position = is_there ? first + row : 0;
        begin_copy(to + row * ROW + column, cache + (size_t)position * HEAD_DIM + column, is_there);
    }
}

// q and to (sequences·n_tokens, heads, HEAD_DIM); caches (sequences, n_kv, n_positions, HEAD_DIM).
// Token i of a sequence stands at *start + i. Grid: blocks of queries, heads, sequences.
extern "C" __global__ void __launch_bounds__(128)
    attend_block(const Element* q, const Element* keys, const Element* values, const int* start,
                 Element* to, int n_kv, int n_positions, int n_tokens, float scale) {
    __shared__ __align__(16) Element of_keys[N_KEYS * ROW];
    __shared__ __align__(16) Element of_values[N_KEYS * ROW];

    int head = blockIdx.y, sequence = blockIdx.z, n_heads = n_kv * GROUP;
    // The blocks with the most keys begin first.
    int first_query = ((int)gridDim.x - 1 - (int)blockIdx.x) * N_QUERIES;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    // In a tile of an operand a lane has columns 2·(lane % 4) and the next, of row lane / 4.
    int across = lane % 4 * 2, down = lane / 4;
    int before = *start;
    size_t cache = ((size_t)sequence * n_kv + head / GROUP) * n_positions * HEAD_DIM;
    keys += cache;
    values += cache;

    // The two queries of a lane; those behind the last token are computed and not kept.
    int query[2];
    query[0] = first_query + warp * 16 + down;
    query[1] = query[0] + 8;
    unsigned int of_query[STEPS][4];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        int token = query[r] < n_tokens ? query[r] : n_tokens - 1;
        const Element* row = q + (((size_t)sequence * n_tokens + token) * n_heads + head) * HEAD_DIM;
#pragma unroll
        for (int s = 0; s < STEPS; s++) {
            of_query[s][r] = *(const unsigned int*)(row + s * 16 + across);
            of_query[s][2 + r] = *(const unsigned int*)(row + s * 16 + 8 + across);
        }
    }

    float sums[HEAD_DIM / 8][4], top[2], weight[2];
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 8; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) sums[i][j] = 0.0f;
    }
    top[0] = top[1] = NEGATIVE_INFINITY;
    weight[0] = weight[1] = 0.0f;
    // Powers of two are what the device has an instruction for.
    float to_powers = scale * 1.44269504088896f;

    int last_query = first_query + N_QUERIES < n_tokens ? first_query + N_QUERIES : n_tokens;
    int n_seen = before + last_query, n_present = before + n_tokens;
    int n_blocks = (n_seen + N_KEYS - 1) / N_KEYS;
    begin_rows(of_keys, keys, 0, n_present);
    end_group();
    for (int block = 0; block < n_blocks; block++) {
        int first_key = block * N_KEYS;
        wait_but_for<0>();
        __syncthreads();
        // The keys are there, and the values of the block before are used up.
        begin_rows(of_values, values, first_key, n_present);
        end_group();

        float scores[N_KEYS / 8][4];
#pragma unroll
        for (int n = 0; n < N_KEYS / 8; n++) {
#pragma unroll
            for (int j = 0; j < 4; j++) scores[n][j] = 0.0f;
            const Element* key = of_keys + (n * 8 + down) * ROW + across;
#pragma unroll
            for (int s = 0; s < STEPS; s++) {
                multiply_add(scores[n], of_query[s], *(const unsigned int*)(key + s * 16),
                             *(const unsigned int*)(key + s * 16 + 8));
            }
        }
        __syncthreads();
        // The keys are used up; those of the next block come while this one is worked on.
        if (block + 1 < n_blocks) begin_rows(of_keys, keys, first_key + N_KEYS, n_present);
        end_group();

        unsigned int shares[N_KEYS / 16][4];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            int position = before + query[r];
            float highest = top[r];
#pragma unroll
            for (int n = 0; n < N_KEYS / 8; n++) {
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    int key = first_key + n * 8 + across + j;
                    float score = scores[n][2 * r + j] * to_powers;
                    score = key <= position ? score : NEGATIVE_INFINITY;
                    scores[n][2 * r + j] = score;
                    highest = fmaxf(highest, score);
                }
            }
            highest = fmaxf(highest, __shfl_xor_sync(0xffffffff, highest, 1));
            highest = fmaxf(highest, __shfl_xor_sync(0xffffffff, highest, 2));
            // The first block has a key for every query, so this is a number.
            float shrink = power_of_two(top[r] - highest);
            top[r] = highest;
            weight[r] *= shrink;
#pragma unroll
            for (int i = 0; i < HEAD_DIM / 8; i++) {
                sums[i][2 * r] *= shrink;
                sums[i][2 * r + 1] *= shrink;
            }
#pragma unroll
            for (int n = 0; n < N_KEYS / 8; n++) {
                float low = power_of_two(scores[n][2 * r] - highest);
                float high = power_of_two(scores[n][2 * r + 1] - highest);
                weight[r] += low + high;
                shares[n / 2][n % 2 * 2 + r] = pair(low, high);
            }
        }

        // All but the newest group: the values, and not the next keys.
        wait_but_for<1>();
        __syncthreads();
#pragma unroll
        for (int k = 0; k < N_KEYS / 16; k++) {
            const Element* row = of_values + (k * 16 + lane % 16) * ROW + lane / 16 * 8;
#pragma unroll
            for (int i = 0; i < HEAD_DIM / 16; i++) {
                unsigned int value[4];
                load_transposed(value, row + i * 16);
                multiply_add(sums[2 * i], shares[k], value[0], value[1]);
                multiply_add(sums[2 * i + 1], shares[k], value[2], value[3]);
            }
        }
    }

#pragma unroll
    for (int r = 0; r < 2; r++) {
        weight[r] += __shfl_xor_sync(0xffffffff, weight[r], 1);
        weight[r] += __shfl_xor_sync(0xffffffff, weight[r], 2);
        if (query[r] >= n_tokens) continue;
        Element* row = to + (((size_t)sequence * n_tokens + query[r]) * n_heads + head) * HEAD_DIM;
        float inverse = 1.0f / weight[r];
#pragma unroll
        for (int i = 0; i < HEAD_DIM / 8; i++) {
            *(unsigned int*)(row + i * 8 + across) =
                pair(sums[i][2 * r] * inverse, sums[i][2 * r + 1] * inverse);
        }
    }
}
