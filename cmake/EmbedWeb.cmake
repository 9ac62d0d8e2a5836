# Turns src/http/web/* and schemas/* into one C file, so that the binary needs no files at run time.
file(GLOB web_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/http/web/* ${CMAKE_SOURCE_DIR}/schemas/*)
set(web_c ${CMAKE_BINARY_DIR}/http_web_files.c)
add_custom_command(OUTPUT ${web_c}
  COMMAND ${CMAKE_COMMAND} -DOUT=${web_c} "-DFILES=${web_files}" -P ${CMAKE_SOURCE_DIR}/cmake/EmbedWebRun.cmake
  DEPENDS ${web_files} ${CMAKE_SOURCE_DIR}/cmake/EmbedWebRun.cmake VERBATIM COMMENT "Embedding the dashboard and the schemas")
target_sources(penstock_http PRIVATE ${web_c})
