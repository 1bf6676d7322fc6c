# PeerVault. One Makefile, no recursion into folders; each variant builds in build/<variant>/.
#
#   make            bin/peervault                 make test   everything CI runs
#   make demo       a three-node cluster here     make help   the other targets

VARIANT ?= release
B       := build/$(VARIANT)
PREFIX  ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0

# ---- compiler ------------------------------------------------------------------------------------
CC      ?= cc
PKGS    := libuv libcrypto libxxhash sqlite3 jansson inih libseccomp libedit
PKG_CONFIG ?= pkg-config

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
        -Wmissing-prototypes -Wswitch-enum -Wvla -Wformat=2 -Wundef -Wcast-qual -Wwrite-strings
ifdef CI
WARN += -Werror
endif

HARDEN  := -fstack-protector-strong -fPIE -fno-plt
LDHARD  := -pie -Wl,-z,relro,-z,now,-z,noexecstack
# Instruments open files and trace the process: it is not confined then (internal/confine/).
INSTRUMENTED := -DPV_INSTRUMENTED
SAN_asan  := -fsanitize=address,undefined -fno-sanitize-recover=all -DPV_DEBUG_MEMORY
MARKS     := -DPV_MARKS # internal/base/sometimes.h
SAN_tsan  := -fsanitize=thread
OPT_release  := -O2 -g -D_FORTIFY_SOURCE=2
OPT_asan     := -O1 -g -fno-omit-frame-pointer $(INSTRUMENTED) $(SAN_asan) $(MARKS)
OPT_sim      := -O2 -g $(MARKS)
OPT_clang    := -O2 -g $(MARKS)
OPT_tsan     := -O1 -g $(INSTRUMENTED) $(SAN_tsan)
OPT_valgrind := -O1 -g $(INSTRUMENTED)
# gcc 12 takes a structure that a function returns for uninitialised; valgrind and clang look at that.
OPT_analyze  := -O1 -fanalyzer -Wno-analyzer-use-of-uninitialized-value
OPT_coverage := -O0 -g $(INSTRUMENTED) --coverage
OPT_fuzz     := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link $(INSTRUMENTED) $(SAN_asan) \
                -Wno-missing-field-initializers
LD_asan      := $(SAN_asan)
LD_tsan      := $(SAN_tsan)
LD_coverage  := --coverage
LD_fuzz      := $(SAN_asan)
CFLAGS  ?=
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell $(PKG_CONFIG) --libs $(PKGS) 2>/dev/null)
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -DPV_VERSION='"$(VERSION)"' -I. $(WARN) $(HARDEN) \
             $(OPT_$(VARIANT)) $(PKG_CFLAGS) $(CFLAGS)
ALL_LDFLAGS = $(LDHARD) $(LD_$(VARIANT)) $(LDFLAGS)
LIBS    = $(PKG_LIBS) -lpthread
BANNED  := -include internal/base/banned.h
ifneq ($(filter $(VARIANT),fuzz clang),) # libFuzzer is clang's; it takes banned.h for a mistake
CC      := clang
BANNED  :=
endif

ifndef V
Q := @
say = @printf '  %-7s %s\n' $(1) $(2)
endif

# ---- what is built -------------------------------------------------------------------------------
# One static library a layer, linked in layer order.
SRC_base      := $(wildcard internal/base/*.c)
SRC_crypto    := $(wildcard crypto/*.c)
SRC_storage   := $(wildcard storage/*.c)
SRC_transport := $(wildcard transport/*.c)
SRC_internal  := $(wildcard internal/*.c internal/node/*.c internal/file/*.c internal/upkeep/*.c \
                            internal/cluster/*.c internal/confine/*.c internal/server/*.c)
SRC_cmd       := $(wildcard cmd/peervault/*.c)
LAYERS        := internal transport storage crypto base

obj = $(patsubst %.c,$(B)/%.o,$(1))
libs_from = $(patsubst %,$(B)/lib%.a,$(1))

BIN := $(B)/peervault

.PHONY: all help deps demo test unit integration asan tsan lint check-layers check-headers \
        check-gates check-format check-budgets coverage bench bench-values million install clean \
        fault hostile \
        netsweep valgrind analyze
.PHONY: docker-secrets docker-demo docker-test
all: bin/peervault

bin/peervault: build/release/peervault
	@mkdir -p $(@D)
	$(Q)cp -f $< $@

ifneq ($(VARIANT),release)
.PHONY: build/release/peervault
build/release/peervault:
	$(Q)$(MAKE) --no-print-directory VARIANT=release build/release/peervault
endif

$(BIN): $(call obj,$(SRC_cmd)) $(call libs_from,$(LAYERS))
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

define layer_lib
$(B)/lib$(1).a: $(call obj,$(SRC_$(1)))
	$$(call say,AR,$$@)
	@mkdir -p $$(@D)
	$(Q)rm -f $$@ && ar rcsD $$@ $$^
endef
$(foreach l,$(LAYERS),$(eval $(call layer_lib,$(l))))

$(B)/internal/base/mem.o: BANNED :=
$(B)/tests/%.o: BANNED :=
$(B)/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(BANNED) -MMD -MP -c -o $@ $<

-include $(shell find $(B) -name '*.d' 2>/dev/null)

# ---- unit tests: one program a layer -------------------------------------------------------------
# Criterion runs them; where a tool watches every access, a plain runner with the same words does.
UNIT_LAYERS := base crypto storage transport internal cmd
below_base      := base
below_crypto    := crypto base
below_storage   := storage crypto base
below_transport := transport crypto base
below_internal  := $(LAYERS)
below_cmd       := $(LAYERS)
# What tests do themselves takes little time; to have them optimised took most of the compiler's.
$(B)/tests/unit/%.o: ALL_CFLAGS += -O0 -U_FORTIFY_SOURCE
SUPPORT := $(wildcard tests/support/*.c)
SUPPORT_storage  := $(wildcard tests/support/storage/*.c) # these need the layer itself
SUPPORT_internal := $(wildcard tests/support/node/*.c)
ifneq ($(filter $(VARIANT),asan tsan valgrind),)
PLAIN := tests/support/plain
$(B)/tests/unit/%.o: ALL_CFLAGS += -isystem $(PLAIN)
$(call obj,$(wildcard tests/unit/*.c)): $(PLAIN)/criterion/criterion.h # not in .d files: a system's
RUNNER := $(call obj,$(PLAIN)/runner.c)
else
RUNNER := $(shell $(PKG_CONFIG) --libs criterion 2>/dev/null || echo -lcriterion)
endif

define unit_bin
UNIT_$(1) := $(wildcard tests/unit/$(1)_*_test.c)
$(B)/tests/unit_$(1): $$(call obj,$$(UNIT_$(1)) $(SUPPORT) $(SUPPORT_$(1))) \
    $$(filter %.o,$(RUNNER)) $$(call libs_from,$$(below_$(1))) \
    $$(if $$(filter cmd,$(1)),$$(filter-out %/main.o,$$(call obj,$(SRC_cmd))))
	$$(call say,LD,$$@)
	@mkdir -p $$(@D)
	$(Q)$(CC) $$(ALL_LDFLAGS) -o $$@ $$(filter %.o,$$^) $$(filter %.a,$$^) $$(filter -%,$(RUNNER)) $$(LIBS)
.PHONY: unit-$(1)
unit-$(1): $(B)/tests/unit_$(1)
	$(Q)tests/run-unit $(VARIANT) $$< $$(if $$(FILTER),--filter '$$(FILTER)')
endef
$(foreach l,$(UNIT_LAYERS),$(eval $(call unit_bin,$(l))))
UNIT_PRESENT := $(foreach l,$(UNIT_LAYERS),$(if $(wildcard tests/unit/$(l)_*_test.c),unit-$(l)))

unit: $(UNIT_PRESENT)

# Long doses of what the unit tests try a little of; SEED=n repeats a run.
$(B)/tests/fault_storage: $(call obj,tests/fault/storage.c $(SUPPORT) $(SUPPORT_storage)) \
    $(call libs_from,$(below_storage))
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

fault: $(B)/tests/fault_storage $(BIN)
	$(Q)$< $(SEED)
	$(Q)tests/fault/crash $(addprefix --seed ,$(SEED)) $(BIN)
	$(Q)tests/fault/rot $(VARIANT) $(BIN) $(SEED)
	$(Q)LONG=1 tests/run-integration $(VARIANT) $(BIN) memory.

# Whole clusters in virtual time, one seed each; tests/sim/README.md says how.
$(B)/pvsim: $(call obj,$(wildcard tests/sim/*.c) $(SUPPORT)) $(call libs_from,$(LAYERS))
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# A little of it is in `make test`; here for long: SEEDS=A..B, or TIME=30m of random
# ones; DEEP=1: all orders of three operations, not two.
.PHONY: sim sim-smoke
sim:
	$(Q)$(MAKE) --no-print-directory VARIANT=sim build/sim/pvsim
	$(Q)build/sim/pvsim --regress tests/sim/regress
	$(Q)build/sim/pvsim --exhaustive ops=$(if $(DEEP),3,2),nodes=2
	$(Q)build/sim/pvsim $(if $(SEEDS),--seeds $(SEEDS),--random --time $(if $(filter-out 60,$(TIME)),$(TIME),10m)) --twice 20 --all-marks

sim-smoke:
	$(Q)$(MAKE) --no-print-directory VARIANT=asan build/asan/pvsim
	$(Q)build/asan/pvsim --regress tests/sim/regress
	$(Q)build/asan/pvsim --seeds 1..1000 --time 120s --twice 10

# A daemon that many besiege, with figures; and one that runs for long: MINUTES=n.
MINUTES ?= 30
.PHONY: siege soak
siege: all
	$(Q)tests/fault/siege bin/peervault

soak: all
	$(Q)tests/fault/soak --minutes $(MINUTES) bin/peervault

# Inputs that strangers may send: looked for by libFuzzer, and replayed by a plain main with any
# compiler; tests/fuzz/fuzz.h says how.
FUZZ_PARTS   := tests/fuzz/fuzz.c tests/fuzz/replay.c tests/fuzz/seeds.c
FUZZ_TARGETS := $(patsubst tests/fuzz/%.c,%,$(filter-out $(FUZZ_PARTS),$(wildcard tests/fuzz/*.c)))
FUZZ_MAIN := $(if $(filter fuzz,$(VARIANT)),-fsanitize=fuzzer,$(B)/tests/fuzz/replay.o)
FUZZ_OBJ  := $(call obj,tests/fuzz/fuzz.c $(SUPPORT) $(SUPPORT_storage) $(SUPPORT_internal))
$(B)/tests/fuzz/%.o: ALL_CFLAGS += -isystem tests/support/plain
.SECONDARY: $(call obj,$(wildcard tests/fuzz/*.c))
$(B)/tests/fuzz_%: $(B)/tests/fuzz/%.o $(FUZZ_OBJ) $(filter %.o,$(FUZZ_MAIN)) \
    $(call libs_from,$(LAYERS))
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(filter -%,$(FUZZ_MAIN)) $(LIBS)

$(B)/tests/fuzz_args: $(call obj,cmd/peervault/args.c)

.PHONY: fuzz fuzz-replay fuzz-seeds fuzz-smoke
fuzz-replay: $(patsubst %,$(B)/tests/fuzz_%,$(FUZZ_TARGETS))
	$(Q)tests/fuzz/run replay $(B) $(FUZZ_TARGETS)

fuzz-smoke:
	$(Q)$(MAKE) --no-print-directory VARIANT=asan fuzz-replay

# TARGET=name, or all of them; new inputs go to build/fuzz/corpus, findings to build/fuzz/findings.
TIME   ?= 60
TARGET ?= $(FUZZ_TARGETS)
fuzz:
	$(Q)packaging/deps fuzz
	$(Q)$(MAKE) --no-print-directory VARIANT=fuzz $(patsubst %,build/fuzz/tests/fuzz_%,$(TARGET))
	$(Q)tests/fuzz/run fuzz build/fuzz $(TIME) $(TARGET)

# The corpora's first inputs, from the test vectors and our own encoders.
$(B)/tests/fuzz_seeds: $(call obj,tests/fuzz/seeds.c) $(FUZZ_OBJ) $(call libs_from,$(LAYERS))
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

fuzz-seeds: $(B)/tests/fuzz_seeds
	$(Q)$< tests/fuzz/corpus

integration: $(BIN)
	$(Q)tests/run-integration $(VARIANT) $(BIN)

# What peers may send that are not what they say. A larger DOSE gives figures for the honest one.
DOSE ?= 5
hostile: $(BIN)
	$(Q)tests/run-hostile $(VARIANT) $(BIN) --dose $(DOSE)

# Transfers over slow, far and lossy lines that are cut (root only). CELLS=all: the whole table.
netsweep: $(BIN)
	$(Q)tests/fault/netsweep $(BIN) $(CELLS)

# ---- gates ---------------------------------------------------------------------------------------
# Each must refuse the bad samples that `prove` plants.
lint: check-layers check-headers check-format check-budgets check-gates

check-layers:
	$(Q)tests/gates/layers

check-format:
	$(Q)tests/gates/format

check-budgets:
	$(Q)tests/gates/budgets

check-headers:
	$(Q)tests/gates/headers $(CC) $(ALL_CFLAGS)

check-gates:
	$(Q)tests/gates/prove

asan:
	$(Q)$(MAKE) --no-print-directory VARIANT=asan unit integration

# The unit tests with threads; the others would only be slow.
THREADED := @(committer|control|fs|hash|pool|recovery|tcp*)/*
tsan:
	$(Q)$(MAKE) --no-print-directory VARIANT=tsan FILTER='$(THREADED)' unit-base unit-crypto \
	    unit-storage unit-transport unit-internal
	$(Q)$(MAKE) --no-print-directory VARIANT=tsan integration

# Whether codecs, sessions and crypto read a byte that nobody wrote. Not the suite that uses up all
# descriptors: valgrind needs some.
valgrind:
	$(Q)packaging/deps analyze
	$(Q)$(MAKE) --no-print-directory VARIANT=valgrind FILTER='!(tcp)/*' \
	    unit-base unit-crypto unit-transport

# What reads the code without running it; clean but for what tests/analyze and .clang-tidy answer.
analyze:
	$(Q)packaging/deps analyze
	$(Q)$(MAKE) --no-print-directory VARIANT=analyze CI=1 build/analyze/peervault \
	    build/analyze/gendocs
	$(Q)tests/analyze $(ALL_CFLAGS)

coverage:
	$(Q)tests/run-coverage

test: deps
	$(Q)tests/run-all

# ---- for people ----------------------------------------------------------------------------------
deps:
	$(Q)packaging/deps

demo: deps
	$(Q)$(MAKE) -s --no-print-directory all
	$(Q)bin/peervault demo

# What compose.yaml needs before its first start.
docker-secrets:
	$(Q)packaging/docker/secrets

docker-demo:
	$(Q)tests/docker/demo

docker-test:
	$(Q)tests/docker/run

bench: all
	$(Q)tests/bench/run bin/peervault

COUNT ?= 20000
million: all # COUNT=1000000 is what the name says
	$(Q)tests/bench/million -n $(COUNT) bin/peervault

bench-values: all # how fast values are set, seen elsewhere, and caught up with
	$(Q)tests/bench/values bin/peervault

$(B)/tests/bench_micro: $(call obj,tests/bench/micro.c) $(call libs_from,storage crypto base)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# Ways to commit a batch of files, on images of ext4 and XFS (root only).
$(B)/tests/bench_commit: $(call obj,tests/bench/commit.c) $(call libs_from,base)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

.PHONY: bench-commit
bench-commit: $(B)/tests/bench_commit
	$(Q)tests/bench/commit $<

# ---- documents and packages ----------------------------------------------------------------------
# Written by a program from the tables that bin/peervault itself runs on.
DOCS := $(B)/docs
$(B)/gendocs: $(call obj,$(wildcard cmd/gendocs/*.c) $(filter-out %/main.c,$(SRC_cmd))) \
    $(call libs_from,$(LAYERS))
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

GENERATED := peervault.1=man1 peervault.conf.5=conf5 peervault.bash=bash _peervault=zsh \
             peervault.fish=fish
.PHONY: docs deb uninstall
docs: $(B)/gendocs
	@mkdir -p $(DOCS)
	$(Q)set -e; for d in $(GENERATED); do $< $${d#*=} >$(DOCS)/$${d%=*}; done

DATADIR    ?= $(PREFIX)/share
UNITDIR    ?= $(PREFIX)/lib/systemd/system
ZSHDIR     ?= $(DATADIR)/zsh/site-functions
INSTALLED   = $(PREFIX)/bin/peervault $(DATADIR)/man/man1/peervault.1 \
              $(DATADIR)/man/man5/peervault.conf.5 $(DATADIR)/man/man8/peervault-daemon.8 \
              $(DATADIR)/bash-completion/completions/peervault $(ZSHDIR)/_peervault \
              $(DATADIR)/fish/vendor_completions.d/peervault.fish $(UNITDIR)/peervault.service \
              $(PREFIX)/lib/sysusers.d/peervault.conf $(DATADIR)/doc/peervault/LICENSE
put = install -D -m 0644 $(1) "$(DESTDIR)$(2)"

install: all docs
	install -D -m 0755 bin/peervault "$(DESTDIR)$(PREFIX)/bin/peervault"
	$(call put,$(DOCS)/peervault.1,$(DATADIR)/man/man1/peervault.1)
	$(call put,$(DOCS)/peervault.conf.5,$(DATADIR)/man/man5/peervault.conf.5)
	$(call put,packaging/man/peervault-daemon.8,$(DATADIR)/man/man8/peervault-daemon.8)
	$(call put,$(DOCS)/peervault.bash,$(DATADIR)/bash-completion/completions/peervault)
	$(call put,$(DOCS)/_peervault,$(ZSHDIR)/_peervault)
	$(call put,$(DOCS)/peervault.fish,$(DATADIR)/fish/vendor_completions.d/peervault.fish)
	$(call put,packaging/peervault.service,$(UNITDIR)/peervault.service)
	sed -i 's|/usr/bin/peervault|$(PREFIX)/bin/peervault|' "$(DESTDIR)$(UNITDIR)/peervault.service"
	$(call put,packaging/peervault.sysusers,$(PREFIX)/lib/sysusers.d/peervault.conf)
	$(call put,LICENSE,$(DATADIR)/doc/peervault/LICENSE)

uninstall: # vaults stay
	rm -f $(foreach f,$(INSTALLED),"$(DESTDIR)$(f)")

deb: all docs
	packaging/deb/build $(VERSION) build/deb

clean:
	rm -rf build bin

help:
	@echo 'all deps demo test unit unit-<layer> integration hostile netsweep fuzz fuzz-smoke fault sim siege soak asan tsan valgrind analyze coverage bench bench-values million install uninstall deb docs clean'
	@echo 'docker-demo docker-test docker-secrets'
	@echo 'lint = check-layers check-headers check-format check-budgets check-gates'
	@echo 'VARIANT=release|asan|tsan|valgrind|coverage|fuzz|sim|clang; FILTER=SUITE/TEST for unit-<layer>; V=1 shows commands; CI=1 makes warnings errors'
