#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run_example.sh PROGRAM EXPECTED: run in a store in memory and in one on disk; both must print what EXPECTED says.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
diff "$2" <("$1")
diff "$2" <("$1" "$work/store")
