#!/bin/sh
# launch.sh: a driver as many processes (built with MPI=1 or MULTI_GPU=1), by mpirun, or by srun within a job of slurm's.
#
#     tools/launch.sh -n 4 ./train_gpt --zero 1                          four ranks on this machine
#     tools/launch.sh --hosts a:4,b:4 ./train_gpt --out /shared/base     four on each of two machines that share folders
#     tools/launch.sh -n 8 --elastic 3 ./train_gpt --save-every 100      a lost rank does not end the run
#
# Ctrl-C (or SIGTERM) once: all ranks finish the step and save; twice: they are killed. --elastic N: up to N times a run that has
# lost ranks (killed, hung, machine gone) goes on from its last checkpoint with those that are left: the step keeps its sequences,
# they are dealt anew. A wrong command line, or an error that the run reports itself, ends it: it would come again.
say() { echo "launch: $*" >&2; }
refuse() { printf 'error: %s\n  try: %s\n' "$1" "$2" >&2; exit 2; }
number() { case $2 in '' | *[!0-9]*) refuse "$1 wants a number, not '$2'" "$1 4" ;; esac; }

n= hosts= elastic=0
while [ $# -gt 0 ]; do
    case $1 in
    -n | -np) number "$1" "$2"; n=$2; shift 2 ;;
    --hosts) hosts=$2; shift 2 ;;
    --elastic) number "$1" "$2"; elastic=$2; shift 2 ;;
    -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --) shift; break ;;
    -*) refuse "launch.sh has no flag $1" "tools/launch.sh -n 4 [--hosts a:4,b:4] [--elastic 3] ./train_gpt ..." ;;
    *) break ;;
    esac
done
# slots HOSTS: how many ranks "a:4,b:4" has room for.
slots() { echo "$1" | tr ',' '\n' | awk -F: '{ n += NF > 1 ? $2 : 1 } END { print n + 0 }'; }
[ -n "$n" ] || [ -z "$hosts" ] || n=$(slots "$hosts")
n=${n:-${SLURM_NTASKS:-0}}
[ "$n" -ge 1 ] || refuse "how many ranks?" "tools/launch.sh -n 4 ./train_gpt ..."
[ $# -gt 0 ] || refuse "no program to start" "tools/launch.sh -n $n ./train_gpt ..."
command -v "$1" > /dev/null || refuse "there is no program $1" "make train_gpt MPI=1"
starter=mpirun
[ -z "$SLURM_JOB_ID" ] || ! command -v srun > /dev/null || starter=srun
command -v $starter > /dev/null || refuse "there is no mpirun" "apt-get install openmpi-bin"

# ---- what the command line says: where the result goes, and who shares a layer ----
out= overwrite= resume= tensors=1 before=
for a in "$@"; do
    case $before in
    --out | -out | -o | --o) out=$a ;;
    --tensor-parallel | --tensor_parallel) tensors=$a ;;
    esac
    case $a in
    --out=* | -out=* | -o=*) out=${a#*=} ;;
    --tensor-parallel=*) tensors=${a#*=} ;;
    --overwrite) overwrite=1 ;;
    --resume) resume=1 ;;
    --dump-batches*) [ "$elastic" -eq 0 ] || refuse "--dump-batches begins with the first step, --elastic may not" "one of them" ;;
    esac
    before=$a
done
temporary=$(mktemp -d) || exit 1
trap 'rm -rf "$temporary"' EXIT
[ "$elastic" -eq 0 ] || [ -n "$out" ] || out=$("$1" --help 2> /dev/null < /dev/null | sed -n 's/^ *--out, -o TEXT .*(\(.*\))$/\1/p')
[ "$elastic" -eq 0 ] || [ -n "$out" ] || refuse "--elastic wants to know where the result goes" "--out FOLDER"
made=1
[ ! -e "$out" ] || made=
checkpoints() { ls -di "$out"/checkpoint-*/trainer_state.json 2> /dev/null; }      # complete ones, with their inodes
checkpoints > "$temporary/old"
touch "$temporary/began"

# ---- one try ----
pid= signals=0
forward() {                 # mpirun forwards SIGUSR1 and waits; after SIGINT and SIGTERM it kills within a second
    signals=$((signals + 1)) again=1
    [ -n "$pid" ] || return
    if [ $signals -eq 1 ]; then kill -s USR1 "$pid"; else kill -s TERM "$pid"; fi
}
trap forward INT TERM HUP
# start N PROGRAM...: leaves its exit code in $code, its stderr in $temporary/log, too.
start() {
    ranks=$1; shift
    if [ $starter = srun ]; then set -- srun -n "$ranks" --kill-on-bad-exit=1 "$@"
    else
        for name in OMP_NUM_THREADS OMP_WAIT_POLICY GOMP_SPINCOUNT LLM_AMX NCCL_DEBUG NCCL_SOCKET_IFNAME; do
            eval "[ -z \"\$$name\" ]" || set -- -x $name "$@"
        done
        if [ -n "$hosts" ]; then set -- --host "$hosts" "$@"; else set -- --oversubscribe "$@"; fi
        [ "$(id -u)" -ne 0 ] || set -- --allow-run-as-root "$@"
        set -- mpirun -np "$ranks" --bind-to none "$@"
    fi
    rm -f "$temporary/pipe"; mkfifo "$temporary/pipe" || exit 1
    tee "$temporary/log" < "$temporary/pipe" >&2 & tee=$!
    setsid "$@" 2> "$temporary/pipe" < /dev/null & pid=$!       # the terminal's Ctrl-C is ours alone
    again=1
    while [ -n "$again" ]; do again=; wait $pid; code=$?; done
    pid=
    wait $tee
}
# What was lost, a line each.
losses() {
    sed -n -e 's/^.*noticed that process rank \([0-9]*\) with PID [0-9]* on node \([^ ]*\) exited on \(signal [0-9]* ([^)]*)\).*/rank \1 on \2: \3/p' \
           -e 's/^ORTE \(has lost communication\|was unable to reliably start\).*/the connection to a machine/p' \
           -e 's/^srun: error: Node failure on \([^ ]*\).*/machine \1/p' \
           -e 's/^srun: error: \([^:]*\): task \([0-9]*\): \(Killed.*\|.*dumped.*\|.*fault.*\)/rank \2 on \1: \3/p' \
           "$temporary/log" | sort -u
    grep -q '^error: rank .* gave no answer' "$temporary/log" && echo "a rank that gave no answer"
    for host in $(echo "$hosts" | tr ',' ' '); do               # who is still there?
        host=${host%:*}
        [ "$host" = "$(hostname)" ] || timeout 15 ${OMPI_MCA_plm_rsh_agent:-ssh} "$host" true < /dev/null > /dev/null 2>&1 || echo "machine $host"
    done
}
# The newest complete checkpoint that this run wrote.
newest() {
    checkpoints | while read -r inode file; do
        grep -qFx "$inode $file" "$temporary/old" && [ ! "$file" -nt "$temporary/began" ] && continue
        echo "${file%/trainer_state.json}"
    done | sort -t - -k 2 -V | tail -n 1
}
# resume PROGRAM...: the same command with --resume instead of --overwrite; restart: with --overwrite.
again_with() {
    flag=$1; shift
    for a in "$@"; do
        shift
        case $a in --overwrite | --resume) ;; *) set -- "$@" "$a" ;; esac
    done
    start "$n" "$@" $flag
}

# ---- the tries ----
start "$n" "$@"
try=0
while [ $code -ne 0 ] && [ $code -ne 2 ] && [ $signals -eq 0 ] && [ $try -lt "$elastic" ]; do
    lost=$(losses)
    if [ -z "$lost" ] && grep -q '^error: ' "$temporary/log"; then say "the run ended by an error of its own: not tried again"; break; fi
    if [ -z "$lost" ] && [ $code -lt 128 ]; then say "exit code $code, but nothing says that a rank was lost: not tried again"; break; fi
    before=$n count=$(echo "$lost" | grep -c '^rank\|^a rank')
    case $lost in *machine\ *) count=0 ;; esac           # its ranks went with it
    for host in $(echo "$lost" | sed -n 's/^machine //p'); do
        room=$(slots "$hosts")
        hosts=$(echo "$hosts" | tr ',' '\n' | grep -v -e "^$host\$" -e "^$host:" | tr '\n' ',' | sed 's/,$//')
        count=$((count + room - $(slots "$hosts")))
    done
    n=$((n - count)) n=$((n / tensors * tensors)) try=$((try + 1))
    say "try $try of $elastic: lost $(echo "${lost:-nothing that was named (exit code $code)}" | paste -s -d ';' -)"
    [ $n -ge 1 ] || { say "no ranks are left (of $before)"; break; }
    from=$(newest)
    if [ -n "$resume" ]; then how=--resume what="--resume"
    elif [ -n "$from" ]; then how=--resume what=$from
    elif [ -e "$out/config.json" ] && [ "$out/config.json" -nt "$temporary/began" ] && [ ! -e "$out/result.replaced" ]; then
        say "$out holds the result; what is said after it was lost"
        code=0
        break
    elif [ -n "$overwrite$made" ]; then how=--overwrite what="the beginning: there is no checkpoint (--save-every)"
    else how= what="the beginning: there is no checkpoint (--save-every)"
    fi
    say "goes on with $n of $before ranks from $what"
    again_with "$how" "$@"
done
[ $signals -eq 0 ] || [ $code -lt 128 ] || code=130
[ $code -eq 0 ] || [ $try -eq 0 ] || say "ended with exit code $code after $try tries"
exit $code
