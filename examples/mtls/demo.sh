#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
# Mutual TLS between two nodes, shown: what applications see, what the wire shows, what the agent says, and what happens
# when everything of Weft's that can die does so in the middle of a transfer. `make demo-mtls` runs it in a guest, whose
# kernel has TLS; on a machine whose own kernel has it, it runs as it is, as root.
set -euo pipefail

here=${WEFT_EXAMPLES:-$(cd "$(dirname "$0")/.." && pwd)}/mtls
lab=mtls
run=/run/weft/lab/$lab
scratch=$(mktemp -d)
cleanup() {
	weft lab down --name "$lab" >/dev/null 2>&1 || true
	rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '\033[36m$ %s\033[0m\n' "$*"; }
run() {
	show "$@"
	"$@"
}
teller() { weft lab exec bank/teller --name "$lab" -- "$@"; }
node() { weft --socket "$run/nodes/$1/admin.sock" "${@:2}"; }
# until SECONDS COMMAND...: waits until it succeeds.
until_true() {
	local end=$((SECONDS + $1))
	until "${@:2}" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || { echo "demo: gave up waiting for: ${*:2}" >&2; exit 1; }
		sleep 0.2
	done
}
both_enrolled() { [ "$(grep -l weft.dev/enrolled "$run"/manifests/Pod_* | wc -l)" = 2 ]; }
# The process of each weft-relay that moves bytes: the child of another weft-relay.
relay_children() {
	local pid parent
	while read -r pid; do
		parent=$(awk '{ print $4 }' "/proc/$pid/stat")
		[ "$(cat "/proc/$pid/comm") $(cat "/proc/$parent/comm")" = "weft-relay weft-relay" ] && echo "$pid"
	done <"$(find /sys/fs/cgroup -path "*/weft-$lab/authority/cgroup.procs")"
	return 0
}
received_more_than() { [ "$(stat -c %s "$scratch/archive" 2>/dev/null || echo 0)" -gt "$1" ]; }
received() { stat -c %s "$scratch/archive"; }

say '1. Two nodes, each with its own weftd and weft-relay; weft-ca gives their workloads certificates.'
run weft lab up "$here" --name "$lab" --timeout 240
until_true 240 both_enrolled

say '2. A request from node-1 to node-2. Each application sees the other at its own address, as with plain TCP.'
show "ip netns exec weft-$lab-wire python3 capture.py n1 ...    # on the cable between the nodes, meanwhile"
ip netns exec "weft-$lab-wire" python3 "$here/capture.py" n1 "$scratch/capture" 'ATTACK AT DAWN' >"$scratch/packets" &
capture=$!
until_true 60 test -e "$scratch/capture"
show "weft --socket $run/nodes/node-1/admin.sock conn trace bank/teller    # meanwhile, too"
node node-1 conn trace bank/teller --timeout 120s >"$scratch/trace" 2>"$scratch/trace.begun" &
trace=$!
until_true 60 grep -q waiting "$scratch/trace.begun"
show "weft lab exec bank/teller --name $lab -- curl http://ledger/"
teller curl -sS -m 60 -w 'curl: I am %{local_ip} port %{local_port}, and asked %{remote_ip} port %{remote_port}.\n' http://ledger/

say '3. The wire had TLS 1.3 records only, between those addresses, on the original port.'
touch "$scratch/capture.stop"
wait "$capture"
cat "$scratch/packets"

say '   Its life, as the kernel, the agent and the relay of node-1 saw it.'
wait "$trace"
cat "$scratch/trace"
grep -q 'tier relay' "$scratch/trace" || { echo 'demo: the trace does not show the relay' >&2; exit 1; }

say '4. A download begins. The agent says who talks to whom: both identities proven, the kernel encrypts (tier relay).'
want=$(weft lab exec bank/ledger --name "$lab" -- sha256sum /tmp/www/archive | cut -d' ' -f1)
show "weft lab exec bank/teller --name $lab -- curl http://ledger/archive    # whose reader is slow for now"
# Slow until all the killing is done, however slow this machine is.
slow_reader() {
	until [ -e "$scratch/hurry" ]; do
		dd bs=65536 count=1 iflag=fullblock status=none
		sleep 0.2
	done
	cat
}
teller curl -sS -m 600 http://ledger/archive | slow_reader >"$scratch/archive" &
transfer=$!
until_true 60 received_more_than 100000
show "weft --socket $run/nodes/node-1/admin.sock conn list -o json | jq ..."
node node-1 conn list -o json | jq '.[] | select(.security == "mutual_tls") | {workload, peer, remote, own_identity: (.own_identity // .ownIdentity), peer_identity: (.peer_identity // .peerIdentity), cipher, tier}' | tee "$scratch/connection"
grep -q '"relay"' "$scratch/connection" || { echo 'demo: expected the tier "relay"' >&2; exit 1; }
show "weft --socket $run/nodes/node-2/admin.sock status"
node node-2 status | sed -n '/^Mutual TLS/,/^Connections/p' | sed '$d'

say '5. Meanwhile: kill -9 of both agents ...'
run weft lab kill-agent node-1 --name "$lab"
run weft lab kill-agent node-2 --name "$lab"
at=$(received)
until_true 60 received_more_than $((at + 300000))
echo "  the download went on from $at to $(received) bytes"

say '   ... and of both processes that move its bytes.'
mapfile -t children < <(relay_children)
[ ${#children[@]} = 2 ] || { echo "demo: expected two relay children, not ${#children[@]}" >&2; exit 1; }
run kill -9 "${children[@]}"
at=$(received)
until_true 60 received_more_than $((at + 300000))
echo "  the download went on from $at to $(received) bytes"

touch "$scratch/hurry"
wait "$transfer"
got=$(sha256sum <"$scratch/archive" | cut -d' ' -f1)
printf '\n  sha256 at the server  %s\n  sha256 at the client  %s\n' "$want" "$got"
[ "$want" = "$got" ] || { echo "demo: the download is damaged" >&2; exit 1; }

say '6. The agents come back, and new connections are made as before.'
run weft lab restart-agent node-1 --name "$lab"
run weft lab restart-agent node-2 --name "$lab"
until_true 60 node node-1 status
until_true 60 node node-2 status
until_true 120 both_enrolled
until_true 60 teller curl -sSf -m 20 http://ledger/
teller curl -sS -m 60 http://ledger/
say 'That was it; the lab is removed now.'
