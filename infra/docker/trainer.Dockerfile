# Pretraining, fine-tuning, studies, on NVIDIA's GPUs: torch brings its own CUDA libraries. From the repository's root:
#   docker build -f infra/docker/trainer.Dockerfile -t IMAGE .
FROM python:3.11.13-slim-bookworm AS build

WORKDIR /src
RUN python -m venv /opt/cerebeam
COPY constraints.txt ./
COPY setup.py pyproject.toml README.md ./
COPY signals signals
COPY audit audit
COPY serving serving
COPY service service
COPY pipelines pipelines
COPY explain explain
COPY synthetic synthetic
COPY evaluation evaluation
COPY model model
COPY training training
COPY studies studies
COPY cerebeam cerebeam
RUN /opt/cerebeam/bin/pip install --no-cache-dir --constraint constraints.txt '.[train,serve,formats,gcp,track]' \
    && /opt/cerebeam/bin/pip check

FROM python:3.11.13-slim-bookworm

COPY --from=build /opt/cerebeam /opt/cerebeam
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin cerebeam \
    && install -d -o 10001 -g 10001 -m 700 /runs
ENV PATH=/opt/cerebeam/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    OMP_NUM_THREADS=1
USER 10001:10001
WORKDIR /runs
ENTRYPOINT ["cerebeam"]
CMD ["pretrain", "--help"]
