#!/bin/sh
# Makes the passwords and URLs that compose.yaml mounts as files, in the directory that is named. What is there already is kept.
# The keys of the service are not made here: postrider setup makes them in DIRECTORY/keys.
#
#   sudo sh deploy/make-secrets.sh deploy/secrets
set -eu
dir=${1:?usage: make-secrets.sh DIRECTORY}
# Nobody but root gets past this directory; in it, containers of several users read what is mounted into them.
umask 022
mkdir -p "$dir"
chmod 0700 "$dir"

password() { # NAME
  [ -s "$dir/$1" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$dir/$1"
}
url() { # NAME TEXT
  [ -s "$dir/$1" ] || printf '%s' "$2" >"$dir/$1"
}
for who in postgres owner web sender redis; do password "$who-password"; done
for who in owner web sender; do
  url "$who-url" "postgres://postrider_$who:$(cat "$dir/$who-password")@postgres:5432/postrider"
done
url redis-url "redis://:$(cat "$dir/redis-password")@redis:6379/0"

# The user of the image, who alone may read the keys.
mkdir -p "$dir/keys"
chmod 0700 "$dir/keys"
chown 65532:65532 "$dir/keys"
