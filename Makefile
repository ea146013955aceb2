# Needs cargo and, for what is missing besides, either apt-get with root's rights or
# the packages that scripts/setup names.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

CARGO ?= cargo
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
export CARGO_TERM_PROGRESS_WHEN ?= never

PREFIX ?= /usr/local
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
SYSTEMDDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
DOCDIR ?= $(PREFIX)/share/doc/custodyd

FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
FUZZ_SECONDS ?= 60
SCRIPTS := scripts/setup scripts/demo scripts/kryoptic scripts/opencryptoki-token scripts/tpm2-token .ci/run $(wildcard softhsm-tests/src/machine/*.sh)

.PHONY: help
help: ## Show this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | \
	    while IFS=$$'\t' read -r target text; do printf '  make %-11s %s\n' "$$target" "$$text"; done

.PHONY: demo
demo: ## Watch the whole of it at work on a throw-away token (about a minute)
	@scripts/setup cargo cc softhsm openssl
	$(CARGO) build --quiet --locked --bin custodyd --bin custodyctl
	@scripts/demo "$(TARGET)/debug"

.PHONY: build
build: ## Build the release binaries
	@scripts/setup cargo cc
	$(CARGO) build --locked --release --bin custodyd --bin custodyctl

.PHONY: test
test: export CUSTODYD_SKIPPED := $(TARGET)/skipped-tests
test: ## Run every test, against a real token, database and sockets
	@scripts/setup cargo cc softhsm openssl curl nginx java nss sqlite setpriv python systemd dbus
	$(CARGO) build --locked --bin custodyd --bin custodyctl
	@rm -f "$(CUSTODYD_SKIPPED)"
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	    echo '$(CARGO) nextest run --locked --workspace'; \
	    $(CARGO) nextest run --locked --workspace; \
	else \
	    echo '$(CARGO) test --locked --workspace --lib --bins --tests'; \
	    $(CARGO) test --locked --workspace --lib --bins --tests; \
	fi
	$(CARGO) test --locked --workspace --doc
	@$(MAKE) --no-print-directory seeds
	@if [[ -s $(CUSTODYD_SKIPPED) ]]; then \
	    echo "$$(wc -l <"$(CUSTODYD_SKIPPED)") tests skipped:"; \
	    sort "$(CUSTODYD_SKIPPED)"; \
	else \
	    echo 'no test skipped'; \
	fi

# What the tests are about that run on other tokens: keys, wraps, faults and what is stored under
# them. The others do not care which token it is.
TOKEN_TESTS := boot_order certificates chaos compliance faulty_token finding_keys grants hsm_doctor hsm_enroll \
    import inventory journal_keys key_rotation labels metrics nss p1_in_hsm p2_write_only p4_inward p4_recorded \
    p5_untrusted_database p6_plaintext_hygiene p7_durable p8_recovering pairs references roles rotation \
    tls_context token_codes versions wrapped_keys
# Those that run on a TPM: all that are about the token that they are given.
TPM_TESTS := $(filter-out nss,$(TOKEN_TESTS))
# The same on openCryptoki, whose daemons are in namespaces of their own: for root alone.
OPENCRYPTOKI_TESTS := $(TPM_TESTS)

# These tests, on the token that the environment names.
run-on-token = if $(CARGO) nextest --version >/dev/null 2>&1; then run='nextest run'; else run=test; fi; \
	$(CARGO) $$run --locked -p softhsm-tests $(addprefix --test ,$(1))

# Which of them were skipped there, the next token's list being empty then.
say-skipped = if [[ -s $(CUSTODYD_SKIPPED) ]]; then \
	    echo "$$(wc -l <"$(CUSTODYD_SKIPPED)") tests skipped on $(1):"; \
	    sort "$(CUSTODYD_SKIPPED)"; \
	    rm "$(CUSTODYD_SKIPPED)"; \
	fi

SOAK_SECONDS ?= 3600

.PHONY: soak
soak: ## Have the token misbehave at random under load, for SOAK_SECONDS (an hour)
	@scripts/setup cargo cc softhsm openssl
	$(CARGO) build --locked --bin custodyd --bin custodyctl
	CUSTODYD_SOAK_SECONDS=$(SOAK_SECONDS) \
	    $(CARGO) test --locked -p softhsm-tests --test soak -- --ignored --nocapture

.PHONY: test-tokens
test-tokens: export CUSTODYD_SKIPPED := $(TARGET)/skipped-token-tests
test-tokens: ## Run the tests about tokens on Kryoptic, a TPM and openCryptoki, and live on the last two
	@scripts/setup cargo cc softhsm openssl curl java nss sqlite setpriv python kryoptic opencryptoki tpm2
	$(CARGO) build --locked --bin custodyd --bin custodyctl
	@rm -f "$(CUSTODYD_SKIPPED)"
	module=$$(scripts/kryoptic "$(TARGET)/tokens"); \
	export CUSTODYD_TEST_TOKEN=kryoptic TEST_PKCS11_MODULE="$$module"; \
	$(call run-on-token,$(TOKEN_TESTS))
	@$(call say-skipped,Kryoptic)
	export CUSTODYD_TEST_TOKEN=tpm2; $(call run-on-token,$(TPM_TESTS))
	@$(call say-skipped,a TPM)
	if [[ $$(id -u) -eq 0 ]]; then \
	    export CUSTODYD_TEST_TOKEN=opencryptoki; $(call run-on-token,$(OPENCRYPTOKI_TESTS)); \
	else \
	    echo 'openCryptoki: skipped, needs root'; \
	fi
	@$(call say-skipped,openCryptoki)
	scripts/tpm2-token "$(TARGET)/debug"
	scripts/opencryptoki-token "$(TARGET)/debug"

# Benches unwind whatever the profile says, and so must what is built beside them: the module
# that misbehaves would be built in both ways, into one file.
.PHONY: bench
bench: ## Measure: the token alone, an empty call, a fetch; fetches while the token is in trouble
	@scripts/setup cargo cc softhsm
	$(CARGO) build --locked --release --bin custodyd --bin custodyctl
	CARGO_PROFILE_RELEASE_PANIC=unwind $(CARGO) bench --locked -p softhsm-tests --bench fetch --bench recovery

.PHONY: bench-recovery
bench-recovery: ## Measure fetches while the token is in trouble, and how long until all is well: a minute
	@scripts/setup cargo cc softhsm
	$(CARGO) build --locked --release --bin custodyd --bin custodyctl
	CARGO_PROFILE_RELEASE_PANIC=unwind $(CARGO) bench --locked -p softhsm-tests --bench recovery

.PHONY: lint
lint: ## Check formatting, lints, documentation, licences, examples and scripts
	@scripts/setup cargo cc
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@built() { find "$(TARGET)/debug" -name '*.d' -exec sed -nE 's/^([^#].*\.rs):$$/\1/p' {} + | LC_ALL=C sort -u; }; \
	unbuilt=$$(comm -23 <(git ls-files '*.rs' ':!fuzz' | LC_ALL=C sort) <(built)); \
	[[ -z $$unbuilt ]] || { printf 'lint: in no build, so that nothing in it is tested:\n%s\n' "$$unbuilt" >&2; exit 1; }
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --locked --workspace --document-private-items --no-deps
	$(CARGO) build --quiet --locked --bin custodyd
	@for example in systemd/*.toml; do \
	    echo "custodyd check $$example"; \
	    "$(TARGET)/debug/custodyd" check "$$example"; \
	done
	@for script in $(SCRIPTS); do bash -n "$$script"; done
	@if command -v shellcheck >/dev/null; then shellcheck $(SCRIPTS); \
	    else echo 'shellcheck: skipped, not installed'; fi
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --locked check --hide-inclusion-graph; \
	    else echo 'cargo deny: skipped, not installed'; fi

# Without instrumentation, a target runs each file that it is given once.
.PHONY: seeds
seeds: ## Run each fuzz target over its seeds, for which no nightly toolchain is needed
	@scripts/setup cargo cc c++
	$(CARGO) build --locked --manifest-path fuzz/Cargo.toml --target-dir "$(TARGET)"
	@for target in $(FUZZ_TARGETS); do \
	    seeds=(fuzz/seeds/$$target/*); \
	    [[ -e $${seeds[0]} ]] || { echo "seeds: fuzz/seeds/$$target is missing" >&2; exit 1; }; \
	    "$(TARGET)/debug/$$target" "$${seeds[@]}" >"$(TARGET)/seeds.log" 2>&1 || { \
	        cat "$(TARGET)/seeds.log" >&2; exit 1; }; \
	    echo "seeds: $$target, $${#seeds[@]}"; \
	done

.PHONY: fuzz
fuzz: ## Fuzz each parser for FUZZ_SECONDS (needs a nightly toolchain and cargo-fuzz)
	@rustup run nightly cargo fuzz --version >/dev/null 2>&1 || { \
	    echo 'fuzz: needs "rustup toolchain install nightly" and "cargo install --locked cargo-fuzz"' >&2; \
	    exit 1; }
	@for target in $(FUZZ_TARGETS); do \
	    echo "fuzz $$target for $(FUZZ_SECONDS) s"; \
	    mkdir -p "fuzz/corpus/$$target"; \
	    $(CARGO) +nightly fuzz run "$$target" "fuzz/corpus/$$target" "fuzz/seeds/$$target" -- -max_total_time=$(FUZZ_SECONDS); \
	done

.PHONY: install
install: build ## Install under PREFIX (default /usr/local); DESTDIR for packagers
	install -d $(addprefix $(DESTDIR),$(BINDIR) $(MANDIR)/man1 $(SYSTEMDDIR) $(SYSUSERSDIR) $(TMPFILESDIR) $(DOCDIR)/examples $(DOCDIR)/tokens)
	install -m 0755 "$(TARGET)/release/custodyd" "$(TARGET)/release/custodyctl" "$(DESTDIR)$(BINDIR)/"
	for unit in systemd/*.service systemd/*.socket; do \
	    sed 's,/usr/bin/,$(BINDIR)/,g' "$$unit" | install -m 0644 /dev/stdin "$(DESTDIR)$(SYSTEMDDIR)/$${unit##*/}"; \
	done
	install -m 0644 systemd/custodyd.sysusers.conf "$(DESTDIR)$(SYSUSERSDIR)/custodyd.conf"
	install -m 0644 systemd/custodyd.tmpfiles.conf "$(DESTDIR)$(TMPFILESDIR)/custodyd.conf"
	install -m 0644 systemd/custodyd.toml "$(DESTDIR)$(DOCDIR)/custodyd.toml"
	for example in systemd/examples/*; do \
	    sed 's,/usr/bin/custody,$(BINDIR)/custody,g' "$$example" | install -m 0644 /dev/stdin "$(DESTDIR)$(DOCDIR)/examples/$${example##*/}"; \
	done
	install -m 0644 README.md CHANGELOG.md SECURITY.md LICENSE docs/*.md "$(DESTDIR)$(DOCDIR)/"
	install -m 0644 docs/tokens/*.md "$(DESTDIR)$(DOCDIR)/tokens/"
	for shell in bash:bash-completion/completions/custodyctl zsh:zsh/site-functions/_custodyctl fish:fish/vendor_completions.d/custodyctl.fish; do \
	    file="$(DESTDIR)$(PREFIX)/share/$${shell#*:}"; \
	    install -d "$${file%/*}"; \
	    "$(TARGET)/release/custodyctl" completions "$${shell%%:*}" | install -m 0644 /dev/stdin "$$file"; \
	done
	"$(TARGET)/release/custodyctl" man "$(DESTDIR)$(MANDIR)/man1"
	"$(TARGET)/release/custodyd" man "$(DESTDIR)$(MANDIR)/man1"

.PHONY: clean
clean: ## Remove what was built
	$(CARGO) clean
