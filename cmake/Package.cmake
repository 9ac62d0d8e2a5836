# What an installation has beside the binary, its completion and its manual pages; and the Debian packages that cpack makes of
# all of it:
#   penstock             everything but
#   penstock-onnx-cuda   the executor for NVIDIA GPUs, where nvcc was found
# Each of these finds its own place below any prefix. What a system wants at fixed places (units, /etc, Debian's own files)
# is installed with the prefix /usr alone, which `cmake --preset package` sets; scripts/check-package builds and tries it.
set(CPACK_PACKAGE_CONTACT "Penstock's maintainers <maintainers@penstock.invalid>" CACHE STRING "Maintainer of the packages")
set(share_dir ${CMAKE_INSTALL_DATADIR}/penstock)
set(doc_dir ${CMAKE_INSTALL_DATADIR}/doc/penstock)
set(debian_dir ${CMAKE_SOURCE_DIR}/deploy/debian)

install(TARGETS penstock RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
if(TARGET penstock_onnx_cuda)
  install(TARGETS penstock_onnx_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/penstock COMPONENT cuda)
endif()
install(FILES include/penstock/executor.h include/penstock/tensor.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/penstock)
install(DIRECTORY models/ DESTINATION ${share_dir}/models PATTERN *.py EXCLUDE)
install(DIRECTORY schemas/ DESTINATION ${share_dir}/schemas)
install(DIRECTORY deploy/grafana deploy/prometheus DESTINATION ${share_dir})
install(FILES README.md CHANGELOG.md DESTINATION ${doc_dir})
install(DIRECTORY docs/ DESTINATION ${doc_dir}/docs)
install(FILES deploy/penstock.ini DESTINATION ${doc_dir}/examples)

if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  install(FILES deploy/penstock.ini DESTINATION ${CMAKE_INSTALL_FULL_SYSCONFDIR}/penstock)
  install(FILES deploy/systemd/penstock.service deploy/systemd/penstock-worker@.service DESTINATION lib/systemd/system)
  string(TIMESTAMP package_date "%a, %d %b %Y %H:%M:%S +0000" UTC) # SOURCE_DATE_EPOCH, if that is set
  configure_file(${debian_dir}/changelog.in ${CMAKE_BINARY_DIR}/debian/changelog @ONLY)
  set(debian_files ${debian_dir}/copyright ${CMAKE_BINARY_DIR}/debian/changelog)
  install(FILES ${debian_files} DESTINATION ${doc_dir})
  if(TARGET penstock_onnx_cuda)
    install(FILES ${debian_files} DESTINATION ${doc_dir}-onnx-cuda COMPONENT cuda)
  endif()
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME penstock)
set(CPACK_PACKAGE_VENDOR "")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_SOURCE_DIR}/cmake/PackagePolish.cmake)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL ${CMAKE_INSTALL_DEFAULT_COMPONENT_NAME})
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PENSTOCK_PACKAGE_NAME penstock)
set(CPACK_DEBIAN_PENSTOCK_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PENSTOCK_PACKAGE_DEPENDS adduser)
set(CPACK_DEBIAN_PENSTOCK_PACKAGE_RECOMMENDS redis-server) # `penstock dev` starts one
set(CPACK_DEBIAN_PENSTOCK_PACKAGE_SUGGESTS "kcat, prometheus")
set(CPACK_COMPONENT_PENSTOCK_DESCRIPTION "Penstock takes inference jobs from Kafka, runs ONNX models on workers, keeps
the record of each job in Redis, and publishes every state transition to a
Kafka topic: for every job that was sent one can say what became of it.
.
This package has the program (control process, workers, command line), its
systemd units, a sample model, schemas, alert rules and a Grafana dashboard.
No service is started until it is enabled.")
set(CPACK_DEBIAN_PENSTOCK_PACKAGE_CONTROL_EXTRA
  ${debian_dir}/conffiles ${debian_dir}/postinst ${debian_dir}/prerm ${debian_dir}/postrm)
set(CPACK_DEBIAN_PENSTOCK_PACKAGE_CONTROL_STRICT_PERMISSION ON)
if(TARGET penstock_onnx_cuda)
  list(APPEND CPACK_COMPONENTS_ALL cuda)
  set(CPACK_DEBIAN_CUDA_PACKAGE_NAME penstock-onnx-cuda)
  set(CPACK_DEBIAN_CUDA_PACKAGE_SECTION net)
  set(CPACK_DEBIAN_CUDA_PACKAGE_DEPENDS "penstock (= ${PROJECT_VERSION})")
  set(CPACK_COMPONENT_CUDA_DESCRIPTION "The plug-in onnx-cuda of Penstock, for workers with an NVIDIA GPU: set
worker.executor = onnx-cuda. It needs NVIDIA's driver, and cuBLASLt of
the CUDA toolkit where a model has matrix products.")
endif()
include(CPack)
