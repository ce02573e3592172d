// Work on rows: looking tokens up, RMSNorm, SwiGLU, biases, the greedy pick, and what a step leaves
// to the next one.

// x (rows, width) of the residual stream, f32, from the embedding's rows.
extern "C" __global__ void embed(const unsigned int* tokens, const Element* table, float* x,
                                 int width) {
    const Element* from = table + (size_t)tokens[blockIdx.x] * width;
    float* to = x + (size_t)blockIdx.x * width;
    for (int i = threadIdx.x; i < width; i += blockDim.x) to[i] = number(from[i]);
}

// RMSNorm of rows `first`, `first + step`, … of x (…, width), one a block.
extern "C" __global__ void rms_norm(const float* x, const float* weight, Element* y, int width,
                                    float eps, int first, int step) {
    const float* from = x + (size_t)(first + (int)blockIdx.x * step) * width;
    Element* to = y + (size_t)blockIdx.x * width;
    float sum = 0.0f;
    for (int i = threadIdx.x; i < width; i += blockDim.x) sum += from[i] * from[i];
    float scale = rsqrtf(block_sum(sum) / (float)width + eps);
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        to[i] = element(from[i] * scale * weight[i]);
    }
}

// Keeps rows `first`, `first + step`, … of x, one a block.
extern "C" __global__ void keep_rows(const float* x, float* y, int width, int first, int step) {
    const float* from = x + (size_t)(first + (int)blockIdx.x * step) * width;
    float* to = y + (size_t)blockIdx.x * width;
    for (int i = threadIdx.x; i < width; i += blockDim.x) to[i] = from[i];
}

// The same for rows of products.
extern "C" __global__ void keep_elements(const Element* x, Element* y, int width, int first,
                                         int step) {
    const Element* from = x + (size_t)(first + (int)blockIdx.x * step) * width;
    Element* to = y + (size_t)blockIdx.x * width;
    for (int i = threadIdx.x; i < width; i += blockDim.x) to[i] = from[i];
}

// silu(gate)·up of rows (gate, up), each of `width`, with their biases if there are any.
extern "C" __global__ void swiglu(const Element* gate_up, const float* bias, Element* y,
                                  int width) {
    const Element* gate = gate_up + (size_t)blockIdx.x * 2 * width;
    int i = blockIdx.y * blockDim.x + threadIdx.x;
    if (i >= width) return;
    float g = number(gate[i]), u = number(gate[width + i]);
    if (bias != nullptr) {
        g += bias[i];
        u += bias[width + i];
    }
    y[(size_t)blockIdx.x * width + i] = element(silu(g) * u);
}

// Adds a bias to every row of x (rows, width) of the residual stream.
extern "C" __global__ void add_bias(float* x, const float* bias, int width) {
    float* row = x + (size_t)blockIdx.x * width;
    for (int i = threadIdx.x; i < width; i += blockDim.x) row[i] += bias[i];
}

// The index of the greatest of each row of logits (rows, width), the first of them where there are
// several; 0 in a row without numbers.
extern "C" __global__ void greatest(const float* logits, unsigned int* picks, int width) {
    __shared__ float values[32];
    __shared__ int indices[32];
    const float* row = logits + (size_t)blockIdx.x * width;
    float best = NEGATIVE_INFINITY;
    int at = 0x7fffffff;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        if (row[i] > best) {
            best = row[i];
            at = i;
        }
    }
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int step = 16; step > 0; step /= 2) {
        float other = __shfl_xor_sync(0xffffffff, best, step);
        int other_at = __shfl_xor_sync(0xffffffff, at, step);
        if (other > best || (other == best && other_at < at)) {
            best = other;
            at = other_at;
        }
    }
    if (lane == 0) {
        values[warp] = best;
        indices[warp] = at;
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int i = 1; i < (int)blockDim.x / 32; i++) {
        if (values[i] > best || (values[i] == best && indices[i] < at)) {
            best = values[i];
            at = indices[i];
        }
    }
    picks[blockIdx.x] = at == 0x7fffffff ? 0 : (unsigned int)at;
}

// Where the pass that follows begins.
extern "C" __global__ void stand_at(int* start, int position) {
    if (threadIdx.x == 0) *start = position;
}

// Ends a step that began at *start: keeps its picks (n) as that row of history (…, n), and goes on to
// the next position. One block.
extern "C" __global__ void advance_step(int* start, const unsigned int* picks, unsigned int* history,
                                   int n) {
    int at = *start;
    for (int i = threadIdx.x; i < n; i += blockDim.x) history[(size_t)at * n + i] = picks[i];
    // Nobody reads the position any more.
    __syncthreads();
    if (threadIdx.x == 0) *start = at + 1;
}

// Makes positions `from..to` of a cache (blocks, n_positions, width) not a number.
extern "C" __global__ void spoil(Element* cache, int n_positions, int width, int from, int to) {
    Element* rows = cache + ((size_t)blockIdx.x * n_positions + from) * width;
    size_t n = (size_t)(to - from) * width;
    for (size_t i = threadIdx.x; i < n; i += blockDim.x) rows[i] = element(__int_as_float(0x7fc00000));
}
