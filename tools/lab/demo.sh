#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
# The two-minute tour: a small shop on a cluster of two nodes, all on this machine, and what Weft does for it.
# Every step prints the command that it runs, so that each can be tried by hand. Needs root.
# shellcheck disable=SC2016  # the customer's shell expands these, not ours
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
shop=$(realpath --relative-to="$PWD" "$here/../../examples/shop")
lab=demo
nodes=/run/weft/lab/$lab/nodes

cleanup() {
	weft lab down --name "$lab" >/dev/null 2>&1 || true
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() {
	printf '\033[36m$ %s\033[0m\n' "$*"
	"$@"
}
# Runs a shell line in the customer's pod.
customer() {
	printf '\033[36m$ weft lab exec shop/customer --name %s -- sh -c %q\033[0m\n' "$lab" "$1"
	weft lab exec shop/customer --name "$lab" -- sh -c "$1"
}
# The pod has so many containers ended before; waits until it is ready again.
until_ready() {
	for _ in $(seq 100); do
		if weft lab status --name "$lab" | grep -qE "^shop +$1 +yes"; then
			return 0
		fi
		sleep 0.2
	done
	echo "pod shop/$1 did not become ready; see: weft lab logs shop/$1 --name $lab" >&2
	return 1
}

if [ "$(id -u)" != 0 ]; then
	echo "make demo makes network namespaces and loads eBPF programs: run it as root (sudo make demo)" >&2
	exit 4
fi

say '1. A cluster of two nodes: each a network namespace with its own weftd, each pod wired by the real CNI chain.'
run weft lab up "$shop" --name "$lab"

say '2. A customer asks the shop. nginx passes it on; the API is three pods behind one Service, chosen inside connect(2).'
customer 'curl -s http://web/'
customer 'for i in $(seq 60); do curl -s http://api/; done | cut -d, -f1-2 | sort | uniq -c'

say '3. A NetworkPolicy lets only the API talk to redis. The API counts visits there (above); the customer is refused.'
customer 'timeout 2 redis-cli -h redis ping || echo "no answer from redis"'

say '4. A backend dies. Its connections go to the others at once, until it is back.'
run weft lab kill shop/api-v2-0 --name "$lab"
customer 'for i in $(seq 30); do curl -s http://api/; done | cut -d, -f1-2 | sort | uniq -c'
until_ready api-v2-0
customer 'for i in $(seq 30); do curl -s http://api/; done | cut -d, -f1-2 | sort | uniq -c'

say '5. Even the agent may die: its decisions stay in the kernel.'
node=$(weft lab status --name "$lab" | awk '$2 == "customer" { print $6 }')
run weft lab kill-agent "$node" --name "$lab"
customer 'for i in $(seq 30); do curl -s -o /dev/null -w "%{http_code}\n" http://web/; done | sort | uniq -c'
run weft lab restart-agent "$node" --name "$lab"
for _ in $(seq 100); do
	weft --socket "$nodes/$node/admin.sock" status >/dev/null 2>&1 && break
	sleep 0.1
done

say "6. The same story, as the agent of the customer's node tells it."
export WEFT_SOCKET=$nodes/$node/admin.sock
printf '\033[36m$ export WEFT_SOCKET=%s\033[0m\n' "$WEFT_SOCKET"
run weft status || true
run weft service list
run weft endpoint list
customer 'curl -s http://web/ >/dev/null; timeout 1 redis-cli -h redis ping >/dev/null 2>&1; true'
run weft flows --last 8

say '7. Who may talk to whom: real connections between all pods (. allowed, X denied).'
run weft lab probe --all --name "$lab"

say 'That was it; the lab is removed now. Try next:'
cat <<EOF
  weft lab up $shop                            # the same cluster, and it stays
  weft lab exec shop/customer -- bash          # look around in a pod
  weft lab scale shop/api-v2 5                 # more of v2
  weft lab apply YOUR.yaml                     # your own Deployments, Services, NetworkPolicies
  echo '{"from":"shop/customer","to":"shop/svc:redis","port":6379}' | weft lab probe - -o table
  weft lab down                                # remove everything
EOF
