#!/bin/sh
# Stops one container of the compose file after the other and says what went on working. Needs a cluster that is up, with the app
# /zdd/blue of examples/blue-green, and dig.
#
#   docker/try.sh [EXECUTABLE]    default: target/release/zddcluster
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$here"
zddcluster=${1:-"$here/../target/release/zddcluster"}
master=${MASTER_ADDRESS:-127.0.0.1}
edge=${EDGE_ADDRESS:-127.0.0.2}
export DCOS_URL="http://$master:8080" ZDD_TOKEN_FILE="$here/token"

# Each part says for itself whether it works, within two seconds.
look() {
    api=$(curl -s -m 2 -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $(cat token)" "$DCOS_URL/v2/apps" || true)
    names=$(dig +short +time=1 +tries=1 "@$master" -p 8053 blue-zdd.marathon.mesos A 2>&1 | grep -c '^172' || true)
    tasks=$("$zddcluster" dcos marathon app list 2>/dev/null | awk '$1 == "/zdd/blue" { print $4 }' || true)
    printf '    API %s, names %s, tasks %s\n' "$api" "$names" "${tasks:-?}"
}

load() {
    "$zddcluster" probe "http://$edge:10080/endpoint0" --rate 100 --duration "$1" --fresh > "$2" 2>&1 || true
}

if ! curl -s -m 5 -f -o /dev/null "http://$edge:10080/endpoint0"; then
    echo "error: nothing answers at http://$edge:10080; hint: docker-compose up -d, then dcos marathon app add ../examples/blue-green/blue.json" >&2
    exit 1
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT INT TERM
echo "before:"
look
for role in master agent1 public dns edge; do
    load 12 "$out/load" &
    sleep 2
    docker stop -t 15 "$(docker-compose ps -q "$role" 2>/dev/null)" > /dev/null
    sleep 2
    echo "without $role:"
    look
    docker start "$(docker-compose ps -q "$role" 2>/dev/null)" > /dev/null
    wait
    awk '/^(sent|ok|failed|version|latency|  +[0-9])/ { print "    load: " $0 }' "$out/load"
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
        case $("$zddcluster" dcos marathon app list 2>/dev/null | awk '$1 == "/zdd/blue" { print $4 $6 }') in
            4/4---) break ;;
            *) sleep 1 ;;
        esac
    done
    echo "with $role again:"
    look
done
