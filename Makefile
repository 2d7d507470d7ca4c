# make demo   set up and run the gateway on SQLite with demo data
# make test   set up and run every test, PostgreSQL and browser included
# make test-nightly  run what is exhaustive: 20,000 operations, 20 kills, a minute of idle streams, sanitizers
# make test-pooled  run the tests on PostgreSQL through PgBouncer
# make test-replica  run the gateway's tests with a hot standby that answers all their queries
# make test-image  build the container image on a base of Debian's packages and run its programs, as root
# make failover  kill and cut off the primary of a cluster under load: make failover FAILOVER_KILLS=20 FAILOVER_PARTITIONS=10
# make chaos  break databases, gateways and workers under load for half an hour: make chaos CHAOS_MINUTES=10
# make coverage  print the lines and branches of access, ledger, resolvers and schema that tests do not reach
# make mutation  change ledger and cursors in small ways and list what no test notices: make mutation MUTANTS='ledger.money*'
# make check  lint, format and types of every language, import contracts, links of the documentation, its site
# make clients  generate and compile the clients for TypeScript and Python; make client-packages packs them
# make docs  build the documentation site in site/, with the API reference and llms.txt
# make bench  measure side by side with peers: make bench BENCH='--quick'
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
# Processes that run tests side by side; 0 runs them one after the other. Tests wait for two fifths of their time, so
# that three keep two cores busy.
TESTERS ?= 3

# Other load on the machine fails a test that waits for real processes now and then. Those that failed run once more, one
# after the other; both results are printed. One that passes only then is a defect, too: CONTRIBUTING.md says more.
OR_FAILED_ALONE = || { [ $$? -eq 1 ] && $(BIN)/pytest --last-failed --last-failed-no-failures none -m "$(1)"; }

# Compiled files are kept, whatever the environment says: the tests start the command line a few hundred times.
unexport PYTHONDONTWRITEBYTECODE

HEADERS := import sysconfig; print(sysconfig.get_path("include"))

.PHONY: failover test-image docs chaos clients client-packages coverage mutation release-sdl test-nightly test-pooled test-replica bench-subscriptions screenshots demo test check format bench bench-growth bench-hour-totals bench-workers bench-posting bench-shards bench-archive bench-console sdl clean system-packages whole-browser pages

demo: $(VENV)/.installed pages
	$(BIN)/billing-gateway demo --port $(PORT)

test: system-packages $(VENV)/.installed-dev pages clients
	$(BIN)/pytest -n $(TESTERS) --no-loadscope-reorder -m "not alone" --durations=25 $(call OR_FAILED_ALONE,not alone)
	$(BIN)/pytest -m alone $$(git grep -l 'pytest.mark.alone' tests || echo tests) $(call OR_FAILED_ALONE,alone)

# Processes that tests start reach their database themselves; SQLite has no pooler.
test-pooled: export TESTS_THROUGH_POOLER = 1
test-pooled: system-packages $(VENV)/.installed-dev pages clients
	sh .ci/system-packages pgbouncer
	$(BIN)/pytest -n $(TESTERS) --no-loadscope-reorder -m "not alone" -k "not sqlite" tests/access tests/db tests/ledger \
	  tests/resolvers tests/schema tests/gateway $(call OR_FAILED_ALONE,not alone)

# All queries of the tests' gateways are answered by a hot standby.
test-replica: export TESTS_FROM_REPLICA = 1
test-replica: system-packages $(VENV)/.installed-dev pages clients
	$(BIN)/pytest -n $(TESTERS) --no-loadscope-reorder -m "not alone" -k "not sqlite" tests/gateway \
	  $(call OR_FAILED_ALONE,not alone)

# Each test below runs in `make test`, too, with the smaller number that is its default.
test-nightly: export DIFFERENTIAL_STORIES = 20
test-nightly: export DIFFERENTIAL_STEPS = 300
test-nightly: export EQUIVALENCE_OPERATIONS = 20000
test-nightly: export NIGHTLY = 1
test-nightly: export SANITIZED_OPERATIONS = 2000
test-nightly: export POSTING_KILLS = 20
test-nightly: export ARCHIVE_KILLS = 40
test-nightly: export STREAM_KILLS = 20
test-nightly: export LIMIT_CALLS = 10000
test-nightly: export LIMIT_STORIES = 200
test-nightly: export STREAM_IDLE_SECONDS = 60
test-nightly: export PRODUCERS_MODEL_EXAMPLES = 20
test-nightly: export PAGE_COST_ROWS = 1000000
test-nightly: export VERIFY_CORRUPTIONS = 30
test-nightly: export FEDERATION_ROUTERS = 1
test-nightly: export REPLICA_OPERATIONS = 10000
test-nightly: export MIGRATED_ROWS = 1000000
test-nightly: export CHART_RENDERED = 1
test-nightly: export BACKUP_DRILLS = 1
test-nightly: export TEST_BROWSER = chromium
test-nightly: export TESTS_FORK = 0
test-nightly: system-packages whole-browser $(VENV)/.installed-dev pages
	$(BIN)/pytest --durations=25 tests/execution/test_equivalence.py tests/execution/test_sanitizers.py \
	  tests/ledger/test_kill.py tests/ledger/test_archive_kill.py tests/ledger/test_producers_model.py \
	  tests/db/test_page_costs.py \
	  tests/gateway/streams/clients/test_failures.py tests/ledger/verification/test_corruptions.py \
	  tests/gateway/mutations/test_limits_hold.py tests/ledger/test_limits_model.py \
	  tests/gateway/differential/test_both_databases.py tests/gateway/test_federation.py \
	  tests/gateway/test_replicas.py tests/deploy/test_chart.py tests/deploy/test_backup.py tests/console \
	  tests/ledger/stripe/test_recharge_stories.py tests/db/test_migrating_in_use.py \
	  tests/gateway/test_commands.py tests/gateway/test_worker.py tests/gateway/test_graphiql_examples.py \
	  tests/gateway/test_readme.py tests/gateway/test_client_programs.py tests/gateway/test_demo_story.py \
	  tests/gateway/test_import_usage.py tests/gateway/streams/clients/test_examples.py \
	  tests/ledger/verification/test_running.py tests/test_import_contracts.py
	$(BIN)/pytest -m one_database tests/gateway
	$(BIN)/pytest -m hypothesis tests/gateway tests/ledger tests/resolvers
	$(BIN)/pytest -m alone tests/gateway/streams/test_idle.py

# Bounded by FAILOVER_SECONDS; READ_OPERATIONS is the number of reads and writes that clients do at least.
failover: $(VENV)/.installed-failover
	sh .ci/system-packages etcd-server:etcd haproxy pgbouncer iproute2:ip
	$(BIN)/python -m tests.failover

test-image: export IMAGE_BUILT = 1
test-image: $(VENV)/.installed-dev
	@[ "$$(id -u)" -eq 0 ] || { echo "make test-image needs root: it mounts the image"; exit 1; }
	sh .ci/system-packages buildah mmdebstrap
	$(BIN)/pytest tests/deploy/test_built_image.py

chaos: $(VENV)/.installed-dev clients
	PYTHONPATH=clients/python $(BIN)/python -m tests.chaos

# Nothing is counted in processes of their own: tests of browsers and of the README are left out. Those marked `alone`
# measure the process, which coverage changes.
coverage: export NIGHTLY = 1
coverage: system-packages $(VENV)/.installed-dev pages
	$(BIN)/pytest -n $(TESTERS) --no-loadscope-reorder -m "not alone" --cov --cov-report=term --cov-report=html \
	  tests/access tests/ledger tests/resolvers tests/schema tests/gateway --ignore=tests/gateway/streams/clients \
	  --ignore=tests/gateway/test_graphiql_browser.py --ignore=tests/gateway/test_readme.py

mutation: export NIGHTLY = 1
mutation: $(VENV)/.installed-mutation
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m mutmut run $(MUTANTS)
	$(BIN)/python -m mutmut results | grep -v 'not checked'

check: $(VENV)/.installed-dev clients docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(CC) -Wall -Wextra -Werror -O2 -fPIC -isystem "$$($(BIN)/python -c '$(HEADERS)')" -c execution/serializer.c -o /dev/null
	$(BIN)/shellcheck $$(git grep -lE '^#!/.*sh$$')
	$(BIN)/hadolint deploy/Dockerfile
	$(BIN)/python console/check.py

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-bench
	sh .ci/system-packages wrk
	$(BIN)/python -m benchmarks $(BENCH)
	$(BIN)/python -m benchmarks.unseen $(filter --write-docs,$(BENCH))

bench-growth: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks.growth $(BENCH)

bench-hour-totals: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks.hour_totals $(BENCH)

bench-workers: $(VENV)/.installed-bench
	sh .ci/system-packages wrk
	$(BIN)/python -m benchmarks.workers $(BENCH)

bench-posting: $(VENV)/.installed-bench
	sh .ci/system-packages wrk
	$(BIN)/python -m benchmarks.posting $(BENCH)

bench-shards: $(VENV)/.installed-bench
	sh .ci/system-packages wrk
	$(BIN)/python -m benchmarks.shards $(BENCH)

bench-archive: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks.archive $(BENCH)

bench-console: whole-browser $(VENV)/.installed-bench pages
	$(BIN)/python -m benchmarks.console $(BENCH)

bench-subscriptions: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks.subscriptions $(BENCH)

sdl: $(VENV)/.installed
	$(BIN)/python -c "from schema.build import sdl; print(sdl(), end='')" > graphql/schema.graphql

# Keeps the SDL of the version in pyproject.toml: later changes are compared with it.
release-sdl:
	cp graphql/schema.graphql "graphql/releases/$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml).graphql"

pages: $(VENV)/.installed
	$(BIN)/python console/build.py

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clients: $(VENV)/.installed
	$(BIN)/python -m clients.build

client-packages: $(VENV)/.installed
	$(BIN)/python -m clients.build packages

screenshots: whole-browser $(VENV)/.installed-dev pages
	$(BIN)/python console/screenshots.py

system-packages:
	sh .ci/system-packages chromium-headless-shell curl jq fonts-ipafont-gothic:/usr/share/fonts/opentype/ipafont-gothic

whole-browser:
	sh .ci/system-packages chromium

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

SOURCES := pyproject.toml constraints.txt hatch_build.py execution/serializer.c
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

$(VENV)/.installed: $(VENV)/bin/python $(SOURCES)
	$(INSTALL) -e .
	touch $@

# Each has what the one before it has: one installation is enough.
$(VENV)/.installed-dev: $(VENV)/bin/python $(SOURCES)
	$(INSTALL) -e '.[dev]'
	touch $(VENV)/.installed $@

$(VENV)/.installed-bench: $(VENV)/bin/python $(SOURCES)
	$(INSTALL) -e '.[dev,bench]'
	touch $(VENV)/.installed $(VENV)/.installed-dev $@

$(VENV)/.installed-failover: $(VENV)/bin/python $(SOURCES)
	$(INSTALL) -e '.[dev,failover]'
	touch $(VENV)/.installed $(VENV)/.installed-dev $@

$(VENV)/.installed-mutation: $(VENV)/bin/python $(SOURCES)
	$(INSTALL) -e '.[dev,mutation]'
	touch $(VENV)/.installed $(VENV)/.installed-dev $@

$(VENV)/.installed-docs: $(VENV)/bin/python $(SOURCES)
	$(INSTALL) -e '.[docs]'
	touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) site mutants htmlcov .coverage execution/_serializer*.so demo-data gateway/static console/graphiql/node_modules \
	  console/billing/node_modules console/billing/generated clients/dist clients/typescript/node_modules \
	  clients/typescript/dist clients/typescript/src/generated clients/python/billing_gateway_client/operations.py \
	  .ci/linters/node_modules benchmarks/peers/postgraphile/node_modules docs/examples/node_modules .mypy_cache .ruff_cache .pytest_cache
