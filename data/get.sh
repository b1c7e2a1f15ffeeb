#!/bin/sh
# get.sh: fetch public data sets and weights from their public homes. `sh data/get.sh` lists them.
# A file is loaded as FILE.part, checked, and renamed: what carries its final name is complete.
set -u

out=out/data
hf=${HF_ENDPOINT:-https://huggingface.co}            # a mirror can be named here
raw=${GITHUB_RAW:-https://raw.githubusercontent.com} # and here

usage() {
    cat <<'END'
usage: sh data/get.sh [--out DIR] NAME...        (default DIR: out/data)

  name                 size      what                                               for
  tinyshakespeare      1.1 MB    plays, one text                                    train_gpt --data
  tinystories-valid    22 MB     stories for children, the validation half          train_gpt --data
  tinystories          2.2 GB    the same, the training half                        train_gpt --data
  alpaca               23 MB     52,002 instructions                                train_sft --data
  hh-rlhf              30 MB     pairs of answers, harmless and helpful (gzipped)   train_rlhf --data
  gpt2                 551 MB    GPT-2 124M: weights and tokenizer                  --model
  smollm2-135m         272 MB    SmolLM2-135M: weights and tokenizer                --model
  smollm2-135m-chat    272 MB    SmolLM2-135M-Instruct                              --model

Read each set's licence at its home before you use it. HF_ENDPOINT and GITHUB_RAW name mirrors.
END
}

die() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

# load URL FILE: with curl or wget; a part that is there already is continued if the server can do that
load() {
    if command -v curl >/dev/null 2>&1; then
        if [ -s "$2" ] && curl -fL --retry 3 -C - -o "$2" "$1"; then return 0; fi
        curl -fL --retry 3 -o "$2" "$1"
    elif command -v wget >/dev/null 2>&1; then
        if [ -s "$2" ] && wget -c -O "$2" "$1"; then return 0; fi
        wget -O "$2" "$1"
    else
        die 'neither curl nor wget is here: install one of them'
    fi
}

# sum FILE: its sha256, or nothing when no program here computes one
sum() {
    if command -v sha256sum >/dev/null 2>&1; then sha256sum <"$1" | cut -d' ' -f1
    elif command -v shasum >/dev/null 2>&1; then shasum -a 256 <"$1" | cut -d' ' -f1
    fi
}

# get URL FILE [SIZE [SHA256]]: both checked where they are known
get() {
    file=$out/$2
    if [ -s "$file" ]; then
        printf '%s is there\n' "$file"
        return 0
    fi
    mkdir -p "$(dirname "$file")" || die "cannot make the folder of $file: choose another --out"
    printf 'fetching %s\n' "$1"
    load "$1" "$file.part" ||
        die "$1 could not be fetched: check the network and the disk, then run the same command again (it goes on)"
    [ -s "$file.part" ] || die "$1 came back empty: the file may have moved"
    size=$(wc -c <"$file.part" | tr -d ' ')
    if [ -n "${3:-}" ] && [ "$size" != "$3" ]; then
        rm -f "$file.part"
        die "$file has $size bytes, expected $3: it was changed at its home or on the way; nothing is kept"
    fi
    have=$(sum "$file.part")
    if [ -n "${4:-}" ] && [ -z "$have" ]; then
        printf 'warning: no sha256sum or shasum here: %s is not checked\n' "$file" >&2
    elif [ -n "${4:-}" ] && [ "$have" != "$4" ]; then
        rm -f "$file.part"
        die "$file has the sha256 $have, expected $4: it was changed at its home or on the way; nothing is kept"
    fi
    mv "$file.part" "$file" || die "cannot rename $file.part"
    printf '%s: %s bytes\n' "$file" "$size"
}

# model REPOSITORY FOLDER FILE...: a Hugging Face folder
model() {
    repository=$1 folder=$2
    shift 2
    for part in "$@"; do get "$hf/$repository/resolve/main/$part" "$folder/$part"; done
}

fetch() {
    case $1 in
    tinyshakespeare)
        get "$raw/karpathy/char-rnn/master/data/tinyshakespeare/input.txt" tinyshakespeare.txt 1115394 \
            86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed ;;
    tinystories-valid)
        get "$hf/datasets/roneneldan/TinyStories/resolve/main/TinyStoriesV2-GPT4-valid.txt" tinystories-valid.txt ;;
    tinystories)
        get "$hf/datasets/roneneldan/TinyStories/resolve/main/TinyStoriesV2-GPT4-train.txt" tinystories-train.txt ;;
    alpaca)
        get "$raw/tatsu-lab/stanford_alpaca/main/alpaca_data.json" alpaca_data.json ;;
    hh-rlhf)
        command -v gzip >/dev/null 2>&1 || die 'gzip is not here: install it'
        for set in harmless-base helpful-base; do
            for half in train test; do
                [ -s "$out/hh-rlhf/$set-$half.jsonl" ] && continue
                get "$hf/datasets/Anthropic/hh-rlhf/resolve/main/$set/$half.jsonl.gz" "hh-rlhf/$set-$half.jsonl.gz"
                packed=$out/hh-rlhf/$set-$half.jsonl.gz text=$out/hh-rlhf/$set-$half.jsonl
                gzip -dc "$packed" >"$text.part" || die "$packed can not be unpacked: remove it and try again"
                mv "$text.part" "$text" && rm "$packed"
            done
        done ;;
    gpt2)
        model openai-community/gpt2 gpt2 config.json generation_config.json tokenizer.json tokenizer_config.json \
            vocab.json merges.txt
        get "$hf/openai-community/gpt2/resolve/main/model.safetensors" gpt2/model.safetensors 548105171 ;;
    smollm2-135m)
        model HuggingFaceTB/SmolLM2-135M smollm2-135m config.json generation_config.json tokenizer.json \
            tokenizer_config.json model.safetensors ;;
    smollm2-135m-chat)
        model HuggingFaceTB/SmolLM2-135M-Instruct smollm2-135m-chat config.json generation_config.json \
            tokenizer.json tokenizer_config.json model.safetensors ;;
    *)
        printf "error: no data set is called '%s'\n\n" "$1" >&2
        usage >&2
        exit 2 ;;
    esac
}

names=
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage; exit 0 ;;
    --out)
        if [ -z "${2:-}" ]; then
            printf 'error: --out wants a folder\n' >&2
            exit 2
        fi
        out=$2
        shift ;;
    -*) printf "error: no flag is called '%s'\n\n" "$1" >&2; usage >&2; exit 2 ;;
    *) names="$names $1" ;;
    esac
    shift
done
if [ -z "$names" ]; then
    usage
    exit 0
fi
for name in $names; do fetch "$name"; done
