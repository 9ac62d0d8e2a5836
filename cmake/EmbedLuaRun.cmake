# Run with -DOUT=file.c "-DFILES=a.lua;b.lua": const char store__lua_<name>[] for each.
set(text "/* Generated from src/store/lua; do not edit. */\n#include \"store_internal.h\"\n")
foreach(file IN LISTS FILES)
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND text "const char store__lua_${name}[] = {${bytes}0};\n")
endforeach()
file(WRITE ${OUT} "${text}")
