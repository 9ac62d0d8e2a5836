# CUDA is optional and only ever needed by the plug-in libpenstock_onnx_cuda.so: the penstock binary links none of it.
#   PENSTOCK_CUDA=AUTO  build the plug-in if nvcc is there (default)
#   PENSTOCK_CUDA=ON    nvcc must be there
#   PENSTOCK_CUDA=OFF   do not look
# The runtime is linked statically and opens the driver by itself, so the plug-in can be loaded, and say what is missing,
# on a machine without one. cuBLASLt is opened when it is wanted. Nothing of the toolkit is needed where it runs.
file(GLOB cuda_c CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/onnx/cuda/*.c)
file(GLOB cuda_kernels CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/onnx/cuda/*.cu)
set(cuda_plugin_c ${cuda_c} ${CMAKE_SOURCE_DIR}/src/executor/onnx_cuda.c)

# A plug-in of these sources and libraries. It brings its own copy of penstock's modules, hidden, so that the program that
# opens it may be of any build with the same ABI of executors.
function(penstock_cuda_plugin target)
  target_sources(${target} PRIVATE ${cuda_plugin_c} ${cuda_kernels})
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/src/executor)
  target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:C>:$<TARGET_PROPERTY:penstock_flags,INTERFACE_COMPILE_OPTIONS>>)
  target_link_libraries(${target} PRIVATE penstock_executor)
  target_link_options(${target} PRIVATE -Wl,--exclude-libs,ALL -Wl,-z,defs)
  set_target_properties(${target} PROPERTIES C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden
    CUDA_VISIBILITY_PRESET hidden LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
endfunction()

if(PENSTOCK_CUDA STREQUAL "OFF")
  message(STATUS "CUDA: not looked for (PENSTOCK_CUDA=OFF)")
  return()
endif()

include(CheckLanguage)
# 90: machine code, and PTX for what comes after. Compiling takes as long for each; tests need the oldest and the newest.
if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  set(CMAKE_CUDA_ARCHITECTURES 75-real 90)
else()
  set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 86-real 89-real 90)
endif()
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  if(PENSTOCK_CUDA STREQUAL "ON")
    message(FATAL_ERROR "PENSTOCK_CUDA=ON, but nvcc was not found: put it on the PATH or set CMAKE_CUDA_COMPILER")
  endif()
  message(STATUS "CUDA: nvcc was not found; executors for the CPU only")
  return()
endif()
if(PENSTOCK_SANITIZE)
  message(STATUS "CUDA: not built under sanitizers; the tests' emulation is")
  return()
endif()

enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
find_package(CUDAToolkit REQUIRED)
add_library(penstock_onnx_cuda MODULE)
penstock_cuda_plugin(penstock_onnx_cuda)
target_include_directories(penstock_onnx_cuda PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
target_compile_options(penstock_onnx_cuda PRIVATE
  $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr --extended-lambda -Xcompiler=-Wall,-Wextra,-Wno-unused-parameter>)
if(PENSTOCK_WERROR)
  target_compile_options(penstock_onnx_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings -Xcompiler=-Werror>)
endif()
target_link_libraries(penstock_onnx_cuda PRIVATE CUDA::cudart_static)
