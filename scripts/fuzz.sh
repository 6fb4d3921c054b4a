#!/usr/bin/env bash
# Runs every fuzz target of the repository for FUZZTIME each (default 30s), one after
# the other, on FUZZPARALLEL workers (default: one a core). All of them run even if one
# finds something; what it found lies under that package's testdata/fuzz.
# FUZZ=pattern picks targets by name.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

readonly time="${FUZZTIME:-30s}" pick="${FUZZ:-.}" parallel="${FUZZPARALLEL:-}"
found=0
failed=()

for dir in $(scripts/modules.sh --tests); do
  # go test -list prints a package's targets and then its closing line.
  listing=$(go -C "$dir" test -list '^Fuzz' ./...) || {
    printf '%s\n' "$listing"
    echo "fuzz: the tests of module $dir do not build"
    exit 1
  }
  targets=$(awk '/^Fuzz/ { names[++n] = $1; next } $1 == "ok" { for (i = 1; i <= n; i++) print $2, names[i]; n = 0 }' <<<"$listing")
  while read -r package name; do
    if [ -z "$name" ] || [[ ! "$name" =~ $pick ]]; then
      continue
    fi
    found=$((found + 1))
    echo "== $package $name, $time"
    go -C "$dir" test -run '^$' -fuzz "^$name\$" -fuzztime "$time" ${parallel:+-parallel="$parallel"} "$package" </dev/null ||
      failed+=("$package $name")
  done <<<"$targets"
done

echo
for target in ${failed[@]+"${failed[@]}"}; do
  echo "Found something: $target"
done
echo "$found fuzz targets ran for $time each, ${#failed[@]} found something"
[ "$found" -gt 0 ] && [ "${#failed[@]}" = 0 ]
