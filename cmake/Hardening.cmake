# Warnings, the OpenSSF compiler hardening flags (each probed: an older compiler builds without the ones it lacks), and
# sanitizers. Source: OpenSSF "Compiler Options Hardening Guide for C and C++".
include(CheckCCompilerFlag)
include(CheckLinkerFlag)

add_library(penstock_flags INTERFACE)
target_compile_options(penstock_flags INTERFACE -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
  -Wpointer-arith -Wwrite-strings -Wvla -Wformat=2 -Wimplicit-fallthrough -Wno-unused-parameter)
target_compile_definitions(penstock_flags INTERFACE _GNU_SOURCE)
if(PENSTOCK_WERROR)
  target_compile_options(penstock_flags INTERFACE -Werror)
endif()

function(penstock_probe_compile flag)
  string(MAKE_C_IDENTIFIER "HAVE_CFLAG_${flag}" var)
  set(CMAKE_REQUIRED_FLAGS -Werror)
  check_c_compiler_flag(${flag} ${var})
  if(${var})
    target_compile_options(penstock_flags INTERFACE ${flag})
  endif()
endfunction()

function(penstock_probe_link flag)
  string(MAKE_C_IDENTIFIER "HAVE_LDFLAG_${flag}" var)
  check_linker_flag(C ${flag} ${var})
  if(${var})
    target_link_options(penstock_flags INTERFACE ${flag})
  endif()
endfunction()

foreach(flag -Werror=format-security -Werror=implicit -Werror=incompatible-pointer-types -Werror=int-conversion
    -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -fno-delete-null-pointer-checks
    -fno-strict-overflow -ftrivial-auto-var-init=zero)
  penstock_probe_compile(${flag})
endforeach()
foreach(flag -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed -Wl,--no-copy-dt-needed-entries)
  penstock_probe_link(${flag})
endforeach()

if(PENSTOCK_SANITIZE)
  target_compile_options(penstock_flags INTERFACE -fsanitize=${PENSTOCK_SANITIZE} -fno-omit-frame-pointer -g)
  target_link_options(penstock_flags INTERFACE -fsanitize=${PENSTOCK_SANITIZE})
  if(PENSTOCK_SANITIZE MATCHES undefined)
    target_compile_options(penstock_flags INTERFACE -fno-sanitize-recover=undefined)
  endif()
elseif(CMAKE_BUILD_TYPE MATCHES "Rel")
  target_compile_options(penstock_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -g1)
endif()
