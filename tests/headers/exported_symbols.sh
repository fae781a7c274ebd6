#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# exported_symbols.sh INCLUDE CC LIBRARY...: every exported symbol begins with daybook_, no symbol is exported by two
# libraries, every function the headers declare is exported by one of them, and every exported one is declared.
set -euo pipefail
include=$1 cc=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

exported() { nm -D --defined-only "$1" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u; }
for library in "$@"; do exported "$library"; done | sort >"$work/all"
sort -u "$work/all" >"$work/exported"

# Declarations as the compiler sees them: names before a parenthesis in what carries DAYBOOK_API.
# The server's library is not always built; its header is not part of daybook.h.
server=
[[ "$*" == *daybook-server* ]] && server='#include <daybook/server.h>'
printf '#define DAYBOOK_API DBK_EXPORTED\n#include <daybook/daybook.h>\n#include <daybook/sys/vfs.h>\n%s\n' "$server" |
    "$cc" -E -P -I "$include" -x c - | tr '\n' ' ' | grep -oE 'DBK_EXPORTED[^;]*;' |
    grep -oE 'daybook_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u >"$work/declared"

failed=0
report() {
    if [[ -s $2 ]]; then
        printf '%s:\n' "$1" >&2
        sed 's/^/  /' "$2" >&2
        failed=1
    fi
}
grep -v '^daybook_' "$work/exported" >"$work/foreign" || true
uniq -d "$work/all" >"$work/both"
comm -23 "$work/declared" "$work/exported" >"$work/missing"
comm -13 "$work/declared" "$work/exported" >"$work/undeclared"
report "exported without the prefix daybook_" "$work/foreign"
report "exported by two libraries" "$work/both"
report "declared in a public header, exported by no library" "$work/missing"
report "exported, but declared in no public header" "$work/undeclared"
echo "$(wc -l <"$work/exported") symbols"
exit "$failed"
