# make: says what it found and builds the drivers.   make test: proves the CPU side.   make help: the targets.
CC      ?= cc
ARCH    ?= native
BUILD   ?= build
JOBS    ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
probe    = $(shell echo 'int main(void){return 0;}' | $(CC) $(1) -x c - -o /dev/null 2>/dev/null && echo $(2))
OPENMP  ?= $(call probe,-fopenmp,1)
# x.jsonl.gz is read where zlib's header is found (make ZLIB= : without).
ZLIB    ?= $(call probe,-include zlib.h -lz,1)
# build/serve answers by HTTP where libmicrohttpd's header is found.
MHD     ?= $(call probe,-include microhttpd.h -lmicrohttpd,1)
# A line of build/chat can be edited where readline's or libedit's header is found (make READLINE= : without).
READLINE ?= $(or $(call probe,-include stdio.h -include readline/readline.h -lreadline,readline),$(call probe,-include stdio.h -include editline/readline.h -ledit,edit))
readline_flags = -DLLM_READLINE -lreadline
edit_flags     = -DLLM_EDITLINE -ledit

# The flags of every build: FMA contraction on, simd pragmas on, no -ffast-math (NaN checks must keep working).
STD      = -std=c11 -ffp-contract=fast -fopenmp-simd -fno-math-errno -fno-trapping-math -D_GNU_SOURCE
WARN     = -Wall -Wextra -Wpedantic -Wvla -Werror
OMP      = $(if $(filter 1,$(OPENMP)),-fopenmp)
# clang cuts 64-byte vectors in half unless told otherwise: a quarter of the speed.
WIDE    := $(if $(findstring clang,$(shell $(CC) --version)),$(call probe,-mprefer-vector-width=512,-mprefer-vector-width=512))
# A program of one file: what of llm.h it never calls is not compiled, which takes half the time, or a tenth (gcc).
WHOLE   := $(call probe,-Werror -fwhole-program,-fwhole-program)
CFLAGS  ?= -O3 -march=$(ARCH)
# Tests are compiled in two thirds of the time with -O2; what they prove is the same.
TESTFLAGS ?= -O2 -march=$(ARCH)
FLAGS    = $(STD) $(WARN) $(CFLAGS) $(WIDE) $(OMP) $(if $(ZLIB),-DLLM_ZLIB)
LIBS     = $(if $(ZLIB),-lz) -lm

# A GPU where nvcc is found (make NVCC= : without); CUDA=emulated: its kernels run on this CPU, to be looked at and tested.
NVCC    ?= $(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard /usr/local/cuda/bin/nvcc))
CUDA    ?= $(if $(NVCC),gpu)
CUDALIB  = $(dir $(realpath $(NVCC)))../lib64
gpu_objects      = $(BUILD)/llm_cuda.o
gpu_libs         = -L$(CUDALIB) -Wl,-rpath,$(abspath $(CUDALIB)) -lcudart -lcublasLt -lstdc++
emulated_objects = $(EMULATED)
emulated_libs    = -lstdc++
WITH_GPU = $(if $(CUDA),-DLLM_CUDA $($(CUDA)_objects) $($(CUDA)_libs))
EMULATED = $(BUILD)/emulated_llm_cuda.o $(BUILD)/emulated_cuda_on_cpu.o $(BUILD)/emulated_cublas.o

# Many processes: MPI=1 (mpicc), MULTI_GPU=1 (one a GPU: NCCL beside nvcc, MPI where there is mpicc). tools/launch.sh starts them.
MPICC   ?= mpicc
mpi_part = $(shell $(MPICC) --showme:$(1) 2>/dev/null || pkg-config --$(2) ompi-c 2>/dev/null)
MPI_CFLAGS = -DLLM_MPI $(patsubst -I%,-isystem %,$(call mpi_part,compile,cflags))
MPI_LIBS = $(call mpi_part,link,libs)
ifeq ($(MULTI_GPU),1)
RANKS    = -DLLM_NCCL $(if $(MPI_LIBS),$(MPI_CFLAGS))
RANKLIBS = -lnccl $(MPI_LIBS)
RANKGPU  = $(BUILD)/llm_nccl.o
else ifeq ($(MPI),1)
RANKS    = $(MPI_CFLAGS)
RANKLIBS = $(MPI_LIBS)
endif

RANKGPU ?= $($(CUDA)_objects)

DRIVERS  = train_gpt train_sft train_rlhf
TOOLS    = $(BUILD)/tinyworld $(BUILD)/hf_probe $(BUILD)/chat $(BUILD)/convert $(BUILD)/eval $(BUILD)/report $(BUILD)/tokenize \
	   $(BUILD)/quality $(BUILD)/laws $(BUILD)/loophole $(if $(MHD),$(BUILD)/serve $(BUILD)/serve_client)
# Test programs of the float build, and those that run in double too.
TESTS    = tokenizer data gemm ops model files lora sft decode losses loss_fixtures mistakes plan tinyworld quality fixtures report \
	   eval convert step_gpt step_sft stage3 jinja progress tokens personas laws
DOUBLE   = gemm ops model lora sft decode losses loss_fixtures mistakes
# The same with the plain loops in the place of llm_simd.h: in float, and in double.
PLAIN    = model lora fixtures
PLAIN2   = model lora
# AMX's kernel with its tiles played by AVX-512, for machines that have the one and not the other.
AMX     := $(shell $(CC) -march=$(ARCH) -include test/soft_amx.h -fsyntax-only -x c /dev/null 2>/dev/null && \
	   echo gemm ops model fixtures)
PROGRAMS = $(TESTS:%=$(BUILD)/test_%) $(DOUBLE:%=$(BUILD)/double_%) $(AMX:%=$(BUILD)/amx_%) \
	   $(PLAIN:%=$(BUILD)/plain_%) $(PLAIN2:%=$(BUILD)/plain_double_%)
HEADERS  = llm.h llm_simd.h $(wildcard data/*.h tools/*.h test/*.h)

# What make help names; then parts of it.
.PHONY: all found test test_mpi test_cuda test_gpu cuda_on_cpu test-sft bench builds debug interop demo quality personas laws hacking fuzz exercise judge clean help
.PHONY: always ranks_found programs floats mpi_programs cuda_programs gpu_programs test_gpu_dry nvcc
all: found $(DRIVERS) $(TOOLS)

found:
	@echo "compiler: $(CC) ($(shell $(CC) --version | head -n 1)), -march=$(ARCH)"
	@echo "OpenMP:   $(if $(OMP),yes,no: one thread only (install libomp or use gcc))"
	@echo "editing:  $(if $(READLINE),build/chat with lib$(READLINE),build/chat without line editing: install libreadline-dev or libedit-dev)"
	@echo "CUDA:     $(if $(NVCC),$(NVCC) $(shell $(NVCC) --version | sed -n 's/.*release \([0-9.]*\).*/\1/p') for sm_80 and sm_90,no nvcc: for NVIDIA's GPUs install the CUDA toolkit)"
	@echo "MPI:      $(if $(MPI_LIBS),$(MPICC): make MPI=1 trains with many processes,no mpicc: for many processes apt-get install openmpi-bin libopenmpi-dev)"
	@echo "HTTP:     $(if $(MHD),libmicrohttpd: build/serve,no libmicrohttpd: for build/serve apt-get install libmicrohttpd-dev)"
	@echo "GPU:      $$(nvidia-smi -L 2>/dev/null | head -n 1 | grep . || echo none answers)"

# Drivers draw their page with build/report at the end. Built with other flags than the last time, they are built again.
# llm.h is compiled once for the three of them; `cc train_gpt.c -lm` does without.
driver = $(CC) $(FLAGS) $(RANKS) -DLLM_LINKED $< $(BUILD)/llm.o -o $@ $(subst $($(CUDA)_objects),$(RANKGPU),$(WITH_GPU)) $(RANKLIBS) $(LIBS)
$(DRIVERS): %: %.c $(BUILD)/llm.o $(RANKGPU) | $(BUILD)/report ranks_found
	$(driver)
$(BUILD)/llm.o: tools/library.c $(HEADERS) $(BUILD)/built_with
	$(CC) $(FLAGS) $(RANKS) $(filter -D%,$(WITH_GPU)) -c $< -o $@
$(BUILD)/built_with: always | $(BUILD)
	@echo '$(CC) $(FLAGS) $(RANKS) $(WITH_GPU)' | cmp -s - $@ || echo '$(CC) $(FLAGS) $(RANKS) $(WITH_GPU)' > $@
always:
ranks_found:
	@[ "$(MPI)" != 1 ] || [ -n "$(MPI_LIBS)" ] || { echo "error: MPI=1 without mpicc" >&2; \
		echo "  try: apt-get install openmpi-bin libopenmpi-dev" >&2; exit 1; }
	@[ "$(MULTI_GPU)" != 1 ] || [ -n "$(NVCC)" ] || { echo "error: MULTI_GPU=1 without nvcc" >&2; \
		echo "  try: install the CUDA toolkit; MPI=1 is for CPUs" >&2; exit 1; }
$(BUILD)/%: %.c $(BUILD)/llm.o $(RANKGPU)
	$(driver)
$(BUILD)/tinyworld: data/tinyworld.c $(HEADERS) | $(BUILD)
	$(CC) $(FLAGS) $(WHOLE) $< -o $@ $(LIBS)
$(BUILD)/test_convert: tools/convert.c
$(BUILD)/chat $(BUILD)/eval $(BUILD)/loophole: $(BUILD)/%: tools/%.c $(HEADERS) $($(CUDA)_objects) | $(BUILD)
	$(CC) $(FLAGS) $< -o $@ $(WITH_GPU) $(if $(filter chat,$*),$($(READLINE)_flags)) $(LIBS)
$(BUILD)/serve: tools/serve.c $(wildcard tools/serve.html) $(HEADERS) $($(CUDA)_objects) | $(BUILD)
	@[ -n "$(MHD)" ] || { echo "error: build/serve without libmicrohttpd" >&2; \
		echo "  try: apt-get install libmicrohttpd-dev" >&2; exit 1; }
	$(CC) $(FLAGS) -pthread $< -o $@ -lmicrohttpd $(WITH_GPU) $(LIBS)
$(BUILD)/convert $(BUILD)/report $(BUILD)/tokenize $(BUILD)/quality $(BUILD)/laws: $(BUILD)/%: tools/%.c $(HEADERS) | $(BUILD)
	$(CC) $(FLAGS) $(WHOLE) $< -o $@ $(LIBS)
$(BUILD)/test_eval: tools/eval.c
$(BUILD)/test_report: tools/report.c
$(BUILD)/test_step_gpt: train_gpt.c
$(BUILD)/test_step_sft: train_sft.c
$(BUILD)/test_stage3: train_rlhf.c
$(BUILD)/bench_decode: tools/bench_decode.c tools/convert.c $(HEADERS) | $(BUILD)
	$(CC) $(FLAGS) $< -o $@ $(LIBS)
$(BUILD)/hf_probe $(BUILD)/jinja_probe $(BUILD)/serve_client: $(BUILD)/%: test/%.c $(HEADERS) | $(BUILD)
	$(CC) $(FLAGS) $(WHOLE) $< -o $@ $(LIBS)
$(BUILD)/test_%: CFLAGS = $(TESTFLAGS)
$(BUILD)/test_%: test/test_%.c $(HEADERS) | $(BUILD)
	$(CC) $(FLAGS) $(WHOLE) $< -o $@ $(LIBS)
$(BUILD)/double_%: CFLAGS = $(TESTFLAGS)
$(BUILD)/double_%: test/test_%.c $(HEADERS) | $(BUILD)
	$(CC) $(FLAGS) $(WHOLE) -DLLM_REAL=double $< -o $@ $(LIBS)
$(BUILD)/plain_%: CFLAGS = $(TESTFLAGS)
$(BUILD)/plain_double_%: test/test_%.c $(HEADERS) | $(BUILD)
	$(CC) $(FLAGS) $(WHOLE) -DLLM_PLAIN -DLLM_REAL=double $< -o $@ $(LIBS)
$(BUILD)/plain_%: test/test_%.c $(HEADERS) | $(BUILD)
	$(CC) $(FLAGS) $(WHOLE) -DLLM_PLAIN $< -o $@ $(LIBS)
$(BUILD)/amx_%: CFLAGS = $(TESTFLAGS)
$(BUILD)/amx_%: test/test_%.c $(HEADERS) | $(BUILD)
	$(CC) $(FLAGS) $(WHOLE) -include test/soft_amx.h $< -o $@ $(LIBS)
# The drivers and the tests of many ranks, with MPI.
MPI_PROGRAMS = $(DRIVERS:%=$(BUILD)/mpi/%) $(patsubst test/%.c,$(BUILD)/mpi/%,$(wildcard test/test_ranks*.c))
$(BUILD)/mpi/%: CFLAGS = $(TESTFLAGS)
$(DRIVERS:%=$(BUILD)/mpi/%): $(BUILD)/mpi/%: %.c $(HEADERS) | $(BUILD)/mpi
	$(CC) $(FLAGS) $(MPI_CFLAGS) $< -o $@ $(MPI_LIBS) $(LIBS)
$(BUILD)/mpi/%: test/%.c $(HEADERS) | $(BUILD)/mpi
	$(CC) $(FLAGS) $(MPI_CFLAGS) $< -o $@ $(MPI_LIBS) $(LIBS)
mpi_programs: $(MPI_PROGRAMS)
test_mpi:
	@if [ -z "$(MPI_LIBS)" ]; then echo "SKIP: many ranks: no mpicc (apt-get install openmpi-bin libopenmpi-dev)"; \
	else $(MAKE) --no-print-directory -j$(JOBS) mpi_programs && BUILD=$(BUILD) sh test/run.sh $$(ls test/test_ranks.sh test/test_mpi.sh test/test_mpi_rlhf.sh 2>/dev/null); fi
$(BUILD) $(BUILD)/mpi:
	@mkdir -p $@

# llm_cuda.cuh twice: as nvcc compiles it, and as test/cuda_on_cpu makes of the same text for this CPU (g++, no toolkit).
NVFLAGS  = -x cu --threads 0 -std=c++20 -O3 -Xcompiler -Wall,-Wextra,-Wno-missing-field-initializers -Werror all-warnings
GENCODE ?= -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=[sm_90,compute_90]
$(BUILD)/llm_cuda.o: llm_cuda.cuh llm.h | $(BUILD)
	$(NVCC) $(NVFLAGS) $(GENCODE) $(CUDA_INC:%=-isystem %) -c $< -o $@
$(BUILD)/llm_nccl.o: llm_cuda.cuh llm.h tools/torchrun.h | $(BUILD)
	$(NVCC) $(NVFLAGS) $(GENCODE) $(CUDA_INC:%=-isystem %) $(filter -D%,$(RANKS)) -c $< -o $@
CXX     ?= c++
EMULATOR = test/cuda_on_cpu
# -g1: lines, for what sanitizers say; cuda_on_cpu, to be stepped through, has all.
EMUOPT  ?= -O1 -g1
EMUFLAGS = -std=c++20 $(EMUOPT) -march=$(ARCH) -ffp-contract=fast -fno-strict-aliasing -Wall -Wextra -Wno-unknown-pragmas \
	   -Wno-sign-compare -Wno-unused-function -Wno-missing-field-initializers -DCUDA_ON_CPU -I$(EMULATOR) -I.
$(BUILD)/emulated_llm_cuda.cpp: llm_cuda.cuh $(EMULATOR)/cuda_on_cpu.sed | $(BUILD)
	(echo '#line 1 "llm_cuda.cuh"'; sed -E -f $(EMULATOR)/cuda_on_cpu.sed $<) > $@
# Sanitizers: SANE for kernels, the emulator that runs them, and the C program; TSAN for kernels alone: the rest is "hardware".
$(BUILD)/emulated_llm_cuda.o: $(BUILD)/emulated_llm_cuda.cpp llm.h $(wildcard $(EMULATOR)/*.h)
	$(CXX) $(EMUFLAGS) $(SANE) $(TSAN) -c $< -o $@
$(BUILD)/emulated_%.o: $(EMULATOR)/%.cpp $(wildcard $(EMULATOR)/*.h) | $(BUILD)
	$(CXX) $(EMUFLAGS) -O2 $(SANE) $(filter -D%,$(TSAN)) -c $< -o $@
CUDA_TESTS = $(BUILD)/test_cuda $(BUILD)/test_cuda_model
$(CUDA_TESTS): CFLAGS = $(EMUOPT) -march=$(ARCH)
$(CUDA_TESTS): $(BUILD)/%: test/%.c $(HEADERS) $(EMULATED)
	$(CC) $(FLAGS) $(SANE) $(filter -f%,$(TSAN)) -DLLM_PLAIN $< $(EMULATED) -o $@ -lstdc++ $(LIBS)
# Many ranks, each with an emulated GPU (NCCL's part plays test/cuda_on_cpu/nccl.cpp).
$(BUILD)/emulated_llm_nccl.o: $(BUILD)/emulated_llm_cuda.cpp llm.h tools/torchrun.h $(wildcard $(EMULATOR)/*.h)
	$(CXX) $(EMUFLAGS) -DLLM_NCCL -c $< -o $@
EMULATED_NCCL = $(BUILD)/emulated_llm_nccl.o $(BUILD)/emulated_nccl.o $(filter-out %llm_cuda.o,$(EMULATED))
$(BUILD)/test_nccl: CFLAGS = $(EMUOPT) -march=$(ARCH)
$(BUILD)/test_nccl: test/test_nccl.c $(HEADERS) $(EMULATED_NCCL)
	$(CC) $(FLAGS) -DLLM_PLAIN -DLLM_NCCL $< $(EMULATED_NCCL) -o $@ -lstdc++ $(LIBS)
$(BUILD)/test_cuda_fixtures: CFLAGS = $(EMUOPT) -march=$(ARCH)
$(BUILD)/test_cuda_fixtures: test/test_fixtures.c $(HEADERS) $(EMULATED)
	$(CC) $(FLAGS) -DLLM_CUDA -DLLM_PLAIN $< $(EMULATED) -o $@ -lstdc++ $(LIBS)
# Drivers and tools, as somebody with a GPU has them, for test_device.sh.
EMULATED_PROGRAMS = $(DRIVERS:%=$(BUILD)/emulated_%) $(BUILD)/emulated_chat $(BUILD)/emulated_eval
CUDA_SANE = asan tsan $(if $(shell command -v clang++ 2>/dev/null),msan)
asan_cuda = SANE="-fsanitize=address,undefined -fno-sanitize-recover=all -DCOC_ASAN -Wno-format-truncation"
tsan_cuda = TSAN="-fsanitize=thread -DCOC_TSAN"
msan_cuda = SANE="-fsanitize=memory -fno-omit-frame-pointer -DCOC_MSAN -Wno-pass-failed" CC=clang CXX=clang++
nvcc:
	@echo $(NVCC)
cuda_programs: $(CUDA_TESTS)
# Drivers and tests whose kernels run on this CPU, slowly, for gdb: break norm_forward_kernel, then p coc_cur->tid (threadIdx)
cuda_on_cpu:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/cuda_on_cpu CUDA=emulated CFLAGS="-O1 -g -march=$(ARCH)" EMUOPT="-O0 -g" \
		$(DRIVERS:%=$(BUILD)/cuda_on_cpu/%) $(BUILD)/cuda_on_cpu/test_cuda
	@echo "step through a kernel: gdb --args $(BUILD)/cuda_on_cpu/test_cuda layernorm"
	@echo "train with --device cuda: $(BUILD)/cuda_on_cpu/train_gpt --device cuda --dry-run"
# Without optimisation what is sanitized compiles in a third to a tenth of the time; nothing is optimised away before it is looked at.
$(CUDA_SANE:%=cuda_%): cuda_%:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/$* OPENMP= EMUOPT="$(if $(filter msan,$*),-O1,-O0) -g1" $($*_cuda) cuda_programs
.PHONY: cuda_tested $(CUDA_SANE:%=cuda_%)
cuda_tested: $(CUDA_SANE:%=cuda_%) cuda_programs $(EMULATED_PROGRAMS) $(BUILD)/test_nccl $(BUILD)/test_cuda_fixtures \
		$(BUILD)/emulated_bench $(BUILD)/tinyworld
# One pool of jobs builds all of it; then so many lists of tests at a time, the longest first.
test_cuda:
	@$(MAKE) --no-print-directory -j$(JOBS) cuda_tested
	@BUILD=$(BUILD) AT=$(BUILD)/emulated_ sh test/run.sh -j $(JOBS) 'test/test_cuda.sh rows' test/test_device.sh test/test_nvcc.sh $(BUILD)/test_nccl \
		$(patsubst %,'test/test_cuda.sh %',models asan tsan msan orders) test/test_gpu_dry.sh

# On a GPU: the same tests, and the bench, linked with what nvcc made of it; and the bench under emulation, to try it.
GPU_PROGRAMS = $(patsubst test/%.c,$(BUILD)/gpu_%,$(wildcard test/test_cuda*.c)) $(BUILD)/gpu_bench
GPU_LINK = $(NVCC) $@.o $(BUILD)/llm_cuda.o -o $@ $(if $(OMP),-Xcompiler $(OMP)) -L$(CUDALIB) -lcublasLt \
	   -Xlinker -rpath,$(abspath $(CUDALIB)) $(LIBS)
$(BUILD)/gpu_%: CFLAGS = $(TESTFLAGS)
$(BUILD)/gpu_bench: tools/bench_cuda.c $(HEADERS) $(BUILD)/llm_cuda.o
	$(CC) $(FLAGS) -DLLM_PLAIN -c $< -o $@.o && $(GPU_LINK)
$(BUILD)/gpu_test_%: test/test_%.c $(HEADERS) $(BUILD)/llm_cuda.o
	$(CC) $(FLAGS) -DLLM_PLAIN -c $< -o $@.o && $(GPU_LINK)
$(BUILD)/emulated_bench: CFLAGS = $(EMUOPT) -march=$(ARCH)
$(BUILD)/emulated_bench: tools/bench_cuda.c $(HEADERS) $(EMULATED)
	$(CC) $(FLAGS) -DLLM_PLAIN $< $(EMULATED) -o $@ -lstdc++ $(LIBS)
$(EMULATED_PROGRAMS): CFLAGS = $(EMUOPT) -march=$(ARCH)
$(DRIVERS:%=$(BUILD)/emulated_%): $(BUILD)/emulated_%: %.c $(HEADERS) $(EMULATED)
	$(CC) $(FLAGS) -DLLM_CUDA $< $(EMULATED) -o $@ -lstdc++ $(LIBS)
$(BUILD)/emulated_chat $(BUILD)/emulated_eval: $(BUILD)/emulated_%: tools/%.c $(HEADERS) $(EMULATED)
	$(CC) $(FLAGS) -DLLM_CUDA $< $(EMULATED) -o $@ -lstdc++ $(LIBS)
gpu_programs: $(GPU_PROGRAMS) $(DRIVERS:%=$(BUILD)/%) $(BUILD)/chat $(BUILD)/eval $(BUILD)/tinyworld
test_gpu:
	@MAKE="$(MAKE)" NVCC="$(NVCC)" BUILD=$(BUILD) sh test/test_gpu.sh || [ $$? -eq 77 ]
test_gpu_dry: $(BUILD)/emulated_bench $(BUILD)/test_cuda
	@BUILD=$(BUILD) sh test/run.sh test/test_gpu_dry.sh

programs: $(PROGRAMS)
floats: $(TESTS:%=$(BUILD)/test_%)
test: all
	@$(MAKE) --no-print-directory -j$(JOBS) programs
	@[ -n "$(AMX)" ] || echo "SKIP: AMX's kernel: no AVX-512 with bf16 here"
	@sh test/run.sh $(PROGRAMS) test/test_drivers.sh test/test_flags.sh test/test_chat.sh test/test_fuzz.sh test/test_rlhf.sh \
		test/test_eval.sh test/test_serve.sh test/test_sft.sh test/test_exercise.sh test/test_tools.sh test/test_quality.sh test/test_laws.sh test/test_hacking.sh test/test_book.sh

# Fine-tuning as a user runs it, three seeds, on the prompts for choosing recipes.
test-sft: train_gpt train_sft
	@sh test/test_sft.sh full

# How fast it is, and how fast it could be: training, then speaking, beside the peers that are here: PyTorch and llama.cpp in
# PYTHON, llm.c in $LLM_C, llama2.c in $LLAMA2_C. BENCH: flags of both, --quick, --seconds, --threads, --only, --no-peers.
bench: $(BUILD)/bench $(BUILD)/bench_decode
	@PYTHON="$(PYTHON)" $(BUILD)/bench $(BENCH)
	@PYTHON="$(PYTHON)" $(BUILD)/bench_decode $(BENCH)
$(BUILD)/bench: tools/bench.c $(HEADERS) | $(BUILD)
	$(CC) $(FLAGS) $< -o $@ $(LIBS)

# Every way to build it: gcc and clang, with and without OpenMP, old processors, C++ for the interface.
builds:
	@sh test/run.sh test/test_builds.sh

# The tests under AddressSanitizer and UBSan, then the drivers with leaks reported too. Refusals jump out of the middle of
# things, so the test programs themselves leak by design.
debug:
	@$(MAKE) --no-print-directory -j$(JOBS) BUILD=build/debug CUDA= CFLAGS="$(SANITIZE)" \
		TESTFLAGS="$(SANITIZE)" OPENMP= floats build/debug/train_gpt build/debug/train_sft \
		build/debug/train_rlhf build/debug/chat build/debug/eval build/debug/convert build/debug/report build/debug/tokenize build/debug/tinyworld \
		$(if $(MHD),build/debug/serve build/debug/serve_client)
	@ASAN_OPTIONS=detect_leaks=0 sh test/run.sh $(TESTS:%=build/debug/test_%)
	@TRAIN_GPT=build/debug/train_gpt TRAIN_SFT=build/debug/train_sft TRAIN_RLHF=build/debug/train_rlhf \
		CHAT=build/debug/chat EVAL=build/debug/eval CONVERT=build/debug/convert TINYWORLD=build/debug/tinyworld TOKENIZE=build/debug/tokenize sh test/run.sh test/test_drivers.sh test/test_flags.sh \
		test/test_chat.sh test/test_rlhf.sh test/test_eval.sh test/test_tools.sh
	@TRAIN_GPT=build/debug/train_gpt CHAT=build/debug/chat SERVE=build/debug/serve SERVE_CLIENT=build/debug/serve_client \
		sh test/run.sh test/test_serve.sh
SANITIZE = -O1 -g -march=$(ARCH) -fsanitize=address,undefined -fno-sanitize-recover=all \
	-Wno-format-truncation # GCC 12 believes that UBSan's own check of a NULL format goes on to use it

# Optional, with Python's packages: do others read what we write, ask what we ask, take the steps we take? Each says what it skips.
PYTHON  ?= python3
INTEROP  = interop.py jinja_compare.py "sft_compare.py gpt2 llama-3 qwen2 llama-2 tinyllama" gguf_check.py lm_eval_compare.py \
	   trl_compare.py smollm2_check.py gguf_read_check.py serve_clients.py serve_page.py
interop: $(DRIVERS) $(BUILD)/hf_probe $(BUILD)/jinja_probe $(BUILD)/chat $(BUILD)/convert $(BUILD)/eval \
		$(if $(MHD),$(BUILD)/serve)
	@failed=; for check in $(INTEROP); do echo "== $$check"; $(PYTHON) test/$$check || failed="$$failed $${check%% *}"; done; \
		[ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }

# The whole lecture on the tiny world, into out/demo: one table and a page to look at. LLM_AMX=0 make demo: as without AMX.
demo: found
	@$(MAKE) --no-print-directory -j$(JOBS) $(DRIVERS) $(BUILD)/eval $(BUILD)/report
	@$(STAGED) sh tools/demo.sh
STAGED = PRECISION=$(PRECISION) EVAL=$(BUILD)/eval TINYWORLD=$(BUILD)/tinyworld LOOPHOLE=$(BUILD)/loophole # for tools/stages.sh

# What makes data good? Eleven qualities of records, a model each, the lectures' claims beside what came out. SEEDS="1 2 3" ...
quality: found
	@$(MAKE) --no-print-directory -j$(JOBS) train_gpt train_sft $(BUILD)/eval $(BUILD)/report $(BUILD)/quality
	@sh tools/quality.sh

# Twelve personas: fine-tuned on their system prompts, judged by their rules, into out/personas.
personas: found
	@$(MAKE) --no-print-directory -j$(JOBS) train_gpt train_sft $(BUILD)/eval $(BUILD)/report $(BUILD)/tinyworld
	@$(STAGED) sh tools/personas.sh

# A scaling law measured on small models and put to the test on a larger one, into out/laws; LAWS="--seed 2": more flags.
laws: $(BUILD)/laws $(BUILD)/report
	@$(BUILD)/laws $(LAWS)

# How a reward is gamed, into out/hacking: a learnt judge at four prices of KL, and two judges with a planted hole.
# make hacking JUDGE=mine: with the judge that you have written (tools/loophole.h).
hacking: found
	@$(MAKE) --no-print-directory -j$(JOBS) $(DRIVERS) $(BUILD)/loophole $(BUILD)/report
	@$(STAGED) sh tools/hacking.sh

# Every reader against invented input, FUZZ_SECONDS each; needs clang. What it finds stays in build/fuzz.
FUZZ_SECONDS ?= 600
fuzz:
	@FUZZ_SECONDS=$(FUZZ_SECONDS) sh test/test_fuzz.sh

# Write an operation or a loss of your own: a list; an empty body in exercises/; is it right, and does a model learn with it?
exercise:
	@sh tools/exercise.sh $(if $(OP),new $(OP),list)
JUDGEFLAGS ?= -O1
judge:
	@CC="$(CC)" FLAGS="$(STD) $(JUDGEFLAGS)" SANE="$(SANE)" sh tools/exercise.sh judge "$(OP)"

clean:
	rm -rf build train_gpt train_sft train_rlhf

help:
	@echo "make              build the drivers, $(DRIVERS), and the tools; each tells its flags by --help:"
	@echo "  build/chat      talk to a model"
	@echo "  build/serve     models behind a page (http://127.0.0.1:8080/) and OpenAI's endpoints; wants libmicrohttpd"
	@echo "  build/eval      tasks, perplexity and the arena: a table of several models"
	@echo "  build/report    draws the page of all stages, out/report.html"
	@echo "  build/tokenize  a text's pieces, ids and counts, and whether they make the same text again"
	@echo "  build/convert   a model as GGUF, or in half the bytes; adapters merged; token files and ranks of others"
	@echo "  build/tinyworld writes the tiny world"
	@echo "make found        what this machine has of what the programs can use, and what to install for the rest"
	@echo "make test         prove the CPU side; ends with 'N passed, N failed'"
	@echo "                  one program: make build/double_ops && build/double_ops (double: against finite differences)"
	@echo "make MPI=1        drivers that many processes share (Open MPI); MULTI_GPU=1: one process a GPU (NCCL). tools/launch.sh"
	@echo "                  starts them, on one machine or many; tools/scaling.sh: how much faster two ranks are than one"
	@echo "make test_mpi     1 to 4 ranks on this machine: the same bits, lost ranks, --elastic; without mpicc it is skipped"
	@echo "make test_cuda    the kernels of llm_cuda.cuh, executed on this CPU (g++; no GPU, no CUDA toolkit)"
	@echo "make test_gpu     on a machine with a GPU: tests, speed beside PyTorch's, checkers, profile; <= 8 minutes, out/gpu.md"
	@echo "make cuda_on_cpu  drivers and tests whose kernels run on this CPU, to step through them in gdb"
	@echo "make test-sft     pretrain and fine-tune with three seeds, judged on the prompts for choosing recipes"
	@echo "make bench        build/bench: this machine's peaks, each operation, whole training steps; build/bench_decode: how fast a"
	@echo "                  model speaks; as shares of the limits, and beside PyTorch, llama.cpp (pip install torch cyllama; PYTHON=),"
	@echo "                  llm.c, llama2.c (LLM_C=, LLAMA2_C=: their folders); BENCH=--quick: 2 minutes. build/gpu_bench: on a GPU"
	@echo "make builds       compile with every compiler found, with and without OpenMP"
	@echo "make debug        the tests under AddressSanitizer and UBSan"
	@echo "make interop      beside transformers, peft, trl, lm-eval, llama.cpp, and a real model, those of them that PYTHON has"
	@echo "make demo         tools/demo.sh: pretraining, fine-tuning, reward model, PPO, DPO, a table and a report: some minutes"
	@echo "make quality      what makes data good? A model for each of 11 qualities of records (tools/quality.sh, build/quality)"
	@echo "make personas     tools/personas.sh: system prompts of twelve personas, wordings seen and new, the villain: some minutes"
	@echo "make laws         build/laws: a scaling law of fifteen small models, what it foretells of a larger one, whether that comes"
	@echo "                  true; some minutes, on the page; models that are done are not trained again"
	@echo "make hacking      tools/hacking.sh: a reward model gamed (Goodhart's curve), and two judges with a hole (build/loophole),"
	@echo "                  length and politeness; close them in tools/loophole.h, then JUDGE=mine: some minutes, out/hacking"
	@echo "make fuzz         FUZZ_SECONDS=600 of invented input for every reader (clang)"
	@echo "make exercise     lists exercises; OP=rmsnorm_backward: leaves exercises/rmsnorm_backward.c to be written"
	@echo "                  (tools/exercise.sh)"
	@echo "make judge        OP=rmsnorm_backward: is it right? Where, by how much, and why not; then trains with it"
	@echo "make clean        remove what was built (out/ stays)"
