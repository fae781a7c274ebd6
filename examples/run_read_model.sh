#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run_read_model.sh PROGRAM SQL EXPECTED: the read model of the orders holds what EXPECTED says, in SQLite and in the PostgreSQL
# of DAYBOOK_POSTGRES.
set -euo pipefail
query='SELECT * FROM order_totals ORDER BY order_id'
if ! command -v sqlite3 >/dev/null; then
    echo "SKIP: the sqlite3 shell is not installed"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$1" "$work/shop" "$2" | tail -n 1 | diff <(echo "read model order_totals: 125 events") -
diff "$3" <(sqlite3 "$work/shop.db" "$query")
"$1" "$work/other" "$2" --to "$DAYBOOK_POSTGRES" | tail -n 1 | diff <(echo "read model order_totals: 125 events") -
diff "$3" <(psql "$DAYBOOK_POSTGRES" -XAtc "$query")
