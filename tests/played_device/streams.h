// What the driver has for the libraries of products.
#pragma once
#include <cstddef>
#include <functional>

extern "C" {
// Gives work to a stream, which does it when it is waited for; not 0 if it is refused.
int played_give(void* stream, const char* what, std::function<void()>* work);
bool played_is_captured(void* stream);
// The device that this thread has bound, -1 without one.
int played_device();
// Ends the program if that is not memory of a device.
void played_within(const void* begin, size_t n_bytes, const char* what);
// Says that the program under test does what a device would refuse, and counts it.
void played_wrong(const char* format, ...) __attribute__((format(printf, 1, 2)));
// A whole number of the environment.
int played_setting(const char* name, int otherwise);
}
