#!/bin/sh
# Makes the images zddcluster and zddcluster/simpleservice from an executable of this machine and the libraries it loads: FROM scratch,
# so no registry is asked for anything. And a token for the cluster of docker-compose.yml, once.
#
#   docker/build.sh [EXECUTABLE]    default: target/release/zddcluster
#
# ZDD_IMAGE is another name for the images, ZDD_TOKEN_FILE another place for the token.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
executable=${1:-"$here/../target/release/zddcluster"}
if [ ! -x "$executable" ]; then
    echo "error: there is no $executable; hint: cargo build --release" >&2
    exit 1
fi

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT INT TERM
mkdir -p "$context/root/tmp" "$context/root/data"
chmod 1777 "$context/root/tmp"
cp -L "$executable" "$context/root/zddcluster"
# Lines of ldd: `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)` and the interpreter's, `/lib64/ld-linux-x86-64.so.2 (0x…)`.
ldd "$executable" | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }' | while read -r library; do
    mkdir -p "$context/root$(dirname "$library")"
    cp -L "$library" "$context/root$library"
done

image=${ZDD_IMAGE:-zddcluster}
docker build --quiet --tag "$image" --file "$here/Dockerfile" "$context"
docker build --quiet --tag "$image/simpleservice" --file "$here/Dockerfile.simpleservice" "$context"

token=${ZDD_TOKEN_FILE:-"$here/token"}
if [ ! -e "$token" ]; then
    (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$token")
fi
