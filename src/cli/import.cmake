# The verbs import, export, demo and bench: what they are made of, and which optional libraries they use. Adds to
# `sources` and `libraries` of the including file.
list(APPEND sources
  bench.c
  bench_append.c
  bench_floor.c
  bench_read.c
  bench_store.c
  demo.c
  export.c
  import.c
  import_append.c
  import_csv.c
  import_git.c
  import_ids.c
  import_input.c
  import_map.c
  import_ndjson.c
  import_sort.c
  import_text.c
  latencies.c
  template.c
)
add_compile_definitions(CLI_HAVE_CSV CLI_HAVE_NDJSON CLI_HAVE_GIT CLI_HAVE_EXPORT CLI_HAVE_DEMO CLI_HAVE_BENCH)
# The decompression floor of bench.
list(APPEND libraries PkgConfig::ZSTD)

# .gz sources; without zlib they are refused with the reason.
if(TARGET PkgConfig::ZLIB)
  add_compile_definitions(CLI_WITH_ZLIB)
  list(APPEND libraries PkgConfig::ZLIB)
endif()

# XES; without expat the verb says that it is not built in.
if(TARGET PkgConfig::EXPAT)
  list(APPEND sources import_xes.c)
  add_compile_definitions(CLI_HAVE_XES)
  list(APPEND libraries PkgConfig::EXPAT)
endif()
