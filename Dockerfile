# The environment of the pipeline. The repository is mounted at /workspace; see compose.yaml.
# The torch wheels carry CUDA, so that the base needs none.
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE}

# git: for dvc, and for the commit that a run is tagged with. dumb-init: passes a stop on to all that runs. make: for
# `make gpu-check`.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends dumb-init git make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home trainer

COPY requirements.lock /tmp/requirements.lock
# uv takes 30 s where pip takes 200; pip fetches it, and stands in where only pip knows the index. What is compiled here
# need not be at each start: the image is read-only.
RUN awk '/^[^ ]/ { listed = /^uv==/ } listed' /tmp/requirements.lock > /tmp/uv.txt \
    && python -m pip install --no-cache-dir --require-hashes --requirement /tmp/uv.txt \
    && { uv pip install --system --no-cache --compile-bytecode --require-hashes --requirement /tmp/requirements.lock \
    || python -m pip install --no-cache-dir --require-hashes --requirement /tmp/requirements.lock; }

# compose.yaml runs as the caller, who has no entry in /etc/passwd: the name and home are set for any user id.
ENV HOME=/tmp \
    USER=trainer \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /workspace
USER 1000
# SIGTERM becomes the Ctrl-C that dvc and a training end cleanly on.
ENTRYPOINT ["dumb-init", "--rewrite", "15:2", "--"]
CMD ["dvc", "repro"]
