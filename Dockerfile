# syntax=docker/dockerfile:1.7
# Three images from one tree: `web` has no torch, `worker-cpu` and `worker-gpu` have it for their device.
ARG PYTHON=3.11.14-slim-bookworm

FROM python:${PYTHON} AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONPATH=/app \
    PYTHONSAFEPATH=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PATH=/app/.venv/bin:$PATH \
    ARENA_HOME=/var/lib/arena
WORKDIR /app
# A number, so that Kubernetes and others can see without a look into the image that it is not root.
RUN groupadd --gid 10001 arena \
    && useradd --uid 10001 --gid arena --home-dir /var/lib/arena --no-create-home --shell /usr/sbin/nologin arena \
    && install -d -o arena -g arena -m 0750 /var/lib/arena \
    && python -m venv /app/.venv
# What pip needs comes before the code: a change of the code keeps these layers.
COPY pyproject.toml constraints.txt ./
COPY app/__init__.py app/__init__.py
COPY app/setup app/setup
RUN python -m app.setup base

FROM base AS torch-cpu
RUN ARENA_HOME=/tmp/setup python -m app.setup train --torch cpu

FROM base AS torch-gpu
RUN ARENA_HOME=/tmp/setup python -m app.setup train --torch cuda

FROM base AS web
COPY . .
USER 10001:10001
VOLUME /var/lib/arena
EXPOSE 8710
# The door would install on first use; in an image everything is there, so its last line is called directly.
ENTRYPOINT ["python", "-m", "app"]
CMD ["serve"]

FROM torch-cpu AS worker-cpu
COPY . .
USER 10001:10001
VOLUME /var/lib/arena
ENTRYPOINT ["python", "-m", "app"]
CMD ["worker"]

FROM torch-gpu AS worker-gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY . .
USER 10001:10001
VOLUME /var/lib/arena
ENTRYPOINT ["python", "-m", "app"]
CMD ["worker", "--queue", "gpu"]
