#!/bin/sh
# lock.sh UV: writes the versions and hashes of the packages in the image, for all platforms.
# `default.txt` has all of them, with PyTorch's default build. `without-torch.txt` leaves it out,
# for images with its CPU wheels, which are on another index. `with-extras.txt` adds the packages for
# OpenTelemetry, MLflow, PostgreSQL and buckets, and `with-ray.txt` adds Ray to those. `predict.txt`
# and `predict-with-extras.txt` are for images that do not train: without PyTorch, without the packages
# that only PyTorch needs, and without MLflow, which logs trainings.
set -eu

uv=$1
folder=$(dirname "$0")/lock

compile_project() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
        --custom-compile-command "make lock" "$@" >/dev/null
}

compile() {
    compile_project "$@" pyproject.toml client/pyproject.toml
}

compile --output-file "$folder/default.txt"
left_out=$(sed -nE 's/^((torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==).*/\2/p' \
    "$folder/default.txt" | sed 's/^/--no-emit-package /')
# shellcheck disable=SC2086  # one word each
compile $left_out --output-file "$folder/without-torch.txt"
extras="--extra otel --extra mlflow --extra postgres --extra s3 --extra gs"
# shellcheck disable=SC2086
compile $left_out --constraint "$folder/default.txt" $extras --output-file "$folder/with-extras.txt"
# shellcheck disable=SC2086
compile $left_out --constraint "$folder/with-extras.txt" $extras --extra ray \
    --output-file "$folder/with-ray.txt"

without=$(mktemp -d)
trap 'rm -rf "$without"' EXIT
sed -E '/^ *"torch(vision)?[<>=]/d' pyproject.toml > "$without/pyproject.toml"
# The build of the image installs the project itself with it. PyTorch needs it, too.
sed -nE 's/.*"(setuptools[<>=][^"]*)".*/\1/p' pyproject.toml > "$without/build.txt"

compile_predict() {
    compile_project --constraint "$folder/with-extras.txt" "$@" \
        "$without/pyproject.toml" client/pyproject.toml "$without/build.txt"
}

compile_predict --output-file "$folder/predict.txt"
compile_predict --extra otel --extra postgres --extra s3 --extra gs \
    --output-file "$folder/predict-with-extras.txt"
