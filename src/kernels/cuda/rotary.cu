// What lies between the projections and attention: biases, RMSNorm of heads, rotary embedding, and
// keys and values that join the cache.

// Rows (sequences · n_tokens) of x have `n_q` query heads, then `n_kv` of keys and `n_kv` of values,
// each of `dim`. Token t of a sequence stands at position *start + first + t. Queries go to
// q (rows, n_q, dim); keys and values to their caches (sequences, n_kv, n_positions, dim). A warp
// takes one head. Biases and norms may be absent.
extern "C" __global__ void rotate(const Element* x, const float* bias, const float* q_norm,
                                  const float* k_norm, const float* cosines, const float* sines,
                                  const int* start, Element* q, Element* keys, Element* values,
                                  int n_heads_of_rows, int n_q, int n_kv, int dim, int n_tokens,
                                  int first, int n_positions, float eps) {
    int head = blockIdx.y * (blockDim.x / 32) + threadIdx.x / 32;
    if (head >= n_heads_of_rows) return;
    int lane = threadIdx.x % 32, half = dim / 2;
    int row = blockIdx.x, token = row % n_tokens, sequence = row / n_tokens;
    int position = *start + first + token;
    const Element* from = x + ((size_t)row * n_heads_of_rows + head) * dim;
    bool is_query = head < n_q, is_key = !is_query && head < n_q + n_kv;

    Element* to;
    if (is_query) {
        to = q + ((size_t)row * n_q + head) * dim;
    } else {
        int of_kv = (head - n_q) % n_kv;
        Element* cache = is_key ? keys : values;
        to = cache + (((size_t)sequence * n_kv + of_kv) * n_positions + position) * dim;
    }

    const float* norm = is_query ? q_norm : is_key ? k_norm : nullptr;
    float scale = 1.0f;
    if (norm != nullptr) {
        float sum = 0.0f;
        for (int i = lane; i < dim; i += 32) {
            float v = number(from[i]) + (bias != nullptr ? bias[head * dim + i] : 0.0f);
            sum += v * v;
        }
        scale = rsqrtf(sum_of(sum, 32) / (float)dim + eps);
    }
    // A head's first half pairs with its second.
    for (int i = lane; i < half; i += 32) {
        float a = number(from[i]), b = number(from[half + i]);
        if (bias != nullptr) {
            a += bias[head * dim + i];
            b += bias[head * dim + half + i];
        }
        if (norm != nullptr) {
            a *= scale * norm[i];
            b *= scale * norm[half + i];
        }
        if (is_query || is_key) {
            float c = cosines[(size_t)position * half + i];
            float s = sines[(size_t)position * half + i];
            float turned = a * c - b * s;
            b = b * c + a * s;
            a = turned;
        }
        to[i] = element(a);
        to[half + i] = element(b);
    }
}
