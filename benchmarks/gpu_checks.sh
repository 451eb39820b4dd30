#!/usr/bin/env bash
# Everything that needs a GPU, in one go, on a machine that has one.
#
#   benchmarks/gpu_checks.sh LFW [OUT]
#
# Each check has a file of its own in OUT (default: results), and a failure does not stop the others; the last
# lines say which passed. PYTHON is the interpreter, CHECK_SECONDS (default 600) the most a check may take.
# Exit code 0 where all passed, 1 where one failed, 2 without a GPU.
set -uo pipefail

faces=${1:?give a folder of faces, laid out NAME/NAME_0001.jpg}
out=${2:-results}
home=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$home/.venv/bin/python}
export PYTHONPATH=$home

if ! "$python" -c 'import sys; from facededup.devices import count_gpus; sys.exit(not count_gpus())'; then
    echo "no GPU: the driver shows none, so nothing was run" >&2
    exit 2
fi

mkdir -p "$out"
summary=$out/summary.txt
: >"$summary"
failed=0

check() { # NAME COMMAND...
    local name=$1 started=$SECONDS verdict=passed
    shift
    timeout "${CHECK_SECONDS:-600}" "$@" >"$out/$name.txt" 2>&1 || { verdict="FAILED ($?)" failed=1; }
    echo "$name: $verdict, $((SECONDS - started)) s" | tee -a "$summary"
}

check doctor "$python" -m facededup doctor --gpu --every-engine
check tests env FACEDEDUP_REQUIRE=gpu "$python" -m pytest -q -rs -m gpu "$home/tests"
for model in Dlib Facenet512; do
    for precision in float32 float16; do
        # The rate against the card's own, and 200 batches over which the memory must stay flat.
        check "load-$model-$precision" "$python" "$home/benchmarks/gpu_load.py" \
            --model "$model" --precision "$precision" --json "$out/load-$model-$precision.json"
    done
done
for precision in float32 float16; do
    for count in 1000000 10000000; do
        check "find-$count-$precision" "$python" "$home/benchmarks/cpu_vs_gpu.py" "$faces" --images 0 \
            --counts "$count" --dimensions 128 --precision "$precision" --out "$out/find-$count-$precision"
    done
done
for engine in pytorch tensorflow onnx; do
    check "index-$engine" "$python" "$home/benchmarks/cpu_vs_gpu.py" "$faces" --engine "$engine" \
        --counts 10000 100000 --out "$out/index-$engine"
done
for detector in mtcnn fastmtcnn; do
    # Fails where its package is not installed; both carry their weights.
    check "index-$detector" "$python" "$home/benchmarks/cpu_vs_gpu.py" "$faces" --detector "$detector" \
        --images 500 --counts 10000 --dimensions 128 --out "$out/index-$detector"
done

echo "results: $out"
exit $failed
