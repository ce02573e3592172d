// The part of cuRAND that the engine calls when it opens a device. Nothing draws from it.
#include <curand.h>

#include "streams.h"

extern "C" {

curandStatus_t curandCreateGenerator(curandGenerator_t* generator, curandRngType_t) {
    if (played_device() < 0) return CURAND_STATUS_INITIALIZATION_FAILED;
    *generator = reinterpret_cast<curandGenerator_t>(new int(0));
    return CURAND_STATUS_SUCCESS;
}

curandStatus_t curandDestroyGenerator(curandGenerator_t generator) {
    delete reinterpret_cast<int*>(generator);
    return CURAND_STATUS_SUCCESS;
}

curandStatus_t curandSetPseudoRandomGeneratorSeed(curandGenerator_t, unsigned long long) {
    return CURAND_STATUS_SUCCESS;
}

curandStatus_t curandSetStream(curandGenerator_t, cudaStream_t) { return CURAND_STATUS_SUCCESS; }
}
