#!/bin/sh
# cuda_bugs.sh [-j N] [WORD]: would the tests notice? Plants each of the bugs below (or those with WORD in their line)
# in a copy of llm_cuda.cuh of its own, and runs test_cuda on the CPU that plays GPU: it must fail. N copies at a time.
#
#     sh test/cuda_bugs.sh -j 2                   all
#     sh test/cuda_bugs.sh flash                  those of flash attention; tsan: those of that build
#     sh test/cuda_bugs.sh 'norms: numbers'       one
#
# It prints: bug | build in which it was caught | by what. llm_cuda.cuh is compiled once a bug, without optimisation;
# the tests end at the first failure. First the short list (few) of the bug's cases is run, then all of these. A
# failure proves nothing unless the same tests pass without the bug: that is run too, once.
dir=build/bugs jobs=1 emulator=test/cuda_on_cpu
if [ "$1" = -j ]; then jobs=$2; shift 2; fi
word=$1
floats="-march=native -ffp-contract=fast"
gpu="-std=c++20 $floats -fno-strict-aliasing -w -DCUDA_ON_CPU -I$emulator -I."
export ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS=halt_on_error=1:symbolize=0

flags() {       # of a build: what the kernels are compiled with
    case $1 in
    plain) ;;
    asan) echo -fsanitize=address,undefined -fno-sanitize-recover=undefined -DCOC_ASAN ;;
    tsan) echo -fsanitize=thread -DCOC_TSAN ;;
    msan) echo -fsanitize=memory -fno-omit-frame-pointer -DCOC_MSAN ;;
    *) echo "no build $1" >&2; exit 2 ;;
    esac
}
compilers() {   # build
    case $1 in msan) cc=clang cxx=clang++ ;; *) cc=gcc cxx=g++ ;; esac
}
link() {        # build, folder: its llm_cuda.cuh, with what prepare has made
    compilers "$1"
    sed -E -f $emulator/cuda_on_cpu.sed "$2/llm_cuda.cuh" > "$2/llm_cuda.cpp"
    $cxx $gpu -O0 $(flags "$1") -c "$2/llm_cuda.cpp" -o "$2/llm_cuda.o" 2> "$2/log" &&
        $cxx $(flags "$1") "$2/llm_cuda.o" $dir/"$1".*.o -o "$2/test_cuda" -lm 2>> "$2/log"
}
# Once for each build: the emulator and the test program, which no bug touches (the machine that looks for races is not
# looked at itself), and all of it without a bug.
ready=
prepare() {     # build
    case $ready in *"$1"*) return ;; esac
    ready="$ready $1" machine=$(flags "$1") host=
    mkdir -p "$dir/$1"
    rm -f "$dir/$1"/passes*
    compilers "$1"
    case $1 in tsan) machine=-DCOC_TSAN ;; msan) host=-fsanitize=memory ;; esac
    for f in cuda_on_cpu cublas; do
        $cxx $gpu -O2 $machine -c $emulator/$f.cpp -o "$dir/$1.$f.o" || exit 2
    done
    $cc -std=c11 -O1 $floats -fopenmp-simd -D_GNU_SOURCE -w -DLLM_PLAIN $host -c test/test_cuda.c \
        -o "$dir/$1.test.o" || exit 2
    cp llm_cuda.cuh "$dir/$1/llm_cuda.cuh"
    link "$1" "$dir/$1" || { cat "$dir/$1/log"; exit 2; }
}
run() {         # folder, arguments of test_cuda
    timeout 600 "$1/test_cuda" stop $2 > "$1/log" 2>&1
}
passes() {      # build, arguments: without a bug?
    mark=$dir/$1/passes$CUDA_CPU_ASYNC$(printf ' %s' $2 | tr ' ' _)
    [ -e "$mark" ] || timeout 1200 "$dir/$1/test_cuda" stop $2 > "$mark.log" 2>&1 && : > "$mark"
}
caught() {      # build, folder, arguments: sets `by`
    run "$2" "$3"
    code=$?
    if [ $code -eq 0 ] || [ $code -eq 124 ]; then return 1; fi         # 124: too slow a machine is no proof
    by=$(grep -m1 -oE 'WARNING: [A-Za-z]*: [a-z ]*|ERROR: .*|cuda_on_cpu: .*|runtime error.*|FAIL.*|error: .*' "$2/log")
    by="test_cuda $3: $(printf '%s' "${by:-exit code $code}" | cut -c1-100)"
    passes "$1" "$3" || { by="test_cuda $3 FAILS WITHOUT A BUG ($1)"; return 1; }
}
touched() {     # file: the kernels in which it differs
    lines=$(diff llm_cuda.cuh "$1" | sed -n 's/^\([0-9][0-9]*\).*/\1/p' | tr '\n' ' ')
    awk -v lines=" $lines" '
        /^(template.*)?KERNEL\(/ { begins = 1 }
        begins && match($0, /[a-z_]+_kernel\(/) { kernel = substr($0, RSTART, RLENGTH - 1); begins = 0 }
        kernel && index(lines, " " NR " ") { print kernel }
        /^}/ { kernel = "" }' llm_cuda.cuh
}
plant() {       # build, name, sed -E expression, cases, folder
    sed -E "$3" llm_cuda.cuh > "$5/llm_cuda.cuh"
    touched "$5/llm_cuda.cuh" >> $dir/touched
    by="NOT CAUGHT" result=failed
    if cmp -s llm_cuda.cuh "$5/llm_cuda.cuh"; then by="THE EDIT DID NOTHING"
    elif ! link "$1" "$5"; then by="DOES NOT COMPILE: $(grep -m1 error "$5/log")"
    elif caught "$1" "$5" "few $4" || caught "$1" "$5" "$4"; then result=passed
    fi
    echo $result >> $dir/results
    printf '%-50s | %-5s | %s\n' "$2" "$1" "$by"
}
# N folders to work in; whoever is done puts his back.
mkdir -p $dir
rm -f $dir/free
: > $dir/results
: > $dir/touched
mkfifo $dir/free
exec 9<> $dir/free
for i in $(seq "$jobs"); do mkdir -p $dir/job$i; echo $dir/job$i >&9; done
trap 'trap - TERM; kill 0' INT
cases=          # the first word of the tests' names, for the bugs that follow and name none
bug() {         # build in which it must show, name, sed -E expression, cases
    case "$*" in *"$word"*) ;; *) return ;; esac
    prepare "$1"
    read -r folder <&9
    { plant "$1" "$2" "$3" "${4:-$cases}" "$folder"; echo "$folder" >&9; } &
}
finish() {      # each kernel must have a bug, in its own text
    wait
    for k in $([ "$word" ] || sed -n 's/^sm_80 \([a-z_]*\).*/\1/p' $emulator/kernels.txt | sort -u); do
        grep -qx "$k" $dir/touched && echo passed >> $dir/results && continue
        echo "$k: no bug is planted in it"
        echo failed >> $dir/results
    done
    failed=$(grep -c failed $dir/results)
    printf '%d passed, %d failed\n' "$(grep -c passed $dir/results)" "$failed"
    [ "$failed" -eq 0 ]
    exit
}

# ---- memory ----
cases=memory
export CUDA_CPU_ASYNC=1             # the GPU is as late as it may be
bug plain 'memory: a half filled while it is sent'  's/CUDA\(cudaEventSynchronize\(stage\.sent\[stage\.half\]\)\);//'
bug plain 'memory: handed over before it is here'   's/CUDA\(cudaStreamSynchronize\(STREAM\)\);//'
unset CUDA_CPU_ASYNC
bug asan  'memory: more fetches than are remembered' 's/ \|\| stage\.fetches == 256//'
bug plain 'memory: fetched on top of each other'    's/stage\.down \+ stage\.fetched, device/stage.down, device/'

bug plain 'rooms: the one that was freed' \
    's/return room\[which\]\.memory;/static void *r[ROOMS]; return r[which] ? r[which] : r[which] = room[which].memory;/' linear
bug msan  'loads: what is behind a row is not 0' \
    's/x\[i\] = i < left \? to_float\(p\[i\]\) : 0;/if (i < left) x[i] = to_float(p[i]);/' layernorm

# ---- attention on tensor cores ----
cases=attention
bug plain 'flash: a key too many (causal)'      's/key > row \|\| key < from\[r\]\) at/key > row + 1 || key < from[r]) at/'
bug plain 'flash: texts not kept apart backward' 's/ \&\& key >= q\.start;/;/'
bug plain 'flash: not transposed'               's/ldmatrix_turned\(fb, b/ldmatrix(fb, b/'
bug plain 'flash: fragments of P swapped'       's/\[k \+ i \/ 2\]\[i % 2 \* 2\]/[k + i % 2][i \/ 2 * 2]/'
bug plain 'flash: p of another lane'            's/k % 8 \/ 2, 4\)/k % 4, 4)/'
bug plain 'flash: no wait for the copies'       's/^( *)copies_wait\(\);/\1;/'
bug plain 'flash: rows not padded (banks)'      's/LD = D \+ 16 \/ sizeof\(A\);/LD = D;/'
bug plain 'flash: old sums do not shrink'       's/at\(o, r, i\) \*= shrink;/at(o, r, i) *= 1;/'
bug plain 'flash: wrong key head'               's/h \/ \(a\.H \/ a\.KV\), c0/h % a.KV, c0/'
bug plain 'flash: a row past T written'         's/if \(row < T \&\& D % 2/if (row <= T \&\& D % 2/'
bug plain 'flash: a column past D written'      's/else if \(row < T \&\& c < D\)/else if (row < T)/'
bug plain 'flash: columns of the next head'     's/row < T \&\& c < real\)/row < T)/'
bug plain 'flash: columns of the next head, one by one' 's/row < T \&\& c \+ j < real \?/row < T ?/'
bug plain 'flash: the first half of the columns twice' 's/(const int own.*)% F::PIECES/\1\/ 1024/'
bug plain 'flash: half of delta'                's/c < a\.D; c \+= 32/c < a.D \/ 2; c += 32/'
bug plain 'flash: what is known is not passed on' 's/all_known\[\(size_t\)\(first \+ r\) \* a\.H \+ own\] = q;/;/'
bug plain 'flash: known of queries past T'      's/ \&\& first \+ r < T \&\& c0 == 0/ \&\& c0 == 0/'
bug plain 'flash: what is known of another head' 's/row \+ i\) \* a\.H \+ h, true/row + i) * a.H, true/'
bug plain 'flash: texts begin with the tile'    's/low = min\(low, start\[i\]\);/;/'
bug plain 'flash: queries of the first tile only' 's/high = start\[i\] <= key \? i : high;/;/'
bug plain 'flash: infinity minus infinity'      's/best == NEVER \? 0 : best \* sharp/best * sharp/'
bug plain 'flash: dq and dk not divided'        's/c0, a\.D, by\);/c0, a.D, 1);/'
bug plain 'flash: known of the other stage'     's/known \+ step % 2 \* TILE \+ i/known + i/'
bug plain 'flash: a query past T'               's/row < T \&\& (key <= row \&\& key >= q)/\1/'
bug tsan  'flash: barrier of a tile lost'       's/__syncthreads\(\); +\/\* tile i is here.*//'
bug tsan  'flash: loaded before the barrier'    's/^( *)copies_wait\(\);/\1if (i + 1 < tiles) load(i + 1);\n&/'
bug tsan  'flash: barrier of first_key lost'    '/part\[threadIdx\.x \/ 32\] = x;/{n;s/__syncthreads\(\);//}'

# ---- rotary positions and activations ----
cases=rope
bug plain 'rope: backward turns forward'        's/WAY \* scale\)/scale)/'
bug plain 'rope: half of the scale'             's/c\[k\] \*= fabsf\(scale\), //'
bug plain 'rope: values turn too'               's/\(int\)\(H \+ KV\), \(H/(int)(H + 2 * KV), (H/'
bug plain 'rope: whole turns in float'          's/\(double\)\(positions\[n\] \* f\[k\]\) \* 0\.1591/(positions[n] * f[k]) * 0.1591f * 1.000001f; const double unused = 0.1591/'
cases=gelu
bug asan  'gelu: reads past the end'            's/load_up_to_8\(x, inp \+ i, left, true\)/load_up_to_8(x, inp + i, 8, true)/'
cases=swiglu
bug plain 'swiglu: gate and up swapped'         's/u\[k\] = dout \? dy\[k\] \* silu : 0;/u[k] = dout ? dy[k] * u[k] * s : 0;/'

# ---- products, and weights in fewer bits ----
cases=linear
bug plain 'products: the factors not exchanged' \
    's/right.data, r, left.data, l/left.data, l, right.data, r/' linear
bug plain 'products: beta where nothing is added' 's/const float beta = e.plus \? 1 : 0;/const float beta = 1;/' linear
bug plain 'products: a plan without its epilogue' \
    's/left.type, out.type, e.epilogue/left.type, out.type, CUBLASLT_EPILOGUE_DEFAULT/' linear
bug plain 'products: alignment promised blindly' \
    's/bits \& -bits/256 + 0 * bits/' lora
bug plain 'products: sums of a row may be cut' \
    's/: CUBLASLT_REDUCTION_SCHEME_NONE/: CUBLASLT_REDUCTION_SCHEME_MASK/' linear
bug plain 'products: a bias of another type'    's/const R \*b = .*;/const R *b = (const R *)bias.data;/' residual
bug plain 'products: float gradient read as bf16' \
    's/\(llm_act \*\)dres_for_products<A>\(dout, N, O\)/(llm_act *)dout/' residual
bug plain 'products: dbias of the last batch only' \
    's/column_sums\(dbias, sums, NULL, 1, O, true/column_sums(dbias, sums, NULL, 1, O, false/' linear
bug plain 'products: dbias overwritten'         's/\.bias = sums, \.split/.bias = dbias, .split/' linear
bug plain 'column sums: a row in every block'   's/n = blockIdx.x; n < N; n \+= gridDim.x/n = 0; n < N; n += gridDim.x/' value
bug tsan  'column sums: counted before all have written' \
    '/what this thread wrote is seen/{n;s/__syncthreads\(\);//}' value
bug tsan  'column sums: an older copy is read'  's/^    __threadfence\(\);$//' value
bug tsan  'column sums: asked before there is an answer' '/if \(last\) \*count = 0/{n;n;s/__syncthreads\(\);//}' value
bug plain 'lora: leading dimension of the slice' 's/turned\(d, s.ld\)/turned(d, s.cols)/' lora
bug plain 'lora: both factors in one room'      's/matrix_of<A>\(b, s\.cols, r, ROOM_PARTS\)/matrix_of<A>(b, s.cols, r, ROOM_WIDE)/' lora
bug plain 'lora: the slice not moved'           's/\(A \*\)out \+ s.col/(A *)out/' lora
bug plain 'q4: halves exchanged' \
    's/i % 32 < 16 \? byte \& 15 : byte >> 4/i % 32 < 16 ? byte >> 4 : byte \& 15/' linear
bug plain 'q8: the scale of another block' \
    's/block = row \* \(\(cols \+ 31\) \/ 32\)/block = row * (cols \/ 32)/' linear
bug asan  'few rows: one that is not there'     's/if \(lane \|\| n >= rows\) continue/if (lane) continue/' linear
bug plain 'few rows: half a warp adds' \
    's/const float s = warp_sum\(sum\[n\]\)/if (lane > 15) continue; const float s = warp_sum(sum[n])/' linear
bug asan  'few rows: 16 bytes at odd places'    's/wide = I % 8 == 0 .*/wide = true;/' linear

# ---- the head ----
cases=logprob
bug plain 'head: banned words forward' \
    's/k \+ j < h.V \&\& !\(h.banned \&\& h.banned\[k \+ j\]\)/k + j < h.V/' logprob
bug plain 'head: a banned word learns'          's/z\[j\] > banned_z \? dz \* h.cold : 0/dz * h.cold/' logprob
bug plain 'head: padding is a word'             's/z\[j\] = k \+ j < h.V \&\& !/z[j] = !/' logprob
bug plain 'head: entropy of the first turn'     's/k < h.V \&\& h.entropy; k \+= .*\) \{/k < h.V \&\& h.entropy; k += h.V) {/' logprob
bug plain 'head: entropy without its log'       's/plogp \+= (.*) \* \(z\[j\] - l\);/plogp += \1 * z[j];/' logprob
bug plain 'head: rows gathered from elsewhere'  's/from\[\(from_row \? from_row\[i\] : i\)/from[i/' logprob
bug plain 'head: columns of a row left out'     's/size_t c = threadIdx.x; c < C; c \+= 128/size_t c = threadIdx.x; c < C; c += 256/' logprob
bug plain 'value: what was there is lost'       '/value_backward_kernel/,/^}/s/if \(accumulate\) load/if (false) load/' value
bug asan  'value: a row that is not there'      '/KERNEL.* value_backward_kernel/,/^}/s/if \(n >= N\) return;//' value
bug plain 'head: sums not scaled anew'          's/sum \*= __expf\(top - best\);//' logprob
bug plain 'head: overwritten before all have read' 's/if \(sizeof\(A\) < sizeof\(Z\)\) __syncthreads\(\);//' logprob
bug tsan  'head: the target read too late' \
    's/logp\[n\] = at_target - lse/logp[n] = head_z(mine, target, h) - lse/' logprob
bug plain 'head: places of the first chunk'     's/h.first = first;/h.first = 0;/' logprob
bug plain 'head: logits of the first chunk' \
    's/: \(const A \*\)hidden \+ first \* C;/: (const A *)hidden;/' logprob
bug plain 'head: only the last chunk teaches'   's/accumulate \|\| first \? to : NULL/accumulate ? to : NULL/' logprob
bug plain 'head: leading dimension of dlogits'  's/turned\(dlogits \+ v, width\)/turned(dlogits + v, h.ld)/' logprob
bug plain 'head: the last words do not learn'   's/v < V \&\& dw; v \+=/v < even \&\& dw; v +=/' logprob
bug plain 'head: dw of the first words twice'   's/turned\(dlogits \+ v, width\)/turned(dlogits, width)/' logprob
bug asan  'head: rows read behind the last of w' 's/if \(row < rows\) load_weights/load_weights/' logprob
bug plain 'head: rows put back elsewhere' \
    's/\(A \*\)dhidden, row, dx_rows/(A *)dhidden, NULL, dx_rows/' logprob
bug plain 'head: rows left out keep what lay there' 's/if \(h.row \&\& dhidden\) CUDA.*//' logprob
bug plain 'head: the host reads the device' \
    's/h.row \? head.rows : N, V/h.row ? h.row[0] < 0 ? 1 : head.rows : N, V/' logprob
export CUDA_CPU_ASYNC=1             # the GPU is as late as it may be
bug plain 'head: a kernel on no stream' \
    's/(head_backward_kernel<Z, A><<<rows, head_threads\(h\)), 0, STREAM/\1/' logprob
unset CUDA_CPU_ASYNC

# ---- embedding, norms, learning ----
cases=
bug plain 'embedding: the last place of a run lost' 's/i < end; i\+\+\) \{/i < end - 1; i++) {/' embed
bug plain 'embedding: a row of several runs added by each' 's/\(r > 0 \&\& o\.row\[r - 1\] == o\.row\[r\]\)/false/' embed
bug asan  'embedding: a place that is not there' '/embed_kernel\(float/,/const int row/s/if \(n >= N\) return;//' embed
bug plain 'embedding: stride of the positions'  's/positions\[n\] \* C \+ c, C - c/positions[n] * (C - 1) + c, C - c/' embed
bug plain 'embedding: columns behind the 1024th' 's/c < C; c \+= 128 \* 8/c < min(C, 1024); c += 128 * 8/' embed
bug asan  'embedding: past the end of a row'    's/store_up_to_8\(to \+ c, sum, C - c/store_up_to_8(to + c, sum, 8/' embed
bug plain 'norms: numbers beyond the row' \
    's/square \+= \(i \* W \+ t\) \* 8 \+ j < C \? x\[i\]\[j\] \* x\[i\]\[j\] : 0/square += x[i][j] * x[i][j]/' layernorm
bug plain 'norms: the bf16 copy of dres forgotten' 's/if \(copy\) store_up_to_8/if (false) store_up_to_8/' layernorm
bug plain 'norms: the sums of another team'     's/sum \+= x\[i \* 2 \* SUMS\]/sum += x[i * SUMS]/' layernorm
bug tsan  'norms: teams added before they are done' '/^    if \(!part\) return;/{n;s/__syncthreads\(\);//}' layernorm
bug plain 'norms: a group does not wait for others' 's/last_of\(groups, /last_of(1, /' layernorm
bug tsan  'norms: the last sum overtaken'        's/__syncthreads\(\); +\/\* the last call.s readers are done.*//' layernorm
bug tsan  'norms: warps added before they are done' \
    '/== 0\) part\[threadIdx.x \/ 32\] = x/{n;s/__syncthreads\(\);//}' layernorm
bug tsan  'norms: counted before it is seen'     '/what this thread wrote is seen/s/__threadfence\(\);//' layernorm
bug plain 'qk_norm: each row of qkv has one group' 's/ \+ n % groups \* C;/;/' qk_norm
bug plain 'qk_norm: of q, where k was meant'    's/A \*x = \(A \*\)qkv \+ s\.col;/A *x = (A *)qkv;/' qk_norm
bug plain 'qk_norm: the gradient of a packed row' 's/load_up_to_8\(g\[i\], dout \+ at \+ c/load_up_to_8(g[i], dout + n * C + c/' qk_norm
bug plain 'qk_norm: what is kept is not all'    's/saved \+ n \* C \+ c, x\[i\], C - c/saved + n * C + c, x[i], C - c - 1/' qk_norm
bug asan  'qk_norm: kept as wide as qkv'        's/saved \+ n \* C \+ c/saved + at + c/' qk_norm
bug asan  'qk_norm: 16 bytes at odd places'     's/all_wide\(width \| s\.ld \| s\.col, /all_wide(width, /' qk_norm
bug plain 'post_norm: the stream of the first row' 's/bias \+ n \* bias_ld \+ c/bias + c/' post_norm
bug plain 'post_norm: the stream is lost'       's/w, \(const float \*\)res, C, eps/w, NULL, C, eps/' post_norm
bug plain 'stream: the copy forgotten'          '/KERNEL.* stream_backward_kernel/,/^}/s/if \(copy\)/if (false)/' stream
bug plain 'stream: the gradient before is lost' '/KERNEL.* stream_backward_kernel/,/^}/s/x\[j\] \+= y\[j\]/x[j] = y[j]/' stream
bug asan  'stream: past the end'                '/KERNEL.* stream_backward_kernel/,/^}/s/min\(n - i, \(size_t\)8\)/8/' stream
bug asan  'stream: the copy begins at an odd place' 's/x, left, n % 8 == 0\)/x, left, true)/' stream
bug plain 'stream: the last numbers stay behind' 's/n % 8 \? 1 : 8;/8;/' stream
bug plain 'learning: moments of another tensor' 's/\*moment2 = v \+ \(t\.offset - first\)/*moment2 = v/' adamw
bug plain 'learning: corrected for the step before' 's/pow\(r\.beta2, state->step\)/pow(r.beta2, state->step - 1)/' adamw
bug plain 'learning: a step left out moves weights' 's/a->skip = state->skip/a->skip = false/' adamw
bug plain 'learning: the first 1024 sums'       's/; i \+= 1024\) s \+= sum/ \&\& i < 1024; i += 1024) s += sum/' adamw
bug plain 'learning: the host reads the device' \
    's/adamw_judge_kernel<<<1, 1, 0, STREAM>>>/if (state->skip) return;\n    adamw_judge_kernel<<<1, 1, 0, STREAM>>>/' adamw
bug plain 'learning: vectors decay'             's/t\.decays \? a\.decay : 0/a.decay/' adamw
bug plain 'learning: past the end of a tensor' \
    's/\* 8; i < t\.size;/* 8; i < t.size + 16;/' adamw
bug plain 'learning: moments rounded to nearest' 's/chance >> shift \& 0xFFFF/0x8000/' adamw
bug plain 'learning: a piece that nobody moves' 's/i \+= gridDim.x \* 2048/i += gridDim.x * 4096/' adamw

# ---- speaking ----
cases=cache
bug plain 'cache: rows closer than they are'     's/rows\[token\] \* T \+ positions/rows[token] * (T - 1) + positions/' cache
bug asan  'cache: a token that is not there'     's/if \(token >= n\) return;//' cache
bug plain 'cache: a key too many'               's/seen = positions\[n\] \+ 1, first/seen = positions[n] + 2, first/' cache
bug plain 'cache: blocks added as they are'     's/c = expf\(__ldcg\(x\) - m\);/c = 1;/' cache
bug plain 'cache: a block too few is waited for' 's/last_of\(blocks, \&cache_done/last_of(blocks - 1, \&cache_done/' cache
bug plain 'cache: the wrong key head'           's/\(size_t\)head \* D;/(size_t)(head \/ 2) * D;/' cache
bug tsan  'cache: scores read before they are there' 's/__syncwarp\(\); +\/\* scores are there.*//' cache
bug tsan  'cache: weights read before they are there' 's/__syncwarp\(\); +\/\* e and l are there.*//' cache
bug plain 'cache: a head of the next group'     's/min\(h, heads - 1\) \* D/h * D + D/' cache
bug plain 'speaking: who is silent goes on'     's/if \(who->left <= 0\) return;/if (who->left < -99) return;/' speak
bug plain 'speaking: chance does not go on'     's/who->rng = rng;//' speak
bug plain 'speaking: one more than top-k'       's/limit_for<false>\(p, V, o->top_k - 1\)/limit_for<false>(p, V, o->top_k)/' speak
bug plain 'speaking: the upper half of a sum lost' 's/\(u64\)high\[255 - i\] << 32 \| low/(u64)0 | low/' speak
bug plain 'speaking: a carry lost'              's/\(unsigned\)\(w >> 32\) \+ carry/(unsigned)(w >> 32)/' speak
bug tsan  'speaking: sums not yet 0'            '/low\[i\] = high\[i\] = 0;/{n;s/__syncthreads\(\);//}' speak
bug tsan  'speaking: sums cleared while they are read' \
    '/limit_for\(/,/^}/s/__syncthreads\(\); +\/\* all have read the sums of before.*//' speak
bug tsan  'speaking: sums read before they are there' '/if \(w >> 32 \|\| carry\) atomicAdd/{n;n;s/__syncthreads\(\);//}' speak
bug tsan  'speaking: weights read before they are there' 's/__syncthreads_or\(wrong/(wrong/' speak
bug tsan  'speaking: stretches added before they are there' '/if \(lane == 0\) of_warp/{n;s/__syncthreads\(\);//}' speak
bug asan  'speaking: words behind the last'     's/i < each \&\& v < V \&\& /i < each \&\& /' speak
bug plain 'speaking: the graph of the call before' 's/if \(!last \|\| cudaGraphExecUpdate.*/if (!last) {/' speak
bug plain 'speaking: NaN is spoken'             's/wrong \|= .*;//' speak

finish
