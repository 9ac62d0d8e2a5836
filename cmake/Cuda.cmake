# CUDA is optional and only ever needed by executor plug-ins, which are shared objects of their own: the penstock binary
# links none of it. Sources in src/onnx/cuda become libpenstock_onnx_cuda.so where nvcc is found.
#   PENSTOCK_CUDA=AUTO  build the plug-in if nvcc is there (default)
#   PENSTOCK_CUDA=ON    nvcc must be there
#   PENSTOCK_CUDA=OFF   do not look
file(GLOB cuda_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/onnx/cuda/*.cu)
if(PENSTOCK_CUDA STREQUAL "OFF")
  message(STATUS "CUDA: not looked for (PENSTOCK_CUDA=OFF)")
  return()
endif()

include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  if(PENSTOCK_CUDA STREQUAL "ON")
    message(FATAL_ERROR "PENSTOCK_CUDA=ON, but nvcc was not found: put it on the PATH or set CMAKE_CUDA_COMPILER")
  endif()
  message(STATUS "CUDA: nvcc was not found; executors for the CPU only")
  return()
endif()
if(NOT cuda_sources)
  message(STATUS "CUDA: ${CMAKE_CUDA_COMPILER}; this version has no CUDA executor yet, nothing to build with it")
  return()
endif()

set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 86-real 89-real 90)
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
add_library(penstock_onnx_cuda MODULE ${cuda_sources})
target_link_libraries(penstock_onnx_cuda PRIVATE penstock_onnx CUDA::cudart CUDA::cublasLt)
install(TARGETS penstock_onnx_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
