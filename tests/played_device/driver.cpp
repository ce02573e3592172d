// The driver of a device that is played, as far as this program calls it.
//
// A stream does nothing until it is waited for, so that whoever forgets to wait finds nothing done.
// Memory is not a number until it is written, ends where nothing can be touched, and is gone when
// it is freed. What a device would refuse or leave to chance is refused, and said.
#include <cuda.h>
#include <dlfcn.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "played.h"
#include "streams.h"

namespace {

const size_t PAGE = 4096;
const int DEVICES_MAX = 8;
// As on a device of compute capability 9.0.
const unsigned SHARED_BYTES_MAX = 227 << 10;
const unsigned SHARED_BYTES_BY_DEFAULT = 48 << 10;

struct Context {
    int device;
};

struct Work {
    std::function<void()> run;
    const char* what;
};

struct Graph {
    std::vector<Work> nodes;
};

struct Stream {
    Context* context;
    // Whether calls without a stream wait for it.
    bool is_blocking;
    std::deque<Work> queue;
    Graph* capture = nullptr;
    bool is_void = false;
    const void* capturing_thread = nullptr;
};

struct Event {
    Context* context;
    unsigned flags;
    Stream* stream = nullptr;
    // Times that it was to be recorded, and that it was.
    unsigned long n_asked = 0, n_done = 0;
    std::chrono::steady_clock::time_point at;
};

struct Function;

struct Module {
    Context* context;
    // Of its text, without an ending.
    std::string path;
    std::set<std::string> names;
    std::map<std::string, Function*> functions;
};

struct Function {
    const Kernel* kernel;
    Module* module;
    // Static and dynamic ones together.
    unsigned shared_bytes_max = SHARED_BYTES_BY_DEFAULT;
};

struct Allocation {
    size_t n_bytes, n_mapped;
    int device;
    bool is_of_pool;
};

struct DeviceMemory {
    size_t live, live_of_pool, kept_by_pool;
    uint64_t release_threshold;
};

std::recursive_mutex lock;
using Guard = std::lock_guard<std::recursive_mutex>;
Context contexts[DEVICES_MAX] = {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}};
DeviceMemory memory_of[DEVICES_MAX];
thread_local Context* bound = nullptr;
thread_local char this_thread;
bool is_started = false;
std::set<Stream*> streams;
std::map<uint64_t, Allocation> allocations;
std::map<uint64_t, size_t> pinned;

int n_devices() {
    static const int n = std::min(played_setting("PLAYED_DEVICES", 1), DEVICES_MAX);
    return n;
}

size_t memory_bytes() {
    static const size_t n = static_cast<size_t>(played_setting("PLAYED_MEMORY_MIB", 4096)) << 20;
    return n;
}

void run_next(Stream* stream) {
    Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    work.run();
}

void finish(Stream* stream) {
    while (!stream->queue.empty()) run_next(stream);
}

void finish_all() {
    for (Stream* stream : streams) finish(stream);
}

// What waits for an event keeps it, since it may be destroyed before that.
std::shared_ptr<Event>& event_of(CUevent event) {
    return *reinterpret_cast<std::shared_ptr<Event>*>(event);
}

void finish_until(Event& event, unsigned long n) {
    while (event.n_done < n && !event.stream->queue.empty()) run_next(event.stream);
}

Stream* stream_of(CUstream stream) {
    static Stream* without = [] {
        Stream* stream = new Stream{&contexts[0], true, {}};
        streams.insert(stream);
        return stream;
    }();
    return stream ? reinterpret_cast<Stream*>(stream) : without;
}

bool is_captured_here() {
    return std::any_of(streams.begin(), streams.end(), [](Stream* stream) {
        return stream->capture && stream->capturing_thread == &this_thread;
    });
}

enum class InGraphs { Allowed, Refused };

CUresult give(Stream* stream, const char* what, std::function<void()> run,
              InGraphs in_graphs = InGraphs::Allowed) {
    if (stream->context != bound) {
        played_wrong("%s on a stream of device %d, and %d is bound", what, stream->context->device,
                     played_device());
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (!stream->capture) {
        stream->queue.push_back({std::move(run), what});
        // A device that is quicker than its host.
        static const bool is_eager = played_setting("PLAYED_EAGER", 0) != 0;
        if (is_eager) finish(stream);
        return CUDA_SUCCESS;
    }
    if (in_graphs == InGraphs::Refused) {
        played_wrong("%s while a graph is captured", what);
        stream->is_void = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    stream->capture->nodes.push_back({std::move(run), what});
    return CUDA_SUCCESS;
}

// For calls that wait, which a capture by the same thread makes void.
CUresult refuse_capture(const char* what) {
    for (Stream* stream : streams) {
        if (!stream->capture || stream->capturing_thread != &this_thread) continue;
        played_wrong("%s while a graph is captured", what);
        stream->is_void = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return CUDA_SUCCESS;
}

size_t in_units(size_t n_bytes) { return (n_bytes + 511) / 512 * 512; }

CUresult take(size_t n_bytes, bool is_of_pool, CUdeviceptr* address) {
    if (is_captured_here()) played_wrong("memory is taken while a graph is captured");
    DeviceMemory& memory = memory_of[bound->device];
    static const int refused = played_setting("PLAYED_REFUSED_ALLOCATION", 0);
    static int n_asked = 0;
    if (++n_asked == refused) return CUDA_ERROR_OUT_OF_MEMORY;
    size_t taken = in_units(n_bytes);
    if (memory.live + taken > memory_bytes()) finish_all();
    if (memory.live + taken > memory_bytes()) return CUDA_ERROR_OUT_OF_MEMORY;
    size_t padded = (n_bytes + 255) / 256 * 256;
    size_t in_pages = (padded + PAGE - 1) / PAGE * PAGE;
    void* pages = mmap(nullptr, in_pages + PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
    char* begin = static_cast<char*>(pages) + in_pages - padded;
    mprotect(static_cast<char*>(pages) + in_pages, PAGE, PROT_NONE);
    // Of large memory only the beginning, since all that is touched is taken from this machine.
    memset(begin, 0xff, std::min<size_t>(padded, 256 << 20));
    *address = reinterpret_cast<CUdeviceptr>(begin);
    allocations[*address] = {n_bytes, in_pages + PAGE, bound->device, is_of_pool};
    memory.live += taken;
    if (is_of_pool) memory.live_of_pool += taken;
    memory.kept_by_pool = std::max(memory.kept_by_pool, memory.live_of_pool);
    return CUDA_SUCCESS;
}

CUresult give_back(CUdeviceptr address) {
    auto found = allocations.find(address);
    if (found == allocations.end()) {
        played_wrong("memory is freed that was not taken, or twice");
        return CUDA_ERROR_INVALID_VALUE;
    }
    const Allocation& allocation = found->second;
    DeviceMemory& memory = memory_of[allocation.device];
    memory.live -= in_units(allocation.n_bytes);
    if (allocation.is_of_pool) memory.live_of_pool -= in_units(allocation.n_bytes);
    // The addresses stay taken, so that nobody gets them who could hide a use of them.
    mmap(reinterpret_cast<void*>(address / PAGE * PAGE), allocation.n_mapped, PROT_NONE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    allocations.erase(found);
    return CUDA_SUCCESS;
}

// What holds all of these bytes, or none.
template <class Map, class Size>
typename Map::iterator holding(Map& map, const void* begin, size_t n_bytes, Size size) {
    uint64_t address = reinterpret_cast<uint64_t>(begin);
    auto next = map.upper_bound(address);
    if (next == map.begin()) return map.end();
    auto found = std::prev(next);
    return address + n_bytes <= found->first + size(found->second) ? found : map.end();
}

bool is_pinned(const void* begin, size_t n_bytes) {
    return holding(pinned, begin, n_bytes, [](size_t n) { return n; }) != pinned.end();
}

int device_of(CUdeviceptr address, size_t n_bytes, const char* what) {
    auto found = holding(allocations, reinterpret_cast<void*>(address), n_bytes,
                         [](const Allocation& allocation) { return allocation.n_bytes; });
    if (found == allocations.end()) {
        played_wrong("%s of %zu bytes that are not memory of a device", what, n_bytes);
        abort();
    }
    return found->second.device;
}

void crashed(int, siginfo_t* info, void*) {
    fprintf(stderr, "played device: memory at %p cannot be touched\n", info->si_addr);
    fail("an access outside of memory");
}

CUresult start() {
    if (is_started) return CUDA_SUCCESS;
    static char stack[64 << 10];
    stack_t other = {stack, 0, sizeof stack};
    sigaltstack(&other, nullptr);
    struct sigaction action = {};
    action.sa_sigaction = crashed;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, nullptr);
    is_started = true;
    return CUDA_SUCCESS;
}

std::string folder() {
    const char* name = getenv("PLAYED_FOLDER");
    return name ? name : ".";
}

// Translates a kernel and compiles it, once.
const Kernel* translated(const Module& module, const std::string& name) {
    std::string base = module.path + "_" + name, library = base + ".so";
    if (access(library.c_str(), F_OK) != 0) {
        const char* sources = getenv("PLAYED_SOURCES");
        std::string own = base + "." + std::to_string(getpid());
        // `play` sees to it that no name has a quote.
        auto quoted = [](const std::string& name) { return "'" + name + "'"; };
        std::string command =
            "unset LD_PRELOAD LD_LIBRARY_PATH; cd " + quoted(sources ? sources : ".") +
            " && python3 -B translate.py " + quoted(module.path + ".ptx") + " " + name + " > " +
            quoted(own + ".cpp") +
            " && c++ -std=c++17 -O1 -ffp-contract=off -fno-math-errno -fno-strict-aliasing -mfma "
            "-fPIC -shared -I. -o " +
            quoted(own + ".so") + " " + quoted(own + ".cpp") + " && mv " + quoted(own + ".so") +
            " " + quoted(library) + " && rm " + quoted(own + ".cpp");
        if (system(command.c_str()) != 0) return nullptr;
    }
    void* opened = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!opened) return nullptr;
    return static_cast<const Kernel*>(dlsym(opened, "translated"));
}

}  // namespace

#define NEED_START \
    if (!is_started) return CUDA_ERROR_NOT_INITIALIZED
#define NEED_CONTEXT                                   \
    Guard guard(lock);                                 \
    NEED_START;                                        \
    if (!bound) {                                      \
        played_wrong("%s without a device", __func__); \
        return CUDA_ERROR_INVALID_CONTEXT;             \
    }

extern "C" {

void played_wrong(const char* format, ...) {
    fputs("played device: WRONG: ", stderr);
    va_list values;
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    // `play` looks for it when the program has ended.
    if (const char* name = getenv("PLAYED_WRONG"))
        std::ofstream(name, std::ios::app) << format << '\n';
}

int played_give(void* stream, const char* what, std::function<void()>* work) {
    Guard guard(lock);
    return give(stream_of(static_cast<CUstream>(stream)), what, *work);
}

int played_setting(const char* name, int otherwise) {
    const char* value = getenv(name);
    return value ? static_cast<int>(strtol(value, nullptr, 0)) : otherwise;
}

bool played_is_captured(void* stream) {
    Guard guard(lock);
    return stream_of(static_cast<CUstream>(stream))->capture != nullptr;
}

int played_device() { return bound ? bound->device : -1; }

void played_within(const void* begin, size_t n_bytes, const char* what) {
    Guard guard(lock);
    device_of(reinterpret_cast<CUdeviceptr>(begin), n_bytes, what);
}

// The driver and its devices.

CUresult cuInit(unsigned) {
    Guard guard(lock);
    // The compiler of kernels has its own use for a driver, of which nothing is played.
    Dl_info caller;
    if (dladdr(__builtin_return_address(0), &caller) && caller.dli_fname &&
        strstr(caller.dli_fname, "nvrtc"))
        return CUDA_ERROR_NO_DEVICE;
    return n_devices() == 0 ? CUDA_ERROR_NO_DEVICE : start();
}

CUresult cuDriverGetVersion(int* version) {
    *version = played_setting("PLAYED_DRIVER", CUDA_VERSION);
    return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult result, const char** name) {
    static thread_local char text[32];
    snprintf(text, sizeof text, "CUresult %d", result);
    *name = text;
    return CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult result, const char** text) {
    *text = result == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : "refused by the played device";
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int* n) {
    NEED_START;
    *n = n_devices();
    return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice* device, int ordinal) {
    NEED_START;
    if (ordinal < 0 || ordinal >= n_devices()) return CUDA_ERROR_INVALID_DEVICE;
    *device = ordinal;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char* name, int n, CUdevice) {
    snprintf(name, n, "Played device, no GPU");
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice device) {
    memset(uuid, device + 1, sizeof *uuid);
    return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t* n_bytes, CUdevice) {
    *n_bytes = memory_bytes();
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetPCIBusId(char* text, int n, CUdevice device) {
    snprintf(text, n, "0000:%02x:00.0", device + 1);
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
    static const int capability = played_setting("PLAYED_CAPABILITY", 90);
    switch (attribute) {
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
            *value = capability / 10;
            break;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
            *value = capability % 10;
            break;
        case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
            *value = 4;
            break;
        case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
            *value = 1 << 20;
            break;
        case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED:
            *value = played_setting("PLAYED_POOLS", 1);
            break;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
            *value = SHARED_BYTES_MAX;
            break;
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
            *value = 1024;
            break;
        case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
            *value = 32;
            break;
        default:
            *value = 0;
    }
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
    NEED_START;
    *context = reinterpret_cast<CUcontext>(&contexts[device]);
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) { return CUDA_SUCCESS; }

CUresult cuCtxSetCurrent(CUcontext context) {
    NEED_START;
    bound = reinterpret_cast<Context*>(context);
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext* context) {
    NEED_START;
    *context = reinterpret_cast<CUcontext>(bound);
    return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize() {
    NEED_CONTEXT;
    if (CUresult refused = refuse_capture(__func__)) return refused;
    finish_all();
    return CUDA_SUCCESS;
}

CUresult cuDeviceCanAccessPeer(int* can, CUdevice from, CUdevice to) {
    *can = from != to && played_setting("PLAYED_PEERS", 1) != 0;
    return CUDA_SUCCESS;
}

CUresult cuCtxEnablePeerAccess(CUcontext to, unsigned) {
    NEED_CONTEXT;
    if (played_setting("PLAYED_PEERS", 1) == 0) return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
    static std::set<std::pair<Context*, CUcontext>> enabled;
    return enabled.insert({bound, to}).second ? CUDA_SUCCESS
                                              : CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
}

// Streams, graphs and events.

CUresult cuStreamCreate(CUstream* stream, unsigned flags) {
    NEED_CONTEXT;
    Stream* made = new Stream{bound, !(flags & CU_STREAM_NON_BLOCKING), {}};
    streams.insert(made);
    *stream = reinterpret_cast<CUstream>(made);
    return CUDA_SUCCESS;
}

CUresult cuStreamDestroy_v2(CUstream stream) {
    NEED_CONTEXT;
    finish(stream_of(stream));
    streams.erase(stream_of(stream));
    delete stream_of(stream);
    return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream stream) {
    NEED_CONTEXT;
    if (stream_of(stream)->capture) return refuse_capture(__func__);
    finish(stream_of(stream));
    return CUDA_SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus* status) {
    Guard guard(lock);
    *status = stream_of(stream)->capture ? CU_STREAM_CAPTURE_STATUS_ACTIVE
                                         : CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
}

CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode) {
    NEED_CONTEXT;
    Stream* captured = stream_of(stream);
    if (!stream || captured->capture) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    captured->capture = new Graph;
    captured->is_void = false;
    captured->capturing_thread = &this_thread;
    return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph* graph) {
    NEED_CONTEXT;
    Stream* captured = stream_of(stream);
    if (!captured->capture) return CUDA_ERROR_ILLEGAL_STATE;
    Graph* made = std::exchange(captured->capture, nullptr);
    *graph = nullptr;
    if (captured->is_void) {
        delete made;
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    }
    *graph = reinterpret_cast<CUgraph>(made);
    return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec* executable, CUgraph graph, unsigned long long) {
    NEED_CONTEXT;
    *executable = reinterpret_cast<CUgraphExec>(new Graph(*reinterpret_cast<Graph*>(graph)));
    return CUDA_SUCCESS;
}

CUresult cuGraphUpload(CUgraphExec, CUstream stream) {
    NEED_CONTEXT;
    return give(stream_of(stream), __func__, [] {});
}

CUresult cuGraphLaunch(CUgraphExec graph, CUstream stream) {
    NEED_CONTEXT;
    for (const Work& node : reinterpret_cast<Graph*>(graph)->nodes)
        if (CUresult refused = give(stream_of(stream), node.what, node.run)) return refused;
    return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec graph) {
    Guard guard(lock);
    delete reinterpret_cast<Graph*>(graph);
    return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph graph) {
    Guard guard(lock);
    delete reinterpret_cast<Graph*>(graph);
    return CUDA_SUCCESS;
}

CUresult cuEventCreate(CUevent* event, unsigned flags) {
    NEED_CONTEXT;
    *event = reinterpret_cast<CUevent>(
        new std::shared_ptr<Event>(new Event{bound, flags, nullptr, 0, 0, {}}));
    return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent event) {
    Guard guard(lock);
    delete &event_of(event);
    return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
    NEED_CONTEXT;
    std::shared_ptr<Event> recorded = event_of(event);
    if (recorded->context != bound) {
        played_wrong("an event of another device is recorded");
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (stream_of(stream)->capture) return give(stream_of(stream), __func__, [] {});
    // What it was recorded for before does not count any more.
    finish_until(*recorded, recorded->n_asked);
    unsigned long n = recorded->n_asked + 1;
    Stream* by = stream_of(stream);
    recorded->stream = by;
    CUresult refused = give(by, __func__, [recorded, n] {
        recorded->at = std::chrono::steady_clock::now();
        recorded->n_done = n;
    });
    if (!refused) recorded->n_asked = n;
    return refused;
}

CUresult cuEventQuery(CUevent event) {
    NEED_CONTEXT;
    Event& asked = *event_of(event);
    // Some of what is open is done with every question, so that whoever goes on asking has an
    // answer.
    if (asked.n_done < asked.n_asked) run_next(asked.stream);
    return asked.n_done < asked.n_asked ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

CUresult cuEventSynchronize(CUevent event) {
    NEED_CONTEXT;
    finish_until(*event_of(event), event_of(event)->n_asked);
    return CUDA_SUCCESS;
}

#undef cuEventElapsedTime
CUresult cuEventElapsedTime(float* ms, CUevent begin, CUevent end) {
    NEED_CONTEXT;
    const Event &first = *event_of(begin), &last = *event_of(end);
    if ((first.flags | last.flags) & CU_EVENT_DISABLE_TIMING) {
        played_wrong("an event is read that keeps no time");
        return CUDA_ERROR_INVALID_HANDLE;
    }
    for (const Event* event : {&first, &last}) {
        if (event->n_asked == 0) return CUDA_ERROR_INVALID_HANDLE;
        if (event->n_done < event->n_asked) return CUDA_ERROR_NOT_READY;
    }
    *ms = std::chrono::duration<float, std::milli>(last.at - first.at).count();
    return CUDA_SUCCESS;
}

CUresult cuEventElapsedTime_v2(float* ms, CUevent begin, CUevent end) {
    return cuEventElapsedTime(ms, begin, end);
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
    NEED_CONTEXT;
    std::shared_ptr<Event> awaited = event_of(event);
    unsigned long n = awaited->n_asked;
    return give(stream_of(stream), __func__, [awaited, n] { finish_until(*awaited, n); });
}

// Memory.

CUresult cuMemAlloc_v2(CUdeviceptr* address, size_t n_bytes) {
    NEED_CONTEXT;
    return n_bytes == 0 ? CUDA_ERROR_INVALID_VALUE : take(n_bytes, false, address);
}

CUresult cuMemFree_v2(CUdeviceptr address) {
    NEED_CONTEXT;
    if (is_captured_here()) played_wrong("memory is freed while a graph is captured");
    finish_all();
    return give_back(address);
}

CUresult cuMemAllocAsync(CUdeviceptr* address, size_t n_bytes, CUstream stream) {
    NEED_CONTEXT;
    if (stream_of(stream)->context != bound) return CUDA_ERROR_INVALID_HANDLE;
    *address = 0;
    return n_bytes == 0 ? CUDA_SUCCESS : take(n_bytes, true, address);
}

CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
    Guard guard(lock);
    NEED_START;
    if (!address) return CUDA_ERROR_INVALID_VALUE;
    // Needs no device bound where a stream is given, and the engine frees from any thread.
    if (!stream && !bound) return CUDA_ERROR_INVALID_CONTEXT;
    Context* before = std::exchange(bound, stream_of(stream)->context);
    auto free = [address] { give_back(address); };
    CUresult refused = give(stream_of(stream), __func__, free, InGraphs::Refused);
    bound = before;
    return refused;
}

CUresult cuMemGetInfo_v2(size_t* free, size_t* all) {
    NEED_CONTEXT;
    const DeviceMemory& memory = memory_of[bound->device];
    size_t held = memory.live - memory.live_of_pool + memory.kept_by_pool;
    *all = memory_bytes();
    *free = *all - std::min(held, *all);
    return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void** address, size_t n_bytes, unsigned) {
    NEED_CONTEXT;
    *address = mmap(nullptr, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (*address == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
    pinned[reinterpret_cast<uint64_t>(*address)] = n_bytes;
    return CUDA_SUCCESS;
}

CUresult cuMemFreeHost(void* address) {
    NEED_CONTEXT;
    if (is_captured_here()) played_wrong("memory is freed while a graph is captured");
    finish_all();
    auto found = pinned.find(reinterpret_cast<uint64_t>(address));
    if (found == pinned.end()) return CUDA_ERROR_INVALID_VALUE;
    munmap(address, found->second);
    pinned.erase(found);
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool* pool, CUdevice device) {
    NEED_START;
    *pool = reinterpret_cast<CUmemoryPool>(&memory_of[device]);
    return CUDA_SUCCESS;
}

CUresult cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void* value) {
    if (attribute != CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) return CUDA_ERROR_INVALID_VALUE;
    reinterpret_cast<DeviceMemory*>(pool)->release_threshold = *static_cast<uint64_t*>(value);
    return CUDA_SUCCESS;
}

CUresult cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void* value) {
    if (attribute != CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) return CUDA_ERROR_INVALID_VALUE;
    *static_cast<uint64_t*>(value) = reinterpret_cast<DeviceMemory*>(pool)->release_threshold;
    return CUDA_SUCCESS;
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t n_bytes, CUstream stream) {
    NEED_CONTEXT;
    if (n_bytes == 0) return CUDA_SUCCESS;
    device_of(to, n_bytes, __func__);
    void* target = reinterpret_cast<void*>(to);
    if (is_pinned(from, n_bytes))
        return give(stream_of(stream), __func__, [=] { memcpy(target, from, n_bytes); });
    // Memory that is not pinned is read before the call returns, after all that was given before.
    if (!stream_of(stream)->capture) finish(stream_of(stream));
    const char* bytes = static_cast<const char*>(from);
    auto kept = std::make_shared<std::vector<char>>(bytes, bytes + n_bytes);
    auto copy = [=] { memcpy(target, kept->data(), n_bytes); };
    return give(stream_of(stream), __func__, copy, InGraphs::Refused);
}

CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t n_bytes, CUstream stream) {
    NEED_CONTEXT;
    if (n_bytes == 0) return CUDA_SUCCESS;
    device_of(from, n_bytes, __func__);
    auto copy = [=] { memcpy(to, reinterpret_cast<void*>(from), n_bytes); };
    if (is_pinned(to, n_bytes)) return give(stream_of(stream), __func__, copy);
    // Memory that is not pinned is written when the call returns.
    CUresult refused = give(stream_of(stream), __func__, copy, InGraphs::Refused);
    if (!refused) finish(stream_of(stream));
    return refused;
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t n_bytes, CUstream stream) {
    NEED_CONTEXT;
    if (n_bytes == 0) return CUDA_SUCCESS;
    device_of(to, n_bytes, __func__);
    device_of(from, n_bytes, __func__);
    return give(stream_of(stream), __func__, [=] {
        memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), n_bytes);
    });
}

CUresult cuMemcpyPeerAsync(CUdeviceptr to, CUcontext there, CUdeviceptr from, CUcontext here,
                           size_t n_bytes, CUstream stream) {
    NEED_CONTEXT;
    if (device_of(to, n_bytes, __func__) != reinterpret_cast<Context*>(there)->device ||
        device_of(from, n_bytes, __func__) != reinterpret_cast<Context*>(here)->device) {
        played_wrong("memory is copied of another device than the one named");
        return CUDA_ERROR_INVALID_VALUE;
    }
    return give(stream_of(stream), __func__, [=] {
        memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), n_bytes);
    });
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char byte, size_t n_bytes, CUstream stream) {
    NEED_CONTEXT;
    if (n_bytes == 0) return CUDA_SUCCESS;
    device_of(to, n_bytes, __func__);
    return give(stream_of(stream), __func__,
                [=] { memset(reinterpret_cast<void*>(to), byte, n_bytes); });
}

// Calls without a stream: streams that block are waited for.

static CUresult before_synchronous(const char* what) {
    if (CUresult refused = refuse_capture(what)) return refused;
    for (Stream* stream : streams)
        if (stream->is_blocking) finish(stream);
    return CUDA_SUCCESS;
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t n_bytes) {
    NEED_CONTEXT;
    device_of(to, n_bytes, __func__);
    if (CUresult refused = before_synchronous(__func__)) return refused;
    memcpy(reinterpret_cast<void*>(to), from, n_bytes);
    return CUDA_SUCCESS;
}

CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t n_bytes) {
    NEED_CONTEXT;
    device_of(from, n_bytes, __func__);
    if (CUresult refused = before_synchronous(__func__)) return refused;
    memcpy(to, reinterpret_cast<void*>(from), n_bytes);
    return CUDA_SUCCESS;
}

CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char byte, size_t n_bytes) {
    NEED_CONTEXT;
    device_of(to, n_bytes, __func__);
    if (CUresult refused = before_synchronous(__func__)) return refused;
    memset(reinterpret_cast<void*>(to), byte, n_bytes);
    return CUDA_SUCCESS;
}

// Kernels.

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
    NEED_CONTEXT;
    if (is_captured_here()) played_wrong("kernels are loaded while a graph is captured");
    std::string text(static_cast<const char*>(image));
    if (text.find(".version") == std::string::npos) return CUDA_ERROR_INVALID_IMAGE;
    char name[32];
    snprintf(name, sizeof name, "/%016zx", std::hash<std::string>()(text));
    Module* made = new Module{bound, folder() + name, {}, {}};
    std::string own = made->path + "." + std::to_string(getpid());
    std::ofstream(own) << text;
    rename(own.c_str(), (made->path + ".ptx").c_str());
    const std::string mark = ".entry ";
    for (size_t at = 0; (at = text.find(mark, at)) != std::string::npos;) {
        at += mark.size();
        made->names.insert(text.substr(at, text.find_first_of("( \n", at) - at));
    }
    *module = reinterpret_cast<CUmodule>(made);
    return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }

CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
    NEED_CONTEXT;
    Module* of = reinterpret_cast<Module*>(module);
    if (of->context != bound) return CUDA_ERROR_INVALID_HANDLE;
    if (!of->names.count(name)) return CUDA_ERROR_NOT_FOUND;
    Function*& found = of->functions[name];
    if (!found) {
        const Kernel* kernel = translated(*of, name);
        if (!kernel) {
            played_wrong("kernel %s cannot be translated", name);
            return CUDA_ERROR_INVALID_PTX;
        }
        found = new Function{kernel, of};
    }
    *function = reinterpret_cast<CUfunction>(found);
    return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    Function& changed = *reinterpret_cast<Function*>(function);
    unsigned n_bytes = changed.kernel->static_shared_bytes + value;
    if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || n_bytes > SHARED_BYTES_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    changed.shared_bytes_max = std::max(n_bytes, SHARED_BYTES_BY_DEFAULT);
    return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned blocks_x, unsigned blocks_y,
                        unsigned blocks_z, unsigned threads_x, unsigned threads_y,
                        unsigned threads_z, unsigned shared_bytes, CUstream stream,
                        void** parameters, void** extra) {
    NEED_CONTEXT;
    struct Launch {
        const Kernel* kernel;
        uint32_t blocks[3], threads[3], shared_bytes;
        std::vector<std::vector<uint64_t>> values;
    };
    const Function& launched = *reinterpret_cast<Function*>(function);
    auto launch = std::make_shared<Launch>(Launch{launched.kernel,
                                                  {blocks_x, blocks_y, blocks_z},
                                                  {threads_x, threads_y, threads_z},
                                                  shared_bytes,
                                                  {}});
    unsigned long n_blocks = static_cast<unsigned long>(blocks_x) * blocks_y * blocks_z;
    unsigned long n_threads = static_cast<unsigned long>(threads_x) * threads_y * threads_z;
    if (extra || n_blocks == 0 || blocks_x > 0x7fffffff || blocks_y > 65535 || blocks_z > 65535 ||
        n_threads == 0 || n_threads > 1024 || threads_z > 64 ||
        shared_bytes + launched.kernel->static_shared_bytes > launched.shared_bytes_max) {
        played_wrong("%s is launched with %u %u %u blocks of %u %u %u threads and %u bytes",
                     launched.kernel->name, blocks_x, blocks_y, blocks_z, threads_x, threads_y,
                     threads_z, shared_bytes);
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (launched.module->context != bound) return CUDA_ERROR_INVALID_HANDLE;
    for (uint32_t i = 0; i < launched.kernel->n_parameters; i++) {
        uint32_t n_bytes = launched.kernel->parameter_bytes[i];
        std::vector<uint64_t> value((n_bytes + 7) / 8);
        memcpy(value.data(), parameters[i], n_bytes);
        launch->values.push_back(std::move(value));
    }
    return give(stream_of(stream), launched.kernel->name, [launch] {
        std::vector<void*> arguments;
        for (auto& value : launch->values) arguments.push_back(value.data());
        arguments.push_back(nullptr);
        run_grid(*launch->kernel, launch->blocks, launch->threads, launch->shared_bytes,
                 arguments.data());
    });
}
}
