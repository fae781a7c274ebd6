# Installation: headers, libraries, the CMake package, pkg-config files, program, manual page, completion, systemd unit.
include(CMakePackageConfigHelpers)

install(DIRECTORY include/daybook DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

# Shared and static targets are exported apart: a consumer of the shared library needs none of the libraries it stands on.
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/daybook)
set(shared_targets "")
set(static_targets "")
foreach(target daybook daybook_toolkit daybook_projection daybook_server)
  if(TARGET ${target})
    list(APPEND shared_targets ${target})
    list(APPEND static_targets ${target}_static)
  endif()
endforeach()
if(shared_targets)
  install(TARGETS ${shared_targets} EXPORT daybook-shared
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(TARGETS ${static_targets} EXPORT daybook-static
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT daybook-shared NAMESPACE daybook:: DESTINATION ${package_dir} FILE daybookShared.cmake)
  install(EXPORT daybook-static NAMESPACE daybook:: DESTINATION ${package_dir} FILE daybookStatic.cmake)
endif()
configure_package_config_file(cmake/daybookConfig.cmake.in daybookConfig.cmake INSTALL_DESTINATION ${package_dir}
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(daybookConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/daybookConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/daybookConfigVersion.cmake
  DESTINATION ${package_dir})

# Named as libraries: libpq's own package asks a static link for more than its shared library needs.
set(projection_libraries "")
if(SQLITE_FOUND)
  string(APPEND projection_libraries " -lsqlite3")
endif()
if(LIBPQ_FOUND)
  string(APPEND projection_libraries " -lpq")
endif()
# The files find their prefix from where they lie, so that an installed tree may move.
file(RELATIVE_PATH up_to_prefix /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
set(packages daybook daybook-toolkit daybook-projection)
if(TARGET daybook_server)
  list(APPEND packages daybook-server)
endif()
foreach(package IN LISTS packages)
  configure_file(cmake/${package}.pc.in ${package}.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${package}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()

if(TARGET daybook_cli)
  install(TARGETS daybook_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(FILES ${PROJECT_BINARY_DIR}/packaging/daybook.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(FILES ${PROJECT_BINARY_DIR}/packaging/daybook.bash-completion
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME daybook)
  if(TARGET daybook_server)
    install(FILES packaging/daybook.service DESTINATION lib/systemd/system)
  endif()
endif()
install(FILES README.md LICENSE CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)
