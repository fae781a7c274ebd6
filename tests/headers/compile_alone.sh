#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# compile_alone.sh INCLUDE CC [CXX]: each public header, alone and included twice, as C99 and C++11 under strict warnings.
set -euo pipefail
include=$1 cc=$2 cxx=${3:-}
strict=(-fsyntax-only -I "$include" -Wall -Wextra -Wpedantic -pedantic-errors -Werror -Wundef -Wshadow -Wcast-qual
    -Wconversion -Wsign-conversion)
failed=0
count=0

try() {
    if ! printf '#include "%s"\n#include "%s"\n' "$header" "$header" | "$@" "${strict[@]}" -; then
        printf '%s does not compile alone with: %s\n' "$header" "$*" >&2
        failed=1
    fi
}

while IFS= read -r path; do
    header=${path#"$include"/}
    try "$cc" -std=c99 -Wstrict-prototypes -x c
    if [[ -n $cxx && $cxx != *NOTFOUND* ]]; then
        try "$cxx" -std=c++11 -x c++
    fi
    count=$((count + 1))
done < <(find "$include" -name '*.h' | sort)

if [[ -z $cxx || $cxx == *NOTFOUND* ]]; then
    echo "SKIP: C++11: there is no C++ compiler"
fi
echo "$count headers"
((count > 0)) && exit "$failed"
