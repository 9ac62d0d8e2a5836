# Turns src/store/lua/*.lua into one C file of string constants, so that the binary needs no files at run time.
file(GLOB lua_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/store/lua/*.lua)
set(lua_c ${CMAKE_BINARY_DIR}/store_lua_text.c)
add_custom_command(OUTPUT ${lua_c}
  COMMAND ${CMAKE_COMMAND} -DOUT=${lua_c} "-DFILES=${lua_files}" -P ${CMAKE_SOURCE_DIR}/cmake/EmbedLuaRun.cmake
  DEPENDS ${lua_files} ${CMAKE_SOURCE_DIR}/cmake/EmbedLuaRun.cmake VERBATIM COMMENT "Embedding Lua scripts")
target_sources(penstock_store PRIVATE ${lua_c})
