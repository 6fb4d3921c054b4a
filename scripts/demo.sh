#!/usr/bin/env bash
# Starts the catch-all inbox, sends a message with an attachment through it, and
# prints what arrived. Needs nothing but Go.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
inbox=
cleanup() {
	[ -z "$inbox" ] || { kill "$inbox" 2>/dev/null || true; wait "$inbox" 2>/dev/null || true; }
	rm -rf "$work"
}
trap cleanup EXIT

echo "Building postrider"
CGO_ENABLED=0 go build -o "$work/postrider" ./cmd/postrider

echo "Starting an inbox"
"$work/postrider" inbox --listen 127.0.0.1:0 --http 127.0.0.1:0 --ca-out "$work/ca.pem" >"$work/inbox.log" 2>&1 &
inbox=$!
for _ in $(seq 100); do
	grep -q '^Waiting for mail' "$work/inbox.log" && break
	kill -0 "$inbox" 2>/dev/null || { cat "$work/inbox.log" >&2; exit 1; }
	sleep 0.1
done
address=$(sed -n 's|^smtp  *smtp://\([^?]*\)?.*|\1|p' "$work/inbox.log")

printf 'Thank you for your order, Zoë.\nThe receipt is attached.\n' >"$work/letter.txt"
echo "Sending a message with an attachment to smtp://$address, with STARTTLS"
"$work/postrider" send --relay "smtp://$address" --ca-file "$work/ca.pem" \
	--from 'Shop <shop@example.com>' --to 'Zoë <zoe@example.net>' --bcc books@example.com \
	--subject 'Your receipt – Größe 42' --text-file "$work/letter.txt" --attach LICENSE\;name=receipt.txt

kill "$inbox"
wait "$inbox" 2>/dev/null || true
inbox=
echo
echo "What arrived:"
sed '1,/^Waiting for mail/d' "$work/inbox.log"
