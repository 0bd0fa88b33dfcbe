# An argument, so that a release can pin a digest.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS data
COPY data/MNIST/raw/*.gz /data/MNIST/raw/
# Unpack at build time, since the root of a running container may be read-only. Make the files
# readable for all, here and below, since a checkout may be readable for its owner alone.
RUN gunzip /data/MNIST/raw/*.gz && chmod --recursive a+rX /data

FROM ${BASE} AS environment
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/mynet
COPY deploy/install-torch.sh deploy/lock/*.txt /build/

FROM environment AS dependencies
# If empty, the registry's default build, which uses NVIDIA GPUs and is some 4.8 GB larger.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN sh /build/install-torch.sh /opt/mynet/bin/python "${TORCH_INDEX}" /build/default.txt
# The packages that `make lock` pinned, by hash. The two wheels of PyTorch's index are pinned by
# version alone: they are not the registry's files, so only their origin is checked.
# pip tells whether torch is installed, since it cannot be imported before its dependencies are.
RUN lock=default; /opt/mynet/bin/pip show --quiet torch 2>/dev/null && lock=without-torch; \
    /opt/mynet/bin/pip install --quiet --no-deps --require-hashes --requirement "/build/$lock.txt" \
    && /opt/mynet/bin/pip check
# 1 adds OpenTelemetry, MLflow, PostgreSQL's driver and buckets; ray adds these, and Ray.
ARG EXTRAS=
RUN lock=with-extras; [ "${EXTRAS}" != ray ] || lock=with-ray; \
    [ -z "${EXTRAS}" ] || /opt/mynet/bin/pip install --quiet --no-deps --require-hashes \
    --requirement "/build/$lock.txt"

# Without PyTorch, and what only PyTorch needs.
FROM environment AS predict-dependencies
# Any value adds OpenTelemetry, PostgreSQL's driver and buckets.
ARG EXTRAS=
# The last step compiles the modules that it imports; the others would take 25 MB. The tests of the
# packages take 40 MB.
RUN /opt/mynet/bin/pip install --quiet --no-compile --no-deps --require-hashes \
    --requirement "/build/predict${EXTRAS:+-with-extras}.txt" \
    && /opt/mynet/bin/pip check \
    && find /opt/mynet/lib -type d \( -name tests -o -path '*/onnx/backend/test' \) -prune \
    -exec rm -rf {} +

FROM ${BASE} AS source
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY app app
COPY client client
COPY deploy/healthcheck deploy/serve /usr/local/bin/
RUN chmod --recursive a+rX app client models /usr/local/bin/healthcheck /usr/local/bin/serve

# Editable, since the service looks for the shipped checkpoints next to its source. The imports in
# the last stages prove that nothing is missing without the installation tools. They also write
# bytecode, which a running container cannot: the official image has none for the standard library,
# so each start would compile it.
FROM dependencies AS built
WORKDIR /app
ENV PATH=/opt/mynet/bin:$PATH
COPY --from=source /app /app
COPY --from=data /data data
RUN pip install --quiet --no-deps --no-build-isolation --editable ./client --editable . \
    && pip uninstall --quiet --yes setuptools pip \
    && python -m compileall -q app client/src

FROM predict-dependencies AS predict-built
WORKDIR /app
ENV PATH=/opt/mynet/bin:$PATH
COPY --from=source /app /app
# The archives, which are read only when weights are uploaded or errors are listed.
COPY data/MNIST/raw/*.gz data/MNIST/raw/
RUN chmod --recursive a+rX data \
    && pip install --quiet --no-deps --no-build-isolation --editable ./client --editable . \
    && pip uninstall --quiet --yes setuptools pip \
    && python -m compileall -q app client/src

FROM ${BASE} AS runtime
LABEL org.opencontainers.image.title="MyNet" \
      org.opencontainers.image.description="POST a handwritten digit, get the digit back; POST /train, and a better network goes live." \
      org.opencontainers.image.licenses="MIT"
WORKDIR /app
# A running container needs no installation tools.
RUN useradd --uid 10001 --home-dir /app --no-create-home --shell /usr/sbin/nologin mynet \
    && install --directory --owner mynet --group mynet var \
    && pip uninstall --quiet --yes --root-user-action ignore wheel setuptools pip \
    && rm -rf /usr/local/lib/python3.*/ensurepip
COPY --from=source /usr/local/bin/healthcheck /usr/local/bin/serve /usr/local/bin/
ENV PATH=/opt/mynet/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MYNET_HOST=0.0.0.0 \
    MYNET_AUTH=predict
VOLUME /app/var
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["healthcheck"]
# No entry point, since Amazon SageMaker runs the command `serve` (deploy/serve).
CMD ["mynet", "serve"]

# Predictions alone: `docker build --target predict`. It queues trainings for a service that has
# PyTorch and uses the same database.
FROM runtime AS predict
COPY --from=predict-built /opt/mynet /opt/mynet
COPY --from=predict-built /app /app
RUN python -c 'import pathlib, app.cli.main, app.main, app.server.server, app.versions.onnx_export, app.cli.remote; \
    import app.database.migrate, app.weights_import.worker, app.mnist.files as files; \
    files.read_test_images(pathlib.Path("data"))'
# A number, so that an orchestrator knows that the user is not root.
USER 10001:10001

FROM runtime
COPY --from=built /opt/mynet /opt/mynet
COPY --from=built /app /app
RUN python -c 'import pathlib, app.cli.main, app.main, app.server.server, app.versions.onnx_export, app.cli.remote; \
    import app.database.migrate, app.weights_import.worker, app.train.worker.main, app.mnist.dataset as data; \
    data.load(pathlib.Path("data"))'
# A number, so that an orchestrator knows that the user is not root.
USER 10001:10001
