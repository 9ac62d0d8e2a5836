# The shells' completion and the manual pages. The binary makes them from its table of commands, options and settings, so
# they are of this very build. Not when cross-compiling: then it cannot be run here.
if(CMAKE_CROSSCOMPILING)
  message(STATUS "No completion and manual pages: the binary cannot be run here")
  return()
endif()

set(penstock_commands dev serve worker submit token get list wait cancel pause resume drain events verify queues workers top models
  check-model config bench demo completion help)
set(man_dir ${CMAKE_BINARY_DIR}/man)
set(completion_dir ${CMAKE_BINARY_DIR}/completion)
file(MAKE_DIRECTORY ${man_dir} ${completion_dir})

# penstock_output(FILE ARGS...): FILE is what `penstock ARGS...` prints.
set(command_line_files)
function(penstock_output file)
  add_custom_command(OUTPUT ${file} COMMAND penstock ${ARGN} > ${file} DEPENDS penstock VERBATIM
    COMMENT "Writing ${file}")
  set(command_line_files ${command_line_files} ${file} PARENT_SCOPE)
endfunction()
set(man_pages)

penstock_output(${man_dir}/penstock.1 help --man)
penstock_output(${man_dir}/penstock.conf.5 config --man)
foreach(command IN LISTS penstock_commands)
  penstock_output(${man_dir}/penstock-${command}.1 help --man ${command})
  list(APPEND man_pages ${man_dir}/penstock-${command}.1)
endforeach()
penstock_output(${completion_dir}/penstock completion bash)
penstock_output(${completion_dir}/_penstock completion zsh)
penstock_output(${completion_dir}/penstock.fish completion fish)
add_custom_target(penstock_command_line ALL DEPENDS ${command_line_files})

# Debian's zsh looks for a package's functions and for the administrator's in different folders.
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  set(zsh_dir zsh/vendor-completions)
else()
  set(zsh_dir zsh/site-functions)
endif()
install(FILES ${completion_dir}/penstock DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${completion_dir}/_penstock DESTINATION ${CMAKE_INSTALL_DATADIR}/${zsh_dir})
install(FILES ${completion_dir}/penstock.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES ${man_dir}/penstock.1 ${man_pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${man_dir}/penstock.conf.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
