# What is shipped, made from the modules:
#
#   daybook          libdaybook.so.0           the store, and it as an engine; exports daybook_* and nothing else
#   daybook_static   libdaybook.a
#   daybook_toolkit  libdaybook-toolkit.so.0   state, snapshots, buckets; on libdaybook and jansson
#   daybook_toolkit_static  libdaybook-toolkit.a
#   daybook_projection  libdaybook-projection.so.0   read models; on libdaybook and, where they are, SQLite and libpq
#   daybook_projection_static  libdaybook-projection.a
#   daybook_server   libdaybook-server.so.0   a NATS server; on libdaybook, libuv, OpenSSL, jansson, libcrypt and, where it is,
#                    libmicrohttpd
#   daybook_server_static  libdaybook-server.a
#   daybook_cli      daybook                   the program; sees include/ and src/cli only
#
# The shared toolkit, projections and server carry their own hidden copies of lower modules, because libdaybook does not export
# them. The static ones carry only what is not in libdaybook.a, which answers for the rest: the toolkit json, the server json,
# proto, config, interest, api, options, auth, broker, jetstream and monitor.
set(DAYBOOK_SOVERSION 0)
set(DAYBOOK_STORE_MODULES base subject io record index journal consumer publish segment store engine)
set(DAYBOOK_STORE_LIBRARIES PkgConfig::ZSTD PkgConfig::XXHASH roaring Threads::Threads)

# Objects of those of the named modules that exist.
function(dbk_objects result_out)
  set(objects "")
  foreach(module IN LISTS ARGN)
    if(TARGET dbk_${module})
      list(APPEND objects $<TARGET_OBJECTS:dbk_${module}>)
    endif()
  endforeach()
  set(${result_out} "${objects}" PARENT_SCOPE)
endfunction()

function(dbk_library_properties name output_name export_name)
  set_target_properties(${name} PROPERTIES OUTPUT_NAME ${output_name} EXPORT_NAME ${export_name} LINKER_LANGUAGE C)
  target_include_directories(${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  add_library(daybook::${export_name} ALIAS ${name})
endfunction()

function(dbk_shared_library_properties name map)
  set_target_properties(${name} PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${DAYBOOK_SOVERSION}
    LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/${map})
  target_link_options(${name} PRIVATE "LINKER:--version-script=${PROJECT_SOURCE_DIR}/cmake/${map}")
  set(whole TRUE)
  foreach(module journal segment store toolkit)
    if(NOT TARGET dbk_${module})
      set(whole FALSE)
    endif()
  endforeach()
  if(whole AND NOT DAYBOOK_SANITIZE AND NOT DAYBOOK_FUZZ)
    target_link_options(${name} PRIVATE LINKER:--no-undefined LINKER:--as-needed)
  endif()
endfunction()

dbk_objects(store_objects ${DAYBOOK_STORE_MODULES})
dbk_objects(toolkit_objects toolkit json)
dbk_objects(projection_objects projection)
dbk_objects(base_objects base)
dbk_objects(server_objects api auth broker config interest jetstream json monitor options proto server)
dbk_objects(subject_objects subject)

if(TARGET dbk_store)
  add_library(daybook SHARED ${store_objects})
  dbk_library_properties(daybook daybook daybook)
  dbk_shared_library_properties(daybook daybook.map)
  target_link_libraries(daybook PRIVATE ${DAYBOOK_STORE_LIBRARIES})

  add_library(daybook_static STATIC ${store_objects})
  dbk_library_properties(daybook_static daybook daybook-static)
  target_link_libraries(daybook_static PRIVATE ${DAYBOOK_STORE_LIBRARIES})
endif()

if(TARGET dbk_store AND TARGET dbk_toolkit)
  # As an archive, so that only what is used of it is taken.
  add_library(dbk_base_archive STATIC ${base_objects})
  set_target_properties(dbk_base_archive PROPERTIES LINKER_LANGUAGE C)
  add_library(daybook_toolkit SHARED ${toolkit_objects})
  dbk_library_properties(daybook_toolkit daybook-toolkit toolkit)
  dbk_shared_library_properties(daybook_toolkit daybook-toolkit.map)
  target_link_libraries(daybook_toolkit PUBLIC daybook PRIVATE dbk_base_archive PkgConfig::JANSSON PkgConfig::XXHASH
    Threads::Threads)

  add_library(daybook_toolkit_static STATIC ${toolkit_objects})
  dbk_library_properties(daybook_toolkit_static daybook-toolkit toolkit-static)
  target_link_libraries(daybook_toolkit_static PUBLIC daybook_static PRIVATE PkgConfig::JANSSON)
endif()

if(TARGET dbk_base_archive AND TARGET dbk_projection)
  set(databases "")
  foreach(database SQLITE LIBPQ)
    if(${database}_FOUND)
      list(APPEND databases PkgConfig::${database})
    endif()
  endforeach()
  add_library(daybook_projection SHARED ${projection_objects})
  dbk_library_properties(daybook_projection daybook-projection projection)
  dbk_shared_library_properties(daybook_projection daybook-projection.map)
  target_link_libraries(daybook_projection PUBLIC daybook PRIVATE dbk_base_archive ${databases} PkgConfig::XXHASH
    Threads::Threads)

  add_library(daybook_projection_static STATIC ${projection_objects})
  dbk_library_properties(daybook_projection_static daybook-projection projection-static)
  target_link_libraries(daybook_projection_static PUBLIC daybook_static PRIVATE ${databases})
endif()

if(TARGET dbk_base_archive AND TARGET dbk_server)
  set(server_libraries PkgConfig::LIBUV PkgConfig::OPENSSL PkgConfig::CRYPT PkgConfig::JANSSON)
  if(MICROHTTPD_FOUND)
    list(APPEND server_libraries PkgConfig::MICROHTTPD)
  endif()
  add_library(dbk_subject_archive STATIC ${subject_objects})
  set_target_properties(dbk_subject_archive PROPERTIES LINKER_LANGUAGE C)
  add_library(daybook_server SHARED ${server_objects})
  dbk_library_properties(daybook_server daybook-server server)
  dbk_shared_library_properties(daybook_server daybook-server.map)
  target_link_libraries(daybook_server PUBLIC daybook PRIVATE dbk_subject_archive dbk_base_archive ${server_libraries}
    PkgConfig::XXHASH Threads::Threads)

  add_library(daybook_server_static STATIC ${server_objects})
  dbk_library_properties(daybook_server_static daybook-server server-static)
  target_link_libraries(daybook_server_static PUBLIC daybook_static PRIVATE ${server_libraries})
endif()

# dbk_cli(SOURCES main.c other.c... [LIBRARIES lib...])
# The program `daybook`, and the object library dbk_cli with everything but main.c for unit tests. Its sources see
# "daybook/..." and "cli/..." and cannot reach the rest of src: that folder is not on the include path, src/cli is reached
# through a link in the build directory.
function(dbk_cli)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
  dbk_sources_exist(complete daybook_cli ${ARG_SOURCES})
  if(NOT complete)
    return()
  endif()
  set(view ${PROJECT_BINARY_DIR}/cli-include)
  file(MAKE_DIRECTORY ${view})
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/src/cli ${view}/cli SYMBOLIC)
  list(REMOVE_ITEM ARG_SOURCES main.c)

  add_library(dbk_cli OBJECT ${ARG_SOURCES})
  target_include_directories(dbk_cli PUBLIC ${PROJECT_SOURCE_DIR}/include ${view})
  target_link_libraries(dbk_cli PUBLIC ${ARG_LIBRARIES} PkgConfig::JANSSON Threads::Threads)
  set_property(GLOBAL PROPERTY dbk_cli_closure dbk_cli)

  if(TARGET daybook_toolkit_static)
    add_executable(daybook_cli main.c)
    if(TARGET daybook_projection_static)
      target_link_libraries(dbk_cli PUBLIC daybook_projection_static)
    endif()
    if(TARGET daybook_server_static)
      target_link_libraries(dbk_cli PUBLIC daybook_server_static)
    endif()
    target_link_libraries(daybook_cli PRIVATE dbk_cli daybook_toolkit_static daybook_static)
    set_target_properties(daybook_cli PROPERTIES OUTPUT_NAME daybook RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
    set_property(GLOBAL PROPERTY dbk_cli_closure dbk_cli daybook_toolkit_static daybook_static)

    # The manual page and the completion are made by the program from the same table as its parser.
    foreach(made "--man daybook.1" "--bash-completion daybook.bash-completion")
      separate_arguments(made)
      list(GET made 0 option)
      list(GET made 1 file)
      add_custom_command(OUTPUT ${PROJECT_BINARY_DIR}/packaging/${file}
        COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/packaging
        COMMAND daybook_cli help ${option} > ${PROJECT_BINARY_DIR}/packaging/${file}
        DEPENDS daybook_cli VERBATIM)
      list(APPEND made_files ${PROJECT_BINARY_DIR}/packaging/${file})
    endforeach()
    add_custom_target(daybook_manual ALL DEPENDS ${made_files})
  endif()
endfunction()
