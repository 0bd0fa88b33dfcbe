# An argument, so that a release can pin a digest.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS data
COPY data/MNIST/raw/*.gz /data/MNIST/raw/
# Here, since a running container cannot unpack beside the archives: its root may be read-only.
# And readable for all, here and below, since a checkout may be readable for its owner alone.
RUN gunzip /data/MNIST/raw/*.gz && chmod --recursive a+rX /data

FROM ${BASE} AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/mynet
# Empty takes the package registry's default build, which uses NVIDIA GPUs and is some 4.5 GB larger.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY deploy/install-torch.sh /build/
RUN sh /build/install-torch.sh /opt/mynet/bin/python "${TORCH_INDEX}"
# Without the source, so that only a change of pyproject.toml installs them anew.
COPY pyproject.toml /build/
COPY client/pyproject.toml /build/client/
RUN for each in /build/pyproject.toml /build/client/pyproject.toml; do \
        python -c 'import sys, tomllib; p = tomllib.load(open(sys.argv[1], "rb")); \
            print(*p["build-system"]["requires"], *p["project"]["dependencies"], sep="\n")' "$each" \
            || exit 1; \
    done > /build/requirements.txt \
    && /opt/mynet/bin/pip install --quiet --requirement /build/requirements.txt

FROM ${BASE}
LABEL org.opencontainers.image.title="MyNet" \
      org.opencontainers.image.description="POST a handwritten digit, get the digit back; POST /train, and a better network goes live." \
      org.opencontainers.image.licenses="MIT"
WORKDIR /app
RUN useradd --uid 10001 --home-dir /app --no-create-home --shell /usr/sbin/nologin mynet \
    && install --directory --owner mynet --group mynet var
COPY --from=dependencies /opt/mynet /opt/mynet
COPY --from=data /data data
COPY pyproject.toml README.md LICENSE ./
COPY models models
COPY app app
COPY deploy/healthcheck deploy/serve /usr/local/bin/
COPY client client
ENV PATH=/opt/mynet/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MYNET_HOST=0.0.0.0 \
    MYNET_AUTH=predict
# Editable, since the shipped checkpoints are looked for beside the source. The imports prove that
# no system library is missing, and leave the bytecode that nobody can write later: the official
# image has none for the standard library, which would be compiled at each start.
RUN chmod --recursive a+rX app client models /usr/local/bin/healthcheck /usr/local/bin/serve \
    && pip install --quiet --disable-pip-version-check --no-cache-dir \
        --no-deps --no-build-isolation --editable ./client --editable . \
    && python -m compileall -q app client/src \
    && python -c 'import pathlib, app.cli, app.main, app.onnx_export, app.remote; \
        import app.train.appraise, app.train.run, app.train.data as data; \
        data.load(pathlib.Path("data"))'

# A number, so that an orchestrator can tell that it is not root.
USER 10001:10001
VOLUME /app/var
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["healthcheck"]
# No entry point, since Amazon SageMaker runs `serve`, which is deploy/serve then.
CMD ["mynet", "serve"]
