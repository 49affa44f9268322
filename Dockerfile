# Four images from one tree: `web` has no torch, `worker-cpu` and `worker-gpu` have it for their device, and `backup`
# has the tools of Postgres and of object stores instead of Python. docker-compose.yml says how they work together.

FROM python:3.11.14-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONPATH=/app \
    PYTHONSAFEPATH=1 \
    PIP_CACHE_DIR=/var/cache/pip \
    PATH=/app/.venv/bin:$PATH \
    ARENA_HOME=/var/lib/arena \
    HF_HOME=/var/lib/arena/huggingface
WORKDIR /app
# A number, so that Kubernetes and others can see without a look into the image that it is not root.
RUN groupadd --gid 10001 arena \
    && useradd --uid 10001 --gid arena --home-dir /var/lib/arena --no-create-home --shell /usr/sbin/nologin arena \
    && install -d -o arena -g arena -m 0750 /var/lib/arena
# What pip needs comes before the code: a change of the code keeps these layers.
COPY pyproject.toml constraints.txt ./
COPY app/__init__.py app/__init__.py
COPY app/setup app/setup
RUN --mount=type=cache,target=/var/cache/pip \
    python -m venv .venv && ARENA_HOME=/tmp/setup python -m app.setup base

# Another index of PyTorch's own builds: --build-arg ARENA_TORCH_INDEX=https://…
FROM base AS torch-cpu
ARG ARENA_TORCH_INDEX
RUN --mount=type=cache,target=/var/cache/pip \
    ARENA_HOME=/tmp/setup python -m app.setup train --torch cpu

FROM base AS torch-gpu
ARG ARENA_TORCH_INDEX
RUN --mount=type=cache,target=/var/cache/pip \
    ARENA_HOME=/tmp/setup python -m app.setup train --torch cuda

# What the page and every command need. The door stays usable: all it would install is there.
FROM scratch AS page
COPY arena pyproject.toml constraints.txt /
COPY app /app
COPY data /data
COPY migrations /migrations
COPY static /static
COPY templates /templates

FROM page AS everything
COPY training /training
COPY worker /worker

FROM base AS web
COPY --from=page / ./
RUN python -m compileall -q app migrations
USER 10001:10001
VOLUME /var/lib/arena
EXPOSE 8710
ENTRYPOINT ["python", "-m", "app"]
CMD ["serve", "--host", "0.0.0.0"]

FROM torch-cpu AS worker-cpu
COPY --from=everything / ./
RUN python -m compileall -q app migrations training worker
USER 10001:10001
VOLUME /var/lib/arena
ENTRYPOINT ["python", "-m", "app"]
CMD ["worker"]

FROM torch-gpu AS worker-gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=everything / ./
RUN python -m compileall -q app migrations training worker
USER 10001:10001
VOLUME /var/lib/arena
ENTRYPOINT ["python", "-m", "app"]
CMD ["worker", "--queue", "gpu"]

# The same version as the server in docker-compose.yml: an older pg_dump refuses a newer server.
FROM rclone/rclone:1.75.1 AS rclone
FROM postgres:18.6-bookworm AS backup
COPY --from=rclone /usr/local/bin/rclone /usr/local/bin/rclone
COPY app/setup/containers/backup app/setup/containers/restore /usr/local/bin/
ENV ARENA_HOME=/var/lib/arena \
    RCLONE_CONFIG=/dev/null
RUN install -d -o 10001 -g 10001 -m 0750 /var/lib/arena
USER 10001:10001
ENTRYPOINT []
CMD ["backup"]
