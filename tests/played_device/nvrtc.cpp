// Loaded before everything: asked for machine code, the compiler of kernels gives the PTX that it
// made on the way there.
#include <dlfcn.h>
#include <nvrtc.h>

namespace {

// Looked up when it is called, since programs without the compiler load this as well.
template <class Call>
Call compilers_own(const char* name) {
    return reinterpret_cast<Call>(dlsym(RTLD_DEFAULT, name));
}

}  // namespace

extern "C" {

nvrtcResult nvrtcGetCUBIN(nvrtcProgram program, char* image) {
    return compilers_own<decltype(&nvrtcGetPTX)>("nvrtcGetPTX")(program, image);
}

nvrtcResult nvrtcGetCUBINSize(nvrtcProgram program, size_t* n_bytes) {
    return compilers_own<decltype(&nvrtcGetPTXSize)>("nvrtcGetPTXSize")(program, n_bytes);
}
}
