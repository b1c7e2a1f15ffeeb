#!/bin/sh
# scaling.sh: how much faster two ranks of one thread are than one rank of one thread, on a machine with two quiet cores or more.
#     make build/mpi/train_gpt CFLAGS="-O3 -march=native" TESTFLAGS="-O3 -march=native" && tools/scaling.sh [more flags of train_gpt]
# Best of three runs each, of the tiny world's model: tokens a second of the fastest half of the steps.
bin=${BUILD:-build}/mpi/train_gpt
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
root=; [ "$(id -u)" -ne 0 ] || root=--allow-run-as-root
# speed RANKS FLAGS...: tokens a second
speed() {
    n=$1; shift
    for try in 1 2 3; do
        OMP_NUM_THREADS=1 mpirun $root --oversubscribe --bind-to core -np $n $bin --threads 1 --batch 8 --grad-accum 2 --steps 40 \
            --eval-every 0 --report off "$@" --out "$dir/$n-$try" > /dev/null 2> "$dir/log" || { tail -n 3 "$dir/log" >&2; exit 1; }
        tail -n +2 "$dir/$n-$try/log.csv" | cut -d, -f5 | sort -n | awk '{ x[NR] = $1 } END { print x[int(NR * 3 / 4)] }'
    done | sort -n | tail -n 1
}
for zero in 0 1 2 3; do
    one=$(speed 1 "$@") two=$(speed 2 --zero $zero "$@")
    rm -rf "$dir"/[12]-*
    awk -v z=$zero -v a=$one -v b=$two 'BEGIN { printf "ZeRO %d: 1 rank %d tokens/s, 2 ranks %d: x %.2f\n", z, a, b, b / a }'
done
