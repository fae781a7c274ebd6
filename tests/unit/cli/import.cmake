# Tests of the parts of `import`. They see the program's headers as its own files do.
foreach(name template import_csv import_map import_sort)
  dbk_test(test_cli_${name} SOURCES test_${name}.c MODULES cli LABELS unit)
endforeach()
if(TARGET PkgConfig::EXPAT)
  dbk_test(test_cli_import_xes SOURCES test_import_xes.c MODULES cli LABELS unit)
endif()
