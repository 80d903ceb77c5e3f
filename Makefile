# Every target is a short form of a command that also works by itself.

VERSION ?= devel
BIN     := bin/rheomesh

.DEFAULT_GOAL := help
.PHONY: help build generate test lint fuzz e2e ci image clean

help: ## show this list
	@grep -E '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "%-9s %s\n", $$1, $$2 }'

build: ## build the static binary bin/rheomesh
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o $(BIN) ./cmd/rheomesh

generate: ## write docs/ and openapi.yaml from the annotations beside the handlers
	go tool swag init --quiet --generalInfo openapi.go --dir api,whip,sfu --output docs --outputTypes go,json,yaml --requiredByDefault --generatedTime=false
	go run ./internal/tools/openapi docs/swagger.json openapi.yaml

test: ## run the Go tests under the race detector
	go test -race -shuffle=on ./...

lint: ## gofmt, go vet, golangci-lint
	./scripts/test.sh format vet lint

fuzz: ## fuzz every target for a few seconds (FUZZ_SECONDS=3)
	./scripts/test.sh fuzz

e2e: ## drive the page with a real browser
	./scripts/test.sh browser

ci: ## everything that a change must pass
	./scripts/test.sh

image: ## build the container image rheomesh:$(VERSION)
	docker build --build-arg VERSION=$(VERSION) -t rheomesh:$(VERSION) .

clean: ## remove what the other targets made
	rm -rf bin .cache rheomesh e2e/node_modules e2e/test-results
