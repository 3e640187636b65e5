# Every target installs what it needs from Debian and the package registries;
# Go is all that must be there. The linter has a module file of its own.

GO       ?= go
FUZZTIME ?= 30s
ARGS     ?=
PAGE      = nissa/internal/page
LINT      = $(GO) tool -modfile=tools/lint.mod golangci-lint
# Packages that start goroutines watch for leaks; those run under the race detector.
RACE      = $(sort $(dir $(shell grep -rl --include='*_test.go' --exclude-dir=node_modules --exclude-dir=bench 'goleak\.VerifyTestMain.m' ./*/)))

VERSION   = $(shell git describe --tags --always --dirty 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help demo run build portable test race e2e load bench bench-smoke chaos fuzz check lint fmt fmt-check gen verify verify-proto tidy-check baseline clean

help: ## show this help
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: ## grow a small network through the whole system (ARGS="--json --seed 1")
	@$(GO) build -o bin/esperctl ./cmd/esperctl
	@bin/esperctl demo $(ARGS)

run: ## start the foundation service (settings from the environment and .env)
	@$(GO) build -o bin/esper-weatherlight-service ./cmd/esper-weatherlight-service
	@bin/esper-weatherlight-service $(ARGS)

build: ## build the commands into bin/
	$(GO) build -ldflags "-X github.com/esper-lite/weatherlight/internal/version.described=$(VERSION)" -o bin/ ./cmd/...

portable: ## fail when something does not build for macOS, where nothing was run
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...

test: ## run every test (installs what it needs from Debian)
	@tools/test.sh

race: ## run the tests of what is concurrent under the race detector
	@tools/ensure.sh redis-server python3 gcc /usr/include/stdlib.h /usr/lib/postgresql/15/bin/postgres minisign \
	  promtool prometheus-alertmanager
	CGO_ENABLED=1 $(GO) test -race -count=1 $(RACE)

bench: $(PAGE)/node_modules/.package-lock.json ## measure ours beside its peers in one run (bench/results.json; ARGS="-quick")
	@tools/ensure.sh redis-server chromium /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
	cd bench && $(GO) run . -o results.json $(ARGS)

bench-smoke: $(PAGE)/node_modules/.package-lock.json ## run each benchmark once, to see that it works
	@tools/ensure.sh redis-server chromium /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf /usr/lib/postgresql/15/bin/postgres
	$(GO) test -run '^$$' -bench . -benchtime=1x ./...
	cd bench && $(GO) run . -quick -o /dev/null

chaos: ## kill, cut, restart and forge at full size (ARGS="-seed 2"; -update writes the table of docs/delivery.md)
	@tools/ensure.sh redis-server gcc /usr/include/stdlib.h /usr/lib/postgresql/15/bin/postgres
	$(GO) test -c -o bin/chaos.test ./internal/chaos
	@cd internal/chaos && ../../bin/chaos.test -test.v -test.timeout 60m \
		-messages 200000 -kills 100 -restarts 20 -hostile 1000000 -faults all -matrix all $(ARGS)

load: ## a load of 1,000 runs on a Redis Cluster, PostgreSQL and an S3-compatible store (ARGS="-load.runs 200")
	@tools/ensure.sh redis-server /usr/lib/postgresql/15/bin/postgres
	$(GO) test -count=1 -timeout 30m -v ./internal/e2e -run TestGrowthOnAClusterWithPostgresAndS3 \
		-load.runs 1000 -load.interval 2s -load.for 90s $(ARGS)

e2e: $(PAGE)/node_modules/.package-lock.json ## drive the built commands from outside, with a real Redis
	@tools/ensure.sh redis-server gcc /usr/include/stdlib.h python3 /usr/bin/python3 python:google.protobuf \
	  protoc /usr/include/google/protobuf/struct.proto /usr/lib/postgresql/15/bin/postgres \
	  prometheus prometheus-alertmanager tmux chromium /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
	@$(GO) test -count=1 -v ./internal/e2e | tools/result.sh e2e

.PHONY: dashboards
dashboards: ## ask a Prometheus that scrapes a run for all that the dashboards of Grafana show
	@tools/ensure.sh redis-server prometheus prometheus-alertmanager /usr/bin/python3 python:google.protobuf \
	  protoc /usr/include/google/protobuf/struct.proto
	@$(GO) test -count=1 -v -run '^TestDashboards' ./internal/e2e | tools/result.sh dashboards

.PHONY: tui
tui: ## drive esperctl top in a terminal of tmux's, beside dev mode and services that go away
	@tools/ensure.sh redis-server tmux
	@$(GO) test -count=1 -v -run '^TestTopOnATerminal$$' ./internal/e2e | tools/result.sh tui

.PHONY: drill
drill: ## raise and clear every alert rule, on a bus of its own (ARGS="--rules FILE")
	@$(GO) run ./cmd/esperctl drill $(ARGS)

fuzz: ## fuzz each target for FUZZTIME (30s, or a number of inputs: 20000x)
	@tools/fuzz.sh $(FUZZTIME)

check: fmt-check ## what a commit should pass, in less than a minute
	$(GO) vet ./...
	$(LINT) run --new-from-rev=HEAD
	$(GO) test ./internal/archtest ./kasmina/... ./kernel ./leyline ./settings ./signing ./tamiyo ./telemetry ./trainer

lint: ## run the linter
	$(LINT) run
	cd bench && $(GO) tool -modfile=../tools/lint.mod golangci-lint run

fmt: ## format the sources
	gofmt -w $$(git ls-files '*.go')

fmt-check: ## fail when a source is not formatted
	@files="$$(gofmt -l $$(git ls-files '*.go'))"; \
	if [ -n "$$files" ]; then echo "not formatted (make fmt):"; echo "$$files"; exit 1; fi

gen: node_modules/.bin/buf $(PAGE)/node_modules/.package-lock.json ## generate the code of the protobuf contracts, and build Nissa's page
	node_modules/.bin/buf generate
	@tools/gen-python.sh
	$(PAGE)/build.sh

verify: verify-proto verify-page tidy-check ## fail when generated code, contract or modules are not as they must be

verify-proto: node_modules/.bin/buf
	node_modules/.bin/buf lint
	node_modules/.bin/buf breaking --against proto/baseline.binpb
	@tools/verify-generated.sh

verify-page: $(PAGE)/node_modules/.package-lock.json
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(PAGE)/build.sh "$$fresh" && \
	diff -r "$$fresh" $(PAGE)/dist || { echo "$(PAGE)/dist is not what its sources build (make gen)" >&2; exit 1; }

tidy-check: ## fail when go.mod or go.sum is not tidy
	$(GO) mod verify
	$(GO) mod tidy -diff
	cd bench && $(GO) mod tidy -diff

baseline: node_modules/.bin/buf ## accept the Leyline contract as it is as the baseline of later changes
	node_modules/.bin/buf build --path proto/esper --exclude-source-info -o proto/baseline.binpb

# npm ci would want every platform of buf in the lock file; not all of them can be had everywhere.
node_modules/.bin/buf: package.json package-lock.json
	@tools/ensure.sh node npm
	npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: sim
sim: ## simulate days of faults and restarts, and runs that grow (ARGS="-seeds 10000 -hours 24 -seed 1")
	$(GO) test -c -o bin/sim.test ./internal/simtest
	$(GO) test -c -o bin/simruns.test ./weatherlight/internal/runsimtest
	@tools/sim.sh $(ARGS)

.PHONY: python python-current
python: ## what the Python package must pass, with Debian's PyTorch
	@tools/python.sh debian $(ARGS)

python-current: ## its tests with the PyTorch that PyPI has now (gigabytes)
	@tools/python.sh current $(ARGS)

.PHONY: growth
growth: ## what growing is worth, at equal compute: 160 runs (docs/growth.md; ARGS="--workers 1")
	@tools/growth.sh $(ARGS)

.PHONY: kills
kills: ## kill the kernel library and the forge at random, 300 times (ARGS="-seed 2")
	@tools/ensure.sh /usr/lib/postgresql/15/bin/postgres
	@$(GO) test -count=1 -v -timeout 60m -run '^(TestRandomKills|TestKilledForge.*)$$' ./urza ./tezzeret/forge -args -kills 100 $(ARGS)

.PHONY: oracle oracle-check
oracle: internal/oracle/node_modules/.package-lock.json ## compare every kernel with ONNX Runtime (writes docs/oracle.md)
	@status=0; $(GO) test -tags oracle -count=1 ./internal/oracle -report $(CURDIR)/docs/oracle.md || status=$$?; \
	tail -n 1 docs/oracle.md; exit $$status

oracle-check: internal/oracle/node_modules/.package-lock.json ## the same, without writing the table
	$(GO) test -tags oracle -count=1 ./internal/oracle

# Without its scripts: they would fetch libraries for graphics cards.
internal/oracle/node_modules/.package-lock.json: internal/oracle/package.json internal/oracle/package-lock.json
	@tools/ensure.sh node npm
	cd internal/oracle && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: browser verify-page
browser: $(PAGE)/node_modules/.package-lock.json ## drive Nissa's page in Chromium (ARGS="--pictures docs/operations/pictures" draws those of the docs)
	@tools/ensure.sh redis-server chromium /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
	$(GO) build -o bin/ ./cmd/esper-nissa-service ./cmd/esperctl
	@node $(PAGE)/browser/run.mjs $(ARGS)

$(PAGE)/node_modules/.package-lock.json: $(PAGE)/package.json $(PAGE)/package-lock.json
	@tools/ensure.sh node npm
	cd $(PAGE) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: docs
docs: ## build the documentation as a site (var/docs/site), follow its links, run the tutorial
	@tools/docs.sh

.PHONY: release release-check
release: ## what a release of HEAD has, built twice and tried (dist/; as root)
	@tools/release.sh

release-check: ## the same for linux/amd64 alone (bin/release/)
	@tools/release.sh --platforms linux/amd64 bin/release

clean: ## remove what was built
	rm -rf bin dist node_modules internal/oracle/node_modules $(PAGE)/node_modules var/docs var/python python/dist
