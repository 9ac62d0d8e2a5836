# penstock_embed(MODULE HEADER PREFIX FILES...): turns the files into one C file of string constants <PREFIX><name>[], which
# HEADER declares, and adds it to the module, so that the binary needs no files at run time. '.' and '-' become '_'.
function(penstock_embed module header prefix)
  set(out ${CMAKE_BINARY_DIR}/${module}_text.c)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DHEADER=${header} -DPREFIX=${prefix} "-DFILES=${ARGN}" -P
      ${CMAKE_SOURCE_DIR}/cmake/EmbedTextRun.cmake
    DEPENDS ${ARGN} ${CMAKE_SOURCE_DIR}/cmake/EmbedTextRun.cmake VERBATIM COMMENT "Embedding the texts of ${module}")
  target_sources(penstock_${module} PRIVATE ${out})
endfunction()
