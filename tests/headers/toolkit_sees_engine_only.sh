#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# toolkit_sees_engine_only.sh INCLUDE CC ARCHIVE: a library on the engine calls no function that takes a store or a store's
# cursor. Which those are is read off the public headers, so that a new one is among them without being named here.
set -euo pipefail
include=$1 cc=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One declaration per line, of functions that name a type of the store; those of the engine may, they are the way.
printf '#define DAYBOOK_API DBK_EXPORTED\n#include <daybook/daybook.h>\n' | "$cc" -E -P -I "$include" -x c - |
    tr '\n' ' ' | grep -oE 'DBK_EXPORTED[^;]*;' | grep -E '\bdaybook_(store|cursor|consumer|batch)\b' |
    grep -oE 'daybook_[a-z0-9_]+ *\(' | tr -d ' (' | grep -v '^daybook_engine_' | sort -u >"$work/of_store"
nm -u "$@" | awk 'NF == 2 && $1 == "U" { print $2 }' | grep '^daybook_' | sort -u >"$work/called"

comm -12 "$work/of_store" "$work/called" >"$work/wrong"
if [[ -s $work/wrong ]]; then
    echo "$(basename "$1") calls functions of the store; daybook/engine.h is its way:" >&2
    sed 's/^/  /' "$work/wrong" >&2
    exit 1
fi
# The lists must not be empty, or this shows nothing.
grep -qx daybook_read "$work/of_store"
grep -qx daybook_engine_read "$work/called"
echo "$(wc -l <"$work/called") functions called, none of the $(wc -l <"$work/of_store") of the store"
