# The mutants of tests/fault/mutants.py: the penstock binary with one source changed. The changed object is linked before the
# libraries, so that the linker takes it in place of the archive's. Not part of `all`: the lane's first test builds them.
set(mutants_py ${CMAKE_CURRENT_LIST_DIR}/mutants.py)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${mutants_py})
execute_process(COMMAND /usr/bin/python3 ${mutants_py} list OUTPUT_VARIABLE lines OUTPUT_STRIP_TRAILING_WHITESPACE
  COMMAND_ERROR_IS_FATAL ANY)
string(REPLACE ";" "," lines "${lines}")
string(REPLACE "\n" ";" lines "${lines}")
add_custom_target(penstock_mutants)

function(penstock_mutant name file)
  set(dir ${CMAKE_CURRENT_BINARY_DIR}/fault/${name})
  get_filename_component(base ${file} NAME)
  get_filename_component(folder ${file} DIRECTORY)
  set(source ${dir}/mutated/${base})
  add_custom_command(OUTPUT ${source} COMMAND /usr/bin/python3 ${mutants_py} write ${name} ${CMAKE_SOURCE_DIR} ${source}
    DEPENDS ${mutants_py} ${CMAKE_SOURCE_DIR}/${file} VERBATIM)
  if(base MATCHES "\\.lua$")
    set(files ${lua_files})
    list(TRANSFORM files REPLACE "^.*/${base}$" ${source})
    set(source ${dir}/mutated/store_lua_text.c)
    set(folder src/store)
    add_custom_command(OUTPUT ${source}
      COMMAND ${CMAKE_COMMAND} -DOUT=${source} -DHEADER=store_internal.h -DPREFIX=store__lua_ "-DFILES=${files}" -P
        ${CMAKE_SOURCE_DIR}/cmake/EmbedTextRun.cmake
      DEPENDS ${files} ${CMAKE_SOURCE_DIR}/cmake/EmbedTextRun.cmake VERBATIM)
  endif()
  add_executable(penstock_mutant_${name} EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/src/main.c ${source})
  target_include_directories(penstock_mutant_${name} PRIVATE ${CMAKE_SOURCE_DIR}/${folder})
  target_link_libraries(penstock_mutant_${name} PRIVATE penstock_cli penstock_flags)
  set_target_properties(penstock_mutant_${name} PROPERTIES OUTPUT_NAME penstock RUNTIME_OUTPUT_DIRECTORY ${dir})
  add_dependencies(penstock_mutants penstock_mutant_${name})
endfunction()

foreach(line ${lines})
  string(REPLACE "," ";" parts "${line}")
  penstock_mutant(${parts})
endforeach()

add_test(NAME fault/build_mutants
  COMMAND ${CMAKE_COMMAND} --build ${CMAKE_BINARY_DIR} --target penstock penstock_mutants)
set_tests_properties(fault/build_mutants PROPERTIES LABELS fault TIMEOUT 300 FIXTURES_SETUP penstock_mutants)
set_tests_properties(fault/test_mutants PROPERTIES FIXTURES_REQUIRED penstock_mutants)
