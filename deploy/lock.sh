#!/bin/sh
# lock.sh UV: writes the versions and hashes of the packages in the image, for all platforms.
# `default.txt` has all of them, with PyTorch's default build. `without-torch.txt` leaves it out,
# for images with its CPU wheels, which are on another index. `with-extras.txt` adds the packages for
# OpenTelemetry, MLflow, PostgreSQL and buckets, and `with-ray.txt` adds Ray to those.
set -eu

uv=$1
folder=$(dirname "$0")/lock

compile() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
        --custom-compile-command "make lock" "$@" pyproject.toml client/pyproject.toml >/dev/null
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
