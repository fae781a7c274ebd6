#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# install_and_consume.sh CMAKE BUILD CONSUMER CC LIBDIR: installs BUILD into a temporary prefix, moves that prefix elsewhere
# (a package must not remember where it was made), and builds and runs the consumer with CMake and pkg-config, shared and static.
set -euo pipefail
cmake=$1 build=$2 consumer=$3 cc=$4 libdir=$5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset DESTDIR LD_LIBRARY_PATH

"$cmake" --install "$build" --prefix "$work/made" >"$work/install.log" || { cat "$work/install.log"; exit 1; }
for file in include/daybook/daybook.h include/daybook/sys/vfs.h "$libdir/libdaybook.so.0" "$libdir/libdaybook.a" \
    "$libdir/libdaybook-toolkit.so.0" "$libdir/libdaybook-projection.so.0" "$libdir/pkgconfig/daybook.pc" "$libdir/cmake/daybook/daybookConfig.cmake" \
    bin/daybook share/man/man1/daybook.1 share/bash-completion/completions/daybook lib/systemd/system/daybook.service; do
    [[ -e $work/made/$file ]] || { echo "not installed: $file" >&2; exit 1; }
done
readelf -d "$work/made/$libdir/libdaybook.so.0" | grep -q 'SONAME.*libdaybook\.so\.0' ||
    { echo "libdaybook.so.0 has another soname" >&2; exit 1; }
if grep -rlF "$work" "$work/made"/{include,share} "$work/made/$libdir/cmake" 2>/dev/null; then
    echo "installed files name the place they were made in" >&2
    exit 1
fi

# pkg-config with the prefix it was installed to.
export PKG_CONFIG_PATH="$work/made/$libdir/pkgconfig"
library_path="$work/made/$libdir"
read -ra flags < <(pkg-config --cflags --libs daybook-toolkit daybook-projection)
"$cc" -o "$work/pc_shared" "$consumer/consumer.c" "${flags[@]}"
LD_LIBRARY_PATH=$library_path "$work/pc_shared"
read -ra compile < <(pkg-config --cflags daybook-toolkit daybook-projection)
read -ra link < <(pkg-config --static --libs daybook-toolkit daybook-projection)
# Static for ours, shared for the libraries of the distribution.
for i in "${!link[@]}"; do
    case ${link[i]} in
        -ldaybook) link[i]=-l:libdaybook.a ;;
        -ldaybook-toolkit) link[i]=-l:libdaybook-toolkit.a ;;
        -ldaybook-projection) link[i]=-l:libdaybook-projection.a ;;
    esac
done
"$cc" -o "$work/pc_static" "$consumer/consumer.c" "${compile[@]}" "${link[@]}"
"$work/pc_static"

# The server, where it was built.
if [[ -e $work/made/$libdir/libdaybook-server.so.0 ]]; then
    read -ra flags < <(pkg-config --cflags --libs daybook-server)
    "$cc" -o "$work/pc_server" "$consumer/server.c" "${flags[@]}"
    LD_LIBRARY_PATH=$library_path "$work/pc_server"
    read -ra link < <(pkg-config --static --libs daybook-server)
    for i in "${!link[@]}"; do
        case ${link[i]} in
            -ldaybook) link[i]=-l:libdaybook.a ;;
            -ldaybook-server) link[i]=-l:libdaybook-server.a ;;
        esac
    done
    "$cc" -o "$work/pc_server_static" "$consumer/server.c" "${compile[@]}" "${link[@]}"
    "$work/pc_server_static"
fi

# CMake, from another place.
mv "$work/made" "$work/moved"
build_with_cmake() {
    "$cmake" -S "$consumer" -B "$work/consumer" -DCMAKE_PREFIX_PATH="$work/moved" -DCMAKE_C_COMPILER="$cc" &&
        "$cmake" --build "$work/consumer"
}
build_with_cmake >"$work/cmake.log" 2>&1 || { cat "$work/cmake.log"; exit 1; }
"$work/consumer/consumer_shared"
"$work/consumer/consumer_static"
for program in "$work"/consumer/server_*; do
    if [[ -x $program ]]; then "$program"; fi
done
if readelf -d "$work/consumer/consumer_static" | grep -q 'libdaybook'; then
    echo "the static consumer needs a shared daybook" >&2
    exit 1
fi
"$work/moved/bin/daybook" --version
