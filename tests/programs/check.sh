#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the example programs for a few steps each, and with bad input:  check.sh FOLDER_OF_PROGRAMS MODEL
set -uo pipefail
bin=$1
model=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
passed=0
failed=0

ok() { echo "passed: $1"; passed=$((passed + 1)); }
bad() { echo "FAILED: $1"; failed=$((failed + 1)); }

# works NAME COMMAND..: exits with 0
works() {
    local name=$1
    shift
    if "$@" >out 2>err; then ok "$name"; else bad "$name"; cat err; fi
}

# refused NAME TEXT COMMAND..: exits with a status that is not 0 and one line on stderr that has the text
refused() {
    local name=$1 text=$2
    shift 2
    if "$@" >out 2>err; then bad "$name: exit status 0"; return; fi
    if [ "$(wc -l <err)" != 1 ] || ! grep -qF -- "$text" err; then bad "$name"; cat err; else ok "$name"; fi
}

is_png() { if [ "$(head -c 4 "$1" 2>/dev/null | tail -c 3)" = PNG ]; then ok "$1 is a picture"; else bad "$1 is a picture"; fi; }
same() { if cmp -s "$1" "$2"; then ok "$3"; else bad "$3"; fi; }

works "sample" "$bin/sample" --model "$model" --count 5 --batch 2 --steps 3 --guidance 2 --threads 1 --out a.png --strip strip.png --npy a.npy
is_png a.png
is_png strip.png
works "sample, other batch and threads" "$bin/sample" --model "$model" --count 5 --batch 5 --steps 3 --guidance 2 --threads 3 --out b.png --npy b.npy
same a.npy b.npy "pictures do not depend on the batch or the threads"
for sampler in ddpm euler heun dpmpp_2m; do
    works "sample with $sampler" "$bin/sample" --model "$model" --count 2 --steps 3 --sampler $sampler --class 1 --out $sampler.png
done
works "sample in bf16" "$bin/sample" --model "$model" --count 3 --batch 2 --steps 3 --precision bf16 --threads 1 --out c.png --npy c.npy
works "sample in bf16, other batch and threads" "$bin/sample" --model "$model" --count 3 --steps 3 --precision bf16 --threads 3 --out d.png --npy d.npy
same c.npy d.npy "pictures in bf16 do not depend on the batch or the threads"
works "sample with karras steps" "$bin/sample" --model "$model" --count 2 --steps 3 --sampler dpmpp_2m --schedule karras --out karras.png
works "examples/run.sh" env ITO_SAMPLE="$bin/sample" bash "$here/../../examples/run.sh" --steps 2 --out run.png
is_png run.png
works "examples/run.sh -h" env ITO_SAMPLE="$bin/sample" bash "$here/../../examples/run.sh" -h
grep -q "The pictures are in" out && bad "examples/run.sh -h draws nothing" || ok "examples/run.sh -h draws nothing"
works "sample --help" "$bin/sample" --help
grep -q Example out && ok "--help has an example" || bad "--help has an example"
cp -r "$model" tuned
algorithms=tuned/unet/ito_algorithms.json
works "sample --tune" "$bin/sample" --model tuned --count 2 --steps 2 --tune --threads 2 --out tuned.png --npy tuned.npy
grep -q "$algorithms: a step takes .* ms by the cost model, .* ms by timing" out && ok "--tune says what it found" || bad "--tune says what it found"
grep -q '"lanes"' $algorithms && ok "--tune keeps what it found" || bad "--tune keeps what it found"
works "sample with the algorithms that were kept" "$bin/sample" --model tuned --count 2 --steps 2 --batch 1 --threads 1 --out again.png --npy again.npy
same tuned.npy again.npy "pictures with kept algorithms do not depend on the batch or the threads"
sed -i 's/"lanes"/"lines"/' $algorithms
refused "a damaged file of algorithms" $algorithms "$bin/sample" --model tuned --count 1 --steps 1
rm $algorithms
refused "timing what has no choice" "--tune" "$bin/sample" --model tuned --tune --precision exact
[ ! -e $algorithms ] && ok "a refused --tune writes nothing" || bad "a refused --tune writes nothing"
works "minimal" "$bin/minimal" "$model"
is_png minimal.png
works "one_model_every_sampler" "$bin/one_model_every_sampler" --quick --model "$model" --out samplers.png
is_png samplers.png
grep -q "^mixture,DPM-Solver++ 2M,16," out && ok "every point is printed" || bad "every point is printed"
works "two_moons" "$bin/two_moons" --steps 20 --out moons.png
grep -qx moons.png out && ok "two_moons prints its path" || bad "two_moons prints its path"
is_png moons.png
works "cld" "$bin/cld" --updates 20 --count 50 --steps 10 --out cld.png
is_png cld.png
works "score_sde" "$bin/score_sde" --updates 5 --count 50 --steps 5 --grid 5 --out score_sde.png
is_png score_sde.png

refused "no model" nowhere "$bin/sample" --model nowhere
refused "no steps" steps "$bin/sample" --model "$model" --steps 0
refused "no pictures" count "$bin/sample" --model "$model" --count 0
refused "negative batch" batch "$bin/sample" --model "$model" --batch -1
refused "class out of range" "0 to 9" "$bin/sample" --model "$model" --class 10
refused "unknown precision" precision "$bin/sample" --model "$model" --precision fp8
refused "unknown sampler" sampler "$bin/sample" --model "$model" --sampler magic
refused "karras with ddim" karras "$bin/sample" --model "$model" --schedule karras
refused "absurd threads" threads "$bin/sample" --model "$model" --threads -3
refused "a folder that cannot be written" out.png "$bin/sample" --model "$model" --count 1 --steps 1 --out none/out.png

refused "a picture that is none" "does not end in .png" "$bin/sample" --model "$model" --out a.jpg
refused "a negative seed" seed "$bin/sample" --model "$model" --seed -1
refused "more pictures than memory" "--count 100000000000 needs about" "$bin/sample" --model "$model" --count 100000000000
refused "more pictures than there are numbers" "memory" "$bin/sample" --model "$model" --count 9000000000000000000
refused "minimal without its model" nowhere "$bin/minimal" nowhere

mkdir data empty
mv a.npy data/images.npy
tiny=(--channels 8,16 --groups 4 --head-width 8 --attention-at 16 --batch 2 --checkpoint-every 2 --sample-every 0 --threads 2)
works "train" "$bin/train" --data data --out whole --steps 6 "${tiny[@]}"
works "train, first part" "$bin/train" --data data --out part --steps 6 "${tiny[@]}"
is_png whole/samples.png
is_png whole/loss.png
same whole/model/unet/diffusion_pytorch_model.safetensors part/model/unet/diffusion_pytorch_model.safetensors "training is reproducible"
works "sample from the trained model" "$bin/sample" --model whole/model --count 2 --steps 2 --out c.png
works "train on" "$bin/train" --data data --out part --steps 8 --resume "${tiny[@]}"
"$bin/train" --data data --out long --steps 1000000 "${tiny[@]}" >out 2>err &
long=$!
for _ in $(seq 100); do [ -e long/checkpoint.safetensors ] && break; sleep 0.2; done
kill -INT $long
wait $long
[ $? = 130 ] && grep -q resume err && ok "an interrupted run says how to go on" || bad "an interrupted run says how to go on"
[ -e long/model/model_index.json ] && ok "an interrupted run keeps its model" || bad "an interrupted run keeps its model"
works "train in one go" "$bin/train" --data data --out eight --steps 8 --final-lr 1 "${tiny[@]}"
works "train half" "$bin/train" --data data --out halves --steps 4 --final-lr 1 "${tiny[@]}"
works "train the other half" "$bin/train" --data data --out halves --steps 8 --final-lr 1 --resume "${tiny[@]}"
same eight/model/unet/diffusion_pytorch_model.safetensors halves/model/unet/diffusion_pytorch_model.safetensors "a resumed run gives the same bits"
same eight/loss.csv halves/loss.csv "a resumed run gives the same losses"
refused "a run that is there" --resume "$bin/train" --data data --out whole --steps 6 "${tiny[@]}"
refused "resuming with another batch" "with --batch 2, not 3" "$bin/train" --data data --out whole --resume --steps 8 "${tiny[@]/#2/3}"
refused "resuming another prediction" prediction_type "$bin/train" --data data --out whole --resume --steps 8 --prediction epsilon "${tiny[@]}"
refused "nothing to resume" checkpoint "$bin/train" --data data --out fresh --resume "${tiny[@]}"
refused "an empty data folder" empty "$bin/train" --data empty --out fresh "${tiny[@]}"
refused "no updates" steps "$bin/train" --data data --out fresh --steps 0 "${tiny[@]}"
refused "groups that do not divide" groups "$bin/train" --data data --out fresh --channels 6,16 --groups 4
mkdir held_out
{ printf '\0\0\10\3\0\0\0\2\0\0\0\34\0\0\0\34'; head -c 1568 /dev/zero; } >held_out/t10k-images-idx3-ubyte
{ printf '\0\0\10\1\0\0\0\2'; head -c 2 /dev/zero; } >held_out/t10k-labels-idx1-ubyte
works "likelihood" "$bin/likelihood" --model "$model" --data held_out --count 2 --batch 1 --steps 3 --tolerance 1
grep -q "bits/dim" out && ok "likelihood prints bits per dimension" || bad "likelihood prints bits per dimension"
refused "likelihood of data without a held-out part" held-out "$bin/likelihood" --model "$model" --data data
refused "likelihood of nothing" count "$bin/likelihood" --model "$model" --data data --count 0
refused "no samples of cld" count "$bin/cld" --count 0
refused "no updates of two_moons" steps "$bin/two_moons" --steps 0
refused "data without a held-out part" held-out "$bin/evaluate" --model "$model" --data data

# what is said before any work
refused "a folder's name without a model" nowhere/model_index.json "$bin/sample" --model nowhere
refused "a file of the model" "name its folder" "$bin/sample" --model "$model/model_index.json"
refused "the folder around a model" "whole/model" "$bin/sample" --model whole
refused "a picture without a name" "no name" "$bin/sample" --model "$model" --out .png
works "a picture's name in capitals" "$bin/sample" --model "$model" --count 1 --steps 1 --out CAPITALS.PNG
refused "two pictures under one name" "same file" "$bin/sample" --model "$model" --out same.png --strip ./same.png
refused "an absurd scale" "--scale" "$bin/sample" --model "$model" --scale 100000
refused "a scale for more numbers than a PNG has" "--scale 64" "$bin/sample" --model "$model" --count 1000 --scale 64
refused "guidance that is no number" "--guidance" "$bin/sample" --model "$model" --guidance nan
refused "absurd guidance" "--guidance" "$bin/sample" --model "$model" --guidance 1e30
refused "infinite eta" "--eta" "$bin/sample" --model "$model" --eta inf
refused "a negative seed, in short" "-1 is negative" "$bin/train" --data data --out fresh --seed -1
refused "output that cannot be written" "cannot be written" sh -c "'$bin/sample' --model '$model' --count 1 --steps 1 --out full.png >/dev/full"
refused "help that cannot be written" "cannot be written" sh -c "'$bin/sample' --help >/dev/full"
for bad_option in "--warmup -1" "--clip -1" "--clip nan" "--min-snr -2" "--final-lr 1.5" "--lr inf" "--sample-every -1" "--size 33" \
    "--guidance nan" "--weight-decay -1" "--resize -1"; do
    # shellcheck disable=SC2086
    refused "train $bad_option" "${bad_option% *}" "$bin/train" --data data --out fresh --channels 8,16 --groups 4 $bad_option
done
refused "guidance without a null class" "--drop-label" "$bin/train" --data data --out fresh --drop-label 0 --guidance 2
refused "a list with a word in it" "--channels" "$bin/train" --data data --out fresh --channels 8,b
refused "a picture for a data set" "one picture" "$bin/train" --data a.png --out fresh
refused "a size below the pictures'" "--resize" "$bin/train" --data data --out fresh --channels 8,16 --groups 4 --size 16
refused "resizing arrays" "--resize" "$bin/train" --data data --out fresh --channels 8,16 --groups 4 --resize 16
refused "resuming with nothing left" "larger --steps" "$bin/train" --data data --out eight --resume --steps 8 --final-lr 1 "${tiny[@]}"
cp -r whole model_only && rm model_only/checkpoint.safetensors
refused "a model that is there" "model_only/model exists" "$bin/train" --data data --out model_only --steps 6 "${tiny[@]}"
: >in_the_way
refused "a folder that cannot be made" "--out in_the_way/run" "$bin/train" --data data --out in_the_way/run --steps 1 "${tiny[@]}"
[ ! -e fresh ] && ok "what is refused leaves nothing" || bad "what is refused leaves nothing"
mkdir mixed
cp a.png strip.png mixed
refused "pictures of mixed size" "--resize" "$bin/train" --data mixed --out mixed_run --steps 1 "${tiny[@]}"
works "pictures of mixed size, resized" "$bin/train" --data mixed --resize 12 --out mixed_run --steps 1 "${tiny[@]}"
refused "no epochs" "--epochs" "$bin/evaluate" --model "$model" --data held_out --epochs 0
cp -r "$model" of_28
sed -i 's/"sample_size": 32/"sample_size": 28/' of_28/unet/config.json
refused "a model of a size that the classifier cannot take" "28 x 28" "$bin/evaluate" --model of_28 --data held_out
refused "a classifier in no folder" "there is no folder" "$bin/evaluate" --model "$model" --data held_out --classifier none/c.safetensors
refused "a classifier that is a picture" "does not end in .safetensors" "$bin/evaluate" --model "$model" --data held_out --classifier a.png
"$bin/sample" --model "$model" --count 40 --batch 2 --steps 100 --threads 1 --out stopped.png >out 2>err &
drawing=$!
sleep 4
kill -INT $drawing
wait $drawing
[ $? = 130 ] && grep -q "finished pictures of 40" err && ok "an interrupted sample says what it has" || { bad "an interrupted sample says what it has"; cat err; }
is_png stopped.png
mkdir many
{ printf '\0\0\10\3\0\0\0\74\0\0\0\34\0\0\0\34'; head -c 47040 /dev/zero; } >many/t10k-images-idx3-ubyte
"$bin/likelihood" --model "$model" --data many --count 61 --batch 60 --steps 1 --method bound >out 2>err
grep -q "fewer than --count 61" err && ok "likelihood says that the data are fewer" || bad "likelihood says that the data are fewer"
"$bin/likelihood" --model "$model" --data many --count 60 --batch 1 --steps 20 --method bound --threads 1 >out 2>err &
counting=$!
sleep 3
kill -INT $counting
wait $counting
[ $? = 130 ] && grep -q "of 60 pictures" err && grep -q "bits/dim" out && ok "an interrupted likelihood prints its mean" ||
    { bad "an interrupted likelihood prints its mean"; cat err; }

truncated=broken/unet/diffusion_pytorch_model.safetensors
cp -r whole/model broken
head -c 1000 whole/model/unet/diffusion_pytorch_model.safetensors >$truncated
refused "truncated weights" "$truncated" "$bin/sample" --model broken

echo "$passed passed, $failed failed"
[ $failed = 0 ]
