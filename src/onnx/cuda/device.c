/* The device: is it there, what its errors mean, and what a session holds of it.
 *
 * The runtime is linked statically and opens the driver by itself, so that this library loads on a machine without one
 * and can say what is missing. Three things are told apart, since each has another remedy: no device at all
 * (ERR_NO_DEVICE), a driver older than what this was built with (ERR_DRIVER_UNFIT), and a device that answers every
 * call with an error since a kernel went wrong on it: a sticky error, which only a new process is rid of
 * (ERR_DEVICE_LOST). There is no list of sticky errors to keep: whoever fails is asked once more to do nothing.
 */
#include "cuda_internal.h"

#include <stdio.h>

#define OLDEST_MAJOR 7 /* compute capability 7.5: the least that machine code is built for */
#define OLDEST_MINOR 5

static int driver_fail(cudaError_t code, struct err *err) {
    int driver = 0, runtime = 0;
    (void)cudaRuntimeGetVersion(&runtime);
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
        return err_set(err, ERR_NO_DEVICE, "no NVIDIA driver is loaded (%s)", cudaGetErrorName(code));
    return err_set(err, ERR_DRIVER_UNFIT, "the NVIDIA driver knows CUDA up to %d.%d, and %d.%d is needed (%s)",
                   driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10, cudaGetErrorName(code));
}

int cuda__fail(cudaError_t code, const char *what, struct err *err) {
    (void)cudaGetLastError(); /* one that does not stick is forgotten by that */
    switch (code) {
    case cudaErrorMemoryAllocation:
        return err_set(err, ERR_OUT_OF_MEMORY, "CUDA: %s: %s", what, cudaGetErrorString(code));
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
        return err_set(err, ERR_NO_DEVICE, "CUDA: %s", cudaGetErrorString(code));
    case cudaErrorInsufficientDriver:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorUnsupportedPtxVersion:
        return driver_fail(code, err);
    default:
        break;
    }
    bool lost = cudaDeviceSynchronize() != cudaSuccess;
    (void)cudaGetLastError();
    return err_set(err, lost ? ERR_DEVICE_LOST : ERR_EXECUTION_FAILED, "CUDA: %.200s: %s (%s)", what,
                   cudaGetErrorString(code), cudaGetErrorName(code));
}

int cuda__device_probe(int ordinal, char *ret_name, size_t ret_size, struct err *err) {
    int count = 0;
    struct cudaDeviceProp prop;
    CUDA__TRY(cudaGetDeviceCount(&count), err);
    if (ordinal < 0 || ordinal >= count)
        return err_set(err, ERR_NO_DEVICE, "CUDA: there is no device %d; there are %d, counted from 0", ordinal, count);
    CUDA__TRY(cudaGetDeviceProperties(&prop, ordinal), err);
    if (prop.major < OLDEST_MAJOR || (prop.major == OLDEST_MAJOR && prop.minor < OLDEST_MINOR))
        return err_set(err, ERR_NO_DEVICE, "CUDA: device %d, %s, has compute capability %d.%d; %d.%d is the least",
                       ordinal, prop.name, prop.major, prop.minor, OLDEST_MAJOR, OLDEST_MINOR);
    snprintf(ret_name, ret_size, "%s (CUDA device %d, %zu MiB)", prop.name, ordinal, prop.totalGlobalMem >> 20);
    return 0;
}

int cuda__device_alloc(void **ret, size_t size_bytes, const char *what, struct err *err) {
    size_t available = 0, total = 0;
    *ret = NULL;
    if (size_bytes == 0) return 0;
    cudaError_t code = cudaMalloc(ret, size_bytes);
    if (code == cudaSuccess) return 0;
    if (code != cudaErrorMemoryAllocation) return cuda__fail(code, "cudaMalloc", err);
    (void)cudaGetLastError();
    (void)cudaMemGetInfo(&available, &total);
    return err_set(err, ERR_OUT_OF_MEMORY, "CUDA: no %zu MiB for %s: %zu of the device's %zu MiB are free",
                   (size_bytes >> 20) + 1, what, available >> 20, total >> 20);
}

int cuda__device_open(struct cuda__device *device, const struct onnx_session_options *options, struct err *err) {
    char name[256];
    device->ordinal = options->device;
    device->precision = options->precision;
    if (cuda__device_probe(options->device, name, sizeof name, err) != 0) return -1;
    CUDA__TRY(cudaSetDevice(device->ordinal), err);
    CUDA__TRY(cudaDeviceGetAttribute(&device->multiprocessors, cudaDevAttrMultiProcessorCount, device->ordinal), err);
    CUDA__TRY(cudaStreamCreateWithFlags(&device->stream, cudaStreamNonBlocking), err);
    CUDA__TRY(cudaStreamCreateWithFlags(&device->copies, cudaStreamNonBlocking), err);
    if (cuda__device_alloc((void **)&device->fault, sizeof *device->fault, "faults", err) != 0) return -1;
    CUDA__TRY(cudaMallocHost((void **)&device->fault_seen, sizeof *device->fault_seen), err);
    device->blas = cuda__blas_open();
    return 0;
}

void cuda__device_close(struct cuda__device *device) {
    cuda__blas_close(device->blas);
    if (device->stream) (void)cudaStreamDestroy(device->stream);
    if (device->copies) (void)cudaStreamDestroy(device->copies);
    (void)cudaFree(device->workspace);
    (void)cudaFree(device->fault);
    (void)cudaFreeHost(device->fault_seen);
}
