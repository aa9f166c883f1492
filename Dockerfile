# insight in a container; it serves /data unless told otherwise. How to build and run it: docs/guides/serve.md.
# VARIANT=cpu or cuda; both run on a CPU. Needs BuildKit, which builds no stage that is not used.
ARG PYTHON=3.11
ARG VARIANT=cpu
# Of the major version that torch's wheels are built with.
ARG CUDA=13.0.2

FROM nvidia/cuda:${CUDA}-devel-ubuntu22.04 AS toolkit

FROM python:${PYTHON}-slim-bookworm AS compiler-cpu
ENV FORCE_CUDA=0

# nvcc alone: torch's wheels bring CUDA's libraries, and the driver comes from the host.
FROM python:${PYTHON}-slim-bookworm AS compiler-cuda
COPY --from=toolkit /usr/local/cuda /usr/local/cuda
ENV FORCE_CUDA=1

# hadolint ignore=DL3006
FROM compiler-${VARIANT} AS build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
# Index of torch's wheels; empty: pip's own, whose wheels bring CUDA's libraries.
ARG TORCH_INDEX_URL=
ARG TORCH_CUDA_ARCH_LIST="8.0 8.6 8.9 9.0+PTX"
ENV PATH=/opt/insight/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY constraints.txt ./
RUN python -m venv /opt/insight \
  && pip install -c constraints.txt ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} torch torchvision \
  && pip install -c constraints.txt "setuptools>=77,<81" wheel ninja pybind11
COPY . .
RUN pip install -c constraints.txt --no-build-isolation ".[serve,geo,hub,detectron2,light]" \
  && insight install-detectron2 \
  && insight info

FROM python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="insight" org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --user-group --home-dir /cache --no-create-home insight \
  && install -d -o insight -g insight /data /cache
COPY --from=build /opt/insight /opt/insight
# What is not in /data goes to /cache and /tmp, so the root may be read-only.
ENV PATH=/opt/insight/bin:$PATH \
    HOME=/cache \
    XDG_CACHE_HOME=/cache \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /data
VOLUME ["/data", "/cache"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["insight"]
CMD ["serve", "/data", "--host", "0.0.0.0"]
