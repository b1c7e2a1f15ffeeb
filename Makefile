# make: says what it found and builds the drivers.   make test: proves the CPU side.   make help: the targets.
CC      ?= cc
ARCH    ?= native
OPENMP  ?= $(shell echo 'int main(void){return 0;}' | $(CC) -fopenmp -x c - -o /dev/null 2>/dev/null && echo 1)

# The flags of every build: FMA contraction on, simd pragmas on, no -ffast-math (NaN checks must keep working).
STD      = -std=c11 -ffp-contract=fast -fopenmp-simd -fno-math-errno -fno-trapping-math -D_GNU_SOURCE
WARN     = -Wall -Wextra -Wpedantic -Werror
OPT      = -O3 -march=$(ARCH)
ifneq (,$(findstring clang,$(shell $(CC) --version 2>/dev/null)))
OPT     += $(shell echo 'int main(void){return 0;}' | $(CC) -mprefer-vector-width=512 -x c - -o /dev/null 2>/dev/null \
             && echo -mprefer-vector-width=512)
endif
ifeq ($(OPENMP),1)
OMP      = -fopenmp
endif
CFLAGS  ?= $(OPT)
FLAGS    = $(STD) $(WARN) $(CFLAGS) $(OMP)
LIBS     = -lm

DRIVERS  = train_gpt
TOOLS    = build/tinyworld build/hf_probe
# Tests of the float build, and those that also run (or only run) in double.
TESTS    = tokenizer data gemm ops model files losses plan tinyworld fixtures
DOUBLE   = gemm ops model losses

.PHONY: all found test debug clean help
all: found $(DRIVERS) $(TOOLS)

found:
	@echo "compiler: $(CC) ($(shell $(CC) --version | head -n 1)), -march=$(ARCH)"
	@echo "OpenMP:   $(if $(OMP),yes,no: one thread only (install libomp or use gcc))"

HEADERS  = llm.h data/tinyworld.h data/tinyworld_files.h $(wildcard tools/*.h test/*.h)

train_gpt: train_gpt.c $(HEADERS)
	$(CC) $(FLAGS) $< -o $@ $(LIBS)
build/tinyworld: data/tinyworld.c data/tinyworld.h data/tinyworld_files.h | build
	$(CC) $(FLAGS) $< -o $@ $(LIBS)
build/%: tools/%.c $(HEADERS) | build
	$(CC) $(FLAGS) $< -o $@ $(LIBS)
build/hf_probe: test/hf_probe.c llm.h | build
	$(CC) $(FLAGS) $< -o $@ $(LIBS)
build/test_%: test/test_%.c $(HEADERS) | build
	$(CC) $(FLAGS) $< -o $@ $(LIBS)
build/double_%: test/test_%.c $(HEADERS) | build
	$(CC) $(FLAGS) -DLLM_REAL=double $< -o $@ $(LIBS)
build:
	@mkdir -p build

test: all $(TESTS:%=build/test_%) $(DOUBLE:%=build/double_%)
	@sh test/run.sh $(TESTS:%=build/test_%) $(DOUBLE:%=build/double_%) test/test_drivers.sh

# The same tests under AddressSanitizer and UndefinedBehaviorSanitizer.
debug:
	$(MAKE) OPENMP= CFLAGS="-O1 -g -march=$(ARCH) -fsanitize=address,undefined -fno-sanitize-recover=all" BUILD=debug test

clean:
	rm -rf build train_gpt train_sft train_rlhf

help:
	@echo "make              build the drivers: $(DRIVERS)"
	@echo "make test         prove the CPU side; ends with 'N passed, N failed'"
	@echo "make debug        the tests under AddressSanitizer and UBSan"
	@echo "make clean        remove what was built (out/ stays)"
