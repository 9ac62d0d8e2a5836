/* Of NVIDIA's header of this name, what src/onnx/cuda uses. */
#ifndef CUDA_EMULATION_LIBRARY_TYPES_H
#define CUDA_EMULATION_LIBRARY_TYPES_H

typedef enum cudaDataType_t { CUDA_R_32F = 0, CUDA_R_64F = 1, CUDA_R_16F = 2 } cudaDataType_t;

#endif
