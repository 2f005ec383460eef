# The API: answers, records, backups. Neither torch nor Beam nor a compiler. Build from the repository's root:
#   docker build -f infra/docker/service.Dockerfile -t IMAGE .
FROM python:3.11.13-slim-bookworm AS build

WORKDIR /src
RUN python -m venv /opt/cerebeam
COPY setup.py pyproject.toml constraints.txt README.md ./
COPY signals signals
COPY audit audit
COPY explain explain
COPY serving serving
COPY service service
COPY cerebeam cerebeam
RUN /opt/cerebeam/bin/pip install --no-cache-dir -c constraints.txt -r serving/requirements.txt -r service/requirements.txt \
    && /opt/cerebeam/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11.13-slim-bookworm

COPY --from=build /opt/cerebeam /opt/cerebeam
# What is written lies below /data and /tmp: the root may be read-only.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin cerebeam \
    && install -d -o 10001 -g 10001 -m 700 /data
ENV PATH=/opt/cerebeam/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    OMP_NUM_THREADS=1
USER 10001:10001
WORKDIR /data
EXPOSE 8000
CMD ["cerebeam", "serve"]
