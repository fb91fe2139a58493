# SPDX-License-Identifier: Apache-2.0
# One file for everything; variants side by side in build/VARIANT/ (BUILD=release|asan|tsan, and
# fuse317 by `make test-fuse317`).

BUILD  ?= release
PREFIX ?= /usr/local
O      := build/$(BUILD)
V      ?= 0
JOBS   ?= $(shell nproc)
Q      := $(if $(filter 1,$(V)),,@)
say     = $(if $(filter 1,$(V)),@:,@printf '  %-8s %s\n' $(1) $(2))

CC      ?= gcc
OBJCOPY ?= objcopy
PKGCONF ?= pkg-config

# ---- libfuse: which way to passthrough (fs/wire.h) is for the one that is here ------------------
FUSE_VERSION := $(shell $(PKGCONF) --modversion fuse3 2>/dev/null)
fuse_is       = $(shell $(PKGCONF) --atleast-version=$(1) fuse3 2>/dev/null && echo yes)
WIRE_SRC     := $(if $(call fuse_is,3.17),fs/wire_317.c,$(if $(call fuse_is,3.13),fs/wire_314.c))

# ---- what is built from what --------------------------------------------------------------------
LIB_SRCS   := $(sort $(wildcard loader/base/*.c loader/checkpoint/*.c loader/plan/*.c \
                                loader/pipeline/*.c loader/device/*.c loader/mount/*.c \
                                loader/transform/*.c))
CLI_SRCS   := $(sort $(wildcard loader/cli/*.c))
FS_SRCS    := $(sort $(filter-out fs/wire_%,$(wildcard fs/*.c)) $(WIRE_SRC))
UNIT_SRCS   = $(filter-out $(NO_CUDA_UNITS),$(sort $(wildcard tests/unit/test_*.c)))
FUZZ_SRCS  := $(sort $(wildcard tests/fuzz/fuzz_*.c))
TOOL_SRCS  := $(sort $(wildcard tests/tools/*.c))
BENCH_SRCS := $(sort $(wildcard tests/bench/*.c))
RULES      := $(sort $(wildcard loader/plan/rules/*.json))
PROGRAMS   := $(if $(FS_SRCS),$(O)/wloadfs) $(if $(CLI_SRCS),$(O)/wload)
LIBS       := $(O)/libwload.a $(O)/libwload.so
SONAME     := libwload.so.0
MAN1       := $(sort $(wildcard loader/cli/*.1 fs/*.1))
MAN5       := $(sort $(wildcard loader/plan/*.5))
UNITS       = $(UNIT_SRCS:tests/unit/%.c=$(O)/tests/%)
FUZZERS    := $(FUZZ_SRCS:tests/fuzz/%.c=$(O)/tests/%)
TOOLS      := $(TOOL_SRCS:tests/tools/%.c=$(O)/tests/%)
BENCHES     = $(BENCH_SRCS:tests/bench/%.c=$(O)/bench/%)

VERSION := $(shell sed -n 's/.*WLOAD_VERSION "\(.*\)".*/\1/p' include/wloadfs/version.h)

# ---- CUDA: the runtime's headers and static library, when a toolkit is there (CUDA=0 leaves it) ---
CUDA_HOME ?= $(firstword $(wildcard /usr/local/cuda /usr/lib/cuda))
CUDA ?= $(if $(and $(wildcard $(CUDA_HOME)/include/cuda_runtime_api.h),$(wildcard $(CUDA_HOME)/lib64/libcudart_static.a)),1,0)
ifeq ($(CUDA),1)
CUDA_CFLAGS := -DWLOAD_HAVE_CUDA=1 -isystem $(CUDA_HOME)/include
CUDA_DIR    := $(CUDA_HOME)/lib64
CUDA_LIBS   := $(CUDA_DIR)/libcudart_static.a -ldl -lrt
CUDA_PC_LIBS = -L$${cudadir} -lcudart_static -ldl -lrt
NVCC        ?= $(wildcard $(CUDA_HOME)/bin/nvcc)
NVCC_NOTE   := $(if $(NVCC),,no nvcc at '$(CUDA_HOME)/bin')
# Ahead of time for these, and for later ones by the driver from the last's PTX. Each operation is
# rounded by itself (include/wloadfs/transform.h).
CUDA_ARCHS  ?= 80 90 100
NVCC_FLAGS   = -std=c++17 -O3 -Xfatbin -compress-all --fmad=false -Iinclude -I. -ccbin $(firstword $(CXX)) \
               -Xcompiler -Wall,-Wextra,-fPIC,-fvisibility=hidden,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics \
               $(foreach a,$(CUDA_ARCHS),-gencode arch=compute_$(a),code=sm_$(a)) \
               -gencode arch=compute_$(lastword $(CUDA_ARCHS)),code=compute_$(lastword $(CUDA_ARCHS))
KERNELS     := $(if $(NVCC),$(patsubst %.cu,$(O)/%.o,$(sort $(wildcard loader/device/*.cu))))
LIB_SRCS    := $(if $(NVCC),$(filter-out loader/device/cuda_kernels_none.c,$(LIB_SRCS)),$(LIB_SRCS))
else
CUDA_NOTE   := $(if $(filter file,$(origin CUDA)),no toolkit at CUDA_HOME='$(CUDA_HOME)',CUDA=$(CUDA))
LIB_SRCS    := $(filter-out loader/device/cuda%,$(LIB_SRCS))
NO_CUDA_UNITS := tests/unit/test_cuda_jobs.c
BENCH_SRCS  := $(filter-out tests/bench/copyrate.c tests/bench/kernelrate.c,$(BENCH_SRCS))
CUDA_CFLAGS := -DWLOAD_HAVE_CUDA=0
endif

# ---- flags --------------------------------------------------------------------------------------
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla -Wundef \
        -Werror
OPT_release := -O2 -g -D_FORTIFY_SOURCE=2
OPT_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined \
               -fno-omit-frame-pointer
OPT_tsan    := -O1 -g -fsanitize=thread
OPT_fuse317 := $(OPT_release)
OPT_fuzz    := -O1 -g -fsanitize=fuzzer-no-link,address,undefined
SAN_asan    := -fsanitize=address,undefined
SAN_tsan    := -fsanitize=thread
SAN_fuzz    := -fsanitize=address,undefined
JSONC_CFLAGS = $(shell $(PKGCONF) --cflags json-c)
JSONC_LIBS   = $(shell $(PKGCONF) --libs json-c)
FUSE_CFLAGS  = $(if $(WIRE_SRC),$(shell $(PKGCONF) --cflags fuse3),$(error libfuse 3.13 or later is \
               needed, and $(PKGCONF) finds $(or $(FUSE_VERSION),none); Debian: libfuse3-dev))
FUSE_LIBS    = $(shell $(PKGCONF) --libs fuse3)
# The caller's CPPFLAGS, CFLAGS and LDFLAGS come last.
ALL_CPPFLAGS  = -D_GNU_SOURCE -Iinclude -I. $(CPPFLAGS)
STD_CFLAGS   := -std=gnu17 $(WARN)
ALL_CFLAGS    = $(STD_CFLAGS) $(OPT_$(BUILD)) -fPIC -fvisibility=hidden -pthread $(CFLAGS)
ALL_LDFLAGS   = $(SAN_$(BUILD)) -pthread $(LDFLAGS)
DEPFLAGS     := -MMD -MP

LIB_OBJS := $(LIB_SRCS:%.c=$(O)/%.o) $(KERNELS) $(if $(RULES),$(O)/loader/plan/builtin_rules.o)
CLI_OBJS := $(CLI_SRCS:%.c=$(O)/%.o)
FS_OBJS  := $(FS_SRCS:%.c=$(O)/%.o)

.SECONDARY:
.DELETE_ON_ERROR:
.PHONY: all help clean check check-clang test test-fuse317 demo install tests bench benches format fuzz fuzzers FORCE

all: $(PROGRAMS) $(LIBS) ## build the programs and the library (default)
	@$(if $(filter 1,$(CUDA)),:,echo "  note     built without CUDA ($(CUDA_NOTE)): wload loads to host memory only")
	@$(if $(NVCC_NOTE),echo "  note     $(NVCC_NOTE): steps of a plan are run on the host also for a GPU",:)

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

# ---- compile ------------------------------------------------------------------------------------
$(O)/loader/checkpoint/%.o: ALL_CFLAGS += -Wconversion
# Loops over elements; each operation is rounded by itself (include/wloadfs/transform.h).
$(O)/loader/transform/%.o: ALL_CFLAGS += $(if $(filter release fuse317,$(BUILD)),-O3) -ffp-contract=off
$(O)/loader/%.o: ALL_CPPFLAGS += $(JSONC_CFLAGS)
$(O)/loader/device/%.o: ALL_CPPFLAGS += $(CUDA_CFLAGS)
$(O)/fs/%.o: ALL_CPPFLAGS += $(FUSE_CFLAGS)

# What everything is built with and of; it changes only when one of them does, and objects with it.
BUILT_WITH := $(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(CUDA_CFLAGS) $(CUDA_LIBS) \
              $(NVCC) $(NVCC_FLAGS) $(LIB_SRCS) $(CLI_SRCS) $(FS_SRCS) $(FUSE_VERSION)
$(O)/built-with: export BUILT_WITH := $(BUILT_WITH)
$(O)/built-with: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' "$$BUILT_WITH" | cmp -s - $@ || printf '%s\n' "$$BUILT_WITH" > $@

$(O)/%.o: %.c Makefile $(O)/built-with
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(DEPFLAGS) $(ALL_CFLAGS) -c $< -o $@

$(O)/%.o: %.cu $(O)/built-with
	$(call say,NVCC,$<)
	@mkdir -p $(@D)
	$(Q)$(NVCC) $(NVCC_FLAGS) -MMD -MP -MF $(@:.o=.d) -c $< -o $@

$(O)/loader/plan/builtin_rules.c: scripts/embed-rules $(RULES)
	$(call say,EMBED,$@)
	@mkdir -p $(@D)
	$(Q)scripts/embed-rules $(RULES) > $@

$(O)/loader/plan/builtin_rules.o: $(O)/loader/plan/builtin_rules.c $(O)/built-with
	$(Q)$(CC) $(ALL_CPPFLAGS) $(DEPFLAGS) $(ALL_CFLAGS) -c $< -o $@

$(O)/libwload.a: $(LIB_OBJS)
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D) && rm -f $@ && ar rcs $@ $^

$(O)/libwload.so: $(LIB_OBJS)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -shared -Wl,-soname,$(SONAME) -Wl,--exclude-libs,ALL -o $@ $^ \
		$(JSONC_LIBS) $(CUDA_LIBS)

# As fs.a: unit tests take the pure parts out of it.
$(O)/cli.a: $(filter-out $(O)/loader/cli/main.o,$(CLI_OBJS))
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D) && rm -f $@ && ar rcs $@ $^

$(O)/wload: $(O)/loader/cli/main.o $(O)/cli.a $(O)/libwload.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(JSONC_LIBS) $(CUDA_LIBS)

# Everything of the mount but main: unit tests take the pure parts out of it.
$(O)/fs.a: $(filter-out $(O)/fs/main.o,$(FS_OBJS))
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D) && rm -f $@ && ar rcs $@ $^

$(O)/wloadfs: $(O)/fs/main.o $(O)/fs.a $(O)/libwload.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(FUSE_LIBS) $(JSONC_LIBS) $(CUDA_LIBS)

# ---- tests --------------------------------------------------------------------------------------
tests: all $(UNITS) $(FUZZERS) $(TOOLS) $(BENCHES) ## build what the tests need

$(O)/tests/test_ahead $(O)/tests/test_wire: ALL_CPPFLAGS += $(FUSE_CFLAGS)
$(O)/tests/test_wire: UNIT_LIBS = $(FUSE_LIBS)
$(O)/tests/test_cuda_jobs: ALL_CPPFLAGS += $(CUDA_CFLAGS)
$(O)/tests/test_transform $(O)/tests/test_run: UNIT_LIBS = -lm

$(O)/tests/%: tests/unit/%.c $(O)/fs.a $(O)/cli.a $(O)/libwload.a Makefile
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(DEPFLAGS) $(JSONC_CFLAGS) $(ALL_CFLAGS) -Itests/unit $< -o $@ $(ALL_LDFLAGS) \
		$(O)/fs.a $(O)/cli.a $(O)/libwload.a $(UNIT_LIBS) $(JSONC_LIBS) $(CUDA_LIBS)

$(O)/tests/gpu_steps: TOOL_LIBS = -lm
$(O)/tests/%: tests/tools/%.c $(O)/libwload.a Makefile
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(DEPFLAGS) $(ALL_CFLAGS) $< -o $@ $(ALL_LDFLAGS) $(O)/libwload.a $(TOOL_LIBS) \
		$(JSONC_LIBS) $(CUDA_LIBS)

$(O)/bench/noop_server: BENCH_CPPFLAGS = $(FUSE_CFLAGS)
$(O)/bench/noop_server: BENCH_LIBS = $(FUSE_LIBS)
$(O)/bench/copyrate: BENCH_CPPFLAGS = $(CUDA_CFLAGS)
$(O)/bench/copyrate: BENCH_LIBS = $(CUDA_LIBS)
$(O)/bench/kernelrate: BENCH_CPPFLAGS = $(CUDA_CFLAGS)
$(O)/bench/kernelrate: BENCH_LIBS = $(O)/libwload.a $(JSONC_LIBS) $(CUDA_LIBS)
$(O)/bench/kernelrate: $(O)/libwload.a
$(O)/bench/%: tests/bench/%.c Makefile
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(BENCH_CPPFLAGS) $(DEPFLAGS) $(ALL_CFLAGS) $< -o $@ $(ALL_LDFLAGS) $(BENCH_LIBS)

# A fuzz target is replayed over its corpus by a driver of ours (tests/fuzz/replay.c), and fuzzed by
# libFuzzer with `make fuzz` (clang).
$(O)/tests/fuzz_%: tests/fuzz/fuzz_%.c tests/fuzz/replay.c $(O)/libwload.a Makefile
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(DEPFLAGS) $(ALL_CFLAGS) $< tests/fuzz/replay.c -o $@ $(ALL_LDFLAGS) $(O)/libwload.a \
		$(JSONC_LIBS) $(CUDA_LIBS)

$(O)/fuzz/%: tests/fuzz/%.c $(O)/libwload.a Makefile
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(DEPFLAGS) $(ALL_CFLAGS) $< -o $@ $(ALL_LDFLAGS) -fsanitize=fuzzer $(O)/libwload.a \
		$(JSONC_LIBS) $(CUDA_LIBS)

FUZZ_SECONDS ?= 60
fuzz: ## fuzz each parser for FUZZ_SECONDS (60) with libFuzzer, starting from the corpus
	@scripts/install-deps --tests
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=fuzz CC=clang fuzzers
	@tests/corpus/generate build/fuzz/corpus
	@for f in $(FUZZ_SRCS:tests/fuzz/fuzz_%.c=%); do \
		build/fuzz/fuzz/fuzz_$$f -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
			-artifact_prefix=build/fuzz/ build/fuzz/corpus/$$f || exit 1; \
	done

fuzzers: $(FUZZ_SRCS:tests/fuzz/%.c=$(O)/fuzz/%)

test: ## install what is missing, build, run every test; TESTS='test_run 20' takes those only
	@scripts/install-deps --tests
	@$(MAKE) --no-print-directory -j$(JOBS) tests
	@BUILD=$(BUILD) scripts/run-tests $(TESTS)

test-fuse317: ## the mount's tests on libfuse 3.17, built from Debian 13's source
	@scripts/test-libfuse317 $(TESTS)

check: ## format, comments, SPDX, shellcheck, man pages, layers
	@scripts/install-deps --tests
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@scripts/check-text
	@scripts/check-layers $(O)

# No code is made: what gcc has built, clang must take without a word as well.
CLANG := clang -fsyntax-only $(ALL_CPPFLAGS) $(STD_CFLAGS)
check-clang: $(O)/loader/plan/builtin_rules.c ## that clang warns of nothing
	@scripts/install-deps --tests
	$(call say,CLANG,everything)
	$(Q)$(CLANG) -Wconversion $(filter loader/checkpoint/%,$(LIB_SRCS))
	$(Q)$(CLANG) $(JSONC_CFLAGS) $(FUSE_CFLAGS) $(CUDA_CFLAGS) -Itests/unit \
		$(filter-out loader/checkpoint/%,$(LIB_SRCS)) $(CLI_SRCS) $(FS_SRCS) $< \
		$(UNIT_SRCS) $(TOOL_SRCS) $(FUZZ_SRCS) $(BENCH_SRCS) tests/fuzz/replay.c

format: ## let clang-format rewrite the tracked C files
	clang-format -i $(shell git ls-files '*.c' '*.h' '*.cu')

benches: all $(BENCHES)

bench: ## measure everything side by side; BENCH='--quick …', BENCH=--help lists what it takes
	@scripts/install-deps
	@$(MAKE) --no-print-directory -j$(JOBS) benches
	@BUILD=$(BUILD) scripts/bench $(BENCH)

demo: export CKPT := $(value CKPT)
demo: ## show everything on a real model; CKPT=PATH takes your own checkpoint
	@scripts/install-deps --demo
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@BUILD=$(BUILD) scripts/demo $(if $(CKPT),"$$CKPT")

# ---- install ------------------------------------------------------------------------------------
# Nothing for mount(8): `mount -t fuse.wloadfs` runs fuse3's mount.fuse, which runs wloadfs from PATH.
D = $(DESTDIR)$(PREFIX)

# The archive that others link: one object, in which only what the headers declare is global. Ours
# has modules that call each other, and unit tests that take them apart.
$(O)/installed/libwload.a: $(O)/libwload.a Makefile
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D) && rm -f $@
	$(Q)$(CC) -r -nostdlib -o $(@D)/wload.o -Wl,--whole-archive $< -Wl,--no-whole-archive
	$(Q)$(OBJCOPY) --wildcard --keep-global-symbol='wload_*' $(@D)/wload.o
	$(Q)ar rcs $@ $(@D)/wload.o

install: all $(O)/installed/libwload.a ## install below PREFIX (/usr/local), staged in DESTDIR
	$(call say,INSTALL,$(D))
	$(Q)install -d $(D)/bin $(D)/lib/pkgconfig $(D)/include/wloadfs $(D)/share/man/man1 \
		$(D)/share/man/man5 $(D)/share/wloadfs/rules $(D)/share/wloadfs/python
	$(Q)$(if $(PROGRAMS),install -m 755 $(PROGRAMS) $(D)/bin)
	$(Q)install -m 644 $(O)/installed/libwload.a $(D)/lib
	$(Q)install -m 755 $(O)/libwload.so $(D)/lib/libwload.so.$(VERSION)
	$(Q)ln -sf libwload.so.$(VERSION) $(D)/lib/$(SONAME)
	$(Q)ln -sf $(SONAME) $(D)/lib/libwload.so
	$(Q)install -m 644 include/wloadfs/*.h $(D)/include/wloadfs
	$(Q)$(if $(MAN1),install -m 644 $(MAN1) $(D)/share/man/man1)
	$(Q)$(if $(MAN5),install -m 644 $(MAN5) $(D)/share/man/man5)
	$(Q)$(if $(RULES),install -m 644 $(RULES) $(D)/share/wloadfs/rules)
	$(Q)install -m 644 loader/python/wload.py $(D)/share/wloadfs/python
	$(Q)sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|; s|@CUDADIR@|$(CUDA_DIR)|; s|@CUDA_LIBS@|$(CUDA_PC_LIBS)|' \
		loader/wload.pc.in > $(D)/lib/pkgconfig/wload.pc
	$(Q)chmod 644 $(D)/lib/pkgconfig/wload.pc

clean: ## remove build/
	rm -rf build

-include $(shell find $(O) -name '*.d' 2>/dev/null)
