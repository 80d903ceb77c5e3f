#!/usr/bin/env bash
# Checks and tests. Without arguments it runs every step; with arguments only those named:
# format vet generate lint unit browser fuzz. FUZZ_SECONDS is how long each fuzz target runs (3).
set -euo pipefail
cd "$(dirname "$0")/.."

# A checkout of another user has no version that git would tell; nothing here needs one.
export GOFLAGS="${GOFLAGS:-} -buildvcs=false"

# Prints the Go files of the project, one a line.
go_files() {
  find . -name '*.go' -not -path '*/node_modules/*' -not -path './.cache/*'
}

# Installs the Debian packages of the commands that are missing, if we may: need COMMAND=PACKAGE…
need() {
  local missing=() pair
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair##*=}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing: ${missing[*]}; install them (Debian: apt-get install ${missing[*]})" >&2
    return 1
  fi
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
}

step_format() {
  local unformatted
  unformatted=$(go_files | xargs gofmt -l)
  if [ -n "$unformatted" ]; then
    printf 'not formatted, run gofmt -w on:\n%s\n' "$unformatted" >&2
    return 1
  fi
}

step_vet() {
  go vet ./...
}

# What is generated must be what the annotations say. It is compared with the files as they are, committed or not.
step_generate() {
  local before file
  need make=make
  before=$(mktemp -d)
  for file in openapi.yaml docs/docs.go docs/swagger.json docs/swagger.yaml; do cp "$file" "$before"; done
  make --silent generate
  for file in openapi.yaml docs/docs.go docs/swagger.json docs/swagger.yaml; do
    diff -u "$before/$(basename "$file")" "$file" || { echo "$file was not up to date; make generate has written it" >&2; return 1; }
  done
  rm -r "$before"
}

# golangci-lint has a module file of its own, so that what it needs never decides the versions that the program gets.
step_lint() {
  go build -modfile=.ci/tools.mod -o .cache/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
  .cache/golangci-lint run ./...
}

# Some tests ask a browser and Node for a second opinion. Those of relays and of whole processes measure loss and time, so nothing competes with them.
step_unit() {
  need chromium=chromium node=nodejs
  go list ./... | grep -vE '/(relay|cmd/rheomesh)$' | xargs go test -race -shuffle=on
  go test -race -shuffle=on -p 1 ./relay ./cmd/rheomesh
}

step_browser() {
  [ -f e2e/package.json ] || { echo 'no browser tests here'; return; }
  need chromium=chromium node=nodejs npm=npm
  (cd e2e && npm ci --no-audit --no-fund && npm test)
}

# Each target once, on its seeds and what mutation makes of them.
step_fuzz() {
  local file target
  go_files | xargs grep -lE '^func Fuzz' | sort | while read -r file; do
    grep -oE '^func Fuzz[A-Za-z0-9_]*' "$file" | sed 's/^func //' | while read -r target; do
      go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZ_SECONDS:-3}s" "$(dirname "$file")" </dev/null
    done
  done
}

steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(format vet generate lint unit browser fuzz)
for name in "${steps[@]}"; do
  declare -F "step_$name" >/dev/null || { echo "unknown step: $name" >&2; exit 2; }
done
trap '[ $? -eq 0 ] || echo "== $name failed" >&2' EXIT
for name in "${steps[@]}"; do
  echo "== $name"
  started=$SECONDS
  "step_$name" # not in a condition: there "set -e" would not count
  echo "== $name took $((SECONDS - started)) s"
done
echo '== all good'
